"""Words for what a setting accepts, taken from its type.

They end every message of the decoder: a limit that changes in `settings` changes its mend too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import inspect
from msgspec.structs import FieldInfo

from sedp.config.hints import metas
from sedp.pipeline_checks import nearest
from sedp.units import FORM_KEY, TextForm

SHOWN_CHARS_MAX = 60
_FIXED: dict[type[inspect.Type], str] = {
    inspect.BoolType: "true or false",
    inspect.NoneType: "nothing",
    inspect.StructType: "a mapping",
}
_NUMBERS: dict[type[inspect.Type], str] = {
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
}


def show(value: Any) -> str:
    """A value of the tree as its author would recognise it, cut to one line."""
    if value is None:
        return "an empty value"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return f"a {'mapping' if isinstance(value, dict) else 'list'} of {len(value)}"
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]}…"


def describe_misfit(value: Any, hint: Any, err: msgspec.ValidationError) -> str:
    """Value, nearest allowed value and mend, for a value that `hint` refuses."""
    if " - at `" in str(err):  # inside a type the walk does not open: msgspec knows the place
        return str(err)
    info = inspect.type_info(hint)
    close = nearest(value, _choices(info)) if isinstance(value, str) else ""
    return f"{show(value)} does not fit{close}; write {expect(info)}"


def describe_key(info: FieldInfo) -> str:
    """A key with what it takes, to be added where it is missing."""
    text = next((meta.description for meta in metas(info.type) if meta.description), "")
    help_text = f" ({text.rstrip('.')})" if text else ""
    return f"{info.encode_name}: {expect(inspect.type_info(info.type))}{help_text}"


def expect(info: inspect.Type) -> str:
    """Completes "write …"."""
    if isinstance(info, inspect.Metadata):
        extra = info.extra or {}
        if isinstance(form := extra.get(FORM_KEY), TextForm):
            return form.expected + _range(info.type, "ge", "le", form.render)
        return str(extra["expected"]) if "expected" in extra else expect(info.type)
    if isinstance(info, inspect.UnionType):
        return " or ".join(expect(member) for member in info.types)
    if choices := _choices(info):
        return f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
    if type(info) in _NUMBERS:
        return _NUMBERS[type(info)] + _range(info, "ge", "le", str)
    if isinstance(info, inspect.StrType):
        pattern = f" matching {info.pattern}" if info.pattern else ""
        return "a text" + _lengths(info, " characters") + pattern
    if isinstance(info, inspect.DictType):
        return "a mapping" + _lengths(info, " entries")
    if isinstance(info, inspect.CollectionType):
        return "a list" + _lengths(info, " entries")
    return _FIXED.get(type(info), "a value of another type")


def _choices(info: inspect.Type) -> list[str]:
    if isinstance(info, inspect.Metadata):
        return _choices(info.type)
    if isinstance(info, inspect.UnionType):
        return [choice for member in info.types for choice in _choices(member)]
    if isinstance(info, inspect.EnumType):
        return [str(member.value) for member in info.cls]
    return [str(value) for value in info.values] if isinstance(info, inspect.LiteralType) else []


def _lengths(info: inspect.Type, unit: str) -> str:
    limits = _range(info, "min_length", "max_length", str).lstrip(", ").removeprefix("from ")
    return f" of {limits}{unit}" if limits else ""


def _range(info: inspect.Type, low: str, high: str, render: Callable[[Any], str]) -> str:
    least, most = getattr(info, low, None), getattr(info, high, None)
    if least is not None and most is not None:
        return f" from {render(least)} to {render(most)}"
    words = {"at least": low, "above": "gt", "at most": high, "below": "lt"}
    found = ((word, getattr(info, limit, None)) for word, limit in words.items())
    limits = [f"{word} {render(limit)}" for word, limit in found if limit is not None]
    return f", {' and '.join(limits)}" if limits else ""
