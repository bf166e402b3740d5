"""A module that cannot be imported, in its fourth line."""

WEIGHT = 2
FACTOR = WIEGHT * 2  # type: ignore[name-defined]  # noqa: F821
