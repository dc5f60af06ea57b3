"""The commands verify and diff as a user meets them."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.mfdstore_app import app
from mfdstore.build.run import build_store
from tests.mfdstore.damage import all_files, flip
from tests.worlds import ACCESSIONS, World, settings


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checks")
    build_store(World().write(folder / "sources"), folder / "x.zarr", settings())
    return folder


@pytest.fixture
def store(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built / "x.zarr", tmp_path / "x.zarr"))


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "200"})


def _fault(result: Result) -> str:
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def _sources(built: Path, *names: str) -> list[str]:
    files = {
        "peaks": "peaks",
        "fasta": "genome.fa",
        "blacklist": "blacklist.bed",
        "metadata": "metadata.tsv",
        "report": "report.tsv",
    }
    return [part for name in names for part in (f"--{name}", str(built / "sources" / files[name]))]


def test_verify__shows_twenty_rows_of_damage_and_tells_all_as_json(store: Path) -> None:
    chunks = [file for file in all_files(store) if file.name == "0" and "manifest" not in str(file)]
    for file in chunks:
        flip(file, 3)
    shown = _run("verify", store)
    assert shown.exit_code == 1
    assert len(chunks) > 25
    assert shown.stdout.count("WRONG") == shown.stdout.count(" damaged ") == 20  # arrays, and files
    assert shown.stdout.count("more; --json lists all") == 2
    told = json.loads(_run("verify", store, "--json").stdout)
    assert {one["file"] for one in told["damage"]} == {file.relative_to(store).as_posix() for file in chunks}
    assert told["sound"] is False


def test_verify__repairs_and_then_is_content(store: Path, built: Path) -> None:
    before = {file: file.read_bytes() for file in all_files(store)}
    flip(store / "lab/c/0", 3)
    (store / "label_bits/c/0/0").unlink()
    lacking = _run("verify", store, "--repair")
    assert lacking.exit_code == 1
    assert re.search(r"lab/c/0 +LOST +pass --metadata and --report", lacking.stdout)
    assert re.search(r"label_bits/c/0/0 +repaired +labels by experiment", lacking.stdout)
    done = _run("verify", store, "--repair", *_sources(built, "metadata", "report"), "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["repaired"] == [{"file": "lab/c/0", "source": "the tables"}]
    assert (told["lost"], told["sound"], told["damage"]) == ([], True, [])
    assert {file: file.read_bytes() for file in all_files(store)} == before
    assert "Nothing to repair." in _run("verify", store, "--repair").stdout


def test_verify__refuses_to_repair_from_other_sources(store: Path, built: Path, tmp_path: Path) -> None:
    flip(store / "sequence/chr1/c/0", 3)
    other = tmp_path / "other.fa"
    other.write_bytes((built / "sources" / "genome.fa").read_bytes().replace(b"A", b"C", 1))
    message = _fault(_run("verify", store, "--repair", "--fasta", other))
    assert message.startswith(f"Error: {other}: found md5 ")
    assert "Repair from the files of the build" in message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--peaks", "peaks"], "--peaks: found no --deep or --repair beside it"),
        (["--fasta", "x.fa"], "--fasta: found no --deep or --repair beside it"),
        (["--deep"], "--deep: found neither --peaks nor --fasta beside it"),
        (["--deep", "--fasta", "x.fa", "--metadata", "x.tsv"], "--metadata: found no --repair beside it"),
        (["--deep", "--fasta", "x.fa", "--blacklist", "x.bed"], "--blacklist: found no --peaks beside it"),
    ],
)
def test_verify__refuses_sources_that_it_would_not_read(store: Path, options: list[str], words: str) -> None:
    assert words in _fault(_run("verify", store, *options))


def test_verify__deep_reads_in_several_processes(
    store: Path, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mfdstore.verify.labels._WORTH_PROCESSES", 1)
    deep = _run("verify", store, "--deep", *_sources(built, "peaks", "fasta", "blacklist"), "--jobs", "2")
    assert deep.exit_code == 0, deep.output
    assert re.search(r"labels from peaks +ok", deep.stdout)


def test_verify__prints_names_that_are_no_text(store: Path) -> None:
    (store / os.fsdecode(b"note\xff[b]")).write_text("x")
    shown = _run("verify", store)
    assert shown.exit_code == 1
    assert "note?[b]" in shown.stdout
    assert _run("verify", store, "--json").exit_code == 1


def test_diff__is_silent_of_nothing_and_exits_as_diff_does(store: Path, built: Path) -> None:
    same = _run("diff", store, built / "x.zarr")
    assert (same.exit_code, same.stdout, same.stderr) == (0, "The stores are equal.\n", "")
    assert json.loads(_run("diff", store, built / "x.zarr", "--json").stdout)["equal"] is True


def test_diff__shows_what_differs(built: Path, tmp_path: Path) -> None:
    world = World()
    world.peaks[ACCESSIONS[4]]["chr1"] = [(600, 900)]
    other = tmp_path / "other.zarr"
    build_store(world.write(tmp_path / "sources"), other, settings(min_experiments=9))
    shown = _run("diff", built / "x.zarr", other)
    assert shown.exit_code == 1
    assert re.search(r"settings +min_experiments +2 +9", shown.stdout)
    assert re.search(rf"labels of one only +{ACCESSIONS[4]} +\d+ +\d+", shown.stdout)
    assert re.search(r"windows of one only +chr1 +\d+ +\d+", shown.stdout)
    told = json.loads(_run("diff", built / "x.zarr", other, "--json").stdout)
    assert [one["experiment"] for one in told["labels"]] == [ACCESSIONS[4]]
    assert told["equal"] is False


def test_diff__of_what_is_no_store(built: Path, tmp_path: Path) -> None:
    assert str(tmp_path) in _fault(_run("diff", built / "x.zarr", tmp_path))


def test_commands__show_no_sign_that_steers_a_terminal(built: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.zarr"
    sources = World().write(tmp_path / "sources")
    table = sources.metadata.read_text()
    sources.metadata.write_text(table.replace("K562", "[/bold] \x1b[31mRED"))
    build_store(sources, other, settings())
    for arguments in (
        ("diff", built / "x.zarr", other),
        ("subset", other, "--where", "biosample=zz", "--out", tmp_path / "c.zarr"),
        ("export", other, "--where", "biosample=zz", "--format", "bed", "--out", tmp_path / "c"),
    ):
        shown = _run(*arguments)
        assert shown.exit_code == 1
        assert "\x1b" not in shown.output
        assert "[/bold] \\x1b[31" in shown.output
