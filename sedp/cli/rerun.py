"""`sedp rerun`: does a fresh scheduler say what the recorded one said?"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sedp.engine.stimulus_log import RecordedRun
from sedp.errors import SedpError
from sedp.simulator.rerun import Difference, rerun


@click.command("rerun", epilog="Example: sedp rerun .sedp/stimuli.log")
@click.argument("file", type=click.Path(path_type=Path))
def command(file: Path) -> None:
    """Feed the stimulus log FILE to a fresh scheduler and compare its commands.

    Prints the number of records and "identical", or the first difference; exits 1 on a difference.
    """
    recorded = RecordedRun.open(file)
    total = sum(1 for _ in recorded.records())
    with click.progressbar(
        length=total, label=f"rerun {total:,} records", file=sys.stderr, show_pos=True
    ) as bar:
        result = rerun(recorded, bar.update)
        bar.update(total - bar.pos)
    if result.difference is not None:
        click.echo(_describe(result.difference))
        raise SedpError(f"{file}: record {result.difference.record} of {total} differs")
    click.echo(f"{result.records:,} records: identical")


def _describe(difference: Difference) -> str:
    return "\n".join(
        (
            f"record {difference.record} at {difference.now_ns} ns: {difference.stimulus}",
            f"  recorded: {difference.recorded}",
            f"  computed: {difference.computed}",
        )
    )
