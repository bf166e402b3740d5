from __future__ import annotations

import json
from pathlib import Path

import pytest

from sedp.demo.manifest import Manifest, Step, hash_of, hash_sources, written_whole

STEP = Step("bake", inputs=("flour",), outputs=("bread", "oven/"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flour").write_text("white")
    (tmp_path / "bread").write_text("crisp")
    (tmp_path / "oven").mkdir()
    return tmp_path


@pytest.fixture
def manifest(folder: Path) -> Manifest:
    manifest = Manifest(folder, "recipe 1")
    manifest.finish(STEP, seconds=1.234)
    return manifest


def test_a_finished_step_is_done_for_the_next_process_too(folder: Path, manifest: Manifest) -> None:
    assert manifest.is_done(STEP)
    later = Manifest(folder, "recipe 1")
    assert later.is_done(STEP)
    assert later.seconds() == {"bake": 1.23}


def test_a_step_never_run_is_not_done(tmp_path: Path) -> None:
    """Nothing on record and nothing on disk: two kinds of nothing that must not pass as equal."""
    assert not Manifest(tmp_path, "recipe 1").is_done(STEP)


def test_another_recipe_undoes_it(folder: Path, manifest: Manifest) -> None:
    assert not Manifest(folder, "recipe 2").is_done(STEP)


@pytest.mark.parametrize("name", ["flour", "bread"])
def test_a_changed_file_undoes_it(folder: Path, manifest: Manifest, name: str) -> None:
    (folder / name).write_text("stale")
    assert not Manifest(folder, "recipe 1").is_done(STEP)


@pytest.mark.parametrize("name", ["flour", "bread"])
def test_a_missing_file_undoes_it(folder: Path, manifest: Manifest, name: str) -> None:
    (folder / name).unlink()
    assert not Manifest(folder, "recipe 1").is_done(STEP)


def test_a_missing_folder_undoes_it_but_a_changed_one_does_not(
    folder: Path, manifest: Manifest
) -> None:
    (folder / "oven" / "ash").write_text("")
    assert Manifest(folder, "recipe 1").is_done(STEP)
    (folder / "oven" / "ash").unlink()
    (folder / "oven").rmdir()
    assert not Manifest(folder, "recipe 1").is_done(STEP)


def test_a_step_begun_and_not_finished_is_not_done(folder: Path, manifest: Manifest) -> None:
    manifest.begin(STEP)
    assert not manifest.is_done(STEP)
    assert not Manifest(folder, "recipe 1").is_done(STEP)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99, "steps": {}}'])
def test_a_damaged_manifest_counts_as_none(folder: Path, manifest: Manifest, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    assert not Manifest(folder, "recipe 1").is_done(STEP)


def test_the_manifest_is_json_a_person_can_read(folder: Path, manifest: Manifest) -> None:
    record = json.loads((folder / "manifest.json").read_text())["steps"]["bake"]
    assert record["content"]["files"]["flour"] == hash_of(folder, "flour")


def test_what_is_half_written_never_takes_the_place(tmp_path: Path) -> None:
    (tmp_path / "file.npz").write_text("old")

    def write_half() -> None:
        with written_whole(tmp_path / "file.npz") as path:
            path.write_text("ne")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file.npz", "old")]


def test_the_hash_of_sources_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("1")
    hashes = {hash_sources(tmp_path.iterdir())}
    (tmp_path / "one.py").write_text("2")
    hashes.add(hash_sources(tmp_path.iterdir()))
    (tmp_path / "one.py").rename(tmp_path / "two.py")
    hashes.add(hash_sources(tmp_path.iterdir()))
    assert len(hashes) == 3
