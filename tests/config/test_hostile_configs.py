"""Whatever stands in the file, loading it ends in a config or in a `ConfigError`, nothing else."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sedp.config.document import FAULTS_SHOWN_MAX
from sedp.config.loading import Config, load
from sedp.errors import ConfigError
from tests.config.good import GOOD

MARKS = ["{}", "[]", "~", "-", ":", "&", "*", "!", "|", ">", "${A}", "${"]
NUMBERS = ["0", "-1", "1e9", ".5", "9999999999999999999", "true"]
WORDS = [*GOOD.split(), *MARKS, *NUMBERS]
junk = st.sampled_from(WORDS) | st.text(max_size=8)
lines = GOOD.splitlines(keepends=True)


def end_of_load(file: Path, text: str) -> str:
    file.write_text(text, errors="surrogatepass")
    try:
        assert isinstance(load(file, {"A": "a"}), Config)
    except ConfigError as err:
        return str(err)
    return ""


# One file, overwritten by each example; the disk may be slow.
UNCHECKED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@given(st.integers(0, len(GOOD)), st.integers(0, 12), junk)
@example(GOOD.index("{k: 3"), 2, "{")
@settings(suppress_health_check=UNCHECKED, max_examples=200, deadline=None)
def test_junk_anywhere_is_read_or_refused_line_by_line(
    folder: Path, start: int, length: int, put: str
) -> None:
    refusal = end_of_load(folder / "any.yaml", GOOD[:start] + put + GOOD[start + length :])
    told = refusal.splitlines()
    assert len(told) <= FAULTS_SHOWN_MAX + 1
    assert all(line.startswith((f"{folder}/any.yaml:", "and ")) for line in told)


@given(st.permutations(lines), st.integers(1, len(lines)))
@settings(suppress_health_check=UNCHECKED, max_examples=50, deadline=None)
def test_lines_in_any_order_are_read_or_refused(
    folder: Path, shuffled: list[str], count: int
) -> None:
    end_of_load(folder / "any.yaml", "".join(shuffled[:count]))
