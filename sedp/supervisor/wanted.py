"""What the workers are to serve, as the supervisor last read it and was last told."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from sedp.config.document import read_content
from sedp.config.loading import Config, load
from sedp.daemon.access.security import Security
from sedp.supervisor import messages


@dataclass(frozen=True, slots=True)
class Wanted:
    """A config, its text, and the operator's exceptions from it.

    Workers are given the text as it was, not the file: that may have a fault by the time one of
    them must be replaced.

    Args:
        config: checked.
        security: what the files behind it say about who may call.
        content: of its file.
        workers: how many serve it.
        unloaded: pipelines that are not to be served.
        frozen: whether the knobs are to be left where they are.
    """

    config: Config
    security: Security
    content: bytes
    workers: int
    unloaded: frozenset[str] = frozenset()
    frozen: bool = False

    @classmethod
    def read(cls, path: Path, workers: int, content: bytes | None = None) -> Wanted:
        """Takes a while: stages are imported.

        Args:
            content: of the file, if it has been read already.

        Raises:
            ConfigError: every fault in the file, or what is wrong with those it names.
        """
        if content is None:
            content = read_content(path)
        config = load(path, os.environ, content)
        return cls(config, Security.read(config), content, workers)

    def begin(self) -> messages.Begin:
        """What a worker is told."""
        unloaded = tuple(sorted(self.unloaded))
        path = str(self.config.path)
        return messages.Begin(path, self.content, self.workers, unloaded, self.frozen)

    def with_loaded(self, name: str) -> Wanted:
        return replace(self, unloaded=self.unloaded - {name})

    def with_unloaded(self, name: str) -> Wanted:
        return replace(self, unloaded=self.unloaded | {name})

    def with_frozen(self, frozen: bool) -> Wanted:
        return replace(self, frozen=frozen)

    def succeeded_by(self, other: Wanted) -> Wanted:
        """The other config, with the exceptions from this one that still make sense."""
        names = {pipeline.name for pipeline in other.config.pipelines}
        return replace(other, unloaded=self.unloaded & names, frozen=self.frozen)
