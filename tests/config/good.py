"""A good config to start from: every test changes one thing in it."""

GOOD = """\
api_version: sedp/v1
daemon:
  listen: 127.0.0.1:8000
  admin: 127.0.0.1:8001
  drain: 10s
store:
  path: ../store
  ram: 64MiB
pipelines:
  rank:
    inputs:
      user: INT64[1]
      item: INT64[n]
    outputs:
      best: INT32[3]
    deadline: 200ms
    rows_max: 512
    stages:
      score:
        kind: ranking_stages:Score
        params:
          weight: 2.0
      top:
        kind: top_k
        params: {k: 3, output: best}
        batch: {rows_max: 256, wait: 2ms}
        queue_rows_max: 1024
"""


def change(old: str, new: str) -> str:
    """GOOD with its one `old` replaced by `new`."""
    assert GOOD.count(old) == 1, f"{old!r} must be there once"
    return GOOD.replace(old, new)
