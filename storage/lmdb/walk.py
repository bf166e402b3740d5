"""The loops of the audit: a tree of pages is followed only as far as it is sound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sedp.kernel import inlined, kernel
from sedp.storage.lmdb.format import (
    BIG_VALUE,
    BRANCH,
    DEPTH_MAX,
    LEAF,
    METAS,
    NODE_HEADER_BYTES,
    big_page,
    bucket_at,
    child_page,
    key_bytes,
    node_count,
    node_flags,
    node_offset,
    page_address,
    page_flags,
    value_bytes,
)
from sedp.storage.rows.bucket import HEADER_BYTES, PAGE_BYTES
from sedp.storage.rows.intrinsics import as_index, load_byte, load_half, load_short, load_word
from sedp.storage.tier import Mask

_DAMAGED = -1
_KEY_BYTES_MAX = 511

Nodes = NDArray[np.uint64]
Counts = NDArray[np.int64]


@inlined
def _compare(one: np.uint64, other: np.uint64, is_numeric: bool) -> int:
    """Less than, equal to or greater than 0, as the key of one node is to that of another."""
    bytes_one, bytes_other = key_bytes(one), key_bytes(other)
    one, other = one + np.uint64(NODE_HEADER_BYTES), other + np.uint64(NODE_HEADER_BYTES)
    if is_numeric:
        number, limit = load_word(one), load_word(other)
        return as_index(number > limit) - as_index(number < limit)
    for place in range(min(bytes_one, bytes_other)):
        apart = as_index(load_byte(one + np.uint64(place)) - load_byte(other + np.uint64(place)))
        if apart:
            return apart
    return bytes_one - bytes_other


@inlined
def _node_bytes(node: np.uint64, is_leaf: bool) -> int:
    size = NODE_HEADER_BYTES + key_bytes(node)
    if is_leaf:
        size += 8 if node_flags(node) & BIG_VALUE else value_bytes(node)
    return size + (size & 1)


@inlined
def _is_sound(page: np.uint64, is_leaf: bool, is_numeric: bool) -> bool:
    """Whether the nodes of a page are on it, one beside the other."""
    count = node_count(page)
    lower, upper = load_short(page + np.uint64(12)), load_short(page + np.uint64(14))
    least = 1 if is_leaf or is_numeric else 2
    if count < least or lower & 1 or not lower <= upper <= PAGE_BYTES:
        return False
    total = 0
    for at in range(count):
        offset = node_offset(page, at)
        if not upper <= offset <= PAGE_BYTES - NODE_HEADER_BYTES:
            return False
        node = page + np.uint64(offset)
        size = _node_bytes(node, is_leaf)
        if key_bytes(node) > _KEY_BYTES_MAX or offset + size > PAGE_BYTES:
            return False
        if is_numeric and key_bytes(node) != 8 and (is_leaf or at):
            return False
        total += size
    return bool(total == PAGE_BYTES - upper)


@inlined
def _enter(
    base: np.uint64, limit: int, page: int, is_leaf: bool, is_numeric: bool, used: Mask
) -> int:
    """Nodes of a page that nothing else uses, -1 if it cannot be one of this tree."""
    if not METAS <= page < limit or used[page]:
        return _DAMAGED
    used[page] = True
    address = page_address(base, page)
    if load_word(address) != np.uint64(page):
        return _DAMAGED
    if page_flags(address) != (LEAF if is_leaf else BRANCH):
        return _DAMAGED
    return node_count(address) if _is_sound(address, is_leaf, is_numeric) else _DAMAGED


@kernel("int64(uint64, int64, int64, int64, boolean, boolean[::1], uint64[::1], int64[::1])")
def walk_tree(
    base: int,
    limit: int,
    root: int,
    depth: int,
    is_numeric: bool,
    used: Mask,
    nodes: Nodes,
    counts: Counts,
) -> int:
    """List the leaf nodes of a tree in order.

    Args:
        base: address of page 0.
        limit: pages of the file.
        depth: 1..DEPTH_MAX, levels of pages.
        used: bool[≥ limit], gets the pages of the tree, none of which may be marked.
        nodes: uint64[n], gets their addresses.
        counts: int64[2], gets the branch pages and the leaf pages.

    Returns:
        How many; -1 if the tree is damaged or has more than n.
    """
    pages, at = np.zeros(DEPTH_MAX, dtype=np.int64), np.zeros(DEPTH_MAX, dtype=np.int64)
    ends, bounds = np.zeros(DEPTH_MAX, dtype=np.int64), np.zeros(DEPTH_MAX, dtype=np.uint64)
    level, found, waiting, last = 0, 0, 0, np.uint64(0)
    pages[0], bottom = root, depth - 1
    ends[0] = _enter(np.uint64(base), limit, root, bottom == 0, is_numeric, used)
    counts[0 if bottom else 1] += 1
    while level >= 0:
        if ends[level] < 0:
            return _DAMAGED
        if at[level] == ends[level]:
            level -= 1
            continue
        page = page_address(np.uint64(base), pages[level])
        node = page + np.uint64(node_offset(page, at[level]))
        at[level] += 1
        is_first = level < bottom and at[level] == 1  # of a branch: its key counts as the lowest
        if not is_first and last and _compare(last, node, is_numeric) >= 0:
            return _DAMAGED
        if level == bottom:
            for bound in range(waiting):
                if _compare(bounds[bound], node, is_numeric) > 0:
                    return _DAMAGED
            if found == nodes.size:
                return _DAMAGED
            nodes[found] = last = node
            found, waiting = found + 1, 0
            continue
        if not is_first:
            bounds[waiting] = node
            waiting += 1
        level += 1
        pages[level], at[level] = child_page(node), 0
        is_leaf = level == bottom
        ends[level] = _enter(np.uint64(base), limit, pages[level], is_leaf, is_numeric, used)
        counts[1 if is_leaf else 0] += 1
    return found


@kernel("boolean(uint64, int64, int64, Array(uint64, 1, 'C', readonly=True), boolean[::1])")
def claim_buckets(base: int, limit: int, size: int, nodes: Nodes, used: Mask) -> bool:
    """Whether leaf nodes are those of the buckets 0, 1, 2… of `size` bytes each.

    Args:
        limit: pages of the file.
        used: bool[≥ limit], gets the pages of the buckets, none of which may be marked.
    """
    pages = (HEADER_BYTES - 1 + size) // PAGE_BYTES + 1
    for i in range(nodes.size):
        node = nodes[i]
        if key_bytes(node) != 4 or bucket_at(node + np.uint64(NODE_HEADER_BYTES)) != i:
            return False
        if node_flags(node) != BIG_VALUE or np.int64(load_half(node)) != size:
            return False
        first = big_page(node)
        if not METAS <= first <= limit - pages:
            return False
        for page in range(first, first + pages):
            if used[page]:
                return False
            used[page] = True
    return True
