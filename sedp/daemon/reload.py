"""What a new config changes, and whether a serving process can follow it.

Pure. Whatever concerns sockets, processes or the store's files needs a restart, which workers can
do one after the other; a reload that would change one of those changes nothing at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sedp.config.loading import Config
from sedp.errors import ConfigError

VALUE_CHARS_MAX = 200
NOTHING = "nothing"
RELOADABLE = (
    "pipelines.",
    "daemon.auth.keys",
    "daemon.tenants.",
    "daemon.body_bytes_max",
    "daemon.body_rate_min",
    "daemon.body_timeout",
    "daemon.connections_",
    "daemon.drain",
    "daemon.head_timeout",
    "daemon.in_flight_bytes_max",
    "daemon.keepalive_timeout",
    "daemon.tls.",
    "daemon.write_timeout",
)
"""Beginnings of keys; `daemon.drain` stands for `daemon.drain_delay`, too."""


LIVE = re.compile(
    r"(rows_max|deadline|in_flight_max|user|admission|slo|priorities|tuning"
    r"|stages\.[^.]+\.(executor|concurrency|batch|queue_rows_max|bounds))(\..+)?"
)
"""Keys of a pipeline that its open stages need not hear of."""


@dataclass(frozen=True, slots=True)
class Difference:
    """From one config to another.

    Args:
        lines: for people, `key: old → new` each.
        pipelines: names of those that are in both, but have other stages or tensors.
        live: of those whose stages and tensors stay as they are, but not all else.
    """

    lines: tuple[str, ...]
    pipelines: frozenset[str]
    live: frozenset[str] = frozenset()


def compare(old: Config, new: Config) -> Difference:
    """What a reload would change.

    Raises:
        ConfigError: a key that needs a restart differs; all such keys are named.
    """
    keys = [key for key in {**old.settings, **new.settings} if _differs(key, old, new)]
    fixed = [key for key in keys if not _is_reloadable(key, old.settings, new.settings)]
    if fixed:
        raise ConfigError(
            "\n".join(
                f"{_describe(key, old, new)}: needs a restart; put it back, or restart the daemon"
                for key in fixed
            )
        )
    names = [{pipeline.name for pipeline in config.pipelines} for config in (old, new)]
    changed = {name for name in names[0] & names[1] if _part(name, old) != _part(name, new)}
    live = {name for name in changed if _fixed_part(name, old) == _fixed_part(name, new)}
    lines = tuple(_lines(keys, old, new, names[0] ^ names[1], changed))
    return Difference(lines, frozenset(changed - live), frozenset(live))


def _lines(
    keys: list[str], old: Config, new: Config, whole: set[str], changed: set[str]
) -> Iterator[str]:
    """A pipeline that comes or goes is one line; so is one in which only the order differs."""
    told: set[str] = set()
    for key in keys:
        name = _pipeline_of(key)
        if name not in whole:
            yield _describe(key, old, new)
        elif name not in told:
            is_new = any(pipeline.name == name for pipeline in new.pipelines)
            yield f"pipelines.{name}: {'added' if is_new else 'removed'}"
        told.add(name)
    for name in sorted(changed - told):
        yield f"pipelines.{name}: the order of keys"


def _part(name: str, config: Config) -> list[tuple[str, str]]:
    """All that is written about a pipeline, in its order: slots, say, are columns in order."""
    return [item for item in config.settings.items() if _pipeline_of(item[0]) == name]


def _fixed_part(name: str, config: Config) -> list[tuple[str, str]]:
    """The same of what an open pipeline cannot follow."""
    skipped = len(f"pipelines.{name}.")
    return [item for item in _part(name, config) if not LIVE.fullmatch(item[0], skipped)]


def _pipeline_of(key: str) -> str:
    """The pipeline that a key belongs to, or ""; names have no dots."""
    section, _, rest = key.partition(".")
    return rest.partition(".")[0] if section == "pipelines" else ""


def _differs(key: str, old: Config, new: Config) -> bool:
    return old.settings.get(key) != new.settings.get(key)


def _is_reloadable(key: str, old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    if key.startswith(("daemon.auth.", "daemon.tls.")) and (key in old) != (key in new):
        return False  # from keys or encryption to none, or the reverse
    return key.startswith(RELOADABLE)


def _describe(key: str, old: Config, new: Config) -> str:
    before, after = (config.settings.get(key, NOTHING) for config in (old, new))
    return f"{key}: {_cut(before)} → {_cut(after)}"


def _cut(value: str) -> str:
    return value if len(value) <= VALUE_CHARS_MAX else value[: VALUE_CHARS_MAX - 1] + "…"
