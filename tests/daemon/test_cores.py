"""Cores from affinity and quota, on folders that look like a container's /proc and /sys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sedp.cores import usable_cores


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_control_groups_affinity_counts(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == 8


@pytest.mark.parametrize(("quota", "cores"), [(20, 1), (100, 1), (150, 1), (299, 2), (300, 3)])
def test_quota_of_version_2_is_rounded_down_but_to_one(
    quota: int, cores: int, tmp_path: Path
) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": f"{quota}000 100000\n"}
    assert usable_cores(lay(tmp_path, files)) == cores


def test_max_is_no_quota(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}
    assert usable_cores(lay(tmp_path, files)) == 8


def test_an_outer_group_may_be_the_scarce_one(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/pod/box\n",
        "sys/fs/cgroup/pod/box/cpu.max": "400000 100000\n",
        "sys/fs/cgroup/pod/cpu.max": "300000 100000\n",
    }
    assert usable_cores(lay(tmp_path, files)) == 3


def test_quota_of_version_1_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "3:cpu,cpuacct:/docker/0123\n1:memory:/docker/0123\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    assert usable_cores(lay(tmp_path, files)) == 1


def test_minus_one_is_no_quota_in_version_1(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "3:cpu:/\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    assert usable_cores(lay(tmp_path, files)) == 8


def test_a_quota_above_the_affinity_changes_nothing(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "6400000 100000\n"}
    assert usable_cores(lay(tmp_path, files)) == 8


@pytest.mark.parametrize("text", ["", "garbage", "1 2 3", "0 100000", "5 0", "0::", "\x00"])
def test_odd_files_are_no_quota(tmp_path: Path, text: str) -> None:
    files = {"proc/self/cgroup": f"0::/\n{text}\n", "sys/fs/cgroup/cpu.max": text}
    assert usable_cores(lay(tmp_path, files)) == 8


def test_a_path_cannot_leave_the_mount(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/../../..\n", "cpu.max": "100000 100000\n"}
    assert usable_cores(lay(tmp_path, files)) == 8
