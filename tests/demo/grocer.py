"""A small grocer of our own making, in the form of the real data set.

Households have favourite products, so there is something to learn; every number comes from one
seed. 16 households (12 with known attributes), 40 products, 3 stores (one without promotions),
53 weeks.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from sedp.demo.dataset import FOLDER

HOUSEHOLDS, KNOWN_HOUSEHOLDS, PRODUCTS, WEEKS = 16, 12, 40, 53
STORES = (300, 400, 500)
PROMOTED = 14
WEEK_S = 7 * 24 * 3600
START_S = 1483271606

Table = dict[str, list[Any]]


def make_tables(seed: int = 7) -> dict[str, Table]:
    """The four parquet files' columns by file name."""
    rng = np.random.default_rng(seed)
    return {
        "promotions": make_promotions(rng),
        "transactions": make_transactions(rng),
        "demographics": {
            "household_id": list(range(1, KNOWN_HOUSEHOLDS + 1)),
            "age": ["19-24", "65+", "35-44"] * 4,
            "income": ["35-49K", "Under 15K"] * 6,
            "home_ownership": ["Homeowner", None, "Renter"] * 4,
            "marital_status": [None, "Married"] * 6,
            "household_size": ["1", "2", "5+"] * 4,
            "household_comp": ["1 Adult No Kids"] * 12,
            "kids_count": ["0", "3+"] * 6,
        },
        "products": {
            "product_id": [1000 + number for number in range(PRODUCTS)],
            "manufacturer_id": [1 + number % 5 for number in range(PRODUCTS)],
            "department": ["GROCERY", "DELI"] * 20,
            "brand": ["National", "Private", "National", "National"] * 10,
            "product_category": [f"CATEGORY {number // 8}" for number in range(PRODUCTS)],
            "product_type": [
                None if number == 0 else f"TYPE {number // 4}" for number in range(PRODUCTS)
            ],
            "package_size": ["1 LB"] * PRODUCTS,
        },
    }


def make_promotions(rng: np.random.Generator) -> Table:
    """`PROMOTED` products in each week of the first two stores; one of them is listed twice."""
    rows = []
    for store in STORES[:2]:
        for week in range(1, WEEKS + 1):
            products = rng.choice(PRODUCTS, PROMOTED, replace=False)
            for product in [*products, products[0]]:
                places = rng.choice(["0", "1", "A"]), rng.choice(["0", "D", "Z"])
                rows.append((1000 + int(product), store, str(places[0]), str(places[1]), week))
    names = ("product_id", "store_id", "display_location", "mailer_location", "week")
    return {name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}


def make_transactions(rng: np.random.Generator) -> Table:
    """Two visits in three weeks for each household; favourites are half of a basket."""
    favourites = [rng.choice(PRODUCTS, 4, replace=False) for _ in range(HOUSEHOLDS)]
    rows: list[tuple[int, ...]] = []
    for week in range(1, WEEKS + 1):
        for household in np.flatnonzero(rng.random(HOUSEHOLDS) < 0.67):
            time_s = START_S + (week - 1) * WEEK_S + int(rng.integers(0, WEEK_S - 1))
            basket = {*rng.choice(favourites[household], 3), *rng.choice(PRODUCTS, 3)}
            store, number = int(rng.choice(STORES, p=(0.5, 0.4, 0.1))), 10_000_000_000 + len(rows)
            for product in sorted(basket):
                rows.append((int(household) + 1, store, number, 1000 + int(product), week, time_s))
    names = ("household_id", "store_id", "basket_id", "product_id", "week", "time_s")
    table = {
        name: list(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)
    }
    times = np.array(table.pop("time_s"), "datetime64[s]").astype("datetime64[ns]")
    return {**table, "transaction_timestamp": list(times)}


def write_wheel(path: Path, tables: dict[str, Table] | None = None) -> Path:
    """Write the tables as parquet files into a zip, as the real wheel has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, table in (tables or make_tables()).items():
            buffer = io.BytesIO()
            parquet.write_table(pa.table(table), buffer)
            archive.writestr(f"{FOLDER}/{name}.parquet", buffer.getvalue())
    return path
