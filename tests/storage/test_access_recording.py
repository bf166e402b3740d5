"""Look-ups of a served store, recorded: nothing is lost but what is told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from sedp.storage import access_recording
from sedp.storage.access_recording import AccessRecorder, RecordedStore
from sedp.storage.advice.access_log import load_sample
from sedp.storage.advice.hit_curve import hit_curve
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec
from tests.storage.tables import keys_of, look_up, make_rows, some_keys

SPEC = TableSpec("user", 4, "float32")
KEYS = some_keys(500)


@pytest.fixture
def recorded(store: ParameterStore, tmp_path: Path) -> Iterator[RecordedStore]:
    """A store with a table of 500 rows, and saved only on closing."""
    store.import_table(SPEC, [(KEYS, make_rows(SPEC, KEYS))])
    opened = RecordedStore(store, tmp_path / "store", save_s=3600)
    yield opened
    opened.close()


def start(threads: int, work: Callable[[], None]) -> None:
    started = [threading.Thread(target=work) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()


def test_recorded_table_answers_as_the_table_itself(
    recorded: RecordedStore, store: ParameterStore
) -> None:
    wanted = np.concatenate([KEYS[:7], keys_of(1, 2)])
    rows, missing = look_up(store.table("user"), wanted)
    table = recorded.table("user", 1)
    out, absent = np.empty_like(rows), np.empty_like(missing)
    assert table.lookup(wanted, out, absent) == 2
    assert (out == rows).all()
    assert (absent == missing).all()
    sums = np.empty((2, 4), np.float32)
    offsets = np.array([0, 3, 7])
    assert table.lookup_bags(KEYS[:7], offsets, sums, "sum") == 0
    assert (sums[0] == rows[:3].sum(axis=0)).all()
    assert table.spec.version == 1


def test_every_look_up_is_in_the_log_that_closing_saves(
    recorded: RecordedStore, tmp_path: Path
) -> None:
    table = recorded.table("user")
    look_up(table, KEYS[:5])  # type: ignore[arg-type]
    table.lookup_bags(KEYS[5:7], np.array([0, 2]), np.empty((1, 4), np.float32), "mean")
    recorded.close()
    sample = load_sample(tmp_path / "store" / "access" / "user.npz")
    assert sample.keys.tolist() == KEYS[:7].tolist()
    assert (sample.table, sample.rows, sample.row_bytes) == ("user", 500, 16)
    assert (sample.seen, sample.batches) == (7, 2)
    assert hit_curve(sample).lookups == 7


def test_what_is_refused_is_not_recorded(recorded: RecordedStore, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be"):
        recorded.table("user").lookup(KEYS, np.empty((1, 4), np.float32), np.empty(1, np.bool_))
    recorded.close()
    assert not (tmp_path / "store" / "access").exists()


def test_many_threads_that_wait_lose_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_recording, "PATIENCE_S", 60.0)
    recorder = AccessRecorder(tmp_path, lambda name: (500, 16), save_s=3600)
    start(4, lambda: [recorder.record("user", KEYS) for _ in range(50)] and None)
    recorder.close()
    assert load_sample(tmp_path / "user.npz").seen == 4 * 50 * len(KEYS)


def test_logs_are_saved_while_look_ups_go_on(tmp_path: Path) -> None:
    recorder = AccessRecorder(tmp_path, lambda name: (500, 16), save_s=0.005)
    while not (tmp_path / "user.npz").exists():  # the test's time limit ends it otherwise
        recorder.record("user", KEYS)
    recorder.close()
    assert load_sample(tmp_path / "user.npz").seen > 0


def test_later_version_tells_its_own_size(
    recorded: RecordedStore, store: ParameterStore, tmp_path: Path
) -> None:
    look_up(recorded.table("user"), KEYS)  # type: ignore[arg-type]
    store.import_table(SPEC, [(KEYS[:300], make_rows(SPEC, KEYS[:300]))])
    recorded.close()
    sample = load_sample(next((tmp_path / "store" / "access").iterdir()))
    assert (sample.rows, sample.seen) == (300, 500)


def test_look_up_does_not_wait_for_a_log_that_is_being_copied(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = AccessRecorder(tmp_path, lambda name: (500, 16), save_s=3600)
    recorder.record("user", KEYS)
    with recorder._recordings["user"]._lock:
        recorder.record("user", KEYS)
    with caplog.at_level(logging.WARNING):
        recorder.close()
    assert load_sample(tmp_path / "user.npz").seen == 500
    assert "'user': 500 look-ups are left out, 500 are in" in caplog.text


def test_folder_that_cannot_be_written_costs_only_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    recorder = AccessRecorder(tmp_path / "file", lambda name: (500, 16), save_s=3600)
    recorder.record("user", KEYS)
    with caplog.at_level(logging.WARNING):
        recorder.close()
    assert "cannot be written" in caplog.text
