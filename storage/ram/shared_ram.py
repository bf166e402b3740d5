"""RAM that processes share: one fills it with rows, any number read them in place.

    directory   up to which update its owner has brought all regions, and a slot a region:
                its serial, whose rows they are, and where
    regions     lines and rows of one table version each, as `line` has them

The memory is a file without a name, which lives as long as a process has it open, and which only
grows. Its owner gives a region a serial once all rows are in it, and takes that away before the
rows cease to be all; its pages are given back then, and its part of the file is never used again.
Who still reads there brings pages back, all zeros: the owner looks for such, and empties them.
So a reader needs no lock and holds nothing up: what it copied counts if the serial is the same
afterwards. Readers cannot write here; one that is killed leaves nothing behind. When the owner is
killed, rows that it was at stay marked as being written, and the epoch stays where it was: by that
readers know that the memory is old.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import threading
from dataclasses import dataclass
from typing import Self

import numpy as np

from sedp.errors import StoreError
from sedp.storage.ram.budget import NOTHING, Share
from sedp.storage.ram.line import LINE_BYTES, WAYS, Lines, Words, seen_word, show_word
from sedp.storage.ram.mapping import (
    HUGE_BYTES,
    Bytes,
    bring_in,
    empty_part,
    give_back,
    let_go,
    make_huge,
    map_file,
)
from sedp.storage.ram.state import bytes_per_set
from sedp.storage.tier import Rows

SLOTS_MAX = 1023  # tables in shared RAM; of more, the others are read in LMDB
_SLOT_WORDS = 8
_BLOCK_BYTES = 512  # of what the system counts in
_DIRECTORY_BYTES = (1 + SLOTS_MAX) * _SLOT_WORDS * 8
_EPOCH = 0  # a word; slots begin after as many words as one has
_SERIAL, _SEED, _OFFSET, _SETS, _ROW_BYTES, _REACH = range(6)  # words of a slot

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Region:
    """Lines and rows of one table version.

    Args:
        lines: uint64[sets, 8].
        rows: uint8[7 * sets, row_bytes].
        reach: sets a key may be in.
        memory: uint8, what both are in.
        words: of the directory.
        slot: where in it the region's slot begins.
        serial: other than that of all regions before.
    """

    lines: Lines
    rows: Rows
    reach: int
    memory: Bytes
    words: Words
    slot: int
    serial: int

    @property
    def is_shown(self) -> bool:
        """Whether all that was copied so far is rows of this region, and it lacks none."""
        return bool(seen_word(self.words, self.slot + _SERIAL) == self.serial)

    def take_memory(self) -> None:
        """Have memory for all of it, in huge pages; for its owner, as what follows.

        Before any row is in, so that none is copied, and filling meets with few page faults.
        """
        self.memory[::HUGE_BYTES] = 0  # the kernel makes no huge page where there is nothing yet
        self.compact()

    def compact(self) -> None:
        """Put into huge pages what is not yet, which takes up to seconds a GiB.

        Rows may be read and written meanwhile.
        """
        make_huge(self.memory)

    def show(self) -> None:
        """Let readers see it: all rows are there."""
        show_word(self.words, self.slot + _SERIAL, np.uint64(self.serial))
        let_go(self.memory.ctypes.data, self.memory.nbytes)

    def hide(self) -> None:
        """Let readers see it no more: it may lack rows from now on."""
        show_word(self.words, self.slot + _SERIAL, np.uint64(0))

    def drop(self) -> None:
        """Hide it for good, and give back its memory."""
        self.hide()
        self.words[self.slot + _SETS] = 0
        give_back(self.memory)


class SharedRam:
    """One process's end of it; make it with `own` or `follow`.

    Args:
        readers: how many divide the RAM of tables that are not here.
        words: the directory, uint64.
    """

    def __init__(self, fd: int, readers: int, words: Words) -> None:
        self._fd = fd
        self._words = words
        self._serial = 0
        self._making = threading.Lock()  # and giving back what is not of any region
        self.readers = readers
        self.is_owner: bool = words.flags.writeable

    @classmethod
    def own(cls, fd: int, readers: int) -> Self:
        """The end of the process that fills it; to be made before the others.

        Args:
            fd: of an empty file, of `os.memfd_create` with sealing allowed; stays open.
        """
        os.ftruncate(fd, HUGE_BYTES)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        memory = mmap.mmap(fd, _DIRECTORY_BYTES)
        return cls(fd, readers, np.frombuffer(memory, dtype=np.uint64))

    @classmethod
    def follow(cls, fd: int, readers: int) -> Self | None:
        """The end of a process that reads; None if nobody owns the memory."""
        if os.fstat(fd).st_size < _DIRECTORY_BYTES:
            return None
        memory = mmap.mmap(fd, _DIRECTORY_BYTES, prot=mmap.PROT_READ)
        return cls(fd, readers, np.frombuffer(memory, dtype=np.uint64))

    @property
    def epoch(self) -> int:
        """Up to which update all regions that are shown have every row."""
        return int(seen_word(self._words, _EPOCH))

    def tell_epoch(self, epoch: int) -> None:
        """They have every row up to here."""
        show_word(self._words, _EPOCH, np.uint64(epoch))
        with self._making:
            parts = self._parts()
            if os.fstat(self._fd).st_blocks * _BLOCK_BYTES > sum(stop - at for at, stop in parts):
                self._empty_gaps(parts)

    def _parts(self) -> list[tuple[int, int]]:
        """Where in the file the directory and regions are, by place."""
        slots = self._words[_SLOT_WORDS:].reshape(-1, _SLOT_WORDS)
        kept = slots[slots[:, _SETS] > 0][:, [_OFFSET, _SETS, _ROW_BYTES]].tolist()
        regions = [(offset, offset + _file_bytes(sets, size)) for offset, sets, size in kept]
        return [(0, HUGE_BYTES), *sorted(regions)]

    def _empty_gaps(self, parts: list[tuple[int, int]]) -> None:
        """Give back pages that readers brought back into regions that were dropped."""
        stops = [at for at, _ in parts[1:]] + [os.fstat(self._fd).st_size]
        for (_, start), stop in zip(parts, stops, strict=True):
            if start < stop:
                empty_part(self._fd, start, stop)

    def share_of(self, share: Share) -> Share:
        """What this process keeps of a table's share of all RAM: whole tables are kept here."""
        if share.is_whole:
            return share
        if self.is_owner:
            return NOTHING  # it answers no look-ups
        return Share(share.row_sets // self.readers, share.absent_sets // self.readers)

    def make(self, seed: int, sets: int, row_bytes: int, reach: int) -> Region | None:
        """A region of zeros, not shown yet; None if there are too many, or no memory for it.

        Args:
            seed: of the version's entry in the catalogue.
            sets: > 0.
        """
        with self._making:
            free = np.flatnonzero(self._words[_SETS + _SLOT_WORDS :: _SLOT_WORDS] == 0)
            if not len(free):
                _log.warning("rows are read in LMDB, as %d tables are in shared RAM", SLOTS_MAX)
                return None
            slot = (int(free[0]) + 1) * _SLOT_WORDS
            self._empty_gaps(self._parts())
            self._serial += 1
            offset = os.fstat(self._fd).st_size
            try:
                os.ftruncate(self._fd, offset + _file_bytes(sets, row_bytes))
                region = self._map(slot, self._serial, offset, sets, row_bytes, reach)
            except (OSError, StoreError) as err:
                _log.warning("rows are read in LMDB, as there is no shared RAM for them: %s", err)
                return None
            self._words[slot + _SEED : slot + _REACH + 1] = np.array(
                [seed, offset, sets, row_bytes, reach], dtype=np.uint64
            )
            return region

    def find(self, seed: int) -> Region | None:
        """The region of a version; None if none is shown.

        Raises:
            StoreError: it cannot be mapped.
        """
        slots = self._words[_SLOT_WORDS:].reshape(-1, _SLOT_WORDS)
        for at in np.flatnonzero((slots[:, _SEED] == seed) & (slots[:, _SERIAL] != 0)):
            slot = (int(at) + 1) * _SLOT_WORDS
            serial = int(seen_word(self._words, slot + _SERIAL))
            place = self._words[slot + _OFFSET :][:4].tolist()
            if serial and seen_word(self._words, slot + _SERIAL) == serial:
                region = self._map(slot, serial, *place)
                if region.is_shown:
                    bring_in(region.memory)  # what is dropped meanwhile its owner empties again
                    return region
        return None

    def _map(
        self, slot: int, serial: int, offset: int, sets: int, row_bytes: int, reach: int
    ) -> Region:
        size = sets * bytes_per_set(row_bytes, is_whole=True)
        memory = map_file(self._fd, offset, size, is_writable=self.is_owner)
        lines, rows = memory[: sets * LINE_BYTES], memory[sets * LINE_BYTES :]
        return Region(
            lines.view(np.uint64).reshape(sets, -1),
            rows.reshape(sets * WAYS, row_bytes),
            reach,
            memory,
            self._words,
            slot,
            serial,
        )


def _file_bytes(sets: int, row_bytes: int) -> int:
    """What a region takes of the file, in whole huge pages."""
    return -(-sets * bytes_per_set(row_bytes, is_whole=True) // HUGE_BYTES) * HUGE_BYTES
