"""What all sections of the config file are built from: their base, and names."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

NAME_PATTERN = "^[a-z0-9][a-z0-9_-]{0,63}$"
COLUMN_PATTERN = "^[A-Za-z_][A-Za-z0-9_.:/-]{0,127}$"

Name = Annotated[
    str,
    Meta(
        pattern=NAME_PATTERN,
        extra={"expected": "a name of a-z, 0-9, _ and -, at most 64 characters"},
    ),
]
ColumnName = Annotated[
    str,
    Meta(
        pattern=COLUMN_PATTERN,
        extra={"expected": "a name of letters, digits and _ . : / -, starting with a letter or _"},
    ),
]
FilePath = Annotated[str, Meta(min_length=1, max_length=4096)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the sections: unknown keys are refused."""
