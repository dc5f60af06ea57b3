"""The commands with stores elsewhere: on a server of S3 and one of plain HTTP on loopback."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from cli.mfdmodel_app import app as model_app
from cli.mfdstore_app import app
from mfdstore.store import Store
from tests.mfdstore.conftest import Little, little  # noqa: F401
from tests.planted import tiny_config, write_planted_store
from tests.servers import KEY, SECRET, Bucket, http_server, s3_server, set_environment


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with s3_server() as served:
        set_environment(monkeypatch, served.url)
        yield served


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    yield
    logging.getLogger("mfdstore").handlers.clear()


def run(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    for secret in (KEY, SECRET):
        assert secret not in result.output
    if code:
        assert "Traceback" not in result.output
    return result


def build_words(little: Little) -> list[object]:  # noqa: F811
    sources = little.sources
    words: list[object] = ["build", "--genome", "little", "--fasta", sources.fasta, "--peaks", sources.peaks]
    words += ["--metadata", sources.metadata, "--report", sources.report, "--blacklist", sources.blacklist]
    return [*words, "--split-valid", "chr8", "--split-test", "chr9", "--jobs", 1]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


@pytest.mark.slow
def test_built_copied_shown_verified_and_fetched(
    little: Little,  # noqa: F811
    bucket: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MFD_CACHE", str(tmp_path / "cache"))
    address = bucket.address("x.zarr")
    dry = run(*build_words(little), "--out", address, "--dry-run")
    assert address in dry.stdout
    assert bucket.files("x.zarr") == {}
    assert run(*build_words(little), "--out", address).stdout.strip().endswith(address)
    assert bucket.files("x.zarr") == files_of(little.path)
    assert not list((tmp_path / "cache" / "building").iterdir())
    bucket.asked.clear()
    said = run(*build_words(little), "--out", address, code=1)
    assert "something there already" in said.stderr
    assert bucket.count("PUT") == 0

    described = json.loads(run("info", address, "--json").stdout)
    expected = json.loads(run("info", little.path, "--json").stdout)
    assert described == expected | {"path": address}
    assert run("info", address).stdout.splitlines()[1:] == run("info", little.path).stdout.splitlines()[1:]

    run("diff", address, little.path)
    checked = json.loads(run("verify", address, "--json").stdout)
    assert checked["sound"]
    assert checked["path"] == address
    assert "not on this disk" in run("verify", address, "--repair", code=1).stderr

    done = json.loads(run("copy", address, tmp_path / "got.zarr", "--json").stdout)
    assert done["path"] == str(tmp_path / "got.zarr")
    assert files_of(tmp_path / "got.zarr") == files_of(little.path)
    again = run("copy", tmp_path / "got.zarr", bucket.address("again.zarr"))
    assert bucket.address("again.zarr") in again.stdout
    bucket.remove("x.zarr/start/c/0")
    assert "start/c/0" in run("verify", address, code=1).stdout
    assert "start/c/0 damaged" in run("copy", address, tmp_path / "not.zarr", code=1).stderr
    assert "start/c/0" in run("copy", address, tmp_path / "mend.zarr", "--damaged", code=1).stdout
    run("verify", tmp_path / "mend.zarr", "--repair")


def test_subset_merge_and_export_read_from_elsewhere(
    little: Little,  # noqa: F811
    bucket: Bucket,
    tmp_path: Path,
) -> None:
    address = bucket.upload(little.path, "x.zarr")
    with http_server(little.path.parent) as served:
        for name, place in (("here", little.path), ("s3", address), ("http", f"{served.url}/little.zarr")):
            folder = tmp_path / name
            folder.mkdir()
            run("subset", place, "--where", "target=CTCF", "--out", folder / "a.zarr")
            if name != "http":
                run("merge", place, folder / "a.zarr", "--out", folder / "m.zarr")
            run("export", place, "--format", "bed", "--plain", "--out", folder / "bed")
    for name in ("s3", "http"):
        for made in ("a.zarr", "m.zarr") if name == "s3" else ("a.zarr",):
            assert Store(tmp_path / name / made).digest == Store(tmp_path / "here" / made).digest
            assert KEY not in str(Store(tmp_path / name / made).provenance)
        assert files_of(tmp_path / name / "bed") == files_of(tmp_path / "here" / "bed")


@pytest.mark.parametrize(
    "words",
    [
        ("subset", "{}", "--where", "target=CTCF", "--out", "s3://lab/y.zarr"),
        ("merge", "{}", "{}", "--out", "s3://lab/y.zarr"),
        ("export", "{}", "--format", "bed", "--out", "s3://lab/y"),
        ("simulate", "--out", "s3://lab/y"),
        ("fetch", "encode", "--out", "s3://lab/y"),
    ],
)
def test_commands_that_write_to_disk_alone_say_so(little: Little, words: tuple[str, ...]) -> None:  # noqa: F811
    result = CliRunner().invoke(app, [word.format(little.path) for word in words], env={"COLUMNS": "400"})
    assert result.exit_code == 2
    assert "this is written to disk" in result.output
    assert "s3://lab/y" in result.output


def test_addresses_are_refused_in_one_line_without_their_secrets(little: Little, tmp_path: Path) -> None:  # noqa: F811
    for words in (
        ("info", f"s3://{KEY}:{SECRET}@lab/x.zarr"),
        ("verify", f"https://who:{SECRET}@host/x.zarr"),
        ("copy", little.path, f"s3://{KEY}:{SECRET}@lab/x.zarr"),
        (*build_words(little), "--out", f"s3://{KEY}:{SECRET}@lab/x.zarr"),
        (*build_words(little), "--out", f"s3://{KEY}:{SECRET}@lab/x.zarr", "--dry-run"),
        ("diff", little.path, f"https://host/x.zarr?X-Amz-Signature={SECRET}"),
        ("info", "gs://lab/x.zarr"),
    ):
        assert len(run(*words, code=1).stderr.strip().splitlines()) == 1
    assert (
        "which is on disk"
        in run(*build_words(little), "--out", tmp_path / "x.zarr", "--scratch", tmp_path, code=1).stderr
    )


@pytest.mark.slow
def test_a_model_is_trained_and_scored_from_s3_as_from_disk(bucket: Bucket, tmp_path: Path) -> None:
    planted = write_planted_store(tmp_path / "planted.zarr")
    address = bucket.upload(tmp_path / "planted.zarr", "planted.zarr")
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(tiny_config().model_dump(mode="json")))
    scores = []
    for store, name in ((address, "there"), (planted.path, "here")):
        out = tmp_path / name
        for words in (
            # in the order of a stream: of a server it is the only one
            (
                *("train", "--store", store, "--out", out, "--config", config),
                *("--device", "cpu", "--threads", 1, "--loader", "stream"),
            ),
            ("evaluate", out, "--device", "cpu", "--json"),
            ("evaluate", out, "--store", store, "--device", "cpu", "--json"),
        ):
            result = CliRunner().invoke(model_app, [str(word) for word in words])
            assert result.exit_code == 0, (result.output, result.exception)
            assert SECRET not in result.output
        scores.append(json.loads(result.stdout))
    assert scores[0] == scores[1]
    written = b"".join(file.read_bytes() for file in (tmp_path / "there").rglob("*") if file.is_file())
    assert address.encode() in written
    assert KEY.encode() not in written
    assert SECRET.encode() not in written
