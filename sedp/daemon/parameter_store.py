"""Opens the parameter store as the config asks for, and says what does not fit together.

A daemon that follows opens it read-only, so that commands can import and update while it serves.
Only a writer makes LMDB's copies, though; where some are lacking, as after the folder was deleted,
the daemon is that writer for a moment before it follows. Should another process be writing just
then, that one makes them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sedp.config.settings import StoreSettings, TableSettings
from sedp.daemon.cache_tuning import CacheTuning
from sedp.daemon.store_check import check_in_child
from sedp.errors import ConfigError, StoreError
from sedp.pipeline_checks import nearest
from sedp.stage import Store
from sedp.storage.access_recording import RecordedStore
from sedp.storage.ram.shared_ram import SharedRam
from sedp.storage.store import ParameterStore
from sedp.storage.tables.miss_policy import MissRule

LMDB_FOLDER = "lmdb"  # of a store
CHECK_S = 120.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServedStore:
    """A store that is being served, or none.

    Args:
        seen: what stages look up in: the store itself, or one that records on the way.
        may_write: whether this process is the store's writer.
        caches: moves its RAM, if that may be moved.
    """

    store: ParameterStore | None = None
    seen: Store | None = None
    may_write: bool = False
    caches: CacheTuning | None = None

    def close(self) -> None:
        """Save what was recorded, and close the store."""
        if isinstance(self.seen, RecordedStore):
            self.seen.close()
        if self.store is not None:
            self.store.close()


def open_served(
    settings: StoreSettings | None, checks: bool, shared_ram: SharedRam | None = None
) -> ServedStore:
    """The store that `settings` describe, as stages are to see it.

    Args:
        checks: have a child look at its files first, which costs it a start of Python.
        shared_ram: for rows of several processes, whose budget `settings.ram` is then.

    Raises:
        StoreError, ConfigError: see `open_store`.
    """
    if settings is None:
        return ServedStore()
    if checks and Path(settings.path).is_dir():
        check_in_child(Path(settings.path), CHECK_S)
    store = open_store(settings, shared_ram)
    may_write = settings.mode == "write"
    if not settings.access_log and settings.ram_bounds is None:
        return ServedStore(store, store, may_write)
    seen = RecordedStore(store, Path(settings.path) if settings.access_log else None)
    bounds = settings.ram_bounds
    caches = None if bounds is None else CacheTuning(store, seen, bounds[0], bounds[1])
    return ServedStore(store, seen, may_write, caches)


def open_store(settings: StoreSettings, shared_ram: SharedRam | None = None) -> ParameterStore:
    """The store that `settings` describe, with all its copies made.

    Raises:
        StoreError: it is not there, open for writing elsewhere, or damaged.
        ConfigError: the settings name a table that it has not.
    """
    opens = _open if settings.mode == "write" else _open_to_follow
    store = opens(settings, shared_ram)
    try:
        _check_tables(settings, store)
    except ConfigError:
        store.close()
        raise
    return store


def _open_to_follow(settings: StoreSettings, shared_ram: SharedRam | None) -> ParameterStore:
    try:
        store = _open(settings, shared_ram)
        if not _lacks_copies(store):
            return store
        store.close()
        reason = "LMDB lacks tables or updates"
    except StoreError as err:  # a writer throws a damaged LMDB folder away, and makes it anew
        if not (Path(settings.path) / LMDB_FOLDER).exists():
            raise
        reason = str(err)
    _make_copies(settings, reason)
    return _open(settings, shared_ram)


def _open(settings: StoreSettings, shared_ram: SharedRam | None) -> ParameterStore:
    return ParameterStore.open(
        Path(settings.path),
        ram_bytes=settings.ram,
        lmdb_bytes=settings.lmdb,
        read_only=settings.mode == "follow",
        misses=miss_rules(settings.tables),
        norms=norm_bounds(settings.tables),
        shared_ram=shared_ram,
    )


def miss_rules(tables: Mapping[str, TableSettings]) -> dict[str, MissRule]:
    """The store's rules, by table."""
    return {name: MissRule(table.misses.mode, table.misses.above) for name, table in tables.items()}


def norm_bounds(tables: Mapping[str, TableSettings]) -> dict[str, float]:
    """Most that norms of updated rows may be, of tables that have a bound."""
    return {name: table.norm_max for name, table in tables.items() if table.norm_max is not None}


def _lacks_copies(store: ParameterStore) -> bool:
    tables = store.statistics().tables
    return store.lags or not all("lmdb" in [tier.tier for tier in table.tiers] for table in tables)


def _make_copies(settings: StoreSettings, reason: str) -> None:
    _log.warning("store %s: %s; making LMDB's copies before serving", settings.path, reason)
    try:
        with ParameterStore.open(
            Path(settings.path), ram_bytes=0, lmdb_bytes=settings.lmdb
        ) as store:
            store.settle()
    except StoreError as err:
        _log.warning("LMDB's copies are not made: %s", err)


def _check_tables(settings: StoreSettings, store: ParameterStore) -> None:
    names = [spec.name for spec in store.tables()]
    for name in settings.tables:
        if name not in names:
            raise ConfigError(
                f"store.tables.{name}: store {settings.path} has no such table"
                f"{nearest(name, names)}; its tables: {', '.join(names) or 'none, import one'}"
            )
