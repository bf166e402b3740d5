"""API keys and their file, up to the commands that write it."""

from __future__ import annotations

import json
import os
import re
import statistics
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sedp.cli import keys as keys_command
from sedp.cli.main import group
from sedp.daemon.access.caller import Caller, Scope
from sedp.daemon.access.key_file import (
    CertificateEntry,
    KeyEntry,
    KeyFile,
    edit_key_file,
    format_moment,
    parse_moment,
    read_key_file,
)
from sedp.daemon.access.keys import KeyRing, hash_secret, make_key, read_keys
from sedp.errors import ConfigError

NOW_S = parse_moment("2026-11-22")
INFER = (Scope.INFER,)


def entry(sha256: str, tenant: str = "acme", expires: int | None = None) -> KeyEntry:
    return KeyEntry(sha256=sha256, tenant=tenant, scopes=INFER, expires=expires)


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(group, ["keys", *map(str, arguments)])
    return result.exit_code, result.stdout + str(result.exception or "")


def test_a_key_has_160_random_bits_and_its_entry_has_none_of_them() -> None:
    made = [make_key() for _ in range(100)]
    assert len({key for _, key, _ in made}) == 100
    for id_, key, sha256 in made:
        assert re.fullmatch(r"sedp_[0-9a-f]{8}_[0-9a-f]{40}", key)
        assert key.split("_")[1] == id_
        assert sha256 == hash_secret(key.split("_")[2])
        assert key.split("_")[2] not in sha256


def test_a_key_finds_its_holder_until_it_expires() -> None:
    id_, key, sha256 = make_key()
    ring = KeyRing(KeyFile(keys={id_: entry(sha256, expires=NOW_S)}))
    assert ring.find(key, NOW_S - 0.001) == Caller(id_, "acme", frozenset(INFER))
    assert ring.find(key, NOW_S) == f"key {id_} expired at 2026-11-22T00:00:00Z"


def test_two_keys_of_one_tenant_work_at_the_same_time() -> None:
    (id_a, key_a, hash_a), (id_b, key_b, hash_b) = make_key(), make_key()
    ring = KeyRing(KeyFile(keys={id_a: entry(hash_a), id_b: entry(hash_b)}))
    for id_, key in ((id_a, key_a), (id_b, key_b)):
        found = ring.find(key, NOW_S)
        assert isinstance(found, Caller)
        assert (found.key_id, found.tenant) == (id_, "acme")
    assert ring.tenants() == {"acme"}


def test_only_the_whole_right_key_is_one() -> None:
    id_, key, sha256 = make_key()
    other = make_key()[1]
    ring = KeyRing(KeyFile(keys={id_: entry(sha256)}))
    wrong = [
        "",
        "sedp",
        id_,
        key[:-1],
        key + "0",
        key + "\n",
        " " + key,
        key.upper(),
        key.replace("sedp_", ""),
        other,
        f"sedp_{id_}_{other.split('_')[2]}",
        f"sedp_{other.split('_')[1]}_{key.split('_')[2]}",
        f"sedp_{id_}_{sha256[:40]}",
        f"sedp_{id_}_" + "٣" * 40,
        f"sedp_{id_}_" + "\udc80" * 40,
        f"sedp_{id_}-" + key[14:],
        f"Sedp_{key[5:]}",
    ]
    for text in wrong:
        assert isinstance(ring.find(text, NOW_S), str), text


@given(st.text(max_size=80))
def test_no_text_makes_the_look_up_fail_otherwise(text: str) -> None:
    assert isinstance(KeyRing(KeyFile()).find(text, NOW_S), str)


def test_unknown_ids_cost_what_wrong_secrets_cost() -> None:
    """Interleaved, as other work shares the machine."""
    id_, _, sha256 = make_key()
    ring = KeyRing(KeyFile(keys={id_: entry(sha256)}))
    texts = {"known": f"sedp_{id_}_{'0' * 40}", "unknown": f"sedp_00000000_{'0' * 40}"}
    times: dict[str, list[int]] = {name: [] for name in texts}
    for _ in range(2_000):
        for name, text in texts.items():
            started_ns = time.perf_counter_ns()
            ring.find(text, NOW_S)
            times[name].append(time.perf_counter_ns() - started_ns)
    ratio = statistics.median(times["known"]) / statistics.median(times["unknown"])
    assert 1 / 1.5 < ratio < 1.5


