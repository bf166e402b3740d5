from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from sedp.cli.main import group, main
from sedp.config import kinds
from sedp.config.pipeline_settings import StageSettings
from sedp.config.schema import DIALECT, format_schema, installed_stages, make_schema
from sedp.config.settings import FileSettings
from sedp.stage import Params
from sedp.stages.candidate_cut import CandidateCut
from sedp.stages.dense_scoring import DenseScoring
from sedp.stages.embedding_lookup import EmbeddingLookup
from sedp.stages.feature_fetch import FeatureFetch
from sedp.stages.query_cache import QueryCache
from sedp.stages.query_cache_fill import QueryCacheFill
from sedp.stages.top_k import TopK

CONFIGS = Path(__file__).parents[2] / "configs"
BUILT_IN = {
    "candidate_cut": CandidateCut,
    "dense_scoring": DenseScoring,
    "embedding_lookup": EmbeddingLookup,
    "feature_fetch": FeatureFetch,
    "query_cache": QueryCache,
    "query_cache_fill": QueryCacheFill,
    "top_k": TopK,
}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return make_schema(BUILT_IN)


def sections(schema: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = schema["$defs"][name]["properties"]
    return found


def test_committed_schema_is_that_of_the_code(schema: dict[str, Any]) -> None:
    """After a change of settings or built-in params: `make schema`."""
    assert (CONFIGS / "sedp.schema.json").read_text() == format_schema(schema)


def test_command_prints_the_schema_of_all_installed_kinds() -> None:
    result = CliRunner().invoke(group, ["schema"], catch_exceptions=False)
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert printed == json.loads(format_schema(make_schema(installed_stages())))
    assert printed["$schema"] == DIALECT


def test_every_key_of_the_settings_is_in_the_schema(schema: dict[str, Any]) -> None:
    fields = msgspec.structs.fields(FileSettings)
    assert sections(schema, "FileSettings").keys() == {field.encode_name for field in fields}
    assert all(
        "description" in key or "$ref" in key
        for name, definition in schema["$defs"].items()
        if name.endswith("Settings")
        for key in definition["properties"].values()
    )


def test_units_are_text_with_text_as_default(schema: dict[str, Any]) -> None:
    daemon = sections(schema, "DaemonSettings")
    assert daemon["drain"]["type"] == "string"
    assert daemon["drain"]["default"] == "10s"
    assert daemon["listen"]["default"] == "127.0.0.1:8000"
    assert daemon["body_bytes_max"]["default"] == "16MiB"
    assert daemon["body_bytes_max"]["anyOf"][1] == {
        "type": "integer",
        "minimum": 1024,
        "maximum": 1 << 30,
    }


def test_params_follow_the_kind(schema: dict[str, Any]) -> None:
    stage = schema["$defs"]["StageSettings"]
    branches = {branch["if"]["properties"]["kind"]["const"]: branch for branch in stage["allOf"]}
    assert branches.keys() == BUILT_IN.keys()
    then = branches["top_k"]["then"]
    assert then["required"] == ["params"]
    name = then["properties"]["params"]["$ref"].removeprefix("#/$defs/")
    assert schema["$defs"][name]["properties"].keys() == {"k", "by", "among", "output"}


def test_no_definition_is_left_over_or_missing(schema: dict[str, Any]) -> None:
    text = json.dumps(schema)
    assert all(f'"#/$defs/{name}"' in text for name in schema["$defs"])
    assert not {"Address", "TensorSpec", "ColumnSpec"} & schema["$defs"].keys()
    assert "x-text-form" not in text


def test_params_that_share_a_name_with_a_section_stay_apart() -> None:
    own_params = msgspec.defstruct("StageSettings", [("depth", int)], bases=(Params,), frozen=True)
    other = type("Other", (TopK,), {"Params": own_params})
    stages = make_schema({"other": other, "top_k": TopK})["$defs"]
    (own,) = [stage for stage in stages.values() if "depth" in stage["properties"]]
    assert own["properties"].keys() == {"depth"}
    full = f"{StageSettings.__module__}.{StageSettings.__qualname__}"
    assert stages[full]["properties"]["kind"]["anyOf"][0]["const"] == "other"


def test_kind_that_cannot_be_imported_is_a_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = EntryPoint("mine", "no_such_module:Stage", kinds.GROUP)
    monkeypatch.setattr(kinds, "entry_points", lambda group: [broken])
    monkeypatch.setattr("sys.argv", ["sedp", "schema"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2


@pytest.mark.parametrize("config", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_example_names_the_schema_for_editors(config: Path) -> None:
    first = config.read_text().splitlines()[0]
    prefix = "# yaml-language-server: $schema="
    assert first.startswith(prefix)
    assert (config.parent / first.removeprefix(prefix)).resolve() == CONFIGS / "sedp.schema.json"
