"""A child that ends as one does that met a lost page."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

if __name__ == "__main__":
    victim = Path(sys.argv[1]) / "victim"
    sys.stdout.write("lmdb\n")
    sys.stdout.flush()
    if victim.exists() and (victim.read_text() != "lmdb" or (Path(sys.argv[1]) / "lmdb").exists()):
        sys.stdout.write("" if victim.read_text() == "lmdb" else "rocksdb\n")
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGBUS)
    sys.stdout.write("done\n")
