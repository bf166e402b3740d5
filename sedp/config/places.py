"""Where in a config file something was written, and how messages say it."""

from __future__ import annotations

from pathlib import Path

Place = tuple[str | int, ...]
"""Keys and list indices from the root to a value."""

Mark = tuple[int, int]
"""Line and column, both from 1."""


def name_place(place: Place) -> str:
    """`("pipelines", "rank", "after", 0)` as `pipelines.rank.after[0]`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return "".join(parts).removeprefix(".")


def describe_fault(file: Path, mark: Mark, place: Place, message: str) -> str:
    """`file:line:column: key.path: message`; editors and terminals make the front clickable."""
    return ": ".join(filter(None, (f"{file}:{mark[0]}:{mark[1]}", name_place(place), message)))
