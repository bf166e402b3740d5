"""Reloading the config: what changes, what needs a restart, and that a fault changes nothing."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from sedp.config.loading import Config
from sedp.daemon.reload import Difference, compare
from sedp.errors import ConfigError
from sedp.pipeline import Pipeline

from .calls import until
from .config_file import ConfigFile, keep_asking
from .conftest import StartFrom
from .served_stages import Scale

# The difference itself ------------------------------------------------------------------------


def spelled(*pipelines: str, **settings: str) -> Config:
    """A config of these pipelines and of settings with `__` for dots."""
    made = tuple(Pipeline(name, {}, {}, {}, ()) for name in pipelines)
    keys = {key.replace("__", "."): value for key, value in settings.items()}
    return Config(Path("c.yaml"), None, None, made, keys)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        (spelled("p", a="1"), spelled("p", a="1"), Difference((), frozenset())),
        (
            spelled("p", "q", pipelines__p__stages__s__k="1024", pipelines__q__k="1"),
            spelled("p", "q", pipelines__p__stages__s__k="2048", pipelines__q__k="1"),
            Difference(("pipelines.p.stages.s.k: 1024 → 2048",), frozenset({"p"})),
        ),
        (
            spelled("p", "gone", pipelines__p__k="1", pipelines__gone__k="1"),
            spelled("p", "new", pipelines__p__k="1", pipelines__new__k="1", pipelines__new__l="2"),
            Difference(("pipelines.gone: removed", "pipelines.new: added"), frozenset()),
        ),
        (
            spelled("p", pipelines__p__slots__a="1", pipelines__p__slots__b="2"),
            spelled("p", pipelines__p__slots__b="2", pipelines__p__slots__a="1"),
            Difference(("pipelines.p: the order of keys",), frozenset({"p"})),
        ),
        (
            spelled("p", pipelines__p__k="1"),
            spelled("p", pipelines__p__k="1", pipelines__p__l="2", daemon__drain_delay="1s"),
            Difference(
                ("pipelines.p.l: nothing → 2", "daemon.drain_delay: nothing → 1s"), frozenset({"p"})
            ),
        ),
        (
            spelled("p", pipelines__p__k="x" * 900),
            spelled("p", pipelines__p__k="y"),
            Difference((f"pipelines.p.k: {'x' * 199}… → y",), frozenset({"p"})),
        ),
    ],
)
def test_difference_names_keys_and_the_pipelines_to_be_opened_anew(
    old: Config, new: Config, difference: Difference
) -> None:
    assert compare(old, new) == difference


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"daemon.listen": "a:1"}, {"daemon.listen": "a:2"}),
        ({"daemon.workers": "1"}, {"daemon.workers": "2"}),
        ({"daemon.grpc": "null"}, {"daemon.grpc": "a:1"}),
        ({"daemon.tls": "null"}, {"daemon.tls.certificate": "c", "daemon.tls.key": "k"}),
        ({"daemon.auth.keys": "k"}, {"daemon.auth": "null"}),
        ({"store.path": "a"}, {"store.path": "b"}),
        ({"store.mode": "follow"}, {"store.mode": "write"}),
    ],
)
def test_keys_that_need_a_restart_are_all_named(old: dict[str, str], new: dict[str, str]) -> None:
    same = {"daemon.threads": "2"}
    with pytest.raises(ConfigError) as caught:
        compare(
            Config(Path("c"), None, None, (), {**old, **same}),  # type: ignore[arg-type]
            Config(Path("c"), None, None, (), {**new, **same}),  # type: ignore[arg-type]
        )
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == list({**old, **new})
    assert all("needs a restart" in line for line in lines)


def test_path_of_the_keys_file_may_change() -> None:
    old, new = spelled(daemon__auth__keys="a"), spelled(daemon__auth__keys="b")
    assert compare(old, new).lines == ("daemon.auth.keys: a → b",)


# A daemon that reloads ------------------------------------------------------------------------


async def test_reload_opens_what_changed_and_leaves_the_rest(
    start_from: StartFrom, config: ConfigFile, caplog: pytest.LogCaptureFixture
) -> None:
    config.write(same="factor: 2", other="factor: 3", gone="factor: 4")
    operator = await start_from(config)
    [same, *_] = Scale.open_now
    config.write(new="factor: 6", same="factor: 2", other="factor: 5")
    caplog.set_level(logging.INFO)
    status, answer = await operator.post("/admin/reload")
    assert status == 200
    assert answer["changes"] == [
        "pipelines.other.stages.s.params.factor: 3 → 5",
        "pipelines.gone: removed",
        "pipelines.new: added",
    ]
    for line in answer["changes"]:
        assert line in caplog.text
    assert [await operator.infer(name) for name in ("same", "other", "new")] == [2, 5, 6]
    assert "there is no pipeline 'gone'" in str(await operator.infer("gone"))
    assert same in Scale.open_now
    assert len(Scale.open_now) == 3
    assert list(await operator.index()) == ["new", "same", "other"]


@pytest.mark.parametrize(
    ("pipelines", "words"),
    [
        ({"one": "factr: 3"}, "c.yaml:4:"),
        ({"one": "factor: 3", "two": "file: none"}, "model none cannot be loaded"),
        ({"one": "factor: 3", "two": "factor: 1e999"}, "two"),
    ],
)
async def test_faulty_config_changes_nothing(
    start_from: StartFrom, config: ConfigFile, pipelines: dict[str, str], words: str
) -> None:
    config.write(one="factor: 2")
    operator = await start_from(config)
    before = list(Scale.open_now)
    config.write(**pipelines)
    status, answer = await operator.post("/admin/reload")
    assert status == 400
    assert words in answer["error"]
    assert await operator.infer("one") == 2
    assert await operator.index() == {"one": ("READY", "")}
    assert Scale.open_now == before
    config.write(one="factor: 3")
    assert (await operator.post("/admin/reload"))[0] == 200


async def test_reload_that_needs_a_restart_says_so_and_changes_nothing(
    start_from: StartFrom, config: ConfigFile
) -> None:
    config.write(one="factor: 2")
    operator = await start_from(config)
    config.more = ", threads: 1"
    config.write(one="factor: 3")
    status, answer = await operator.post("/admin/reload")
    assert status == 400
    assert answer["error"].startswith("daemon.threads: auto → 1: needs a restart; put it back, or")
    assert await operator.infer("one") == 2


async def test_limits_follow_a_reload(start_from: StartFrom, config: ConfigFile) -> None:
    config.write(one="factor: 2")
    operator = await start_from(config)
    config.more = ", body_bytes_max: 1KiB"
    config.write(one="factor: 2")
    status, answer = await operator.post("/admin/reload")
    assert (status, answer["changes"]) == (200, ["daemon.body_bytes_max: 16MiB → 1KiB"])
    assert "larger than 1024 bytes" in str(await operator.infer("one", 1000))


async def test_unloaded_pipeline_stays_so_and_is_loaded_as_reloaded(
    start_from: StartFrom, config: ConfigFile
) -> None:
    config.write(one="factor: 2")
    operator = await start_from(config)
    await operator.unload("one")
    config.write(one="factor: 3")
    assert (await operator.post("/admin/reload"))[0] == 200
    assert await operator.index() == {"one": ("UNAVAILABLE", "unloaded")}
    await operator.load("one")
    assert await operator.infer("one") == 3


async def test_no_request_fails_while_the_config_is_reloaded_under_load(
    start_from: StartFrom, config: ConfigFile
) -> None:
    config.write(one="factor: 2")
    operator = await start_from(config)
    done = asyncio.Event()
    asking = [asyncio.create_task(keep_asking(operator, "one", done)) for _ in range(8)]
    for factor in (3, 2) * 10:
        config.write(one=f"factor: {factor}")
        assert (await operator.post("/admin/reload"))[0] == 200
    done.set()
    answers = [answer for task in asking for answer in await task]
    assert len(answers) > 20
    assert set(answers) <= {2.0, 3.0}
    assert len(Scale.open_now) == 1


async def test_two_reloads_at_a_time_are_refused(
    start_from: StartFrom, config: ConfigFile, tmp_path: Path
) -> None:
    config.write(one="at: gate")
    operator = await start_from(config)
    inside = asyncio.create_task(operator.infer("one"))
    await until((tmp_path / "gate.begun").exists)
    config.write(one="factor: 3")
    first = asyncio.create_task(operator.post("/admin/reload"))
    await until(lambda: len(Scale.open_now) == 2)  # the one before cannot be closed yet
    config.write(one="factor: 4")
    status, answer = await operator.post("/admin/reload")
    assert (status, "try again later" in answer["error"]) == (409, True)
    (tmp_path / "gate.go").touch()
    assert await inside == 2
    assert (await first)[0] == 200
    assert (await operator.post("/admin/reload"))[0] == 200
    assert await operator.infer("one") == 4
