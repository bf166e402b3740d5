"""Every seeded fault ends with exit code 2 and a line that names file, line, column, key, mend."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sedp.cli.main import main
from sedp.config.loading import load
from tests.config.fault import Fault
from tests.config.good import GOOD
from tests.config.grammar_faults import GRAMMAR
from tests.config.load_faults import LOAD
from tests.config.setting_faults import KEYS, VALUES
from tests.config.stage_faults import BETWEEN, STAGES

FAULTS = [*GRAMMAR, *KEYS, *VALUES, *STAGES, *BETWEEN, *LOAD]


def test_the_config_that_faults_are_seeded_in_is_good(write: Callable[[str], Path]) -> None:
    assert [pipeline.name for pipeline in load(write(GOOD), {}).pipelines] == ["rank"]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_fault_is_refused_with_line_key_and_mend(
    fault: Fault,
    write: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = write(fault.text)
    monkeypatch.setattr("sys.argv", ["sedp", "check", str(file)])
    with pytest.raises(SystemExit) as end:
        main()
    out, err = capsys.readouterr()
    assert end.value.code == 2
    assert out == ""
    before = fault.text[: fault.text.index(fault.at)]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    place = f"{file}:{line}:{column}: " + (f"{fault.key}: " if fault.key else "")
    shown = [text for text in err.removeprefix("sedp: ").splitlines() if text.startswith(place)]
    assert shown, f"expected {place}\nin {err}"
    assert all(word in shown[0] for word in fault.words), shown[0]


def test_faults_in_several_sections_are_reported_together(
    write: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (
        GOOD.replace("10s", "10").replace("2ms", "2").replace("64MiB", "64mb").replace("INT64", "I")
    )
    monkeypatch.setattr("sys.argv", ["sedp", "check", str(write(text))])
    with pytest.raises(SystemExit):
        main()
    lines = re.findall(r"yaml:(\d+):", capsys.readouterr().err)
    assert lines == ["5", "8", "12", "13", "26"]
