"""Routes for paths that have a name in them, beside those that are written out.

Looking one up costs a match a pattern, so this is for the admin plane; the data plane, which must
be fast, writes all its paths out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from sedp.daemon.http.dispatch import Route, Routes

Methods = Mapping[str, Route]
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
NAME = "{name}"


class PathTable(Mapping[str, Methods]):
    """Behaves as `Routes`.

    Args:
        fixed: paths as they are.
        named: paths with `{name}` in them, and what answers there given the name.
    """

    def __init__(self, fixed: Routes, named: Mapping[str, Callable[[str], Methods]]) -> None:
        self._fixed = fixed
        self._named = [(*path.partition(NAME)[::2], make) for path, make in named.items()]
        self._shown = [*fixed, *named]

    def __getitem__(self, path: str) -> Methods:
        if path in self._fixed:
            return self._fixed[path]
        for before, after, make in self._named:
            if path.startswith(before) and path.endswith(after):
                name = path[len(before) : len(path) - len(after)]
                if name == NAME or _NAME.fullmatch(name):  # the former: who reads the table
                    return make(name)
        raise KeyError(path)

    def __iter__(self) -> Iterator[str]:
        return iter(self._shown)

    def __len__(self) -> int:
        return len(self._shown)
