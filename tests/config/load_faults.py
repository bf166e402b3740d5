"""Faults in what is done under load."""

from __future__ import annotations

from tests.config.fault import STAGE, Fault
from tests.config.good import change

RANK = "pipelines.rank"


def add(lines: str) -> str:
    """GOOD with more keys of the pipeline."""
    return change("    rows_max: 512\n", f"    rows_max: 512\n{lines}")


def add_to_score(lines: str, pipeline: str = "") -> str:
    """The same of the stage that makes the scores; with keys of the pipeline besides."""
    score = "        kind: ranking_stages:Score\n"
    return add(pipeline).replace(score, f"{score}{lines}")


SLO = "    slo: {p99: 20ms}\n"
TUNED = f"{SLO}    tuning: {{}}\n"

PLANNED = add(f"{SLO}    tuning: {{plan: rank.json}}\n")
TWO_PLANS = PLANNED + PLANNED.partition("pipelines:\n")[2].replace("  rank:", "  second:").replace(
    "    tuning: {plan: rank.json}", "    tuning: {plan: rank.json , every: 2s}"
)

LOAD = [
    Fault(
        "target above the deadline",
        add("    slo: {p99: 300ms}\n"),
        "300ms",
        f"{RANK}.slo.p99",
        ("300ms is above the pipeline's deadline of 200ms", "lower it"),
    ),
    Fault(
        "target without a unit",
        add("    slo: {p99: 20}\n"),
        "20}",
        f"{RANK}.slo.p99",
        ("20 of what?",),
    ),
    Fault(
        "no such controller",
        add("    admission: dagur\n"),
        "dagur",
        f"{RANK}.admission",
        ("did you mean 'dagor'?", "predicted_wait"),
    ),
    Fault(
        "controller without a target",
        add("    admission: seda\n"),
        "seda",
        f"{RANK}.admission",
        ("seda needs a target", "set slo, or write counters"),
    ),
    Fault(
        "controller that cannot isolate tenants",
        add("    slo: {p99: 20ms, isolate_tenants: true}\n    admission: vegas\n"),
        "true",
        f"{RANK}.slo.isolate_tenants",
        ("vegas cannot isolate tenants", "take predicted_wait"),
    ),
    Fault(
        "tuning without a target",
        add("    tuning: {every: 2s}\n"),
        "tuning",
        f"{RANK}.tuning",
        ("needs a target", "set slo, or leave it out"),
    ),
    Fault(
        "plan of two pipelines",
        TWO_PLANS,
        "rank.json ,",
        "pipelines.second.tuning.plan",
        ("'rank.json' is that of pipeline 'rank'", "name another file"),
    ),
    Fault(
        "default below the lowest level",
        add("    priorities: {levels: 3, default: 4}\n"),
        "4}",
        f"{RANK}.priorities.default",
        ("there are 3 levels, and 4 is above",),
    ),
    Fault(
        "too many levels",
        add("    priorities: {levels: 40}\n"),
        "40}",
        f"{RANK}.priorities.levels",
        ("from 1 to 16",),
    ),
    Fault(
        "user is no input",
        add("    user: usr\n"),
        "usr",
        f"{RANK}.user",
        ("'usr' is no input; did you mean 'user'?", "item, user"),
    ),
    Fault(
        "user of each candidate",
        add("    user: item\n"),
        "item\n    stages",
        f"{RANK}.user",
        ("a value for each candidate",),
    ),
    Fault(
        "timeout as long as the deadline",
        add_to_score("        timeout: 200ms\n"),
        "200ms\n        params",
        f"{STAGE}.score.timeout",
        ("200ms is no less than the pipeline's deadline",),
    ),
    Fault(
        "timeout of an inline stage",
        add_to_score("        timeout: 5ms\n        executor: inline\n"),
        "5ms",
        f"{STAGE}.score.timeout",
        ("nothing can end it", "executor: thread or auto"),
    ),
    Fault(
        "hedge after the timeout",
        add_to_score("        timeout: 5ms\n        hedge: 6ms\n"),
        "6ms",
        f"{STAGE}.score.hedge",
        ("given up after 5ms", "lower it below timeout"),
    ),
    Fault(
        "fallback of an unknown column",
        add_to_score("        fallback: {scor: 0.5}\n"),
        "0.5}",
        f"{STAGE}.score.fallback.scor",
        ("did you mean 'score'?", "it provides: score"),
    ),
    Fault(
        "fallback of another type",
        add_to_score("        fallback: {score: true}\n"),
        "true",
        f"{STAGE}.score.fallback.score",
        ("column 'score' is FP32[n]", "write a number"),
    ),
    Fault(
        "fallback too large",
        add_to_score("        fallback: {score: 1.0e+39}\n"),
        "1.0e+39",
        f"{STAGE}.score.fallback.score",
        ("out of its range",),
    ),
    Fault(
        "fallback that is no number",
        add_to_score("        fallback: {score: low}\n"),
        "low",
        f"{STAGE}.score.fallback.score",
        ("'low' does not fit",),
    ),
    Fault(
        "skipped without a fallback",
        add_to_score("        skip_above: 0.8\n", SLO),
        "0.8",
        f"{STAGE}.score.skip_above",
        ("nothing to go on with", "set fallback"),
    ),
    Fault(
        "skipped without a target",
        add_to_score("        skip_above: 0.8\n        fallback: {}\n"),
        "0.8",
        f"{STAGE}.score.skip_above",
        ("without an slo there is no pressure",),
    ),
    Fault(
        "breaker of no share",
        add_to_score("        breaker: {share: 0}\n"),
        "0}",
        f"{STAGE}.score.breaker.share",
        ("above 0 and at most 1",),
    ),
    Fault(
        "bounds of what nobody moves",
        add_to_score("        bounds: {concurrency: [1, 2]}\n", SLO),
        "bounds",
        f"{STAGE}.score.bounds",
        ("set the pipeline's tuning",),
    ),
    Fault(
        "bounds without the start",
        add_to_score("        bounds: {batch_rows: [64, 512]}\n", TUNED),
        "batch_rows",
        f"{STAGE}.score.bounds.batch_rows",
        ("starts with batch.rows_max 1024", "not within 64 and 512"),
    ),
    Fault(
        "bounds that are no pair",
        add_to_score("        bounds: {concurrency: [1]}\n", TUNED),
        "concurrency",
        f"{STAGE}.score.bounds.concurrency",
        ("a list of 1 does not fit; write a pair [least, most]",),
    ),
    Fault(
        "bounds upside down",
        add_to_score("        bounds: {batch_wait: [2ms, 1ms]}\n", TUNED),
        "batch_wait",
        f"{STAGE}.score.bounds.batch_wait",
        ("the least, 2ms, is above the most, 1ms",),
    ),
    Fault(
        "bounds below one request",
        add_to_score("        bounds: {queue_rows: [256, 65536]}\n", TUNED),
        "queue_rows: [",
        f"{STAGE}.score.bounds.queue_rows",
        ("256 rows cannot hold one request", "512"),
    ),
    Fault(
        "executor that is none",
        add_to_score("        bounds: {executors: [auto, threads]}\n", TUNED),
        "threads",
        f"{STAGE}.score.bounds.executors[1]",
        ("did you mean 'thread'?",),
    ),
    Fault(
        "executors without one",
        add_to_score("        bounds: {executors: []}\n", TUNED),
        "executors",
        f"{STAGE}.score.bounds.executors",
        ("a list of 0 does not fit",),
    ),
    Fault(
        "executors without the start",
        add_to_score("        bounds: {executors: [inline, thread]}\n", TUNED),
        "executors",
        f"{STAGE}.score.bounds.executors",
        ("starts with executor auto", "not among inline, thread; add it, or change executor"),
    ),
    Fault(
        "executor named twice",
        add_to_score("        bounds: {executors: [auto, auto]}\n", TUNED),
        "executors",
        f"{STAGE}.score.bounds.executors",
        ("auto, auto names one twice",),
    ),
    Fault(
        "runs that nothing can end",
        add_to_score("        timeout: 5ms\n        bounds: {executors: [auto, inline]}\n", TUNED),
        "executors",
        f"{STAGE}.score.bounds.executors",
        ("nothing can end it, and the stage has a timeout; leave inline out, or timeout",),
    ),
]
