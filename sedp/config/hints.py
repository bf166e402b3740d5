"""Type hints of settings, taken apart: what is annotated, what is optional, what is written how."""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from typing import Annotated, Any, TypeGuard, Union, get_args, get_origin

import msgspec
from msgspec import Meta
from msgspec.structs import FieldInfo

from sedp.units import FORM_KEY, TextForm

SECTIONS_MAX = 256


def strip(hint: Any) -> Any:
    """`hint` without its annotations."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def metas(hint: Any) -> list[Meta]:
    """The annotations that constrain `hint`."""
    annotations = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return [annotation for annotation in annotations if isinstance(annotation, Meta)]


def text_form(hint: Any) -> TextForm | None:
    """How YAML writes a scalar of this type, when not as YAML itself would."""
    forms = ((meta.extra or {}).get(FORM_KEY) for meta in metas(hint))
    return next((form for form in forms if isinstance(form, TextForm)), None)


def settle_optional(value: Any, hint: Any) -> Any:
    """`X` when `hint` is `X | None` and there is a value, so that its faults name `X` alone."""
    if value is None or get_origin(strip(hint)) not in (Union, types.UnionType):
        return hint
    others = [member for member in get_args(strip(hint)) if member is not type(None)]
    return others[0] if len(others) == 1 else hint


@functools.lru_cache(SECTIONS_MAX)
def fields_of(section: type[msgspec.Struct]) -> Mapping[str, FieldInfo]:
    """The fields of a section by key; msgspec evaluates all annotations anew each time."""
    return {field.encode_name: field for field in msgspec.structs.fields(section)}


def is_section(base: Any) -> TypeGuard[type[msgspec.Struct]]:
    """Whether `base` is written as a mapping of its field names, nothing more."""
    if not (isinstance(base, type) and issubclass(base, msgspec.Struct)):
        return False
    return not base.__struct_config__.array_like and base.__struct_config__.tag is None
