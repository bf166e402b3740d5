"""What the schema says of real and of wrong configs, as an editor's validator would find it.

The schema may be blind to what only the loader can know, but it must never refuse a good config.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from sedp.config.schema import make_schema
from tests.config.fault import Fault
from tests.config.good import GOOD, change
from tests.config.setting_faults import KEYS, VALUES
from tests.config.test_schema import BUILT_IN, CONFIGS

jsonschema = pytest.importorskip("jsonschema")

BLIND = {
    "unknown in params": "a module:Class may take any params",
    "text for number": "the same",
    "above limit": "the same",
    "too long": "limits of durations are in numbers",
    "too many bytes": "the same",
    "threshold without filling": "keys are checked one by one",
    "ram outside of its bounds": "the same",
    "bound of updates where there are none": "keys are checked one by one",
    "open to all": "keys are checked one by one",
    "port twice": "the same",
    "quotas of nobody": "the same",
    "datatype": "the pattern names no datatypes",
    "shape": "the pattern knows no shapes",
}


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = make_schema(BUILT_IN)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def judge(validator: Any, text: str) -> list[str]:
    return [error.message for error in validator.iter_errors(yaml.safe_load(text))]


@pytest.mark.parametrize("config", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_example_is_valid(config: Path, validator: Any) -> None:
    assert judge(validator, config.read_text()) == []


def test_good_config_is_valid(validator: Any) -> None:
    assert judge(validator, GOOD) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("rows_max: 512", "rows_max: ${ROWS}"),
        ("10s", "${DRAIN:-10s}"),
        ("127.0.0.1:8000", "${HOST}:${PORT}"),
        ("64MiB", "67108864"),
        ("queue_rows_max: 1024", "executor: ${EXECUTOR}"),
        ("k: 3", "k: '${K}'"),
        ("store:\n  path: ../store\n  ram: 64MiB\n", "store:\n"),
    ],
)
def test_variables_and_numbers_are_valid(old: str, new: str, validator: Any) -> None:
    assert judge(validator, change(old, new)) == []


@pytest.mark.parametrize("fault", [*KEYS, *VALUES], ids=lambda fault: fault.name)
def test_faults_are_seen_while_typing(fault: Fault, validator: Any) -> None:
    assert bool(judge(validator, fault.text)) != (fault.name in BLIND)
