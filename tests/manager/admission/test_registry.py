"""Names of controllers."""

from __future__ import annotations

import pytest

from sedp.errors import ConfigError
from sedp.manager.admission.registry import ADMISSIONS, make_admission


def test_all_names_of_the_config_are_there() -> None:
    assert set(ADMISSIONS) == {
        "counters",
        "predicted_wait",
        "seda",
        "aimd",
        "vegas",
        "gradient2",
        "codel",
        "dagor",
        "breakwater",
    }


def test_each_call_makes_a_controller_of_its_own() -> None:
    for name in set(ADMISSIONS) - {"counters"}:
        assert make_admission(name, 1_000_000, 3) is not make_admission(name, 1_000_000, 3)


def test_counters_are_no_controller_at_all() -> None:
    assert make_admission("counters", 0, 1) is None


def test_unknown_name_is_told_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'luck' is not known; it is one of counters, predicted"):
        make_admission("luck", 1_000_000, 1)


def test_controller_that_cannot_isolate_tenants_is_not_asked_to() -> None:
    assert make_admission("predicted_wait", 1_000_000, 1, isolates=True) is not None
    with pytest.raises(ConfigError, match="'vegas' cannot isolate tenants; predicted_wait can"):
        make_admission("vegas", 1_000_000, 1, isolates=True)


@pytest.mark.parametrize("name", ["predicted_wait", "seda", "breakwater"])
def test_controller_that_follows_a_target_asks_for_one(name: str) -> None:
    with pytest.raises(ConfigError, match="needs a latency target"):
        make_admission(name, 0, 1)
