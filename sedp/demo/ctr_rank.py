"""`sedp demo ctr-rank`: an untrained ranker of the usual size, to measure serving with.

    ctr-rank.onnx    the network, its split form
    store/           2,000,000 × 16 float32, found by the hash of (slot, id)
    recording.npz    2,048 requests with the scores that double precision gives them

Everything follows from one seed. Nothing is learned: scores mean nothing, but cost what they cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array
from sedp.demo.ctr_rank_model import (
    DIM,
    ITEM_SLOTS,
    ITEM_WIDTH,
    USER_SLOTS,
    USER_WIDTH,
    Floats,
    Network,
    draw_network,
    export_split,
)
from sedp.demo.ctr_rank_requests import draw_requests
from sedp.demo.manifest import written_whole
from sedp.errors import SedpError
from sedp.stages.wide_slots import hash_places, place_salts, share_out
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec

SEED = 1
BUCKETS = 2_000_000
ROW_SCALE = 0.1
TABLE = "ctr"
REQUESTS, CANDIDATES = 2_048, 100
CHUNK_ROWS = 1 << 18
REFERENCE_REQUESTS = 64  # at a stretch: bounds the memory of float64 rows

MODEL_FILE, STORE_FOLDER, RECORDING_FILE = "ctr-rank.onnx", "store", "recording.npz"
USER, ITEM = place_salts("user", USER_SLOTS), place_salts("item", ITEM_SLOTS)

Tell = Callable[[str, float, str], None]  # step, share done in 0..1, note


def make_network() -> Network:
    """The one that is exported."""
    return draw_network(np.random.default_rng([SEED, 0]))


def make_table() -> Floats:
    """float32[BUCKETS, DIM]: the rows that are published, by bucket."""
    rows = np.random.default_rng([SEED, 1]).standard_normal((BUCKETS, DIM), np.float32)
    rows *= ROW_SCALE
    return rows


def make_requests(count: int = REQUESTS, candidates: int = CANDIDATES) -> dict[str, Array]:
    """Columns of `count` requests, as `draw_requests` gives them."""
    return draw_requests(np.random.default_rng([SEED, 2, candidates]), count, candidates)


def find_buckets(ids: NDArray[np.int64], salts: NDArray[np.uint64]) -> NDArray[np.int64]:
    """int64, of the shape of `ids`: rows of the table, as the pipeline's look-up finds them."""
    keys = np.empty(ids.shape, np.uint64)
    hash_places(ids, salts, keys)
    share_out(keys.reshape(-1), BUCKETS)
    return keys.view(np.int64)


def score_exactly(network: Network, table: Floats, requests: Mapping[str, Array]) -> Floats:
    """float32[rows]: scores by double precision arithmetic, no layer split."""
    splits = requests["splits"]
    parts = []
    for start in range(0, len(splits) - 1, REFERENCE_REQUESTS):
        stop = min(start + REFERENCE_REQUESTS, len(splits) - 1)
        rows = slice(splits[start], splits[stop])
        user = table[find_buckets(requests["user_ids"][start:stop], USER)]
        owners = np.repeat(np.arange(stop - start), np.diff(splits[start : stop + 1]))
        item = table[find_buckets(requests["item_ids"][rows], ITEM)]
        sides = user.reshape(-1, USER_WIDTH)[owners], item.reshape(-1, ITEM_WIDTH)
        whole = np.concatenate([requests["dense"][rows], *sides], axis=1, dtype=np.float64)
        parts.append(network.score(whole))
    return np.concatenate(parts).astype(np.float32)


def prepare(folder: Path, tell: Tell) -> None:
    """Write all files that are not there.

    Raises:
        SedpError: a package is missing, the disk failed, or the store is open elsewhere.
    """
    steps = (
        ("export", MODEL_FILE, _export),
        ("publish", STORE_FOLDER, _publish),
        ("record", RECORDING_FILE, _record),
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, file, step in steps:
            if not (folder / file).exists():
                tell(name, 0.0, "")
                step(folder / file, partial(_tell_share, tell, name))
            tell(name, 1.0, "done")
    except ImportError as err:
        raise SedpError(
            f"the demo needs the package {err.name!r}; install it with: pip install 'sedp[demo]'"
        ) from err
    except OSError as err:
        raise SedpError(f"data folder {folder}: {err}; mend it or choose another one") from err


def _tell_share(tell: Tell, name: str, share: float) -> None:
    tell(name, share, "")


def _export(path: Path, tell: Callable[[float], None]) -> None:
    with written_whole(path) as incoming:
        incoming.write_bytes(export_split(make_network()).SerializeToString())


def _publish(path: Path, tell: Callable[[float], None]) -> None:
    incoming = path.with_name(f"incoming-{path.name}")
    spec = TableSpec(TABLE, DIM, "float32", layout="dense")
    with ParameterStore.open(incoming, ram_bytes=0, create=True) as store:
        store.import_table(spec, _chunks(make_table()), progress=lambda n: tell(n / BUCKETS))
    incoming.rename(path)  # a store cut short is none


def _chunks(table: Floats) -> Iterator[tuple[NDArray[np.uint64], Floats]]:
    for start in range(0, len(table), CHUNK_ROWS):
        rows = table[start : start + CHUNK_ROWS]
        yield np.arange(start, start + len(rows), dtype=np.uint64), rows


def _record(path: Path, tell: Callable[[float], None]) -> None:
    requests = make_requests()
    expected = score_exactly(make_network(), make_table(), requests)
    ts_s = np.arange(len(requests["user_ids"]))
    arrays: dict[str, Array] = {"ts_s": ts_s, "expected_score": expected, **requests}
    with written_whole(path) as incoming:
        np.savez(incoming, allow_pickle=False, **arrays)
