"""Paths with names in them, beside paths that are written out."""

from __future__ import annotations

import pytest

from sedp.daemon.http.dispatch import Call, Route, json_response
from sedp.daemon.http.path_table import PathTable
from sedp.daemon.http.response import Response


async def answer(_call: Call) -> Response:
    return json_response(200, {})


ROUTE = {"GET": Route(answer)}


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def table(asked: list[str]) -> PathTable:
    def make(name: str) -> dict[str, Route]:
        asked.append(name)
        return ROUTE

    return PathTable({"/a": ROUTE}, {"/m/{name}/load": make})


def test_fixed_path_and_name_are_found(table: PathTable, asked: list[str]) -> None:
    assert table.get("/a") is ROUTE
    assert table.get("/m/promo-rank_2/load") is ROUTE
    assert asked == ["promo-rank_2"]


@pytest.mark.parametrize(
    "path",
    [
        "/m//load",
        "/m/load",
        "/m/../load",
        "/m/a/b/load",
        "/m/A/load",
        "/m/a%2e/load",
        "/m/a/load/",
        "/m/a/unload",
        "/m/-a/load",
        "/m/a\n/load",
        "/m/\u0661/load",
        f"/m/{'a' * 65}/load",
    ],
)
def test_what_is_no_name_is_not_found(table: PathTable, asked: list[str], path: str) -> None:
    assert table.get(path) is None
    assert asked == []


def test_every_path_shown_is_there(table: PathTable) -> None:
    assert [*table] == ["/a", "/m/{name}/load"]
    assert all(table[path] is ROUTE for path in table)
