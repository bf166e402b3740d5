"""Settings as flat text: every key with the value it has, defaults included.

Two configs mean the same exactly when their spelled settings are equal, so what a reload would
change can be told, and decided, by comparing them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin

import msgspec
import msgspec.json

from sedp.config.hints import fields_of, is_section, settle_optional, strip, text_form


def spell(settings: msgspec.Struct) -> dict[str, str]:
    """Values by dotted key, as a config file would write them: `daemon.drain` is "10s"."""
    return {".".join(place): text for place, text in _section(settings, ())}


def _section(section: msgspec.Struct, place: tuple[str, ...]) -> Iterator[tuple[Any, str]]:
    for key, field in fields_of(type(section)).items():
        value = getattr(section, field.name)
        yield from _value(value, field.type, (*place, key))


def _value(value: Any, hint: Any, place: tuple[str, ...]) -> Iterator[tuple[Any, str]]:
    hint = settle_optional(value, hint)
    form = text_form(hint)
    if form is not None and isinstance(value, form.type):
        yield place, form.render(value)
    elif isinstance(value, msgspec.Struct) and is_section(type(value)):
        yield from _section(value, place)
    elif isinstance(value, Mapping):
        base = strip(hint)
        of = get_args(base)[1] if get_origin(base) is dict else Any
        for key, part in value.items():
            yield from _value(part, of, (*place, str(key)))
    else:
        yield place, value if isinstance(value, str) else msgspec.json.encode(value).decode()
