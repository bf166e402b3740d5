"""`sedp check`: everything a config comes to, or all that is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import RenderableType

    from sedp.config.explanation import (
        CareExplanation,
        Explanation,
        Flow,
        PipelineExplanation,
        StageExplanation,
    )


@click.command(
    epilog="Examples:\n\n  sedp check configs/promo-rank.yaml\n\n"
    "  PORT=9000 sedp check configs/promo-rank.yaml\n\n"
    "  sedp check --json configs/promo-rank.yaml | jq '.pipelines[].stages[].name'"
)
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the explanation as JSON.")
def command(config: Path, as_json: bool) -> None:
    """Explain the compiled graph of CONFIG, or say what is wrong with it.

    Checks all that needs no model, no store and no socket: grammar, limits, stage kinds and their
    params, and the types of the columns between stages. Opens nothing.

    Exit codes: 0 the config is good; 2 it is not, and each fault is a line on stderr with file,
    line, column, key and mend.
    """
    import msgspec

    from sedp.config.explanation import explain
    from sedp.config.loading import load

    explanation = explain(load(config, os.environ))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(explanation)))
    else:
        _print(explanation, config)


def _print(explanation: Explanation, config: Path) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    stages = sum(len(pipeline.stages) for pipeline in explanation.pipelines)
    counts = f"{_count(len(explanation.pipelines), 'pipeline')}, {_count(stages, 'stage')}"
    console.print(Text.assemble((str(config), "bold"), (" is good", "green"), f": {counts}"))
    facts = [
        ("listen", explanation.listen),
        ("admin", explanation.admin),
        *([("store", explanation.store)] if explanation.store else []),
        ("threads", _describe_threads(explanation)),
    ]
    console.print(_grid(facts))
    for pipeline in explanation.pipelines:
        console.print()
        console.print(_draw_pipeline(pipeline))


def _draw_pipeline(pipeline: PipelineExplanation) -> RenderableType:
    from rich.text import Text
    from rich.tree import Tree

    from sedp.units import format_duration

    limits = [
        ("deadline", format_duration(pipeline.deadline_ns)),
        *([("target", _describe_target(pipeline))] if pipeline.target_ns else []),
        ("in flight", f"up to {pipeline.in_flight_max:,} events of {pipeline.rows_max:,} rows"),
        (
            "columns",
            f"up to {_approximate(pipeline.event_bytes_max)} an event, "
            f"{_approximate(pipeline.in_flight_bytes_max)} in flight",
        ),
    ]
    tree = Tree(Text(pipeline.name, "bold cyan"), guide_style="dim")
    tree.add(_grid(limits))
    tree.add(_block(Text("request", "bold"), [("brings", _list(pipeline.inputs, sources=False))]))
    for stage in pipeline.stages:
        tree.add(_draw_stage(stage))
    tree.add(_block(Text("answer", "bold"), [("holds", _list(pipeline.outputs))]))
    return tree


def _draw_stage(stage: StageExplanation) -> RenderableType:
    from rich.text import Text

    module, _, name = stage.stage_class.partition(":")
    title = Text.assemble((stage.name, "bold cyan"), f"  {name} ", (module, "dim"))
    columns = {flow.source for flow in stage.reads}
    only_after = [name for name in stage.after if name not in columns]
    return _block(
        title,
        [
            ("reads", _list(stage.reads)),
            *([("after", ", ".join(only_after))] if only_after else []),
            ("writes", _list(stage.writes, sources=False)),
            ("plan", _describe_plan(stage)),
            *([("care", care)] if (care := _describe_care(stage.care)) else []),
        ],
    )


def _describe_threads(explanation: Explanation) -> str:
    workers = _count(explanation.workers, "worker")
    return (
        f"{explanation.threads.onnx_intra_op} in a run; {workers} on "
        f"{_count(explanation.cores, 'core')}"
    )


def _describe_target(pipeline: PipelineExplanation) -> str:
    from sedp.units import format_duration

    tuned = "; knobs are tuned" if pipeline.tuned else ""
    levels = f", {pipeline.levels} levels" if pipeline.levels > 1 else ""
    return (
        f"p99 {format_duration(pipeline.target_ns)}; admission {pipeline.admission}{levels}{tuned}"
    )


def _describe_plan(stage: StageExplanation) -> str:
    from sedp.units import format_duration

    wait = format_duration(stage.batch_wait_ns) if stage.batch_wait_ns else "none"
    return (
        f"{_count(stage.concurrency, 'run')} at once; batch up to {stage.batch_rows_max:,} rows, "
        f"wait {wait}; queue up to {stage.queue_rows_max:,} rows; executor {stage.executor}"
    )


def _describe_care(care: CareExplanation) -> str:
    from sedp.units import format_duration

    parts = []
    if care.timeout_ns:
        parts.append(f"given up after {format_duration(care.timeout_ns)}")
    if care.hedge_ns:
        parts.append(f"started again after {format_duration(care.hedge_ns)}")
    if care.skip_above:
        parts.append(f"skipped above pressure {care.skip_above:g}")
    if care.breaker_share:
        pause = format_duration(care.breaker_pause_ns)
        parts.append(f"left alone for {pause} when {care.breaker_share:.0%} of its runs fail")
    if care.fallback is not None:
        values = ", ".join(f"{column} {value}" for column, value in care.fallback.items())
        parts.append(f"falls back to {values}")
    return "; ".join(parts)


def _list(flows: Sequence[Flow], *, sources: bool = True) -> RenderableType:
    """A line a column: name, type, and where it comes from; aligned, wrapping only at its end."""
    from rich.text import Text

    name_chars = max((len(flow.name) for flow in flows), default=0)
    type_chars = max((len(flow.type) for flow in flows), default=0)
    lines = [
        Text.assemble(
            f"{flow.name:<{name_chars}}  ",
            (f"{flow.type:<{type_chars}}" if sources else flow.type, "magenta"),
            (f"  from {flow.source}" if sources else "", "dim"),
        )
        for flow in flows
    ]
    return Text("\n").join(lines) if flows else Text("nothing", "dim")


def _block(title: RenderableType, rows: Sequence[tuple[str, RenderableType]]) -> RenderableType:
    from rich.console import Group

    return Group(title, _grid(rows))


def _grid(rows: Sequence[tuple[str, RenderableType]]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in rows:
        shown = Text(value) if isinstance(value, str) else value  # a type's [n] is no markup
        table.add_row(Text(name, "dim", no_wrap=True), shown)
    return table


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _approximate(count: int) -> str:
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} TiB"