def test_the_first_known_name_of_a_certificate_decides() -> None:
    names = ("ranker.acme", "spiffe://acme/ranker")
    certificates = {
        names[1]: CertificateEntry(tenant="acme", scopes=INFER),
        "old": CertificateEntry(tenant="other", scopes=INFER),
    }
    ring = KeyRing(KeyFile(certificates=certificates))
    assert ring.find_certified((*names, "old")) == Caller(names[1], "acme", frozenset(INFER))
    assert ring.find_certified(("ranker.acme",)) is None
    assert ring.find_certified(()) is None


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o666])
def test_a_file_that_others_may_read_or_write_is_refused(mode: int, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    edit_key_file(file, lambda keys: keys)
    for good in (0o600, 0o400, 0o640):
        file.chmod(good)
        read_key_file(file)
    file.chmod(mode)
    with pytest.raises(ConfigError, match=rf"mode {mode:04o} lets others in; chmod 0600"):
        read_key_file(file)


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("keys: {abc: {}}", "1:8: keys.abc", "8 hex digits"),
        ("kyes: {}", "1:1: kyes", "did you mean 'keys'"),
        ("keys:\n  00000000: {tenant: a, scopes: [infer]}", "2:3: keys.00000000", "sha256"),
        ("certificates:\n  cn: {tenant: A B, scopes: [infer]}", "2:16: certificates.cn.tenant", ""),
        ("certificates:\n  cn: {tenant: a, scopes: [root]}", "2:28: certificates.cn", "admin"),
        ("certificates:\n  cn: {tenant: a, scopes: []}", "2:19: certificates.cn.scopes", "list"),
        ("keys: !!python/name:os.system x", "1:7: keys", "tag"),
    ],
)
def test_faults_of_the_file_come_with_line_and_key(
    text: str, at: str, words: str, tmp_path: Path
) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(text)
    file.chmod(0o600)
    with pytest.raises(ConfigError) as refused:
        read_keys(file)
    assert f"{file}:{at}" in str(refused.value)
    assert words in str(refused.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="make it with `sedp keys create`"):
        read_keys(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "unix_s"),
    [("1970-01-02", 86_400), ("1970-01-01T00:01:00Z", 60), ("1970-01-01T01:00:00+01:00", 0)],
)
def test_moments_are_utc_unless_they_say_otherwise(text: str, unix_s: int) -> None:
    assert parse_moment(text) == unix_s
    assert parse_moment(format_moment(unix_s)) == unix_s


NOTES = st.text(
    st.characters(exclude_categories=["C", "Z"], include_characters=' ${"\\'), max_size=9
)


@settings(max_examples=25, deadline=None)  # each is synced to disk
@given(note=NOTES, created=st.integers(0, 2**32))
@example(note="${X} $${Y}", created=0)
def test_what_is_written_is_read_again(
    note: str, created: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("k") / "keys.yaml"
    key = KeyEntry(sha256="1e" * 32, tenant="1e5", scopes=INFER, created=created, note=note)
    certificate = CertificateEntry(tenant="no", scopes=(Scope.ADMIN, Scope.METRICS))
    whole = KeyFile(keys={"12345678": key, "1234e567": key}, certificates={"*.x: ": certificate})
    edit_key_file(file, lambda _: whole)
    assert read_key_file(file) == whole


def test_a_new_file_is_for_its_owner_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    edit_key_file(file, lambda keys: keys)
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o640)
    edit_key_file(file, lambda keys: keys)
    assert file.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["keys.yaml"]


def test_two_editors_do_not_lose_each_others_keys(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"

    def disturb(keys: KeyFile) -> KeyFile:
        with pytest.raises(ConfigError, match="another `sedp keys` is at work"):
            edit_key_file(file, lambda keys: keys)
        return keys

    edit_key_file(file, disturb)
    assert file.exists()


def test_created_keys_are_listed_and_work_until_they_are_revoked(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    create = ("create", file, "--tenant", "acme", "--scope", "infer")
    code, out = run(*create, "--expires", "2999-01-31", "--note", "ranker")
    assert code == 0
    key = out.splitlines()[0]
    id_ = key.split("_")[1]
    assert isinstance(read_keys(file).find(key, NOW_S), Caller)
    assert key.split("_")[2] not in file.read_text()
    assert run("list", file)[1] == f"{id_}  acme  infer  expires 2999-01-31T00:00:00Z  ranker\n"
    listed = json.loads(run("list", file, "--json")[1])["keys"][id_]
    assert "sha256" not in listed
    assert listed["expires"] == "2999-01-31T00:00:00Z"
    other = run(*create)[1].splitlines()[0]
    assert run("revoke", file, id_)[0] == 0
    assert read_keys(file).find(key, NOW_S) == f"key '{id_}' is unknown"
    assert isinstance(read_keys(file).find(other, NOW_S), Caller)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--tenant", "A B", "--scope", "infer"), "tenants are a-z"),
        (("--tenant", "a", "--scope", "infer", "--expires", "soon"), ""),
        (("--tenant", "a", "--scope", "infer", "--note", "n" * 201), "length <= 200"),
        (("--tenant", "a"), ""),
    ],
)
def test_what_could_not_be_read_is_not_written(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    code, out = run("create", tmp_path / "keys.yaml", *arguments)
    assert code != 0
    assert words in out
    assert os.listdir(tmp_path) == []


def test_revoking_an_unknown_key_names_those_there_are(tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    id_ = run("create", file, "--tenant", "a", "--scope", "infer")[1].split("_")[1]
    code, out = run("revoke", file, "00000000")
    assert code != 0
    assert f"there are: {id_}" in out


def test_scopes_of_the_command_are_those_there_are() -> None:
    assert tuple(Scope) == keys_command.SCOPES
