"""Whether a file is one that LMDB can be trusted with.

LMDB follows what its pages say without looking twice: damage in one of them is an assertion, a read
outside the file or a page given out that is in use, and each of these ends the process. So every
page that leads to others is read here, within bounds, before LMDB does: trees are walked as LMDB
would, keys must ascend, counts must be right, and no page may serve two purposes or be free as well
as in use. The pages of large values are not read: a row there has its own checksum, and their
headers are looked at before LMDB believes them.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sedp.storage.lmdb.format import (
    BIG,
    BIG_VALUE,
    METAS,
    NODE_HEADER_BYTES,
    NUMERIC_KEYS,
    TREE_VALUE,
    DamagedError,
    Meta,
    Tree,
    read_metas,
)
from sedp.storage.lmdb.page_fetch import fetch_ranges
from sedp.storage.lmdb.pages import list_children
from sedp.storage.lmdb.walk import claim_buckets, walk_tree
from sedp.storage.rows.bucket import HEADER_BYTES, PAGE_BYTES

_NODE = struct.Struct("<IHH")  # bytes of the value, flags, bytes of the key
_BIG_PAGE = struct.Struct("<QHHI")  # number, pad, flags, pages
_WORD = struct.Struct("<Q")
_NODES_PER_PAGE_MAX = PAGE_BYTES // 10


class Audit:
    """One snapshot of a file in a mapping of its own.

    Args:
        view: the file.
        meta: of the snapshot.
    """

    def __init__(self, view: memoryview, meta: Meta) -> None:
        self._view = view
        self._base = np.frombuffer(view, dtype=np.uint8).ctypes.data
        self._meta = meta
        self._limit = len(view) // PAGE_BYTES
        self._used = np.zeros(max(meta.pages, self._limit), dtype=np.bool_)
        self._used[:METAS] = True

    def check(self, small: set[bytes], with_free: bool) -> dict[bytes, tuple[int, int]]:
        """Walk everything that this snapshot reaches.

        Args:
            small: names of the databases that hold no buckets.
            with_free: look at the free pages too, which only a writer uses.

        Returns:
            How many buckets every other database has, and the bytes of each.

        Raises:
            DamagedError: it says what is wrong.
        """
        buckets = {}
        for name, value in list(self._records(self._meta.main, TREE_VALUE)):
            tree = Tree.decode(value)
            if tree.flags or not name.isascii():
                raise DamagedError(f"{name!r} has the flags {tree.flags}")
            if name in small:
                for _ in self._records(tree, 0):
                    pass
            else:
                buckets[name] = self._claim_buckets(name, tree)
        if with_free:
            self._check_free()
        return buckets

    def _nodes(self, tree: Tree) -> NDArray[np.uint64]:
        """Addresses of the nodes of all leaves, in order."""
        if tree.entries > tree.leaf_pages * _NODES_PER_PAGE_MAX or tree.leaf_pages > self._limit:
            raise DamagedError(f"a file of {self._limit} pages has no {tree}")
        nodes, counts = np.empty(tree.entries, np.uint64), np.zeros(2, np.int64)
        if tree.entries:
            self._fetch(tree)
            is_numeric = bool(tree.flags & NUMERIC_KEYS)
            root, depth = min(tree.root, self._limit), tree.depth
            found = walk_tree(
                self._base, self._limit, root, depth, is_numeric, self._used, nodes, counts
            )
            if found != tree.entries:
                raise DamagedError(f"the tree at page {tree.root} is damaged")
        if counts.tolist() != [tree.branch_pages, tree.leaf_pages]:
            raise DamagedError(f"the tree at page {tree.root} has {counts} pages, not as in {tree}")
        return nodes

    def _fetch(self, tree: Tree) -> None:
        """Have the disk read the pages of a tree, a level at a time, as far as it is sound."""
        pages = np.array([min(tree.root, self._limit)], dtype=np.int64)
        for _ in range(tree.depth - 1):
            children = np.empty(tree.leaf_pages, dtype=np.int64)
            count = list_children(self._base, self._limit, pages, children)
            pages = children[: max(count, 0)]
            sound = pages[(pages >= METAS) & (pages < self._limit)].astype(np.uint64)
            ranges = np.full((len(sound), 2), PAGE_BYTES, dtype=np.uint64)
            ranges[:, 0] = np.uint64(self._base) + sound * np.uint64(PAGE_BYTES)
            fetch_ranges(ranges)

    def _claim_buckets(self, name: bytes, tree: Tree) -> tuple[int, int]:
        nodes = self._nodes(tree)
        if len(nodes) == 0:
            return 0, 0
        size = _NODE.unpack_from(self._view, int(nodes[0]) - self._base)[0]
        if not claim_buckets(self._base, self._limit, size, nodes, self._used):
            raise DamagedError(f"the buckets of {name!r} are damaged")
        if tree.big_pages != len(nodes) * _big_pages(size):
            raise DamagedError(f"{name!r} counts {tree.big_pages} pages of {len(nodes)} buckets")
        return len(nodes), size

    def _records(self, tree: Tree, flags: int) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a small tree, whose nodes have these flags."""
        big_pages = 0
        for node in self._nodes(tree):
            at = int(node) - self._base
            size, found, key_size = _NODE.unpack_from(self._view, at)
            value = at + NODE_HEADER_BYTES + key_size
            key = bytes(self._view[value - key_size : value])
            if found & ~BIG_VALUE != flags:
                raise DamagedError(f"the record {key!r} has the flags {found}")
            if found & BIG_VALUE:
                value = self._claim_big(_WORD.unpack_from(self._view, value)[0], size)
                big_pages += _big_pages(size)
            yield key, bytes(self._view[value : value + size])
        if tree.big_pages != big_pages:
            raise DamagedError(f"a tree of {big_pages} pages of values says {tree}")

    def _claim_big(self, page: int, size: int) -> int:
        """Where a large value begins in the file."""
        pages = _big_pages(size)
        if not METAS <= page <= self._limit - pages or self._used[page : page + pages].any():
            raise DamagedError(f"a value cannot be at page {page}")
        self._used[page : page + pages] = True
        number, _, flags, count = _BIG_PAGE.unpack_from(self._view, page * PAGE_BYTES)
        if (number, flags, count) != (page, BIG, pages):
            raise DamagedError(f"page {page} is not the first of {pages} of a value")
        return page * PAGE_BYTES + HEADER_BYTES

    def _check_free(self) -> None:
        for key, value in list(self._records(self._meta.free, 0)):
            words = np.frombuffer(value[: len(value) // 8 * 8], dtype=np.uint64)
            if len(key) != 8 or _WORD.unpack(key)[0] > self._meta.number or len(words) == 0:
                raise DamagedError(f"free pages of commit {key!r} make no sense")
            if words[0] >= len(words):
                raise DamagedError(f"{len(words)} free pages are said to be {words[0]}")
            pages = words[1 : 1 + int(words[0])]
            if len(pages) and (pages.min() < METAS or pages.max() >= self._meta.pages):
                raise DamagedError("there are free pages outside the file")
            if (pages[1:] >= pages[:-1]).any() or self._used[pages].any():
                raise DamagedError("a page in use is free too")
            self._used[pages] = True


def _big_pages(size: int) -> int:
    return (HEADER_BYTES - 1 + size) // PAGE_BYTES + 1


def audit(
    path: Path, number: int, small: set[bytes], *, with_free: bool
) -> dict[bytes, tuple[int, int]]:
    """Check the snapshot `number` of the file at `path`; see `Audit.check`.

    A transaction of that number must be open, so that its pages stay as they are.
    """
    metas = {meta.number: meta for meta in read_metas(path)}
    if number not in metas:
        raise DamagedError(f"commit {number} is not among {sorted(metas)}")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        mapped.madvise(mmap.MADV_RANDOM)
        view = memoryview(mapped)
        try:
            return Audit(view, metas[number]).check(small, with_free)
        finally:
            view.release()
