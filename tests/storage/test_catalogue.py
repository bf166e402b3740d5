"""The catalogue comes back as written, keeps two versions, and never believes damaged bytes."""

from __future__ import annotations

import json
import zlib

import pytest

from sedp.errors import CorruptionError, StoreError
from sedp.storage.catalogue import Catalogue
from sedp.storage.table_spec import TableSpec

SPEC = TableSpec("user", 2, "float32", default=(0.5, -1.0), columns=("ctr", "price"))


def publish(catalogue: Catalogue, spec: TableSpec, seed: int) -> Catalogue:
    return catalogue.with_entry(catalogue.next_entry(spec, seed))


def test_encoding_round_trips() -> None:
    catalogue = publish(publish(Catalogue(), SPEC, 1), TableSpec("ad", 1, "int64"), (1 << 64) - 1)
    decoded = Catalogue.decode(catalogue.encode())
    assert (decoded.entries, decoded.current) == (catalogue.entries, catalogue.current)
    assert Catalogue.decode(None).entries == ()


def test_two_versions_are_kept_and_numbers_go_on() -> None:
    catalogue = Catalogue()
    for seed in range(4):
        catalogue = publish(catalogue, SPEC, seed)
    assert catalogue.versions("user") == (3, 4)
    assert [entry.spec.version for entry in catalogue.current] == [4]
    assert catalogue.versions("nobody") == ()


def test_version_gone_back_to_is_the_one_kept() -> None:
    catalogue = publish(publish(Catalogue(), SPEC, 1), SPEC, 2).with_current("user", 1)
    catalogue = Catalogue.decode(catalogue.encode())
    assert [entry.spec.version for entry in catalogue.current] == [1]
    catalogue = publish(catalogue, SPEC, 3)
    assert (catalogue.versions("user"), catalogue.current_version("user")) == ((1, 3), 3)


def test_a_base_stays_as_long_as_a_version_is_over_it() -> None:
    catalogue = publish(Catalogue(), SPEC, 1)
    for seed in (2, 3):
        catalogue = catalogue.with_entry(catalogue.next_entry(SPEC, seed, seed - 1))
    catalogue = Catalogue.decode(catalogue.encode())
    assert catalogue.versions("user") == (2, 3)
    assert [entry.seed for entry in catalogue.current[0].chain] == [3, 2, 1]
    assert {link.seed for link in catalogue.links} == {1, 2, 3}
    catalogue = publish(publish(catalogue, SPEC, 4), SPEC, 5)
    assert {link.seed for link in catalogue.links} == {4, 5}


def test_catalogue_from_before_chains_is_read() -> None:
    spec = {"name": "t", "dim": 1, "dtype": "int32", "default": [], "version": 4, "columns": []}
    tables = [{"spec": spec, "rows": 7, "seed": 9}]
    text = json.dumps({"format": 2, "tables": tables, "current": {"t": 4}}).encode()
    (entry,) = Catalogue.decode(zlib.crc32(text).to_bytes(4, "little") + text).current
    assert (entry.rows, entry.seed, entry.chain) == (7, 9, (entry,))


def test_names_of_two_imports_never_meet() -> None:
    entries = [Catalogue().next_entry(SPEC, seed) for seed in (1, 2)]
    assert entries[0].name != entries[1].name


@pytest.mark.parametrize("at", [0, 4, 30])
def test_damaged_bytes_are_refused(at: int) -> None:
    data = bytearray(publish(Catalogue(), SPEC, 1).encode())
    data[at] ^= 1
    with pytest.raises(CorruptionError, match="catalogue does not match its checksum"):
        Catalogue.decode(bytes(data))


def test_later_format_is_refused() -> None:
    text = json.dumps({"format": 4, "tables": []}).encode()
    with pytest.raises(StoreError, match=r"format 4, this SEDP reads 3; .* use the SEDP"):
        Catalogue.decode(zlib.crc32(text).to_bytes(4, "little") + text)
