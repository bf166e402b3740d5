"""A seeded fault: what goes wrong in a config, where it must be shown, and with which mend.

A fault is shown at the first place where `at` stands in the changed text.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One mistake in a good config.

    Args:
        text: the config with the mistake in it.
        at: a text that starts where the fault must be shown.
        key: the key path that must be named, `""` for a fault of the file as a whole.
        words: must all be in the message: what is wrong, and the mend.
    """

    name: str
    text: str
    at: str
    key: str
    words: tuple[str, ...]


STAGE = "pipelines.rank.stages"
