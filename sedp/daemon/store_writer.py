"""What callers may change in the parameter store: rows of a table, and which version is current.

Off the loop: an update waits for the disk. Whether a daemon may do this at all is the operator's
choice, `store.mode: write`; one that follows leaves its store to other processes.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from typing import Any

from numpy.typing import NDArray

from sedp.errors import RequestError, StoreError
from sedp.pipeline_checks import nearest
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from sedp.storage.updates.guard import UpdateGuard
from sedp.storage.updates.updates import Durability, Receipt

NAME_CHARS_SHOWN_MAX = 64


class StoreWriter:
    """Changes a store on behalf of callers.

    Args:
        store: `None` when the config has none.
        may_write: whether this process is its writer.
    """

    def __init__(self, store: ParameterStore | None, may_write: bool) -> None:
        self._store = store
        self._may_write = may_write

    def table(self, name: str) -> TableSpec:
        """The current version of a table.

        Raises:
            RequestError: 404, there is none such; 409, the store is not ours to write.
        """
        return self._found(name)[1]

    async def update(
        self, name: str, keys: NDArray[Any], rows: NDArray[Any], durability: Durability, id_: str
    ) -> Receipt:
        """Give rows of the current version other values, or add rows.

        Args:
            keys: uint64[n].
            rows: dtype[n, dim] of the table.
            id_: the sender's name for this update, to send it again safely; "" for none.

        Raises:
            RequestError: as `table`; 400, the rows do not fit or are not finite numbers.
            StoreError: the disk failed, or too many updates wait.
        """
        store, spec = self._found(name)

        def submit() -> Future[Receipt]:
            try:
                UpdateGuard(spec, None).check(keys, rows, durability, id_)
            except StoreError as err:
                raise RequestError(str(err)) from err
            return store.submit_update(name, keys, rows, durability=durability, id=id_)

        return await asyncio.wrap_future(await asyncio.to_thread(submit))

    async def roll_back(self, name: str, version: int | None) -> TableSpec:
        """Make another kept version current; without one the highest but the current.

        Raises:
            RequestError: as `table`; 400, there is no such version.
            StoreError: the disk failed.
        """
        store, _ = self._found(name)
        kept = store.versions(name)
        if version not in (None, *kept) or len(kept) < 2:
            shown = ", ".join(map(str, kept))
            text = f"table {name!r} cannot go to version {version or 'before'}; kept: {shown}"
            raise RequestError(text)
        return await asyncio.to_thread(store.roll_back, name, version)

    def _found(self, name: str) -> tuple[ParameterStore, TableSpec]:
        if self._store is None:
            raise RequestError("this daemon has no store; its config has no section `store`", 404)
        if not self._may_write:
            text = (
                "this daemon follows its store; set store.mode to write and restart it, or use "
                "`sedp store` in a process of its own"
            )
            raise RequestError(text, 409)
        specs = {spec.name: spec for spec in self._store.tables()}
        if name not in specs:
            name = name[:NAME_CHARS_SHOWN_MAX]
            known = ", ".join(specs) or "none"
            raise RequestError(
                f"there is no table {name!r}{nearest(name, specs)}; tables: {known}", 404
            )
        return self._store, specs[name]
