"""Runs one parser under atheris: `python -m tests.hostile.fuzz NAME FOLDER RUNS`.

Code of this project is instrumented, so that input which reaches new code is kept and changed
further. The folder takes the corpus, and what failed.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import atheris

import sedp

PACKAGE = Path(sedp.__file__).parent
# What numba compiles must stay as it is.
COMPILED = [
    ".".join(["sedp", *path.relative_to(PACKAGE).with_suffix("").parts])
    for folder, _, _ in os.walk(PACKAGE, followlinks=True)
    for path in Path(folder).glob("*.py")
    if re.search(r"jit|import numba|sedp\.kernel", path.read_text())
]

INPUT_BYTES_MAX = 65_536
RSS_MIB_MAX = 2_048
RUN_S_MAX = 10


def main() -> None:
    name, folder, runs = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    with atheris.instrument_imports(include=["sedp"], exclude=COMPILED):
        from tests.hostile.parsers import PARSERS

        parser = PARSERS[name]
        parse = parser.make(folder)  # parsers are imported when they are made
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(parser.seeds):
        (corpus / str(number)).write_bytes(seed)
    options = {
        "runs": runs,
        "max_len": INPUT_BYTES_MAX,
        "rss_limit_mb": RSS_MIB_MAX,
        "timeout": RUN_S_MAX,
        "artifact_prefix": f"{folder}/",
        "print_final_stats": 1,
    }
    arguments = [f"-{key}={value}" for key, value in options.items()]
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], parse)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
