"""Faults in the YAML itself."""

from __future__ import annotations

from tests.config.fault import STAGE, Fault
from tests.config.good import GOOD, change

GRAMMAR = [
    Fault("empty file", "# nothing\n", "# nothing", "", ("empty", "api_version: sedp/v1")),
    Fault("list at the top", "- rank\n", "- rank", "", ("list", "api_version, daemon")),
    Fault("tab", change("  drain", "\tdrain"), "\tdrain", "", ("spaces, not tabs",)),
    Fault(
        "open bracket",
        change("{k: 3,", "{k: 3, x: [1,"),
        "}\n        batch",
        "",
        ("not valid YAML", "brackets"),
    ),
    Fault("colon in text", change("../store", "a: b"), ": b", "", ("quotes",)),
    Fault("[n] in braces", change("{k: 3,", "{k: n[1],"), "[1], output", "", ("quote",)),
    Fault("control character", change("../store", "a\x07"), "\x07", "", ("control", "remove")),
    Fault("two documents", GOOD + "---\na: 1\n", "---", "", ("one per file",)),
    Fault(
        "twice", change("  drain", "  admin"), "admin: 10s", "daemon.admin", ("line 4", "remove")
    ),
    Fault(
        "stage twice",
        change("      top:", "      score:"),
        "score:\n        kind: top_k",
        f"{STAGE}.score",
        ("duplicate", "line 19"),
    ),
    Fault(
        "python tag",
        change("../store", "!!python/name:os.system x"),
        "!!python",
        "store.path",
        ("!!python/name:os.system", "remove"),
    ),
    Fault(
        "own tag",
        change("2.0", "!weight 2.0"),
        "!weight",
        f"{STAGE}.score.params.weight",
        ("tag !weight", "remove"),
    ),
    Fault(
        "no anchor",
        change("2.0", "*heavy"),
        "*heavy",
        f"{STAGE}.score.params.weight",
        ("*heavy", "define"),
    ),
    Fault(
        "list as key", change("{k: 3,", "{[k]: 3,"), "[k]", f"{STAGE}.top.params", ("plain text",)
    ),
    Fault(
        "no variable",
        change("8000", "${PORT_UNSET}"),
        "127.0.0.1:${",
        "daemon.listen",
        ("PORT_UNSET is not set", "${PORT_UNSET:-value}"),
    ),
    Fault("odd variable", change("8000", "${1}"), "127.0.0.1:${", "daemon.listen", ("$${",)),
]
