"""The file format of LMDB 0.9, as far as the warm tier reads it in place.

`MDB_page`, `MDB_node`, `MDB_db` and `MDB_meta` of LMDB's mdb.c, with pages of 4 KiB. Addresses are
of a mapping of the file; whoever calls answers for the page being inside it.
"""

from __future__ import annotations

import mmap
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from sedp.kernel import inlined
from sedp.storage.rows.bucket import HEADER_BYTES, PAGE_BYTES
from sedp.storage.rows.intrinsics import as_index, load_half, load_short, load_word

DEPTH_MAX = 16
NODE_HEADER_BYTES = 8
BRANCH, LEAF, BIG, META = 0x01, 0x02, 0x04, 0x08  # flags of a page
BIG_VALUE, TREE_VALUE = 0x01, 0x02  # flags of a node: value on pages of its own, or a tree's record
NUMERIC_KEYS = 0x08  # flag of a tree: that of the free pages
NO_PAGE = (1 << 64) - 1  # root of an empty tree
METAS = 2
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_HEAD_BYTES = 64  # in which any format has its magic number
_TREE = struct.Struct("<IHHQQQQQ")
_META = struct.Struct("<QHHHH IIQQ 48s 48s QQ")
TREE_BYTES = _TREE.size


class DamagedError(Exception):
    """The file is not what LMDB leaves behind."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The record of a tree of pages; `big_pages` are those of large values."""

    pad: int
    flags: int
    depth: int
    branch_pages: int
    leaf_pages: int
    big_pages: int
    entries: int
    root: int

    @classmethod
    def decode(cls, data: bytes) -> Tree:
        """Raises DamagedError: `data` is no such record."""
        if len(data) != TREE_BYTES:
            raise DamagedError(f"a tree's record has {len(data)} bytes")
        tree = cls(*_TREE.unpack(data))
        is_empty = tree.root == NO_PAGE
        if tree.depth > DEPTH_MAX or is_empty != (tree.depth == 0) or (is_empty and tree.entries):
            raise DamagedError(f"no tree is like {tree}")
        return tree


@dataclass(frozen=True, slots=True)
class Meta:
    """One of the two pages a file begins with; the later commit's counts."""

    number: int
    pages: int
    free: Tree
    main: Tree

    @classmethod
    def decode(cls, page: bytes, place: int) -> Meta:
        """Raises DamagedError: no page of LMDB 0.9, or of another place."""
        fields = _META.unpack_from(page)
        number, _, flags, _, _, magic, version, address, _, free, main, last, commit = fields
        if (number, flags, magic, version, address) != (place, META, _MAGIC, _VERSION, 0):
            raise DamagedError(f"page {place} is no meta page")
        trees = Tree.decode(free), Tree.decode(main)
        kinds = [(tree.pad, tree.flags) for tree in trees]
        if kinds != [(PAGE_BYTES, NUMERIC_KEYS), (0, 0)] or (commit and commit % METAS != place):
            raise DamagedError(f"meta page {place} contradicts itself")
        return cls(commit, last + 1, *trees)


def is_known_format(path: Path) -> bool:
    """Whether LMDB will find or make the file at `path` in the format that is described here.

    A file that is there says so itself, by where its magic number is: a damaged one is taken for
    known, so that it is looked through before LMDB sees it.
    """
    if PAGE_BYTES != mmap.PAGESIZE or sys.byteorder != "little":
        return False
    head = b""
    if path.exists():
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    if not head:
        return bool(lmdb.version()[:2] == (0, 9))
    return head.find(_MAGIC.to_bytes(4, "little")) in (HEADER_BYTES, -1)


def list_databases(transaction: Any) -> set[str]:
    """Names of the databases that a transaction sees; newer LMDBs end them with a zero."""
    names = transaction.cursor().iternext(values=False)
    return {bytes(name).rstrip(b"\0").decode(errors="replace") for name in names}


def read_metas(path: Path) -> tuple[Meta, Meta]:
    """Both meta pages of a file, the later one last.

    Raises:
        DamagedError: they cannot be those of one file.
    """
    with path.open("rb") as file:
        head = file.read(METAS * PAGE_BYTES)
    if len(head) < METAS * PAGE_BYTES:
        raise DamagedError(f"it has {len(head)} bytes")
    pages = head[:PAGE_BYTES], head[PAGE_BYTES:]
    old, new = sorted(map(Meta.decode, pages, range(METAS)), key=lambda meta: meta.number)
    if new.number - old.number > 1:
        raise DamagedError(f"commit {old.number} comes before commit {new.number}")
    return old, new


@inlined
def page_address(base: np.uint64, page: int) -> np.uint64:
    return np.uint64(base) + np.uint64(page) * np.uint64(PAGE_BYTES)


@inlined
def page_flags(page: np.uint64) -> int:
    return as_index(load_short(page + np.uint64(10)))


@inlined
def node_count(page: np.uint64) -> int:
    """Nodes of a page; less than none if its header is damaged."""
    return (as_index(load_short(page + np.uint64(12))) - HEADER_BYTES) >> 1


@inlined
def node_offset(page: np.uint64, at: int) -> int:
    return as_index(load_short(page + np.uint64(HEADER_BYTES + 2 * at)))


@inlined
def node_flags(node: np.uint64) -> int:
    return as_index(load_short(node + np.uint64(4)))


@inlined
def key_bytes(node: np.uint64) -> int:
    return as_index(load_short(node + np.uint64(6)))


@inlined
def value_bytes(node: np.uint64) -> int:
    """Of a leaf's node."""
    return as_index(load_half(node))


@inlined
def child_page(node: np.uint64) -> int:
    """Of a branch's node."""
    return as_index(load_word(node) & np.uint64(0xFFFFFFFFFFFF))


@inlined
def big_page(node: np.uint64) -> int:
    """First page of a large value."""
    return as_index(load_word(node + np.uint64(NODE_HEADER_BYTES + key_bytes(node))))


@inlined
def bucket_at(address: np.uint64) -> int:
    """The big-endian uint32 there: the key of a bucket."""
    word = np.uint64(load_half(address))
    high = (word & np.uint64(0xFF)) << np.uint64(24) | (word & np.uint64(0xFF00)) << np.uint64(8)
    low = (word >> np.uint64(8)) & np.uint64(0xFF00) | (word >> np.uint64(24))
    return as_index(high | low)
