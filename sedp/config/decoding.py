"""From the plain tree to typed settings, with every fault at its own key.

msgspec checks each scalar; the walk over sections is our own, because msgspec stops at the first
fault, forgets the keys of mappings ("`$.pipelines[...]`") and cannot suggest the nearest key.

Invariant: a section is built only when nothing below it was at fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec
from msgspec import inspect
from msgspec.structs import FieldInfo

from sedp.config.document import Faults
from sedp.config.expectations import describe_key, describe_misfit, expect, show
from sedp.config.hints import fields_of, is_section, metas, settle_optional, strip, text_form
from sedp.config.places import Place
from sedp.pipeline_checks import nearest

S = TypeVar("S", bound=msgspec.Struct)


def decode(tree: Any, section: type[S], place: Place, faults: Faults) -> S | None:
    """The `section` that `tree`, found at `place`, describes; `None` after adding faults."""
    value = _Decoder(faults).decode(tree, section, place)
    return value if isinstance(value, section) else None


class _Decoder:
    """One walk; what a method returns means nothing once a fault was added below it."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    def decode(self, value: Any, hint: Any, place: Place) -> Any:
        hint = settle_optional(value, hint)
        base = strip(hint)
        if text_form(hint) is not None:
            return self._scalar(value, hint, place)
        if is_section(base):
            return self._section(value, base, place)
        if get_origin(base) is dict:
            return self._mapping(value, hint, place)
        if get_origin(base) is list or get_args(base)[1:] == (...,):
            return self._list(value, hint, place)
        return self._scalar(value, hint, place)

    def _section(self, value: Any, section: type[msgspec.Struct], place: Place) -> Any:
        fields = fields_of(section)
        if not isinstance(value, dict):
            mend = f"write a mapping with keys of: {', '.join(fields)}" if fields else "remove it"
            return self._faults.add(place, f"{show(value)} does not fit; {mend}")
        before = len(self._faults.found)
        self._check_keys(value, fields, place)
        parts = {
            info.name: self.decode(value[key], info.type, (*place, key))
            for key, info in fields.items()
            if key in value
        }
        if len(self._faults.found) > before:
            return None
        try:
            return section(**parts)
        except ValueError as err:
            return self._faults.add(place, str(err))

    def _check_keys(
        self, value: Mapping[str, Any], fields: Mapping[str, FieldInfo], place: Place
    ) -> None:
        for key in value:
            if key not in fields:
                known = f"known here: {', '.join(fields)}" if fields else "no keys belong here"
                message = f"unknown key{nearest(key, fields)}; {known}"
                self._faults.add((*place, key), message, at_key=True)
        for key, info in fields.items():
            if info.required and key not in value:
                self._faults.add(place, f"key {key!r} is missing; add {describe_key(info)}")

    def _mapping(self, value: Any, hint: Any, place: Place) -> Any:
        if not self._is_container(value, dict[Any, Any], hint, place):
            return None
        key_hint, value_hint = get_args(strip(hint))
        pairs = ((key, part, (*place, key)) for key, part in value.items())
        return {
            self._scalar(key, key_hint, at, at_key=True): self.decode(part, value_hint, at)
            for key, part, at in pairs
        }

    def _list(self, value: Any, hint: Any, place: Place) -> Any:
        if not self._is_container(value, list[Any], hint, place):
            return None
        base = strip(hint)
        return get_origin(base)(
            self.decode(part, get_args(base)[0], (*place, index))
            for index, part in enumerate(value)
        )

    def _is_container(self, value: Any, container: Any, hint: Any, place: Place) -> bool:
        """Whether `value` is a `container` of the length that the hint's annotations demand."""
        for meta in metas(hint):
            container = Annotated[container, meta]
        try:
            msgspec.convert(value, container)
        except msgspec.ValidationError:
            mend = expect(inspect.type_info(hint))
            self._faults.add(place, f"{show(value)} does not fit; write {mend}")
            return False
        return True

    def _scalar(self, value: Any, hint: Any, place: Place, *, at_key: bool = False) -> Any:
        form = text_form(hint)
        try:
            written = isinstance(value, str | int | float) and not isinstance(value, bool)
            parsed = form.parse(str(value)) if form and written else value
            # a key is always text in the tree, whatever its type: read "7" as 7
            return msgspec.convert(parsed, hint, strict=not at_key, str_keys=True)
        except msgspec.ValidationError as err:
            self._faults.add(place, describe_misfit(value, hint, err), at_key=at_key)
        except ValueError as err:
            self._faults.add(place, str(err), at_key=at_key)
        return None
