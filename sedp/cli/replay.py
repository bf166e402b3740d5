"""`sedp replay`: recorded requests to a running daemon; quality and latency back."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import IO

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from sedp.cli.options import parse_weeks
from sedp.errors import ConfigError, SedpError
from sedp.simulator.recording import Recording, load_recording
from sedp.simulator.replay import (
    IN_FLIGHT_LIMIT,
    ReplayedRun,
    Target,
    precise_loop,
    replay,
)
from sedp.simulator.report import summarise
from sedp.simulator.report_forms import TextReport, write_html, write_json
from sedp.simulator.traffic import even_times_ns, poisson_times_ns, recorded_times_ns
from sedp.units import format_duration, parse_duration

PROGRESS_STEPS = 200  # redraws in all: drawing must not delay the requests

EXAMPLES = """\b
Examples:
  sedp replay --recording recording.npz --weeks 48-53 --rate 200
  sedp replay --recording recording.npz --speed 3600 --html replay.html
  sedp replay --recording recording.npz --rate 1000 --spacing even --limit 5000 --json -
"""


def _parse_timeout(ctx: click.Context, param: click.Parameter, text: str) -> int:
    """Nanoseconds of `500ms` or `2s`."""
    try:
        timeout_ns = parse_duration(text)
    except ValueError as err:
        raise click.BadParameter(str(err), ctx, param) from err
    if timeout_ns == 0:
        raise click.BadParameter("0 leaves no time to answer; write e.g. 2s", ctx, param)
    return timeout_ns


@click.command("replay", epilog=EXAMPLES)
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The daemon.")
@click.option("--pipeline", default="promo-rank", show_default=True, help="Its pipeline.")
@click.option(
    "--recording",
    "recording_path",
    required=True,
    type=click.Path(path_type=Path),
    help="Requests in columns, .npz.",
)
@click.option("--weeks", callback=parse_weeks, help="Only these, e.g. 48-53.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N requests.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="Recorded pace times this. Default: 1, as recorded.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Instead: requests a second, in recorded order.",
)
@click.option(
    "--spacing",
    type=click.Choice(["poisson", "even"]),
    default="poisson",
    show_default=True,
    help="With --rate: independent callers, or a metronome.",
)
@click.option("--seed", default=0, show_default=True, help="Dice of --spacing poisson.")
@click.option(
    "--in-flight",
    type=click.IntRange(1, IN_FLIGHT_LIMIT),
    default=256,
    show_default=True,
    help="Most requests unanswered at once; later ones wait, and that counts as latency.",
)
@click.option(
    "--timeout",
    "timeout_ns",
    callback=_parse_timeout,
    default="2s",
    show_default=True,
    help="A later answer is a failure.",
)
@click.option("--score", default="score", show_default=True, help="Output with the scores.")
@click.option("--html", "html_path", type=click.Path(path_type=Path), help="Write a page.")
@click.option("--json", "json_file", type=click.File("wb"), help="Write the figures; - is stdout.")
@click.option("--allow-failures", is_flag=True, help="Exit 0 even if requests failed.")
def command(
    url: str,
    pipeline: str,
    recording_path: Path,
    weeks: tuple[int, int] | None,
    limit: int | None,
    speed: float | None,
    rate: float | None,
    spacing: str,
    seed: int,
    in_flight: int,
    timeout_ns: int,
    score: str,
    html_path: Path | None,
    json_file: IO[bytes] | None,
    allow_failures: bool,
) -> None:
    """Send recorded requests to a daemon, open loop; report quality and latency.

    Latency counts from the moment a request was meant to be sent. Requests are never sent again.
    Exits 1 if any request was not answered.
    """
    recording = load_recording(recording_path)
    if weeks is not None:
        recording = recording.in_weeks(*weeks)
    if limit is not None:
        recording = recording.first(limit)
    due_ns = _due_ns(recording, speed, rate, spacing, seed)
    target = Target(url.rstrip("/"), pipeline, score, in_flight, timeout_ns)
    run = _replay(target, recording, due_ns)
    report = summarise(pipeline, recording, run)
    Console(stderr=json_file is not None).print(TextReport(report, run))
    if json_file is not None:
        json_file.write(write_json(report))
    if html_path is not None:
        html_path.write_text(write_html(report, run), "utf-8")
    if report.failed and not allow_failures:
        raise SedpError(f"{report.failed:,} of {report.sent:,} requests failed")


def _due_ns(
    recording: Recording, speed: float | None, rate: float | None, spacing: str, seed: int
) -> NDArray[np.int64]:
    """When to send each request, from the pace asked for."""
    if rate is None:
        return recorded_times_ns(recording.ts_s, 1.0 if speed is None else speed)
    if speed is not None:
        raise ConfigError("--speed and --rate exclude each other; give one")
    if spacing == "even":
        return even_times_ns(rate, len(recording))
    return poisson_times_ns(rate, len(recording), np.random.default_rng(seed))


def _replay(target: Target, recording: Recording, due_ns: NDArray[np.int64]) -> ReplayedRun:
    count = len(recording)
    seconds = format_duration(round(int(due_ns[-1]), -8))
    click.echo(f"sending {count:,} requests in {seconds} to {target.url}", err=True)
    with (
        click.progressbar(
            length=count,
            label="replay",
            file=sys.stderr,
            show_pos=True,
            update_min_steps=max(1, count // PROGRESS_STEPS),
        ) as bar,
        asyncio.Runner(loop_factory=precise_loop) as runner,
    ):
        return runner.run(replay(target, recording, due_ns, bar.update))
