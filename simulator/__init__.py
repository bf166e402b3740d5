"""The side door: the serving scheduler under a virtual clock, and replays against a daemon.

`loop` drives the very `Scheduler` that serves, from a heap instead of an event loop, with traffic
from `shapes`, `traffic` and `callers`; `search` finds the best static plan on it; `rerun` repeats a
live run from its stimulus log; `replay` sends recorded requests to a running daemon.
"""
