"""Small files that are on disk when they have been written."""

from __future__ import annotations

import os
from pathlib import Path


def write_durably(file: Path, data: bytes) -> None:
    """Replace what a file holds; the file and its name in the folder are synced then.

    Raises:
        OSError: the disk is full or has failed.
    """
    with file.open("wb") as opened:
        opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
