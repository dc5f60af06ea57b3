"""`verify` of stores elsewhere finds and names what the same damage is named on disk."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import pytest

from mfdstore.errors import ConfigError, RemoteError, StoreError
from mfdstore.places import connection
from mfdstore.repair.bench import RepairSources
from mfdstore.repair.run import repair_store
from mfdstore.verify import verify_store
from tests.mfdstore.conftest import Little
from tests.mfdstore.damage import all_files, flip
from tests.servers import Bucket, Served, http_server, status


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_RETRIES", 1)


def test_a_sound_store_is_sound_everywhere(little: Little, bucket: Bucket, served: Served) -> None:
    expected = verify_store(little.path)
    for address in (bucket.upload(little.path, "x.zarr"), f"{served.url}/little.zarr"):
        found = verify_store(address, n_jobs=4)
        assert found.sound
        assert found.findings == expected.findings
        assert str(found.path) == address


def test_sources_are_held_against_a_store_elsewhere(little: Little, bucket: Bucket) -> None:
    sources = little.sources
    address = bucket.upload(little.path, "x.zarr")
    found = verify_store(address, peaks=sources.peaks, fasta=sources.fasta, blacklist=sources.blacklist)
    assert found.sound
    assert (
        found.findings
        == verify_store(
            little.path, peaks=sources.peaks, fasta=sources.fasta, blacklist=sources.blacklist
        ).findings
    )


def test_every_damage_is_named_as_it_is_on_disk(cut_small: Path, bucket: Bucket) -> None:
    draw = random.Random(5)
    files = all_files(cut_small)
    chosen = draw.sample(files, 12)
    for file in chosen[:8]:
        if file.stat().st_size:
            flip(file, draw.randrange(file.stat().st_size), 1 << draw.randrange(8))
    for file in chosen[8:10]:
        file.unlink()
    for file in chosen[10:]:
        file.write_bytes(b"")
    (cut_small / "notes.txt").write_text("mine")
    expected = verify_store(cut_small)
    assert len(expected.damage) == 13
    found = verify_store(bucket.upload(cut_small, "x.zarr"))
    assert found.damage == expected.damage
    assert found.findings == expected.findings
    with http_server(cut_small.parent) as served:
        over_http = verify_store(f"{served.url}/{cut_small.name}")
    # a server of plain HTTP does not tell what else lies there
    assert over_http.damage == tuple(one for one in expected.damage if one.fault != "added")


@pytest.mark.parametrize(
    "name",
    [
        "zarr.json",
        "manifest/name/c/0",
        "manifest/sha256/c/0/0",
        "manifest/metadata/c/0",
        "sequence/zarr.json",
    ],
)
def test_what_describes_the_store_may_be_damaged(
    copied: Path, bucket: Bucket, served: Served, name: str
) -> None:
    (copied / name).unlink()
    expected = verify_store(copied)
    assert [one.file for one in expected.damage] == [name]
    served.always[f"little.zarr/{name}"] = status(404)
    for address in (bucket.upload(copied, "x.zarr"), f"{served.url}/little.zarr"):
        assert verify_store(address).damage == expected.damage


def test_an_older_store_goes_by_its_checksums(bucket: Bucket, tmp_path: Path) -> None:
    with zipfile.ZipFile(Path(__file__).parent.parent / "golden" / "store_v1.zip") as archive:
        archive.extractall(tmp_path)
    old = tmp_path / "store_v1.zarr"
    assert verify_store(bucket.upload(old, "sound.zarr")).sound
    flip(old / "start" / "c" / "0", 2)
    (old / "sequence" / "chr9" / "c" / "0").unlink()
    expected = verify_store(old)
    found = verify_store(bucket.upload(old, "x.zarr"))
    assert {one.file for one in found.damage} >= {"start/c/0"}
    bucket.remove("x.zarr/sequence/chr9/c/0")
    found = verify_store(bucket.address("x.zarr"))
    assert found.damage == expected.damage
    assert {one.file for one in found.damage} == {"start/c/0", "sequence/chr9/c/0"}


def test_a_server_that_fails_is_no_damage(little: Little, served: Served) -> None:
    for name in ("label_bits/c/0/0", "zarr.json"):
        served.always = {f"little.zarr/{name}": status(500)}
        with pytest.raises(RemoteError, match="the answer 500"):
            verify_store(f"{served.url}/little.zarr")
    n_whole = [0]

    def fails_when_arrays_are_read(handler, path) -> None:  # type: ignore[no-untyped-def]
        n_whole[0] += 1
        handler.serve(path) if n_whole[0] == 1 else handler.answer(503)

    served.always = {"little.zarr/start/c/0": fails_when_arrays_are_read}
    with pytest.raises(RemoteError, match="the answer 503"):
        verify_store(f"{served.url}/little.zarr")


def test_where_there_is_nothing_it_says_so(bucket: Bucket, little: Little) -> None:
    with pytest.raises(StoreError, match="no store"):
        verify_store(bucket.address("none.zarr"))
    with pytest.raises(StoreError, match="no bucket"):
        verify_store("s3://none/x.zarr")
    with pytest.raises(StoreError, match="not on this disk"):
        repair_store(bucket.upload(little.path, "x.zarr"), RepairSources())
    with pytest.raises(ConfigError, match="--blacklist"):
        verify_store(bucket.address("x.zarr"), blacklist=little.sources.blacklist)
