"""Where the values of a named database lie: its tree of pages, read in place.

Buckets are numbered, so all there is to find is the page of every number: branch pages are followed
down to the leaves, whose nodes name the pages of large values. A page number is used only if the
file has that page, so a damaged tree is refused rather than followed out of the map. Pages are
copied on write: a leaf that is where it was in the snapshot before has not changed, and is not read
again.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sedp.kernel import inlined, kernel
from sedp.storage.lmdb.format import (
    BIG_VALUE,
    BRANCH,
    LEAF,
    METAS,
    NODE_HEADER_BYTES,
    DamagedError,
    Tree,
    big_page,
    bucket_at,
    child_page,
    key_bytes,
    node_count,
    node_flags,
    node_offset,
    page_address,
    page_flags,
)
from sedp.storage.rows.bucket import HEADER_BYTES, PAGE_BYTES
from sedp.storage.rows.intrinsics import load_word

KEY_BYTES = 4
_DAMAGED = -1

Pages = NDArray[np.int64]
PageNumbers = NDArray[np.uint32]
Addresses = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class PageTable:
    """Pages of one named database in one snapshot.

    Args:
        leaves: int64[l], its leaf pages in order.
        pages: uint32[buckets], the first page of every bucket; 0 where there is none.
    """

    leaves: Pages
    pages: PageNumbers


@inlined
def _node_at(page: np.uint64, at: int, node_bytes: int) -> np.uint64:
    """Address of a node of at least so many bytes, or 0 if it would not be on the page."""
    offset = node_offset(page, at)
    fits = HEADER_BYTES <= offset <= PAGE_BYTES - node_bytes
    return page + np.uint64(offset) if fits else np.uint64(0)


@inlined
def _node_count(base: np.uint64, page: int, limit: int, flag: int) -> int:
    """Nodes of a page that is of the right kind, else -1."""
    if not METAS <= page < limit:
        return _DAMAGED
    address = page_address(base, page)
    if load_word(address) != np.uint64(page) or page_flags(address) != flag:
        return _DAMAGED
    count = node_count(address)
    return count if 0 < count < PAGE_BYTES // 2 - HEADER_BYTES else _DAMAGED


@kernel("int64(uint64, int64, Array(int64, 1, 'C', readonly=True), int64[::1])")
def list_children(base: int, limit: int, parents: Pages, children: Pages) -> int:
    """Page numbers below branch pages, in order; returns how many, -1 if the tree is damaged."""
    count = 0
    for parent in parents:
        nodes = _node_count(np.uint64(base), parent, limit, BRANCH)
        if nodes < 0 or count + nodes > children.size:
            return _DAMAGED
        page = page_address(np.uint64(base), parent)
        for at in range(nodes):
            node = _node_at(page, at, NODE_HEADER_BYTES)
            if node == 0:
                return _DAMAGED
            children[count] = child_page(node)
            count += 1
    return count


@kernel(
    "boolean(uint64, int64, int64, Array(int64, 1, 'C', readonly=True),"
    " Array(int64, 1, 'C', readonly=True), uint32[::1])"
)
def read_leaves(
    base: int,
    limit: int,
    value_pages: int,
    leaves: Pages,
    known: Pages,
    pages: PageNumbers,
) -> bool:
    """Note the page of every bucket on the leaves that are not `known` at their place.

    Args:
        limit: pages of the file.
        value_pages: pages of a value.
        known: int64[l] of another snapshot, or int64[0].
        pages: uint32[buckets], updated.

    Returns:
        Whether the leaves are sound.
    """
    for i in range(leaves.size):
        if known.size == leaves.size and known[i] == leaves[i]:
            continue
        nodes = _node_count(np.uint64(base), leaves[i], limit, LEAF)
        if nodes < 0:
            return False
        page = page_address(np.uint64(base), leaves[i])
        for at in range(nodes):
            node = _node_at(page, at, NODE_HEADER_BYTES + KEY_BYTES + 8)
            if node == 0 or key_bytes(node) != KEY_BYTES or node_flags(node) != BIG_VALUE:
                return False
            bucket, value = bucket_at(node + np.uint64(NODE_HEADER_BYTES)), big_page(node)
            if bucket >= pages.size or not METAS <= value <= limit - value_pages:
                return False
            pages[bucket] = np.uint32(value)
    return True


def map_base(value: memoryview) -> int:
    """Address of page 0, from a small value that LMDB gave out in place; 0 if it is not there."""
    page = address_of(value) // PAGE_BYTES * PAGE_BYTES
    number = ctypes.c_uint64.from_address(page).value
    return max(page - number * PAGE_BYTES, 0)


def list_addresses(
    pairs: Iterable[tuple[memoryview, memoryview]], buckets: int, value_bytes: int
) -> Addresses:
    """Address of every bucket, uint64[buckets], by the public API alone; 0 where there is none.

    Args:
        pairs: keys and values, in place, of the whole database.

    Raises:
        OverflowError, IndexError: there are keys that are no bucket's.
    """
    addresses = np.zeros(buckets, np.uint64)
    for key, value in pairs:
        if len(value) == value_bytes:
            addresses[int.from_bytes(key, "big")] = address_of(value)
    return addresses


def address_of(value: memoryview) -> int:
    """Where LMDB has what it gave out in place."""
    return int(np.frombuffer(value, dtype=np.uint8).ctypes.data)


def read_page_table(
    base: int,
    file_pages: int,
    tree: bytes,
    shape: tuple[int, int],
    before: PageTable | None,
) -> PageTable | None:
    """The table of a named database; None if its tree is damaged.

    Args:
        base: address of page 0.
        file_pages: pages that the file has.
        tree: the record of the named database in the main one.
        shape: how many buckets, and pages of each.
        before: the table in an earlier snapshot that is still open.
    """
    try:
        found = Tree.decode(tree)
    except DamagedError:
        return None
    buckets, value_pages = shape
    if found.entries == 0:
        return PageTable(np.empty(0, np.int64), np.zeros(buckets, np.uint32))
    if found.leaf_pages > file_pages:
        return None
    leaves = np.array([min(found.root, file_pages)], dtype=np.int64)
    for _ in range(found.depth - 1):
        children = np.empty(found.leaf_pages, dtype=np.int64)
        count = list_children(base, file_pages, leaves, children)
        if count < 0:
            return None
        leaves = children[:count].copy()
    known, pages = np.empty(0, np.int64), np.zeros(buckets, np.uint32)
    if before is not None and len(before.leaves) == len(leaves) and len(before.pages) == buckets:
        known, pages = before.leaves, before.pages.copy()
    if not read_leaves(base, file_pages, value_pages, leaves, known, pages):
        return None
    return PageTable(leaves, pages)
