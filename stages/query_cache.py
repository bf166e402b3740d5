"""Query cache, first half: candidates scored lately leave, the others go on in a smaller batch.

`query_cache` narrows to the candidates that have to be computed; `query_cache_fill`, behind the
stages that compute them, keeps their scores and puts everybody's together. All that the second
half knows of a request (its keys, when it was looked up, in which table) comes to it in columns
`NAME.…` of the first: so both always mean the same key, and a pipeline that is replaced shares
nothing with the one before. Once a table of the store has another current version, all scores that
were asked for before are void.

Finding and keeping scores has its price for every candidate, hit or not. It is soon earned around a
costly ranker; around a cheap one it is lost where fewer than some 50 to 60 % of the candidates hit.
`python -m bench query_cache_live` measures both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array, Batch, ColumnSpec, Level, zero_batch
from sedp.stage import Resources, Stage, Store
from sedp.stages.score_table import Ages, CacheStatistics, ScoreKeys, ScoreTable
from sedp.stages.table_keys import level_of, raw_keys
from sedp.units import HOUR, MIB, MILLISECOND, MINUTE, SECOND, byte_count, duration

PRESSURE = "engine.pressure"
OWN_COLUMNS = {"item", "source", "reference", "miss", "stale", "lost"}

Name = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z][a-z0-9_]*$",
        description="Of this cache: its columns are NAME.miss and so on.",
    ),
]


def shared_columns(name: str, scores: Sequence[str]) -> dict[str, ColumnSpec]:
    """What the first half tells the second, as the loops of both read and write it.

    The scores are part of a name, for both halves must agree on them.
    """
    item, request = Level.ITEM, Level.REQUEST
    return {
        **{f"{name}.{score}": ColumnSpec("FP32", item) for score in sorted(scores)},
        f"{name}.item": ColumnSpec("INT64", item),
        f"{name}.source": ColumnSpec("UINT8", item),
        f"{name}.reference": ColumnSpec("INT64", item),
        # User, tenant, candidates looked up, when, and the number of the table.
        f"{name}.request[{', '.join(sorted(scores))}]": ColumnSpec("INT64", request, (5,)),
    }


class QueryCache(Stage):
    """Answers candidates whose scores were computed lately; the others go on."""

    class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
        user: Annotated[str, msgspec.Meta(description="Integer column, one value a request.")]
        item: Annotated[str, msgspec.Meta(description="Integer column, one value a candidate.")]
        scores: Annotated[
            list[str],
            msgspec.Meta(min_length=1, description="Columns that the other half provides."),
        ]
        name: Name = "cache"
        ttl_ns: Annotated[
            int, duration(MILLISECOND, 24 * HOUR, "Age up to which a score is good.")
        ] = msgspec.field(name="ttl", default=2 * MINUTE)
        stale_ttl_ns: Annotated[
            int, duration(MILLISECOND, 24 * HOUR, "Age up to which it is better than nothing.")
        ] = msgspec.field(name="stale_ttl", default=10 * MINUTE)
        stale_above: Annotated[
            float,
            msgspec.Meta(
                ge=0,
                le=10,
                description="Pressure from which such scores are served, and answers with one "
                "marked degraded; 0: never.",
            ),
        ] = 0.0
        pending_ns: Annotated[
            int,
            duration(
                0,
                SECOND * 10,
                "How long a candidate that another request has to compute is waited for; 0s: "
                "each request computes its own.",
            ),
        ] = msgspec.field(name="pending", default=100 * MILLISECOND)
        fallback: Annotated[
            float,
            msgspec.Meta(
                description="Score of a candidate that was waited for in vain; its answer is "
                "marked degraded."
            ),
        ] = 0.0
        memory_bytes: Annotated[int, byte_count(MIB, MIB << 20, "What the scores may take.")] = (
            msgspec.field(name="memory", default=64 * MIB)
        )

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        if len(set(params.scores)) < len(params.scores):
            raise ValueError(f"scores {params.scores} name a column twice; name each once")
        if taken := OWN_COLUMNS & set(params.scores):
            raise ValueError(f"scores are called {sorted(taken)}, as columns of the cache; rename")
        self._ages = Ages(params.ttl_ns, params.stale_ttl_ns, params.pending_ns)
        self._columns = shared_columns(params.name, params.scores)
        self._table: ScoreTable | None = None
        self._store: Store | None = None
        self._publications = 0

    @property
    def requires(self) -> Mapping[str, ColumnSpec | None]:
        told = ["engine.now_ns", "engine.tenant", *([PRESSURE] if self.params.stale_above else [])]
        return dict.fromkeys([self.params.user, self.params.item, *told])

    def provides(self, inputs: Mapping[str, ColumnSpec]) -> Mapping[str, ColumnSpec]:
        for name, level in (self.params.user, Level.REQUEST), (self.params.item, Level.ITEM):
            if level_of([name], inputs) is not level:
                raise ValueError(
                    f"column {name!r} is {inputs[name]}, but the user is one a request and the "
                    "item one a candidate; name other columns"
                )
        return {
            **self._columns,
            self.narrows: ColumnSpec("BOOL", Level.ITEM),
            self.degrades: ColumnSpec("BOOL", Level.REQUEST),
        }

    @property
    def narrows(self) -> str:
        return f"{self.params.name}.miss"

    @property
    def degrades(self) -> str:
        return f"{self.params.name}.stale"

    def open(self, resources: Resources) -> None:
        params = self.params
        self._table = ScoreTable(
            len(params.scores), params.memory_bytes, self._ages, params.fallback
        )
        self._store = resources.store
        self._publications = self._published()

    def _published(self) -> int:
        return 0 if self._store is None else self._store.publications

    def close(self) -> None:
        self._table = self._store = None

    def examples(self, inputs: Mapping[str, ColumnSpec]) -> Sequence[Batch]:
        """No events: nobody's scores are looked up, and no candidate is marked."""
        return (zero_batch(inputs, ()),)

    def process(self, batch: Batch) -> Mapping[str, Array]:
        assert self._table is not None, "process before open"
        params, events = self.params, batch.event_count
        keys = ScoreKeys(
            raw_keys(batch[params.user]),
            raw_keys(batch["engine.tenant"]),
            raw_keys(batch[params.item]),
            batch.splits,
        )
        now_ns = int(batch["engine.now_ns"][0]) if events else 0
        may_be_stale = bool(
            events and params.stale_above and batch[PRESSURE][0] >= params.stale_above
        )
        publications = self._published()
        if events and publications != self._publications:
            self._table.void(now_ns)  # before anybody goes by the number
            self._publications = publications
        found = self._table.look_up(keys, now_ns, may_be_stale=may_be_stale)
        request = np.empty((events, 5), np.int64)
        request[:, 0], request[:, 1] = keys.users.view(np.int64), keys.tenants.view(np.int64)
        request[:, 2] = batch.splits[1:] - batch.splits[:-1]
        request[:, 3:] = now_ns, self._table.number
        kept = (*found.scores, keys.items.view(np.int64), found.source, found.reference, request)
        told = dict(zip(self._columns, kept, strict=True))
        return {**told, self.narrows: found.miss, self.degrades: found.stale}

    def feedback(self, users: NDArray[np.uint64], now_ns: int) -> None:
        """Let go of what is known of these users, in every tenant; from any thread.

        Args:
            users: uint64[n], values of the user column; negative ones wrap.
            now_ns: on the engine's clock.
        """
        if self._table is not None:
            self._table.note_feedback(users, now_ns)

    def statistics(self) -> CacheStatistics | None:
        """Counts of both halves, `None` when the stage is not open."""
        return self._table.statistics() if self._table is not None else None
