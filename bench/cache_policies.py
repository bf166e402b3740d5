"""What other policies would have hit on the same stream: yardsticks for the RAM tier's own.

S3-FIFO is the one to beat under drift (Yang, Zhang, Qiu, Yue, Rashmi: FIFO queues are all you need
for cache eviction, SOSP 2023, algorithm 1): a small queue of a tenth of the places filters what is
asked for once, and a list of keys lately put out (the *ghost*) brings back what it filtered
wrongly. The static optimum keeps the most frequent keys from the start, which no policy can beat
on a stream of independent draws. Keys are 0..ids-1 here, so every table is an array.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sedp.kernel import inlined, kernel

Ints = NDArray[np.int64]

_SMALL, _MAIN = 0, 1
_NOWHERE = -1
_FREQUENCY_MAX = 3
_LONG_AGO = -(1 << 62)


@inlined
def _push(queues: Ints, heads: Ints, sizes: Ints, which: int, key: int) -> None:
    places = queues.shape[1]
    queues[which, (heads[which] + sizes[which]) % places] = key
    sizes[which] += 1


@inlined
def _pop(queues: Ints, heads: Ints, sizes: Ints, which: int) -> int:
    key = queues[which, heads[which]]
    heads[which] = (heads[which] + 1) % queues.shape[1]
    sizes[which] -= 1
    return key  # type: ignore[no-any-return]


@inlined
def _evict_main(queues: Ints, heads: Ints, sizes: Ints, where: Ints, frequency: Ints) -> None:
    """Put out the oldest key that was not hit since it last came round."""
    while True:
        key = _pop(queues, heads, sizes, _MAIN)
        if frequency[key] == 0:
            where[key] = _NOWHERE
            return
        frequency[key] -= 1
        _push(queues, heads, sizes, _MAIN, key)


@inlined
def _evict_small(queues: Ints, heads: Ints, sizes: Ints, where: Ints, frequency: Ints) -> int:
    """Put out the oldest key not hit twice, move the others to main; the key, or -1 for none."""
    while sizes[_SMALL] > 0:
        key = _pop(queues, heads, sizes, _SMALL)
        if frequency[key] <= 1:
            where[key] = _NOWHERE
            return key
        frequency[key] = 0
        where[key] = _MAIN
        _push(queues, heads, sizes, _MAIN, key)
    return _NOWHERE


@kernel("int64(Array(int64, 1, 'C', readonly=True), int64, int64, int64)")
def s3_fifo_hits(stream: Ints, ids: int, places: int, counted_from: int) -> int:
    """Hits of S3-FIFO from request `counted_from` on.

    Args:
        stream: int64[n], keys 0..ids-1.
        places: keys held at most, ≥ 10.
    """
    queues = np.empty((2, places), dtype=np.int64)
    heads, sizes = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64)
    where = np.full(ids, _NOWHERE)
    frequency = np.zeros(ids, dtype=np.int64)
    put_out = np.full(ids, _LONG_AGO)  # when, counted in keys put out of small
    small_places = places // 10
    clock = hits = 0
    for at in range(stream.size):
        key = stream[at]
        if where[key] != _NOWHERE:
            frequency[key] = min(frequency[key] + 1, _FREQUENCY_MAX)
            hits += at >= counted_from
            continue
        while sizes[_SMALL] + sizes[_MAIN] >= places:
            if sizes[_SMALL] < small_places:
                _evict_main(queues, heads, sizes, where, frequency)
                continue
            victim = _evict_small(queues, heads, sizes, where, frequency)
            if victim != _NOWHERE:
                put_out[victim] = clock
                clock += 1
        is_ghost = clock - put_out[key] <= places - small_places
        put_out[key] = _LONG_AGO
        frequency[key] = 0
        where[key] = _MAIN if is_ghost else _SMALL
        _push(queues, heads, sizes, where[key], key)
    return hits


def static_optimum_hits(stream: Ints, most_frequent: Ints, ids: int) -> int:
    """Hits on the keys `most_frequent`, resident throughout."""
    is_held = np.zeros(ids, dtype=np.bool_)
    is_held[most_frequent] = True
    return int(np.count_nonzero(is_held[stream]))
