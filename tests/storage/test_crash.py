"""An import killed at any point leaves the version before, or the whole new one, and no remains."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.storage.processes import run_python
from tests.storage.tables import look_up, make_rows, some_keys

SPEC = TableSpec("user", 4, "float32")
KEYS = some_keys(5000)

IMPORT = """
spec, keys = TableSpec("user", 4, "float32"), some_keys(5000)

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)

def chunks():
    yield keys[:3000], make_rows(spec, keys[:3000], 2)
    if point == "between chunks":
        die()
    yield keys[3000:], make_rows(spec, keys[3000:], 2)

def before(owner, name):
    if point == f"before {name}":
        setattr(owner, name, die)

from sedp.storage.lmdb.database import LmdbDatabase
from sedp.storage.rocksdb.database import RocksDatabase
from sedp.storage.tables.versions import TableVersions
store = ParameterStore.open(path)
before(RocksDatabase, "write_file")
before(LmdbDatabase, "append")
before(RocksDatabase, "ingest")
before(LmdbDatabase, "publish")
before(RocksDatabase, "write_catalogue")
before(LmdbDatabase, "updating")
before(TableVersions, "adopt")
store.import_table(spec, chunks())
"""

POINTS = {
    "between chunks": 1,
    "before write_file": 1,
    "before append": 1,
    "before ingest": 1,
    "before publish": 1,
    "before write_catalogue": 1,
    "before updating": 2,
    "before adopt": 2,
}


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_killed_import_is_all_or_nothing(point: str, tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS, 1))])
    killed = run_python(f"point = {point!r}\n{IMPORT}", tmp_path)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with ParameterStore.open(tmp_path) as store:
        version = POINTS[point]
        assert store.table("user").spec.version == version
        assert (look_up(store.table("user"), KEYS)[0] == make_rows(SPEC, KEYS, version)).all()
        assert not (tmp_path / "import").exists()
        report = store.verify()
        assert report.is_sound
        assert len(report.parts) == 2 * len(store.versions("user"))
        store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS, 3))])
        assert (look_up(store.table("user"), KEYS)[0] == make_rows(SPEC, KEYS, 3)).all()
    with ParameterStore.open(tmp_path) as store:
        parts = store._parts
        assert parts.warm is not None
        names = {entry.name for entry in parts.versions.catalogue.entries}
        assert parts.truth.names == parts.warm.names() == names


@pytest.mark.slow
def test_warm_tier_half_rebuilt_is_rebuilt_again(tmp_path: Path) -> None:
    with ParameterStore.open(tmp_path, create=True) as store:
        store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS, 1))])
    killed = run_python(
        "import shutil\nfrom sedp.storage.updates.rebuilding import Rebuilder\n"
        "shutil.rmtree(path / 'lmdb')\n"
        "Rebuilder._attach = lambda *args: os.kill(os.getpid(), signal.SIGKILL)\n"
        "ParameterStore.open(path).settle()",
        tmp_path,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with ParameterStore.open(tmp_path) as store:
        store.settle()
        assert store.verify().is_sound
        assert store.statistics().tables[0].tiers[1].rows == len(KEYS)
