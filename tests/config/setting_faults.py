"""Faults in single keys and values."""

from __future__ import annotations

from tests.config.fault import STAGE, Fault
from tests.config.good import change

KEYS = [
    Fault(
        "version",
        change("sedp/v1", "sedp/v2"),
        "sedp/v2",
        "api_version",
        ("'sedp/v2'", "'sedp/v1'"),
    ),
    Fault("unknown at the top", change("store:", "sotre:"), "sotre", "sotre", ("'store'",)),
    Fault("unknown in daemon", change("listen", "lisen"), "lisen", "daemon.lisen", ("'listen'",)),
    Fault(
        "unknown in stage",
        change("batch", "bacth"),
        "bacth",
        f"{STAGE}.top.bacth",
        ("'batch'", "known here: kind, params"),
    ),
    Fault(
        "unknown in batch",
        change("wait", "delay"),
        "delay",
        f"{STAGE}.top.batch.delay",
        ("known here: rows_max, wait",),
    ),
    Fault(
        "unknown in params",
        change("weight", "wieght"),
        "wieght",
        f"{STAGE}.score.params.wieght",
        ("'weight'",),
    ),
    Fault(
        "missing",
        change("    outputs:\n      best: INT32[3]\n", ""),
        "rank:",
        "pipelines.rank",
        ("'outputs' is missing", "Tensors of the answer"),
    ),
    Fault(
        "missing in params",
        change("k: 3, ", ""),
        "params: {",
        f"{STAGE}.top.params",
        ("'k' is missing", "add k: a whole number from 1 to 10000"),
    ),
    Fault(
        "pipeline's name",
        change("  rank:", "  Rank One:"),
        "Rank One",
        "pipelines.Rank One",
        ("a-z",),
    ),
    Fault(
        "column's name",
        change("user:", "9user:"),
        "9user",
        "pipelines.rank.inputs.9user",
        ("starting with a letter",),
    ),
]

VALUES = [
    Fault("no unit", change("10s", "10"), "10\n", "daemon.drain", ("10 of what?", "5ms")),
    Fault(
        "unknown unit", change("10s", "10sec"), "10sec", "daemon.drain", ("'sec'", "ms, s, m, h")
    ),
    Fault("too long", change("10s", "2h"), "2h", "daemon.drain", ("'2h'", "from 0s to 10m")),
    Fault("bytes' unit", change("64MiB", "64mb"), "64mb", "store.ram", ("'mb'", "KiB, MiB, GiB")),
    Fault(
        "store's mode",
        change("ram: 64MiB", "mode: folow"),
        "folow",
        "store.mode",
        ("did you mean 'follow'?", "follow, write"),
    ),
    Fault(
        "miss mode",
        change("ram: 64MiB", "tables: {user: {misses: {mode: fil}}}"),
        "fil}",
        "store.tables.user.misses.mode",
        ("did you mean 'fill'?", "default, fill, wait"),
    ),
    Fault(
        "threshold above one",
        change("ram: 64MiB", "tables: {user: {misses: {mode: fill, above: 95}}}"),
        "95}",
        "store.tables.user.misses.above",
        ("95 does not fit", "from 0", "to 1"),
    ),
    Fault(
        "threshold without filling",
        change("ram: 64MiB", "tables: {user: {misses: {above: 0.5}}}"),
        "0.5}",
        "store.tables.user.misses.above",
        ("is for mode fill, and mode is wait; leave it out",),
    ),
    Fault(
        "ram outside of its bounds",
        change("ram: 64MiB", "ram: 64MiB\n  ram_bounds: [1MiB, 32MiB]"),
        "ram_bounds: [1MiB",
        "store.ram_bounds",
        ("ram is 64MiB, outside of 1MiB to 32MiB; change one",),
    ),
    Fault(
        "norm of nothing",
        change("ram: 64MiB", "mode: write\n  tables: {user: {norm_max: 0}}"),
        "0}",
        "store.tables.user.norm_max",
        ("0 does not fit", "above 0"),
    ),
    Fault(
        "bound of updates where there are none",
        change("ram: 64MiB", "tables: {user: {norm_max: 8}}"),
        "8}",
        "store.tables.user.norm_max",
        ("mode follow takes none; write mode: write, or leave it out",),
    ),
    Fault(
        "table's name",
        change("ram: 64MiB", "tables: {User: {}}"),
        "User",
        "store.tables.User",
        ("a-z",),
    ),
    Fault("too many bytes", change("64MiB", "2TiB"), "2TiB", "store.ram", ("from 0B to 1TiB",)),
    Fault(
        "open to all",
        change("127.0.0.1:8000", "0.0.0.0:8000"),
        "0.0.0.0",
        "daemon.listen",
        ("other machines", "daemon.tls and daemon.auth", "127.0.0.1:8000", "proxy"),
    ),
    Fault(
        "port twice", change("8001", "8000"), "127.0.0.1:8000\n  drain", "daemon.admin", ("listen",)
    ),
    Fault(
        "relative socket",
        change("127.0.0.1:8000", "unix:run/sedp.sock"),
        "unix:run",
        "daemon.listen",
        ("'run/sedp.sock'", "absolute"),
    ),
    Fault(
        "quotas of nobody",
        change("  drain: 10s", "  tenants: {acme: {in_flight_max: 3}}"),
        "tenants:",
        "daemon.tenants",
        ("set daemon.auth",),
    ),
    Fault(
        "no port",
        change("127.0.0.1:8000", "127.0.0.1"),
        "127.0.0.1\n",
        "daemon.listen",
        ("host:port",),
    ),
    Fault(
        "zero",
        change("rows_max: 512", "rows_max: 0"),
        "0\n    stages",
        "pipelines.rank.rows_max",
        ("0 does not fit", "from 1 to 1048576"),
    ),
    Fault(
        "text for number",
        change("weight: 2.0", "weight: heavy"),
        "heavy",
        f"{STAGE}.score.params.weight",
        ("'heavy'", "a number"),
    ),
    Fault(
        "above limit",
        change("weight: 2.0", "weight: 200"),
        "200\n",
        f"{STAGE}.score.params.weight",
        ("a number, above 0 and at most 100",),
    ),
    Fault(
        "yes",
        change("queue_rows_max: 1024", "concurrency: yes"),
        "yes",
        f"{STAGE}.top.concurrency",
        ("'yes'", "whole number"),
    ),
    Fault(
        "choice",
        change("queue_rows_max: 1024", "executor: treads"),
        "treads",
        f"{STAGE}.top.executor",
        ("did you mean 'thread'?", "auto, inline, thread"),
    ),
    Fault(
        "no value",
        change("200ms", ""),
        " \n    rows_max",
        "pipelines.rank.deadline",
        ("empty value", "duration"),
    ),
    Fault(
        "list for mapping",
        change("{k: 3, output: best}", "[k, 3]"),
        "params: [k",
        f"{STAGE}.top.params",
        ("list of 2", "mapping"),
    ),
    Fault(
        "datatype",
        change("user: INT64[1]", "user: INTEGER[1]"),
        "INTEGER",
        "pipelines.rank.inputs.user",
        ("'INTEGER'", "INT64"),
    ),
    Fault(
        "shape",
        change("INT64[n]", "INT64[n, m]"),
        "INT64[n, m]",
        "pipelines.rank.inputs.item",
        ("numbers",),
    ),
]
