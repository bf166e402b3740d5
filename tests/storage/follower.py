"""A process that reads stores beside their writer, told by lines what to open and to look up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sedp.storage.store import ParameterStore
from tests.storage.processes import ROOT
from tests.storage.tables import look_up


class Follower:
    """The other process, from the side of the test; it reads one store at a time."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", "tests.storage.follower"],
            cwd=ROOT,
            stdin=pipe,
            stdout=pipe,
            text=True,
        )
        self.is_open = False

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def open(self, path: Path, ram_bytes: int) -> None:
        """Open a store read-only."""
        self._ask(what="open", path=str(path), ram_bytes=ram_bytes)
        self.is_open = True

    def look_up(self, name: str, version: int | None, keys: list[int]) -> tuple[Any, list[bool]]:
        """Rows and whether they are missing, after a refresh."""
        rows, missing = self._ask(what="look up", name=name, version=version, keys=keys)
        return rows, missing

    def close(self) -> None:
        """Close the store."""
        if self.is_open:
            self._ask(what="close")
            self.is_open = False

    def end(self) -> None:
        """End the process."""
        self.close()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(30) == 0


def _answer(store: ParameterStore, request: dict[str, Any]) -> Any:
    store.refresh()
    keys: NDArray[np.uint64] = np.array(request["keys"], dtype=np.uint64)
    rows, missing = look_up(store.table(request["name"], request["version"]), keys)
    return rows.tolist(), missing.tolist()


def main() -> None:
    """Follow the lines of the standard input."""
    store: ParameterStore | None = None
    for line in sys.stdin:
        request, answer = json.loads(line), None
        if request["what"] == "open":
            path, ram_bytes = Path(request["path"]), request["ram_bytes"]
            store = ParameterStore.open(path, ram_bytes=ram_bytes, read_only=True)
        elif store is not None and request["what"] == "close":
            store.close()
        elif store is not None:
            answer = _answer(store, request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
