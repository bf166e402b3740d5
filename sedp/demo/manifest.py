"""Which steps of the preparation are done, judged by the content of files.

A step is done when its record names the current recipe, the inputs it read and the outputs it
wrote, and the bytes now on disk have the same hashes. So an interrupted, edited or half-deleted
folder is mended by running what is missing, and nothing else. A folder among the outputs (the
parameter store, which changes while it is used) must only exist; its step's record is taken away
before the step begins, so one that was interrupted counts as not done.

Standard library only: asking takes a fraction of a second.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Args:
        name: what it is called; one word.
        inputs: files it reads, relative to the data folder.
        outputs: files it writes; one that ends with "/" is a folder.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Manifest:
    """The records of all steps, kept in `folder/manifest.json`.

    Args:
        folder: the data folder; need not exist yet.
        recipe: hash of the code that runs the steps; another one makes every step new.
    """

    def __init__(self, folder: Path, recipe: str) -> None:
        self._folder = folder
        self._recipe = recipe
        self._path = folder / "manifest.json"
        self._hashes: dict[str, str | None] = {}
        self._records = self._read()

    def is_done(self, step: Step) -> bool:
        """Whether the step need not run."""
        record = self._records.get(step.name)
        return record is not None and record["content"] == self._content(step)

    def begin(self, step: Step) -> None:
        """Forget the step, on disk too, as it is about to change its outputs."""
        if self._records.pop(step.name, None) is not None:
            self._write()

    def finish(self, step: Step, seconds: float) -> None:
        """Record that the step ran to its end."""
        for path in step.outputs:
            self._hashes.pop(path, None)
        self._records[step.name] = {"content": self._content(step), "seconds": round(seconds, 2)}
        self._write()

    def seconds(self) -> dict[str, float]:
        """How long each recorded step took when it ran."""
        return {name: record["seconds"] for name, record in self._records.items()}

    def _content(self, step: Step) -> dict[str, Any] | None:
        """What identifies a run of the step, or None while a file of it is missing."""
        paths = (*step.inputs, *step.outputs)
        hashes = {path: self._hash(path) for path in paths}
        if None in hashes.values():
            return None
        return {"recipe": self._recipe, "files": hashes}

    def _hash(self, path: str) -> str | None:
        if path not in self._hashes:
            self._hashes[path] = hash_of(self._folder, path)
        return self._hashes[path]

    def _read(self) -> dict[str, Any]:
        """Records; none when the file is missing, damaged or of another format."""
        try:
            document = json.loads(self._path.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            return {}
        steps: dict[str, Any] = document["steps"]
        return steps

    def _write(self) -> None:
        document = {"format": FORMAT, "steps": self._records}
        with written_whole(self._path) as path:
            path.write_text(json.dumps(document, indent=2) + "\n")


def hash_of(folder: Path, path: str) -> str | None:
    """sha256 of a file's bytes, "" for a folder (a path that ends with "/"), None if missing."""
    place = folder / path
    if path.endswith("/"):
        return "" if place.is_dir() else None
    try:
        with place.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def hash_sources(paths: Iterable[Path]) -> str:
    """One hash of these files, names included; their order does not matter."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Lend a path to write to; when the block ends well it takes the place of `path` at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    incoming = path.with_name(f"incoming-{path.name}")  # keeps the ending that numpy looks at
    try:
        yield incoming
        os.replace(incoming, path)
    finally:
        incoming.unlink(missing_ok=True)
