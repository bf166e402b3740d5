"""The search within one bucket, given by its address; `place` is the mixed key."""

from __future__ import annotations

import numpy as np

from sedp.kernel import inlined
from sedp.storage.rows.bucket import GROUP_SLOTS
from sedp.storage.rows.intrinsics import as_index, equal_bytes, load_word, lowest_bit

FREE, CLOSED = 0, 1  # tags of a slot without a row, and of no slot at all
NOWHERE = -1


@inlined
def tag_of(place: np.uint64) -> np.uint64:
    """2..255."""
    tag = place & np.uint64(0xFF)
    return tag if tag > np.uint64(CLOSED) else tag + np.uint64(2)


@inlined
def _home_group(place: np.uint64, slots: int) -> int:
    """That of a slot drawn with bits of the mixed key that say neither bucket nor tag.

    A last group of few slots is thus home to few keys; were it to as many as any other, most of
    them would have to be looked for elsewhere.
    """
    sixteen = (place >> np.uint64(8)) & np.uint64(0xFFFF)
    return as_index((sixteen * np.uint64(slots)) >> np.uint64(16)) // GROUP_SLOTS


@inlined
def home_tags(bucket: np.uint64, slots: int, place: np.uint64) -> np.uint64:
    """Address of the tags that a search reads first."""
    return bucket + np.uint64(_home_group(place, slots) * GROUP_SLOTS)


@inlined
def slot_address(bucket: np.uint64, tag_bytes: int, slot_bytes: int, slot: int) -> np.uint64:
    return bucket + np.uint64(tag_bytes) + np.uint64(slot) * np.uint64(slot_bytes)


@inlined
def key_at(bucket: np.uint64, tag_bytes: int, slot_bytes: int, slot: int) -> np.uint64:
    return np.uint64(load_word(slot_address(bucket, tag_bytes, slot_bytes, slot)))


@inlined
def guess(bucket: np.uint64, slots: int, tag_bytes: int, place: np.uint64) -> int:
    """The first slot that a search for a key would look into: nearly always the right one."""
    groups = tag_bytes // GROUP_SLOTS
    group = _home_group(place, slots)
    for _ in range(groups):
        tags = bucket + np.uint64(group * GROUP_SLOTS)
        equal = equal_bytes(tags, tag_of(place))
        if equal:
            return group * GROUP_SLOTS + as_index(lowest_bit(equal))
        if equal_bytes(tags, np.uint64(FREE)):
            return NOWHERE
        group = group + 1 if group + 1 < groups else 0
    return NOWHERE


@inlined
def find(
    bucket: np.uint64,
    slots: int,
    tag_bytes: int,
    slot_bytes: int,
    place: np.uint64,
    key: np.uint64,
) -> int:
    """The slot of a key, or -1; a damaged tag may stand where there is no slot."""
    groups = tag_bytes // GROUP_SLOTS
    group = _home_group(place, slots)
    for _ in range(groups):
        tags = bucket + np.uint64(group * GROUP_SLOTS)
        equal = equal_bytes(tags, tag_of(place))
        while equal:
            slot = group * GROUP_SLOTS + as_index(lowest_bit(equal))
            if slot < slots and key_at(bucket, tag_bytes, slot_bytes, slot) == key:
                return slot
            equal &= equal - np.uint64(1)
        if equal_bytes(tags, np.uint64(FREE)):
            return NOWHERE
        group = group + 1 if group + 1 < groups else 0
    return NOWHERE


@inlined
def free_slot(bucket: np.uint64, slots: int, tag_bytes: int, place: np.uint64) -> int:
    """Where a key that is not there goes, or -1 if the bucket is full."""
    groups = tag_bytes // GROUP_SLOTS
    group = _home_group(place, slots)
    for _ in range(groups):
        free = equal_bytes(bucket + np.uint64(group * GROUP_SLOTS), np.uint64(FREE))
        if free:
            return group * GROUP_SLOTS + as_index(lowest_bit(free))
        group = group + 1 if group + 1 < groups else 0
    return NOWHERE
