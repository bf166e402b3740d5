"""JSON Schema 2020-12 of the config file, made from the types that decode it.

Editors complete and check a config with it as it is typed. It knows the params of every stage
kind it is given; a `module:Class` of the user's own takes any params here and is checked fully
by `sedp check`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from sedp.config.addresses import ADDRESS
from sedp.config.kinds import CLASS_PATTERN, import_stage, installed_kinds
from sedp.config.pipeline_settings import TENSOR, StageSettings
from sedp.config.settings import FileSettings
from sedp.errors import ConfigError
from sedp.stage import Stage
from sedp.units import BYTES, DURATION, FORM_KEY, TextForm

DIALECT = "https://json-schema.org/draft/2020-12/schema"
VARIABLE_PATTERN = r"\$\{"
"""A text with a variable in it fits anywhere: what it becomes is known only when it is loaded."""

_VARIABLE = {"type": "string", "pattern": VARIABLE_PATTERN}
_FORMS = {form.name: form for form in (DURATION, BYTES, ADDRESS, TENSOR)}
_REF = "#/$defs/"
_FORM_OF_REF = {f"{_REF}{form.type.__name__}": form for form in (ADDRESS, TENSOR)}
"""msgspec drops annotations of a struct that is one of several types: `Address | None`."""


def installed_stages() -> dict[str, type[Stage]]:
    """Classes of all installed stage kinds, by name.

    Raises:
        ConfigError: an installed kind cannot be imported.
    """
    try:
        points = sorted(installed_kinds().items())
        return {name: import_stage(point.value, Path()) for name, point in points}
    except ValueError as err:
        raise ConfigError(str(err)) from err


def make_schema(stages: Mapping[str, type[Stage]]) -> dict[str, Any]:
    """The schema of a file that may use `stages`, by kind."""
    types = [FileSettings, *(stage.Params for stage in stages.values())]
    (root, *params), definitions = msgspec.json.schema_components(types)
    kinds = dict(zip(stages, params, strict=True))
    stage = _definition_of(StageSettings, definitions)
    stage["properties"]["kind"] = _describe_kinds(stages, stage["properties"]["kind"])
    stage["allOf"] = [_bind_params(kind, ref, definitions) for kind, ref in kinds.items()]
    whole = {"$schema": DIALECT, "title": "SEDP config", **root, "$defs": definitions}
    schema: dict[str, Any] = _rewrite(whole)
    schema["$defs"] = {name: schema["$defs"][name] for name in sorted(_used(schema))}
    return schema


def format_schema(schema: Mapping[str, Any]) -> str:
    """The text that `sedp schema` prints, final newline included."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _definition_of(section: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """Found by its full name when a kind's params hold a type of the same short name."""
    full = f"{section.__module__}.{section.__qualname__}"
    found: dict[str, Any] = definitions.get(full) or definitions[section.__name__]
    return found


def _describe_kinds(stages: Mapping[str, type[Stage]], field: dict[str, Any]) -> dict[str, Any]:
    named = [{"const": kind, "description": _headline(cls)} for kind, cls in stages.items()]
    own = {"type": "string", "pattern": CLASS_PATTERN, "description": "A class of your own."}
    return {"description": field["description"], "anyOf": [*named, own]}


def _headline(stage: type[Stage]) -> str:
    return (stage.__doc__ or "").strip().partition("\n\n")[0].replace("\n    ", " ")


def _bind_params(
    kind: str, params: dict[str, Any], definitions: Mapping[str, Any]
) -> dict[str, Any]:
    needed = definitions[params["$ref"].removeprefix(_REF)]["required"]
    then: dict[str, Any] = {"properties": {"params": params}}
    return {
        "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
        "then": {**then, "required": ["params"]} if needed else then,
    }


def _rewrite(node: Any) -> Any:
    """Every scalar as YAML may write it: in its text form, or with a variable in it."""
    if isinstance(node, list):
        return [_rewrite(part) for part in node]
    if not isinstance(node, dict):
        return node
    if form := _FORMS.get(node.get(FORM_KEY, "")) or _FORM_OF_REF.get(node.get("$ref", "")):
        return _rewrite_form(form, node)
    node = {key: _rewrite(part) for key, part in node.items() if key != FORM_KEY}
    if isinstance(node.get("enum"), list):  # a key may be named enum, too
        choices = {"enum": node.pop("enum")}
        return {**node, "anyOf": [choices, _VARIABLE]}
    if node.get("type") in ("integer", "number", "boolean"):
        return {**node, "type": [node["type"], "string"], "pattern": VARIABLE_PATTERN}
    if node.get("type") == "string" and "pattern" in node:
        node["pattern"] += f"|{VARIABLE_PATTERN}"
    return node


def _rewrite_form(form: TextForm, node: Mapping[str, Any]) -> dict[str, Any]:
    text = {"type": "string", "pattern": f"{form.pattern}|{VARIABLE_PATTERN}"}
    limits = {key: node[key] for key in ("minimum", "maximum") if key in node}
    field = {key: node[key] for key in ("description",) if key in node}
    field |= {"anyOf": [text, {"type": "integer", **limits}]} if form.bare else text
    if "default" in node:
        field["default"] = form.render(msgspec.convert(node["default"], form.type))
    return field


def _used(schema: Mapping[str, Any]) -> set[str]:
    """Names of the definitions that the root reaches: text forms leave some without use."""
    used: set[str] = set()
    waiting = list(_references({**schema, "$defs": {}}))
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            waiting += _references(schema["$defs"][name])
    return used


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield reference.removeprefix(_REF)
        node = list(node.values())
    if isinstance(node, list):
        for part in node:
            yield from _references(part)
