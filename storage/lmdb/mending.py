"""The loops that look at the headers of large values before LMDB does."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sedp.kernel import inlined, kernel
from sedp.storage.lmdb.format import (
    BIG,
    NODE_HEADER_BYTES,
    DamagedError,
    Tree,
    big_page,
    bucket_at,
    child_page,
    node_count,
    node_offset,
    page_address,
    page_flags,
)
from sedp.storage.lmdb.walk import walk_tree
from sedp.storage.rows.bucket import PAGE_BYTES
from sedp.storage.rows.intrinsics import as_index, copy_bytes, load_half, load_word
from sedp.storage.tier import Keys, Rows


@kernel("void(Array(uint64, 1, 'C', readonly=True), uint8[:, ::1])")
def copy_values(addresses: Keys, values: Rows) -> None:
    """Copy what lies at each address; `values` is uint8[n, value_bytes]."""
    for i in range(addresses.size):
        target, count = np.uint64(values[i].ctypes.data), np.uint64(values.shape[1])
        copy_bytes(target, addresses[i], count)


@kernel("int64[::1](uint64, int64, int64, Array(uint64, 1, 'C', readonly=True))")
def list_wrong_headers(base: int, limit: int, count: int, pages: Keys) -> NDArray[np.int64]:
    """Numbers of the pages whose header is not that of a value of `count` pages.

    Args:
        base: address of page 0.
        limit: pages of the file; what lies elsewhere in memory is left out.
        pages: their addresses.
    """
    wrong, found = np.empty(pages.size, dtype=np.int64), 0
    for page in pages:
        if not np.uint64(base) <= page < page_address(np.uint64(base), limit):
            continue
        number = (page - np.uint64(base)) // np.uint64(PAGE_BYTES)
        is_right = load_word(page) == number and page_flags(page) == BIG
        if not is_right or load_half(page + np.uint64(12)) != np.uint32(count):
            wrong[found] = np.int64(number)
            found += 1
    return wrong[:found].copy()


@inlined
def _node_of(page: np.uint64, bucket: int) -> np.uint64:
    """The last node of a page whose key is at most `bucket`; the first of a branch has any."""
    low, high = 0, node_count(page)
    while high - low > 1:
        middle = (low + high) // 2
        key = page + np.uint64(node_offset(page, middle) + NODE_HEADER_BYTES)
        if bucket_at(key) <= bucket:
            low = middle
        else:
            high = middle
    return page + np.uint64(node_offset(page, low))


@kernel("int64(uint64, int64, int64, int64, Array(uint64, 1, 'C', readonly=True), uint64[::1])")
def find_buckets(
    base: int, root: int, depth: int, value_bytes: int, buckets: Keys, pages: Keys
) -> int:
    """The addresses of the first pages of buckets, in a sound tree.

    Args:
        depth: levels of pages, ≥ 1.
        value_bytes: of each bucket.

    Returns:
        How many were found, before the first that is not there with this size.
    """
    for i in range(buckets.size):
        page, bucket = page_address(np.uint64(base), root), as_index(buckets[i])
        for _ in range(depth - 1):
            page = page_address(np.uint64(base), child_page(_node_of(page, bucket)))
        node = _node_of(page, bucket)
        is_there = bucket_at(node + np.uint64(NODE_HEADER_BYTES)) == bucket
        if not is_there or np.int64(load_half(node)) != value_bytes:
            return i
        pages[i] = page_address(np.uint64(base), big_page(node))
    return int(buckets.size)


@kernel("void(uint64, uint64[::1])")
def follow_nodes(base: int, nodes: Keys) -> None:
    """The address of each leaf node becomes that of the large value it names."""
    for i in range(nodes.size):
        nodes[i] = page_address(np.uint64(base), big_page(nodes[i]))


@kernel("int64(uint64)")
def size_of(node: int) -> int:
    """Bytes of the value of a leaf's node."""
    return int(load_half(np.uint64(node)))


def list_values(base: int, limit: int, tree: Tree) -> tuple[Keys, int]:
    """Addresses of all large values of a tree of equal ones, uint64[n], and their bytes.

    Raises:
        DamagedError: it is no such tree.
    """
    nodes, counts = np.empty(min(tree.entries, limit), np.uint64), np.zeros(2, np.int64)
    if tree.entries == 0:
        return nodes, 0
    used = np.zeros(limit, dtype=np.bool_)
    root = min(tree.root, limit)
    if walk_tree(base, limit, root, tree.depth, False, used, nodes, counts) != tree.entries:
        raise DamagedError(f"the tree at page {tree.root}")
    value_bytes: int = size_of(int(nodes[0]))
    follow_nodes(base, nodes)
    return nodes, value_bytes
