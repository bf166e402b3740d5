"""Faults in stages, and between settings that are good alone."""

from __future__ import annotations

from tests.config.fault import STAGE, Fault
from tests.config.good import GOOD, change

STAGES = [
    Fault(
        "unknown kind",
        change("top_k", "topk"),
        "topk",
        f"{STAGE}.top.kind",
        ("'top_k'", "module:Class"),
    ),
    Fault(
        "no module",
        change("ranking_stages:", "rankings:"),
        "rankings",
        f"{STAGE}.score.kind",
        ("rankings.py beside the config",),
    ),
    Fault(
        "no class",
        change(":Score", ":Scores"),
        "ranking_stages",
        f"{STAGE}.score.kind",
        ("did you mean 'Score'?",),
    ),
    Fault(
        "no stage",
        change(":Score", ":Helper"),
        "ranking_stages",
        f"{STAGE}.score.kind",
        ("subclass of sedp.stage.Stage",),
    ),
    Fault(
        "no struct",
        change(":Score", ":Loose"),
        "ranking_stages",
        f"{STAGE}.score.kind",
        ("subclass of sedp.stage.Params",),
    ),
    Fault(
        "impossible params",
        change(":Score", ":Impossible"),
        "ranking_stages",
        f"{STAGE}.score.kind",
        ("cannot be decoded", "mend its types"),
    ),
    Fault(
        "module breaks",
        change("ranking_stages:Score", "unimportable:Score"),
        "unimportable",
        f"{STAGE}.score.kind",
        ("'WIEGHT' is not defined (unimportable.py:4)",),
    ),
    Fault(
        "module's need",
        change("ranking_stages:Score", "needy:Score"),
        "needy",
        f"{STAGE}.score.kind",
        ("no_such_dependency", "install"),
    ),
    Fault(
        "class breaks",
        change(":Score", ":Unfinished"),
        "params:\n",
        f"{STAGE}.score.params",
        ("'jodlib' is not defined (ranking_stages.py:",),
    ),
    Fault(
        "stage refuses",
        change("2.0", "2.0\n          bias: 2.0"),
        "params:\n",
        f"{STAGE}.score.params",
        ("bias must differ from weight",),
    ),
]

BETWEEN = [
    Fault(
        "same port",
        change("8001", "8000"),
        "127.0.0.1:8000\n  drain",
        "daemon.admin",
        ("port 8000", "another"),
    ),
    Fault(
        "queue too short",
        change("rows_max: 512", "rows_max: 2048"),
        "1024",
        f"{STAGE}.top.queue_rows_max",
        ("2048", "raise"),
    ),
    Fault(
        "batch over queue",
        change("rows_max: 256", "rows_max: 2000"),
        "2000",
        f"{STAGE}.top.batch.rows_max",
        ("queue of 1024", "lower"),
    ),
    Fault(
        "wait over deadline",
        change("2ms", "300ms"),
        "300ms",
        f"{STAGE}.top.batch.wait",
        ("deadline of 200ms", "lower"),
    ),
    Fault(
        "wrong level",
        change("user: INT64[1]", "user: INT64[n]"),
        "score:\n",
        f"{STAGE}.score",
        ("INT64[1], but it is INT64[n]", "change"),
    ),
    Fault(
        "wrong datatype",
        change("item: INT64[n]", "item: INT32[n]"),
        "score:\n",
        f"{STAGE}.score",
        ("INT64[n], but it is INT32[n]",),
    ),
    Fault(
        "no such column",
        change("user: INT64[1]", "usr: INT64[1]"),
        "score:\n",
        f"{STAGE}.score",
        ("'score' waits for user", "add the column"),
    ),
    Fault(
        "output's shape",
        change("INT32[3]", "INT32[4]"),
        "INT32[4]",
        "pipelines.rank.outputs.best",
        ("INT32[4]", "write INT32[1, 3]"),
    ),
    Fault(
        "no such output",
        change("best: INT32", "bst: INT32"),
        "INT32[3]",
        "pipelines.rank.outputs.bst",
        ("did you mean 'best'?",),
    ),
    Fault(
        "provided twice",
        change("output: best", "output: item"),
        "top:\n",
        f"{STAGE}.top",
        ("'item'", "rename"),
    ),
    Fault(
        "after nobody",
        change("queue_rows_max: 1024", "after: [scores]"),
        "after",
        f"{STAGE}.top.after",
        ("did you mean 'score'?",),
    ),
    Fault(
        "cycle",
        change("2.0", "2.0\n        after: [top]"),
        "score:\n",
        f"{STAGE}.score",
        ("cycle", "break"),
    ),
    Fault(
        "dead end",
        GOOD + "      more: {kind: top_k, params: {k: 2, output: x}}\n",
        "more:",
        f"{STAGE}.more",
        ("dead end", "remove"),
    ),
]
