"""subset, add and merge as a user meets them: options to one library call, its result to a table or JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.mfdstore_app import app
from mfdstore.build.run import build_store
from mfdstore.build.settings import Sources
from mfdstore.store import Store
from tests.worlds import ACCESSIONS, METADATA_COLUMNS, World, settings, write_table


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return World().write(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def store(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of all experiments, in a folder whose name is no markup."""
    folder = tmp_path_factory.mktemp("a") / "[b]x"
    folder.mkdir()
    return build_store(sources, folder / "x.zarr", settings()).path


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _fault(result: Result) -> str:
    """Give the message of a run that ended as a user's fault."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    lines = result.stderr.strip().split("\n")
    assert len(lines) == 1
    assert lines[0].startswith("Error: ")
    return lines[0]


def test_subset__tells_counts_and_ends_with_the_path(store: Path, tmp_path: Path) -> None:
    listed = tmp_path / "names.txt"
    listed.write_text(f"# chosen\n{ACCESSIONS[0]}\n\n{ACCESSIONS[3]}\n")
    result = _run("subset", store, "--out", tmp_path / "x.zarr", "--experiments", f"@{listed}")
    assert result.exit_code == 0, result.output
    assert result.stdout.strip().split("\n")[-1] == str(tmp_path / "x.zarr")
    assert "windows kept without a positive" in result.stdout
    assert result.stderr.startswith("Note: ")
    assert "--min-experiments leaves such out" in result.stderr
    assert Store(tmp_path / "x.zarr").experiments == (ACCESSIONS[0], ACCESSIONS[3])


def test_subset__options_reach_the_library(store: Path, tmp_path: Path) -> None:
    bed = tmp_path / "r.bed"
    bed.write_text("chr8\t0\t1000\nchr1\t0\t1000\n")
    result = _run(
        *("subset", store, "--out", tmp_path / "x.zarr", "--where", "target=CTCF,MAX", "--where", "biosample=K562"),
        *("--region", "chr9", "--regions", bed, "--chroms", "chr9,8", "--split", "valid,test"),
        *("--min-experiments", "1", "--keep-chroms", "--json"),
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    opened = Store(tmp_path / "x.zarr")
    assert told["digest"] == opened.digest
    assert opened.provenance["asked"] == {
        "chroms": ["chr8", "chr9"],
        "regions": ["chr9:0-2049"],
        "bed": opened.provenance["asked"]["bed"],
        "splits": ["valid", "test"],
        "where": [["target", "CTCF,MAX"], ["biosample", "K562"]],
        "min_experiments": 1,
        "keep_chroms": True,
    }
    assert opened.chroms == Store(store).chroms


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "found nothing that says what to keep"),
        (("--where", "target"), "--where: found 'target'; expected FACTOR=VALUE"),
        (("--where", "=CTCF"), "--where: found '=CTCF'"),
        (("--where", "target="), "--where: found 'target='"),
        (("--where", "target=CTFC"), "Did you mean CTCF?"),
        (("--chroms", ","), "--chroms: found ','"),
        (("--experiments", "@"), "Check the path behind the @"),
        (("--experiments", "@nowhere"), "nowhere: found no readable file"),
        (("--regions", "nowhere"), "nowhere: found no readable file"),
    ],
)
def test_subset__faults_are_one_line(
    store: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    assert message in _fault(_run("subset", store, "--out", tmp_path / "x.zarr", *options))
    assert list(tmp_path.iterdir()) == []


def test_subset__an_empty_list_of_names_is_a_fault(store: Path, tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes(b"\n# none\n")
    result = _run("subset", store, "--out", tmp_path / "x.zarr", "--experiments", f"@{tmp_path / 'names'}")
    assert "found no accession" in _fault(result)
    (tmp_path / "names").write_bytes(b"\xff\xfe")
    result = _run("subset", store, "--out", tmp_path / "x.zarr", "--experiments", f"@{tmp_path / 'names'}")
    assert "no text in UTF-8" in _fault(result)


def test_add_and_merge__go_on_from_parts(store: Path, sources: Sources, tmp_path: Path) -> None:
    world = World()
    new = sorted(ACCESSIONS[8:])
    part, rest, grown, merged = (tmp_path / f"{name}.zarr" for name in ("part", "rest", "grown", "merged"))
    for out, names in ((part, ACCESSIONS[:8]), (rest, new)):
        assert _run("subset", store, "--out", out, "--experiments", ",".join(names)).exit_code == 0
    result = _run("merge", part, rest, "--out", merged, "--json")
    assert result.exit_code == 0, result.output
    peaks = tmp_path / "peaks"
    peaks.mkdir()
    for name in new:
        (peaks / f"{name}.bed.gz").write_bytes(world.peak_bytes(name))
    rows = [row for row in world.metadata_rows() if row["File accession"] in new]
    write_table(tmp_path / "metadata.tsv", METADATA_COLUMNS, rows)
    options = ("--peaks", peaks, "--metadata", tmp_path / "metadata.tsv", "--report", sources.report)
    result = _run("add", part, *options, "--out", grown, "--jobs", "1")
    assert result.exit_code == 0, result.output
    assert "cannot be known without the old peak files" in result.stderr
    assert Store(merged).array_digests == Store(grown).array_digests
    assert "already: ENCFF008AAA" in _fault(_run("add", grown, *options, "--out", tmp_path / "again.zarr"))
    message = _fault(_run("merge", part, "--out", tmp_path / "again.zarr"))
    assert "expected two or more" in message
    message = _fault(_run("merge", part, rest, "--windows", "all", "--out", tmp_path / "again.zarr"))
    assert "expected intersection or union" in message
    # with the old peak files it is all there again
    part = tmp_path / "least.zarr"
    chosen = ("--experiments", ",".join(ACCESSIONS[:8]), "--min-experiments", "2", "--keep-chroms")
    assert _run("subset", store, "--out", part, *chosen).exit_code == 0
    old = ("--old-peaks", sources.peaks, "--blacklist", sources.blacklist)
    result = _run("add", part, *options, *old, "--out", tmp_path / "whole.zarr", "--json")
    assert json.loads(result.stdout)["complete"]
    assert Store(tmp_path / "whole.zarr").digest == Store(store).digest


@pytest.mark.parametrize("option", ["--experiments", "--chroms", "--split"])
@pytest.mark.parametrize("value", ["", " , "])
def test_choices__that_are_empty_are_refused(store: Path, tmp_path: Path, option: str, value: str) -> None:
    """An unset variable of a shell leaves an empty word."""
    for command in (("subset",), ("export", "--format", "bed")):
        asked = (*command, store, "--where", "target=CTCF", option, value, "--out", tmp_path / "x")
        assert f"{option}: found {value!r}; expected names joined by commas" in _fault(_run(*asked))
        assert not (tmp_path / "x").exists()
