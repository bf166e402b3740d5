"""A config file as a plain tree with the line of every key, and the faults found in it.

Only events of PyYAML's safe parser are used: no tag can name a Python object, because nothing
here constructs one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sedp.config.places import Mark, Place, describe_fault
from sedp.config.tree import UNPRINTABLE, TreeBuilder
from sedp.errors import ConfigError

FILE_BYTES_MAX = 1 << 20
_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # as YAML counts lines
FAULTS_SHOWN_MAX = 20
FAULTS_FOUND_MAX = 200  # looking for the nearest key of each of 100,000 would take minutes

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Document:
    """A read config file.

    Args:
        file: as its user named it.
        tree: dicts with text keys, lists, and scalars.
        key_marks, value_marks: where the key, and the value, at each place was written.
    """

    file: Path
    tree: Any
    key_marks: Mapping[Place, Mark]
    value_marks: Mapping[Place, Mark]

    def mark(self, place: Place, *, at_key: bool = False) -> Mark:
        """Where `place` was written, or the nearest place around it that was.

        A mapping or list counts as written at its key, which is where a reader looks for it.
        """
        if not at_key and place in self.value_marks:
            return self.value_marks[place]
        while place and place not in self.key_marks:
            place = place[:-1]
        return self.key_marks.get(place, (1, 1))


@dataclass(slots=True)
class Faults:
    """All that is wrong with a document, so that its author mends it in one go."""

    document: Document
    found: list[tuple[Mark, str]] = field(default_factory=list)

    def add(self, place: Place, message: str, *, at_key: bool = False) -> None:
        """Note a fault; the last one that is looked for raises them all."""
        mark = self.document.mark(place, at_key=at_key)
        self.found.append((mark, describe_fault(self.document.file, mark, place, message)))
        if len(self.found) >= FAULTS_FOUND_MAX:
            self.raise_found()

    def raise_found(self) -> None:
        """Raise what was added, in the order of the file; nothing when nothing was.

        Raises:
            ConfigError: one line a fault.
        """
        if not self.found:
            return
        lines = [line for _, line in sorted(self.found)]
        if lines[FAULTS_SHOWN_MAX:]:
            lines[FAULTS_SHOWN_MAX:] = ["and more; mend these first"]
        raise ConfigError("\n".join(lines))


def read_document(
    file: Path, environment: Mapping[str, str], content: bytes | None = None
) -> Document:
    """Read and parse `file`, with variables from `environment` put in.

    Args:
        content: what was in the file when it was read before; `None` reads it.

    Raises:
        ConfigError: with file, line, column and mend.
    """
    text = _decode_text(file, read_content(file) if content is None else content)
    builder = TreeBuilder(file, environment, yaml.parse(text, Loader=_LOADER))
    try:
        tree = builder.build()
    except yaml.MarkedYAMLError as err:
        at, problem = err.problem_mark, err.problem or ""
        mark = (at.line + 1, at.column + 1) if at else (1, 1)
        lines = [*_LINE_BREAK.split(text), ""]
        line = lines[min(mark[0], len(lines)) - 1]
        message = f"not valid YAML: {problem}; {_syntax_mend(problem, line)}"
        raise ConfigError(describe_fault(file, mark, (), message)) from err
    return Document(file, tree, builder.key_marks, builder.value_marks)


def read_content(file: Path) -> bytes:
    """What is in a config file; one that is too large only in part.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return stream.read(FILE_BYTES_MAX + 1)
    except OSError as err:
        raise ConfigError(f"{file}: cannot be read: {err.strerror}; check the path") from err


def _decode_text(file: Path, raw: bytes) -> str:
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(f"{file}: is larger than {FILE_BYTES_MAX} bytes; split the pipelines")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        mark = _mark_after(raw[: err.start].decode("utf-8", "replace"))
        message = f"byte {raw[err.start]:#04x} is not UTF-8; save the file as UTF-8"
        raise ConfigError(describe_fault(file, mark, (), message)) from err
    if unprintable := UNPRINTABLE.search(text):
        mark = _mark_after(text[: unprintable.start()])
        message = f"control character {unprintable[0]!r} is not allowed; remove it"
        raise ConfigError(describe_fault(file, mark, (), message))
    return text


def _mark_after(before: str) -> Mark:
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _syntax_mend(problem: str, line: str) -> str:
    """The mends of the slips that make most invalid YAML."""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "indent with spaces, not tabs"
    if "',' or" in problem and re.search(r"\$\{|\w\[", line):
        return 'inside { } quote texts that hold { or [, like "FP32[n]" or "${NAME}"'
    if "mapping values are not allowed" in problem:
        return 'a text with ": " in it needs quotes'
    return "check indentation, brackets and quotes here and in the line above"
