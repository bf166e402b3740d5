"""From parser events to a plain tree that remembers where each of its values was written.

What YAML allows and a config never needs is refused instead of guessed: duplicate keys, several
documents, foreign tags, keys that are not plain text.

Invariant: whatever the file holds, work and memory stay bounded by the `_MAX` constants, aliases
counted at their full size and variables at their substituted length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from sedp.config.places import Mark, Place, describe_fault
from sedp.config.scalars import Scalar, resolve, substitute
from sedp.errors import ConfigError

NODE_COUNT_MAX = 100_000
DEPTH_MAX = 64
KEY_CHARS_MAX = 256
TEXT_CHARS_MAX = 1 << 20
UNPRINTABLE = yaml.SafeLoader.NON_PRINTABLE
"""Control characters and lone surrogates: no file can hold them, escapes and variables can."""

_TEXT_TAGS = {"!", "tag:yaml.org,2002:str"}
_TYPED_TAGS: Mapping[str, type | tuple[type, ...]] = {
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": (int, float),
    "tag:yaml.org,2002:bool": bool,
    "tag:yaml.org,2002:null": type(None),
}
_MAPPING_TAGS = {None, "!", "tag:yaml.org,2002:map"}
_LIST_TAGS = {None, "!", "tag:yaml.org,2002:seq"}


@dataclass(slots=True)
class TreeBuilder:
    """Turns parser events into the tree, one event at a time."""

    file: Path
    environment: Mapping[str, str]
    events: Iterator[Any]
    key_marks: dict[Place, Mark] = field(default_factory=dict)
    value_marks: dict[Place, Mark] = field(default_factory=dict)
    anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)
    node_count: int = 0
    text_chars: int = 0

    def refuse(self, mark: Mark, place: Place, message: str) -> NoReturn:
        raise ConfigError(describe_fault(self.file, mark, place, message))

    def build(self) -> Any:
        next(self.events)  # stream start
        if isinstance(next(self.events), yaml.StreamEndEvent):
            self.refuse((1, 1), (), "the file is empty; start with api_version: sedp/v1")
        tree = self._value(next(self.events), ())
        next(self.events)  # document end
        if not isinstance(further := next(self.events), yaml.StreamEndEvent):
            self.refuse(_mark_of(further), (), "a second document starts; keep one per file")
        return tree

    def _value(self, event: Any, place: Place) -> Any:
        mark = _mark_of(event)
        if place not in self.key_marks or isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
            self.value_marks[place] = mark
        if len(place) > DEPTH_MAX:
            self.refuse(mark, place[:4], f"nested deeper than {DEPTH_MAX} levels; flatten it")
        self._count(1, mark, place)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, mark, place)
        first = self.node_count
        value = self._content(event, mark, place)
        if event.anchor is not None:
            self.anchors[event.anchor] = value, self.node_count - first
        return value

    def _content(self, event: Any, mark: Mark, place: Place) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, mark, place)
        tags = _LIST_TAGS if isinstance(event, yaml.SequenceStartEvent) else _MAPPING_TAGS
        if event.tag not in tags:
            self._refuse_tag(event.tag, mark, place)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(place)
        return self._mapping(place)

    def _list(self, place: Place) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            values.append(self._value(event, (*place, len(values))))
        return values

    def _mapping(self, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key, mark = self._key(event, place), _mark_of(event)
            below = (*place, key)
            if key in values:
                line = self.key_marks[below][0]
                self.refuse(mark, below, f"duplicate key, first in line {line}; remove one")
            self.key_marks[below] = mark
            values[key] = self._value(next(self.events), below)
        return values

    def _key(self, event: Any, place: Place) -> str:
        mark = _mark_of(event)
        if not isinstance(event, yaml.ScalarEvent) or event.tag not in {None, *_TEXT_TAGS}:
            self.refuse(mark, place, "a key must be plain text; quote it")
        key = str(event.value)
        if not key.isprintable() or not 0 < len(key) <= KEY_CHARS_MAX:
            limit = f"1 to {KEY_CHARS_MAX} printable characters"
            self.refuse(mark, place, f"key {key[:32]!r} does not fit; write {limit}")
        return key

    def _scalar(self, event: Any, mark: Mark, place: Place) -> Scalar:
        try:
            text = substitute(event.value, self.environment)
        except ValueError as err:
            self.refuse(mark, place, str(err))
        if unprintable := UNPRINTABLE.search(text):
            self.refuse(mark, place, f"{unprintable[0]!r} in the text is no character; remove it")
        self.text_chars += len(text)
        if self.text_chars > TEXT_CHARS_MAX:
            self.refuse(mark, place, f"variables expand beyond {TEXT_CHARS_MAX} characters")
        if event.tag in _TEXT_TAGS or (event.tag is None and not event.implicit[0]):
            return text
        if event.tag is not None and event.tag not in _TYPED_TAGS:
            self._refuse_tag(event.tag, mark, place)
        value = resolve(text)
        if event.tag is not None and not isinstance(value, _TYPED_TAGS[event.tag]):
            self.refuse(mark, place, f"{text!r} is not of its tag's type; remove the tag")
        return value

    def _alias(self, event: Any, mark: Mark, place: Place) -> Any:
        if event.anchor not in self.anchors:
            self.refuse(mark, place, f"alias *{event.anchor} has no anchor before it; define it")
        value, weight = self.anchors[event.anchor]
        self._count(weight, mark, place)
        return value

    def _count(self, nodes: int, mark: Mark, place: Place) -> None:
        self.node_count += nodes
        if self.node_count > NODE_COUNT_MAX:
            self.refuse(
                mark, place, f"more than {NODE_COUNT_MAX} values, aliases included; split the file"
            )

    def _refuse_tag(self, tag: str, mark: Mark, place: Place) -> NoReturn:
        short = tag.replace("tag:yaml.org,2002:", "!!")
        self.refuse(mark, place, f"tag {short} is not allowed; remove it")


def _mark_of(event: Any) -> Mark:
    return event.start_mark.line + 1, event.start_mark.column + 1
