"""A spec that the store could not keep is refused with the mend."""

from __future__ import annotations

from typing import Any

import pytest

from sedp.errors import StoreError
from sedp.storage.table_spec import TableSpec


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "User"}, "table name 'User' must be 1 to 64 of a-z"),
        ({"name": "../x"}, "must be 1 to 64"),
        ({"name": "a" * 65}, "must be 1 to 64"),
        ({"dim": 0}, "dim 0 must be 1..4096"),
        ({"dim": 4097}, "dim 4097 must be"),
        ({"dtype": "float64"}, "dtype 'float64' is not one of float32, int32, int64"),
        ({"default": (1,)}, "default has 1 values; give dim=2 of them, or none"),
        ({"columns": ("a",)}, "columns has 1 values"),
        ({"columns": ("a", "a")}, "columns repeat a name"),
        ({"dtype": "int32", "default": (1, 2**31)}, "default 2147483648 is no int32"),
        ({"dtype": "int64", "default": (1, 0.5)}, "default 0.5 is no int64"),
        ({"dtype": "int64", "default": (1, float("nan"))}, "default nan is no int64"),
        ({"default": (1, 1e300)}, r"default 1e\+300 is no float32"),
    ],
)
def test_spec_out_of_bounds_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(StoreError, match=words):
        TableSpec(**{"name": "t", "dim": 2, "dtype": "float32", **fields})


def test_row_of_a_spec() -> None:
    spec = TableSpec("t-1_x", 2, "int64", default=(1, -(2**63)))
    assert spec.row_bytes == 16
    assert spec.default_row.tolist() == [1, -(2**63)]
    assert TableSpec("t", 3, "float32").default_row.tolist() == [0.0] * 3
