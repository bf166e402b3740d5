"""The systemd unit and the Dockerfile: what they promise, read from the files themselves."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sedp.config.daemon_settings import DaemonSettings

from .conftest import StartDaemon

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "docs" / "sedp.service"
DOCKERFILE = ROOT / "Dockerfile"
EXPOSURE_MAX = 2.0  # of 10, as `systemd-analyze security` reckons
HARDENED = {
    "DynamicUser": "yes",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "RestrictNamespaces": "yes",
    "SystemCallArchitectures": "native",
    "KillMode": "mixed",
    "OOMPolicy": "continue",
    "Type": "notify",
}


@pytest.fixture(scope="module")
def service() -> dict[str, list[str]]:
    """The settings of the unit's [Service], each a list: systemd takes some several times."""
    found: dict[str, list[str]] = {}
    section = UNIT.read_text().split("[Service]")[1].split("\n[")[0]
    for line in section.splitlines():
        if line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, lines joined: (word, the rest)."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line]


def of(instructions: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for found, rest in instructions if found == word]


def environment(instructions: list[tuple[str, str]]) -> dict[str, str]:
    pairs = [pair for rest in of(instructions, "ENV") for pair in shlex.split(rest)]
    return dict(pair.split("=", 1) for pair in pairs)


def seconds(text: str) -> int:
    match = re.fullmatch(r"(\d+)(s|min)", text)
    assert match is not None
    return int(match[1]) * {"s": 1, "min": 60}[match[2]]


def installed_unit(folder: Path) -> Path:
    """The unit as if SEDP were installed where it says."""
    copy = folder / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/sedp/bin/sedp", sys.executable))
    return copy


def test_the_unit_is_hardened(service: dict[str, list[str]]) -> None:
    assert {key: service[key] for key in HARDENED} == {k: [v] for k, v in HARDENED.items()}


def test_the_unit_can_compile_kernels_and_keep_them(service: dict[str, list[str]]) -> None:
    assert "MemoryDenyWriteExecute" not in service
    assert f"NUMBA_CACHE_DIR=/var/cache/{service['CacheDirectory'][0]}" in service["Environment"][0]


def test_the_unit_leaves_time_to_drain(service: dict[str, list[str]]) -> None:
    settings = DaemonSettings()
    drain_s = (settings.drain_ns + settings.drain_delay_ns) / 1e9
    assert seconds(service["TimeoutStopSec"][0]) >= 2 * drain_s
    assert service["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path) -> None:
    unit = installed_unit(tmp_path)
    verified = analyze("verify", "--man=no", str(unit))
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = analyze("security", "--offline=true", "--no-pager", str(unit))
    match = re.search(r"exposure level for .*: ([0-9.]+)", judged.stdout)
    assert match is not None, judged.stderr
    assert float(match[1]) <= EXPOSURE_MAX


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_image_runs_as_nobody_special(instructions: list[tuple[str, str]]) -> None:
    words = [word for word, _ in instructions]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", of(instructions, "USER")[-1])
    last_stage = len(words) - 1 - words[::-1].index("FROM")
    after_user = words[words.index("USER") :]
    assert words.index("USER") > last_stage
    assert not {"RUN", "COPY", "ADD"} & set(after_user)


def test_the_image_writes_to_its_volume_alone(instructions: list[tuple[str, str]]) -> None:
    [volume] = of(instructions, "VOLUME")
    settings = environment(instructions)
    assert Path(settings["NUMBA_CACHE_DIR"]).is_relative_to(volume)
    assert settings["PYTHONDONTWRITEBYTECODE"] == "1"


def test_both_stages_have_one_pinned_base(instructions: list[tuple[str, str]]) -> None:
    [base] = of(instructions, "ARG")
    assert re.fullmatch(r"PYTHON=3\.\d+-slim-\w+", base)
    assert [rest.split()[0] for rest in of(instructions, "FROM")] == ["python:${PYTHON}"] * 2


def test_all_that_is_copied_is_there(instructions: list[tuple[str, str]]) -> None:
    here = [rest for rest in of(instructions, "COPY") if not rest.startswith("--from=")]
    sources = [source for rest in here for source in rest.split()[:-1]]
    assert {"setup.cfg", "sedp", "stages", "storage", "simulator"} <= set(sources)
    assert [source for source in sources if not (ROOT / source).exists()] == []


def test_commands_get_signals_without_a_shell_between(instructions: list[tuple[str, str]]) -> None:
    [entry], [command] = of(instructions, "ENTRYPOINT"), of(instructions, "CMD")
    assert [*json.loads(entry), *json.loads(command)] == ["sedp", "serve", "/etc/sedp/sedp.yaml"]
    assert of(instructions, "STOPSIGNAL") == ["SIGTERM"]


def test_ports_are_the_defaults(instructions: list[tuple[str, str]]) -> None:
    settings = DaemonSettings()
    [ports] = of(instructions, "EXPOSE")
    assert {str(settings.listen.port), str(settings.admin.port)} <= set(ports.split())


@pytest.mark.slow
async def test_the_image_asks_for_health_and_believes_only_a_good_answer(
    instructions: list[tuple[str, str]], start_daemon: StartDaemon
) -> None:
    [check] = of(instructions, "HEALTHCHECK")
    _python, *arguments = json.loads(check.split(" CMD ")[1])

    async def ask(url: str) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *arguments, env={"SEDP_HEALTH": url}, stderr=subprocess.DEVNULL
        )
        return await process.wait()

    daemon = await start_daemon()
    base = f"http://{daemon.admin_address}"
    assert await ask(f"{base}/v2/health/live") == 0
    assert await ask(f"{base}/no-such-path") != 0
