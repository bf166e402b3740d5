"""Trees, marks and bounds of the YAML reader; PyYAML's own safe loader is the model for values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sedp.config import document as document_module
from sedp.config.document import (
    FAULTS_FOUND_MAX,
    FAULTS_SHOWN_MAX,
    FILE_BYTES_MAX,
    Document,
    Faults,
    read_document,
)
from sedp.config.tree import DEPTH_MAX, NODE_COUNT_MAX
from sedp.errors import ConfigError

TEXT = """\
a: 1
b:
  - x
  - {c: "y", d: [true]}
e: &anchor
  f: ${PORT}
g: *anchor
h: |
  two
  lines
"""

# One file, overwritten by each example; the disk may be slow.
UNCHECKED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
keys = st.text("abcxyz-_ é", min_size=1, max_size=8).filter(lambda key: key == key.strip())
texts = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | texts
trees = st.dictionaries(
    keys,
    st.recursive(scalars, lambda part: st.lists(part) | st.dictionaries(keys, part), max_leaves=10),
    min_size=1,
)


def read(write: Callable[[str], Path], text: str, **environment: str) -> Document:
    return read_document(write(text), environment)


def test_tree_holds_plain_values(write: Callable[[str], Path]) -> None:
    assert read(write, TEXT, PORT="80").tree == {
        "a": 1,
        "b": ["x", {"c": "y", "d": [True]}],
        "e": {"f": 80},
        "g": {"f": 80},
        "h": "two\nlines\n",
    }


@pytest.mark.parametrize(
    ("place", "mark"),
    [
        ((), (1, 1)),
        (("a",), (1, 4)),
        (("b",), (2, 1)),
        (("b", 0), (3, 5)),
        (("b", 1), (4, 5)),
        (("b", 1, "c"), (4, 9)),
        (("b", 1, "d"), (4, 14)),
        (("b", 1, "d", 0), (4, 18)),
        (("e", "f"), (6, 6)),
        (("g",), (7, 4)),
        (("g", "f"), (7, 1)),
        (("h",), (8, 4)),
        (("nowhere", "at", "all"), (1, 1)),
        (("b", 1, "absent"), (2, 1)),
    ],
)
def test_marks_lead_to_the_value_or_the_key_of_a_section(
    place: tuple[str | int, ...], mark: tuple[int, int], write: Callable[[str], Path]
) -> None:
    assert read(write, TEXT, PORT="80").mark(place) == mark


def dump_blocks(tree: Any) -> str:
    return yaml.safe_dump(tree, default_style='"')  # quoted: plain texts mean more in YAML 1.1


def dump_flow(tree: Any) -> str:
    return json.dumps(tree, ensure_ascii=False)


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize("dump", [dump_blocks, dump_flow])
@given(tree=trees)
@settings(suppress_health_check=UNCHECKED, max_examples=25, deadline=None)
def test_what_was_dumped_is_read(
    tree: Any, dump: Callable[[Any], str], loader: str, tmp_path: Path
) -> None:
    file = tmp_path / "dumped.yaml"
    file.write_text(dump(tree).replace("${", "$${"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document_module, "_LOADER", getattr(yaml, loader))
        assert read_document(file, {}).tree == tree


@given(
    raw=st.binary(max_size=200) | st.text("ab:[]{}-#&*!|>'\"%@ \n\t,?", max_size=60).map(str.encode)
)
@settings(suppress_health_check=UNCHECKED, max_examples=200, deadline=None)
def test_any_bytes_are_read_or_refused_with_a_line(raw: bytes, tmp_path: Path) -> None:
    file = tmp_path / "any.yaml"
    file.write_bytes(raw)
    refusal = ""
    try:
        read_document(file, {})
    except ConfigError as err:
        refusal = str(err)
    assert refusal == "" or refusal.startswith(f"{file}:")


def test_typed_tags_of_yaml_itself_are_read(write: Callable[[str], Path]) -> None:
    tree = read(
        write, "a: !!str 5\nb: !!int 5\nc: !!map {}\nd: !!seq []\ne: ! 5\nf: !!float 5"
    ).tree
    assert tree == {"a": "5", "b": 5, "c": {}, "d": [], "e": "5", "f": 5}


def test_value_that_is_not_of_its_tag_is_refused(write: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match=r":2:4: b: 'x' is not of its tag's type; remove the tag"):
        read(write, "a: 1\nb: !!int x")


def test_quoted_scalars_stay_text_and_plain_variables_resolve(write: Callable[[str], Path]) -> None:
    tree = read(write, "a: '1'\nb: \"${N}\"\nc: ${N}\nd: '${N}'", N="2").tree
    assert tree == {"a": "1", "b": "2", "c": 2, "d": "2"}


@pytest.mark.parametrize("text", ['a: "\\0"', 'a: "\\a"', "a: ${V}"])
def test_what_no_file_can_hold_is_refused_in_escapes_and_variables(
    text: str, write: Callable[[str], Path]
) -> None:
    with pytest.raises(ConfigError, match=r":1:4: a: '.*' in the text is no character; remove it"):
        read(write, text, V="\udcff")


def test_nesting_has_a_bound(write: Callable[[str], Path]) -> None:
    deep = "[" * DEPTH_MAX + "]" * DEPTH_MAX
    assert read(write, deep).tree
    with pytest.raises(ConfigError, match=rf"deeper than {DEPTH_MAX} levels; flatten"):
        read(write, "[" * 500_000)


def test_aliases_count_at_their_full_size(write: Callable[[str], Path]) -> None:
    """Nine lines of nine aliases each: 9^9 values unless they are counted."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    with pytest.raises(ConfigError, match=rf"more than {NODE_COUNT_MAX} values, aliases included"):
        read(write, "\n".join(lines))


def test_variables_count_at_their_full_length(write: Callable[[str], Path]) -> None:
    text = "\n".join(f"a{i}: ${{BIG}}" for i in range(30))
    with pytest.raises(ConfigError, match=r":27:6: a26: variables expand beyond"):
        read(write, text, BIG="x" * 40_000)


def test_large_file_is_refused_unread(write: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigError, match=f"larger than {FILE_BYTES_MAX} bytes; split"):
        read(write, "#" * (FILE_BYTES_MAX + 1))


def test_file_that_is_not_utf8_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin.yaml:2:7: byte 0xe9 is not UTF-8; save"):
        read_document(file, {})


def test_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "bom.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_document(file, {}).tree == {"a": 1}


@pytest.mark.parametrize("path", ["absent.yaml", "."])
def test_unreadable_file_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: .*; check the path"):
        read_document(tmp_path / path, {})


def test_faults_are_listed_in_file_order_up_to_a_bound(write: Callable[[str], Path]) -> None:
    faults = Faults(read(write, "\n".join(f"k{i}: 0" for i in range(30))))
    for index in reversed(range(30)):
        faults.add((f"k{index}",), "wrong", at_key=True)
    with pytest.raises(ConfigError) as refused:
        faults.raise_found()
    lines = str(refused.value).splitlines()
    assert len(lines) == FAULTS_SHOWN_MAX + 1
    assert lines[0].endswith("config.yaml:1:1: k0: wrong")
    assert lines[-1] == "and more; mend these first"


def test_search_for_faults_has_a_bound(write: Callable[[str], Path]) -> None:
    faults = Faults(read(write, "a: 1"))
    for _ in range(FAULTS_FOUND_MAX - 1):
        faults.add(("a",), "wrong")
    with pytest.raises(ConfigError, match="and more"):
        faults.add(("a",), "wrong")
