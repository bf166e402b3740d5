"""A bound of ctr-rank, in process: parse, features and onnxruntime on bodies one after the other.

    python -m bench.ctr_rank_bound FOLDER plain|split SECONDS

prints requests and CPU seconds, from the moment a line comes in on stdin.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from bench.ctr_rank_kernel import Kernel, parse


def main(folder: Path, form: str, seconds: float) -> None:
    kernel = Kernel(folder, form == "split")
    bodies = [body.tobytes() for body in np.load(folder / "bodies.npy")]
    for body in bodies[:50]:
        kernel.score(parse(body)).tobytes()
    tell("ready")
    sys.stdin.readline()
    done = 0
    cpu_s, stop_s = time.process_time(), time.perf_counter() + seconds
    while time.perf_counter() < stop_s:
        kernel.score(parse(bodies[done % len(bodies)])).tobytes()
        done += 1
    tell(f"{done} {time.process_time() - cpu_s}")


def tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
