"""Import of the promo-rank tables into a parameter store.

Each table is published as a new version that replaces the one before in one step. All of them say
what was known at the end of the last validation week. Placement is there for the weeks that are
served and no others: promotions are planned ahead, so it is known before the week begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sedp.columns import Array
from sedp.demo.features import Features
from sedp.demo.impressions import VALID_WEEKS
from sedp.demo.keyed_rows import KeyedRows, Keys
from sedp.demo.model import Model
from sedp.demo.slots import (
    FM_TABLE,
    HISTORY_TABLES,
    HOUSEHOLD_FEATURES,
    PLACEMENT,
    PRODUCT_FEATURES,
    FeatureTable,
)
from sedp.demo.training import Tell
from sedp.storage.store import ParameterStore
from sedp.storage.table_spec import TableSpec

FIRST_SERVED_WEEK, FROZEN_WEEK = VALID_WEEKS
CHUNK_ROWS = 1 << 18

Contents = list[tuple[TableSpec, KeyedRows]]


def collect_tables(features: Features, model: Model) -> Contents:
    """Everything the pipeline looks up, ready to import."""
    histories = features.freeze_history(FROZEN_WEEK)
    contents = {
        HOUSEHOLD_FEATURES: features.households,
        PRODUCT_FEATURES: features.products,
        PLACEMENT: features.placement(FIRST_SERVED_WEEK),
        **{table: histories[table.name] for table in HISTORY_TABLES},
    }
    embedding = TableSpec(FM_TABLE, model.embedding.rows.shape[1], "float32")
    return [
        *((describe(table), content) for table, content in contents.items()),
        (embedding, model.embedding),
    ]


def describe(table: FeatureTable) -> TableSpec:
    """The store's description of a feature table; unknown keys read as zeros."""
    return TableSpec(table.name, len(table.columns), table.dtype, columns=table.columns)


def publish_tables(contents: Contents, path: Path, tell: Tell) -> None:
    """Import all tables into the store at `path`, made if it is not there.

    Daemons that follow the store may go on serving.

    Raises:
        StoreError: the store is open for writing elsewhere, or the disk failed.
    """
    total = sum(len(content.keys) for _, content in contents)
    done = 0
    with ParameterStore.open(path, ram_bytes=0, create=True) as store:
        for spec, content in contents:

            def tell_rows(rows: int, done: int = done, name: str = spec.name) -> None:
                tell((done + rows) / total, name)

            store.import_table(spec, cut_chunks(content), progress=tell_rows)
            done += len(content.keys)


def cut_chunks(content: KeyedRows) -> Iterator[tuple[Keys, Array]]:
    """The table in pieces of at most `CHUNK_ROWS` rows."""
    for start in range(0, len(content.keys), CHUNK_ROWS):
        chunk = slice(start, start + CHUNK_ROWS)
        yield content.keys[chunk], content.rows[chunk]
