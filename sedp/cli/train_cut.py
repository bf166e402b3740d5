"""`sedp train-cut`: the net of a candidate cut, from recorded requests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sedp.cli.options import parse_weeks, progress_bar
from sedp.errors import ConfigError

if TYPE_CHECKING:
    from sedp.columns import Array, Batch
    from sedp.config.loading import Config
    from sedp.pipeline import Pipeline
    from sedp.simulator.recording import Recording
    from sedp.stages.candidate_cut import CandidateCut, CheapScore
    from sedp.stages.cut_net import CutNet
    from sedp.stages.cut_training import ScoredRequests

BATCH_ROWS = 1 << 14
RAM_BYTES = 128 << 20  # of the store, while the requests are scored
DIGITS = 3  # of a fitted weight, as it is to be read and typed

EXAMPLES = """\b
Examples:
  sedp train-cut configs/promo-rank-cut.yaml --recording .sedp/wide-recording.npz \\
      --weeks 48-50 --held-out 51-53
  sedp train-cut mine.yaml --recording requests.npz --weeks 1-8 --held-out 9-10 --fit-score
"""


@click.command("train-cut", epilog=EXAMPLES)
@click.argument("config_path", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option(
    "--recording",
    "recording_path",
    required=True,
    type=click.Path(path_type=Path),
    help="Requests in columns, .npz.",
)
@click.option("--weeks", callback=parse_weeks, required=True, help="To learn from, e.g. 48-50.")
@click.option("--held-out", callback=parse_weeks, required=True, help="To judge by, e.g. 51-53.")
@click.option("--pipeline", default="", help="Which of CONFIG; not needed if there is only one.")
@click.option("--score", default="score", show_default=True, help="Column of the full score.")
@click.option(
    "--top", type=click.IntRange(1, 1000), default=10, show_default=True, help="Places that count."
)
@click.option("--out", type=click.Path(path_type=Path), help="Default: what `learned` names.")
@click.option("--seed", default=1, show_default=True, help="Of the first weights.")
@click.option(
    "--fit-score",
    is_flag=True,
    help="Fit the weights of `score: {linear: …}` first, and print them to be put into CONFIG.",
)
def command(
    config_path: Path,
    recording_path: Path,
    weeks: tuple[int, int],
    held_out: tuple[int, int],
    pipeline: str,
    score: str,
    top: int,
    out: Path | None,
    seed: int,
    fit_score: bool,
) -> None:
    """Train what tells the candidate cut of CONFIG how deep it may cut.

    Runs the recorded requests through the pipeline in this process, uncut, and learns from both
    scores of every candidate what each depth would cost: 1 - NDCG of the places that count, against
    the full ranking. Prints what that comes to on the weeks held out, beside cutting every request
    to the same share. The requests should have as many candidates as those to be served.
    """
    from sedp.config.loading import load
    from sedp.demo.manifest import written_whole
    from sedp.simulator.recording import load_recording
    from sedp.stages.cut_logs import find_cut
    from sedp.stages.cut_training import CutTraining, judge_cut, train_cut

    config = load(config_path, os.environ)
    chosen = _choose(config, pipeline)
    _, cut = find_cut(chosen)
    path = out or _weights_path(config, cut)
    recording = load_recording(recording_path)
    parts = [recording.in_weeks(*weeks), recording.in_weeks(*held_out)]
    with _opened(config, chosen):
        learned, judged = (_scored(chosen, part, score) for part in parts)
    cheap = cut.params.score
    if fit_score:
        cheap = _fitted(cheap, *learned)
        learned, judged = (_scored_anew(cheap, *part) for part in (learned, judged))
        click.echo(_as_yaml(cheap))
    rows_min = cut.params.rows_min
    settings = CutTraining(top=top, rows_min=rows_min, seed=seed)
    with progress_bar("training", settings.epochs) as progress:
        net = train_cut(cheap.text, learned[0], settings, lambda done, total: progress(done))
    net = judge_cut(net, judged[0], rows_min)
    with written_whole(path) as incoming:
        net.save(incoming)
    click.echo(_table(net))
    click.echo(f"{path} is written")


def _choose(config: Config, name: str) -> Pipeline:
    found = [pipeline for pipeline in config.pipelines if name in ("", pipeline.name)]
    if len(found) != 1:
        names = ", ".join(pipeline.name for pipeline in config.pipelines)
        raise ConfigError(f"--pipeline {name!r} names {len(found)} pipelines; choose of: {names}")
    return found[0]


def _weights_path(config: Config, cut: CandidateCut) -> Path:
    if cut.params.learned is None:
        raise ConfigError("the candidate cut has no `learned` weights to write; give --out FILE")
    path: Path = config.path.parent / cut.params.learned.weights
    return path


@contextmanager
def _opened(config: Config, pipeline: Pipeline) -> Iterator[None]:
    """All stages but the cut, whose weights may not be there yet."""
    from contextlib import ExitStack

    from sedp.cores import usable_cores
    from sedp.stage import Resources
    from sedp.stages.candidate_cut import CandidateCut
    from sedp.storage.store import ParameterStore

    with ExitStack() as stack:
        store = None
        if config.store is not None:
            opening = ParameterStore.open(
                Path(config.store.path), ram_bytes=RAM_BYTES, read_only=True
            )
            store = stack.enter_context(opening)
        for bound in pipeline.stages:
            stage = bound.use.stage
            if not isinstance(stage, CandidateCut):
                stage.open(Resources(config.path.parent, usable_cores(), store))
                stack.callback(stage.close)
        yield


def _scored(
    pipeline: Pipeline, recording: Recording, score: str
) -> tuple[ScoredRequests, dict[str, Array]]:
    from sedp.stages.cut_logs import score_requests

    with progress_bar("scoring requests", len(recording)) as progress:
        return score_requests(pipeline, _batches(pipeline, recording, progress), score)


def _batches(
    pipeline: Pipeline, recording: Recording, progress: Callable[[int], None]
) -> Iterator[Batch]:
    """The requests in batches of about `BATCH_ROWS` rows."""
    import numpy as np

    from sedp.columns import Batch, Level

    missing = sorted(pipeline.inputs.keys() - recording.columns.keys())
    if missing:
        raise ConfigError(f"the recording lacks the columns {missing}, inputs of the pipeline")
    splits, first = recording.splits, 0
    while first < len(recording):
        stop = int(np.searchsorted(splits, splits[first] + BATCH_ROWS, side="right")) - 1
        stop = max(stop, first + 1)
        rows = slice(splits[first], splits[stop])
        columns = {
            name: recording.columns[name][
                rows if tensor.column.level is Level.ITEM else slice(first, stop)
            ]
            for name, tensor in pipeline.inputs.items()
        }
        yield Batch(columns, splits[first : stop + 1] - splits[first])
        first = stop
        progress(first)


def _fitted(cheap: CheapScore, requests: ScoredRequests, used: dict[str, Array]) -> CheapScore:
    """The same columns with weights that rank most like the full score."""
    import msgspec
    import numpy as np

    from sedp.stages.cut_training import fit_linear

    if not cheap.linear:
        raise ConfigError("--fit-score needs `score: {linear: …}` in the candidate cut's params")
    columns = [used[name].reshape(len(requests.full), -1) for name in cheap.linear]
    weights = fit_linear(np.concatenate(columns, axis=1), requests.full, requests.splits)
    own = np.split(weights, np.cumsum([column.shape[1] for column in columns])[:-1])
    fitted = {
        name: [_rounded(weight) for weight in part] if isinstance(old, list) else _rounded(part[0])
        for (name, old), part in zip(cheap.linear.items(), own, strict=True)
    }
    return msgspec.structs.replace(cheap, linear=fitted)


def _rounded(weight: float) -> float:
    return float(f"{weight:.{DIGITS}g}")


def _scored_anew(
    cheap: CheapScore, requests: ScoredRequests, used: dict[str, Array]
) -> tuple[ScoredRequests, dict[str, Array]]:
    from dataclasses import replace

    return replace(requests, cheap=cheap.of(used)), used


def _as_yaml(cheap: CheapScore) -> str:
    lines = [f"    {name}: {weight}" for name, weight in cheap.linear.items()]
    return "\n".join(["score:", "  linear:", *lines])


def _table(net: CutNet) -> str:
    """What was kept and lost on the requests held out."""
    from sedp.stages.cut_net import SHARES

    report = net.report
    fixed = [
        f"  {share:6.1%} of every request kept: loss {loss:.3%}"
        for share, loss in zip(SHARES, report["share_loss"], strict=True)
    ]
    learned = [
        f"  loss up to {limit:.1%} allowed: {share:6.1%} of all kept, loss {loss:.3%}"
        for limit, share, loss in zip(
            report["limits"], report["learned_share"], report["learned_loss"], strict=True
        )
    ]
    head = f"on {int(report['requests']):,} requests held out (loss: 1 - NDCG@{net.top})"
    return "\n".join([head, "the same share of every request:", *fixed, "learned:", *learned])
