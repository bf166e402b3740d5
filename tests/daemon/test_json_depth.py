"""Depth is counted as a plain reading of the text would."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.daemon.oip.json_depth import DEPTH_MAX, check_depth, is_deeper
from sedp.errors import RequestError

TEXTS = st.text(st.sampled_from('[]{}"\\a'), max_size=8)
VALUES = st.recursive(
    TEXTS | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=20,
)


def depth(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth, inside), default=0) if isinstance(value, dict | list) else 0


@given(VALUES, st.integers(0, 6))
def test_depth_is_that_of_the_value(value: Any, limit: int) -> None:
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    assert is_deeper(text, limit) == (depth(value) > limit)


@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("over", [-1, 0, 1])
def test_depth_has_a_limit(brackets: tuple[str, str], over: int) -> None:
    opening, closing = (part * (DEPTH_MAX + over) for part in brackets)
    text = f"{opening}1{closing}".encode()
    if over <= 0:
        check_depth(text)
    else:
        with pytest.raises(RequestError, match="16 levels"):
            check_depth(text)


def test_brackets_in_strings_and_side_by_side_are_not_deep() -> None:
    check_depth(b'["' + b"[" * 100 + b'"]')
    check_depth(b"[" + b"[]," * 100 + b"[]]")
    check_depth(b'["\\"' + b"[" * 100 + b'"]')


def test_what_is_no_json_is_survived() -> None:
    for text in (b'"\\', b'"', b"]" * 1000 + b"[" * 20, b'"\\"' * 50, b""):
        assert not is_deeper(np.frombuffer(text, np.uint8), 5)
