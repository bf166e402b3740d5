"""How a request stands among others when not all can be answered."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sedp.columns import Array, TensorSpec
from sedp.daemon.oip.request import RequestReader
from sedp.daemon.standing import HOUR_NS, Standing, Standings
from sedp.engine.events import NEVER_NS
from sedp.pipeline import Pipeline

from . import wire

USER_TYPES = {"INT64[1]": "INT64", "BYTES[1]": "BYTES", "FP32[2]": "FP32"}


def pipeline(user: str = "INT64[1]", **fields: Any) -> Pipeline:
    inputs = {"user": TensorSpec.parse(user), "x": TensorSpec.parse("FP32[n]")}
    return Pipeline("p", inputs, {}, {}, (), **fields)


def place(
    standings: Standings,
    of: Pipeline,
    user: Array,
    datatype: str = "INT64",
    *,
    tenant: str = "",
    at_ns: int = 0,
    **parameters: int,
) -> Standing:
    x = ("FP32", np.ones(2, np.float32))
    body, _ = wire.request({"user": (datatype, user), "x": x}, parameters=parameters)
    return standings.place(RequestReader(of, 64).read(body), tenant, at_ns)


ONE = np.array([1], np.int64)


@pytest.mark.parametrize(
    ("priority", "level"), [(0, 2), (1, 1), (2, 2), (3, 3), (4, 3), (2**32 - 1, 3)]
)
def test_priority_is_the_level_0_the_default_and_beyond_the_last_the_last(
    priority: int, level: int
) -> None:
    of = pipeline(levels=3, level_default=2)
    assert place(Standings(of, ""), of, ONE, priority=priority).level == level


def test_it_is_due_when_the_target_is_used_up() -> None:
    with_target, without = pipeline(target_ns=20_000_000), pipeline()
    assert place(Standings(with_target, ""), with_target, ONE, at_ns=5).due_ns == 20_000_005
    assert place(Standings(without, ""), without, ONE, at_ns=5).due_ns == NEVER_NS


def test_tenants_have_numbers_and_nobody_is_0() -> None:
    of = pipeline()
    standings = Standings(of, "")
    names = ["", "acme", "zeta", "acme", ""]
    assert [place(standings, of, ONE, tenant=name).tenant for name in names] == [0, 1, 2, 1, 0]


@pytest.mark.parametrize("user", USER_TYPES)
@given(st.data())
def test_user_is_a_hash_of_the_column_the_same_for_an_hour(user: str, data: st.DataObject) -> None:
    of, datatype = pipeline(user), USER_TYPES[user]
    values: dict[str, Array] = {
        "INT64": np.array([data.draw(st.integers(-(2**63), 2**63 - 1))], np.int64),
        "BYTES": np.array([data.draw(st.text(max_size=8)).encode()], object),
        "FP32": np.array(data.draw(st.tuples(st.integers(0, 9), st.integers(0, 9))), np.float32),
    }
    hour = data.draw(st.integers(0, 10**6)) * HOUR_NS
    standings = Standings(of, "user")
    first = place(standings, of, values[datatype], datatype, at_ns=hour).user
    last = place(Standings(of, "user"), of, values[datatype], datatype, at_ns=hour + HOUR_NS - 1)
    assert 1 <= first <= 127
    assert last.user == first


def test_users_spread_evenly_and_other_ones_come_first_in_the_next_hour() -> None:
    of = pipeline()
    standings = Standings(of, "user")
    users = [np.array([user], np.int64) for user in range(2000)]
    now, then = (
        np.array([place(standings, of, user, at_ns=hour * HOUR_NS).user for user in users])
        for hour in (7, 8)
    )
    assert np.bincount(now, minlength=128)[1:].max() < 40
    assert abs(np.corrcoef(now, then)[0, 1]) < 0.2


def test_without_a_user_column_nobody_is_known() -> None:
    of = pipeline()
    assert place(Standings(of, ""), of, ONE).user == 0
