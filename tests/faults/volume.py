"""A file system in a file, that can lose its power and run full."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHUTDOWN = 0x8004587D  # FS_IOC_SHUTDOWN
NO_FLUSH = 2  # the journal is not written either: as if the power had gone
SIZE_BYTES = 512 << 20
WRITE_BACK = {"dirty_writeback_centisecs": "3", "dirty_expire_centisecs": "1"}


def missing_for(kind: str) -> str:
    """What is not there that a volume takes; "" if all is."""
    if os.geteuid() != 0:
        return "only root may mount"
    for tool in (f"mkfs.{kind}", "mount", "umount"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    return ""


class Volume:
    """A file system of a kind, ext4 or xfs, mounted at `path`.

    Raises:
        subprocess.CalledProcessError: it cannot be made or mounted.
    """

    def __init__(self, folder: Path, kind: str, size_bytes: int = SIZE_BYTES) -> None:
        self._image, self.path = folder / "image", folder / "volume"
        with self._image.open("wb") as image:
            image.truncate(size_bytes)
        _run(f"mkfs.{kind}", "-q", str(self._image))
        self.path.mkdir()
        self.mount()

    def mount(self) -> None:
        """Mount it, and with that replay its journal."""
        _run("mount", "-o", "loop", str(self._image), str(self.path))

    def unmount(self) -> None:
        """Unmount it."""
        _run("umount", str(self.path))

    def cut_power(self) -> None:
        """From now on nothing reaches the disk, and what was not synced is lost."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, SHUTDOWN, struct.pack("I", NO_FLUSH))
        finally:
            os.close(handle)

    def fill(self) -> Path:
        """Take all the room there is with a file; remove it to free it."""
        ballast = self.path / "ballast"
        with ballast.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue
        return ballast


@contextmanager
def mounted(folder: Path, kind: str, size_bytes: int = SIZE_BYTES) -> Iterator[Volume]:
    """A volume, unmounted at the end."""
    volume = Volume(folder, kind, size_bytes)
    try:
        yield volume
    finally:
        volume.unmount()


@contextmanager
def eager_write_back() -> Iterator[None]:
    """The kernel writes pages back at once, each when it likes: that shows what was not ordered."""
    files = {Path("/proc/sys/vm") / name: value for name, value in WRITE_BACK.items()}
    before = {file: file.read_text() for file in files}
    try:
        for file, value in files.items():
            file.write_text(value)
        yield
    finally:
        for file, value in before.items():
            file.write_text(value)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=60)
