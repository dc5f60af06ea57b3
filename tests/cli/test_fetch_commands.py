"""The commands that fetch: what they print, their exit codes, and that a killed one goes on."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from cli.mfdstore_app import app
from mfdstore.simulate.settings import SimulationSettings
from mfdstore.simulate.simulation import simulate_sources
from tests.portal import Loopback, Portal, serving, slowly, status

COMMAND = [sys.executable, "-c", "from cli.mfdstore_app import main; main()"]
SELECTION = ["--genome", "simulated", "--target", "any", "--biosample-type", "any"]


@dataclass
class Case:
    served: Loopback
    portal: Portal
    folder: Path
    sources: Path

    @property
    def out(self) -> Path:
        return self.folder / "encode"

    @property
    def accessions(self) -> list[str]:
        return [row["File accession"] for row in self.portal.metadata]

    def run(self, *line: str) -> Result:
        return CliRunner().invoke(app, list(line))

    def encode(self, *more: str) -> Result:
        return self.run("fetch", "encode", "--out", str(self.out), *SELECTION, "--attempts", "2", *more)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "sources"
    simulate_sources(
        folder, SimulationSettings(seed=1, n_chroms=2, chrom_size=150_000, n_targets=1, n_biosamples=2)
    )
    return folder


@pytest.fixture
def case(simulated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as served:
        for name in ("MFD_UCSC", "MFD_ENCODE", "MFD_BLACKLIST"):
            monkeypatch.setenv(name, served.address)
        monkeypatch.setenv("MFD_CACHE", str(tmp_path / "cache"))
        yield Case(served, Portal.of(served, simulated), tmp_path, simulated)


def _message(result: Result) -> str:
    assert result.exit_code == 1, (result.exit_code, result.output, result.exception)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def test_encode__fetches_and_says_so(case: Case) -> None:
    result = case.encode()
    n, n_bytes = len(case.accessions), sum(int(row["Size"]) for row in case.portal.metadata)
    assert result.exit_code == 0, result.output
    assert f"{n} peak files, {n_bytes:,} bytes; {n} fetched now, in" in result.stdout
    assert str(case.out) in result.stdout
    assert result.stderr == ""
    told = json.loads(case.encode("--json").stdout)
    assert told == {
        "folder": str(case.out), "files": n, "bytes": n_bytes, "files_fetched": 0, "changes": [],
    }  # fmt: skip


def test_encode__dry(case: Case) -> None:
    result = case.encode("--dry-run")
    assert result.exit_code == 0, result.output
    assert f"to fetch {len(case.accessions)}, " in result.stdout
    assert not case.out.exists()
    told = json.loads(case.encode("--dry-run", "--json").stdout)
    assert told["files_to_fetch"] == len(case.accessions)
    assert told["bytes_to_fetch"] == told["bytes"] > 0
    assert {asked.path for asked in case.served.asked} == {"/metadata/", "/report.tsv"}


def test_encode__changes_on_stderr(case: Case) -> None:
    case.encode()
    archived = case.portal.metadata.pop(0)["File accession"]
    case.portal.states = {archived: ("archived", "/files/ENCFF999ZZZ/")}
    result = case.encode()
    assert result.exit_code == 0
    assert f"{archived} is archived now, was released, and is replaced by ENCFF999ZZZ" in result.stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["--files", "x", "--metadata", "y"], "--files and --metadata: found both"),
        (["--files", "absent.txt"], "absent.txt: found no readable text"),
        (["--metadata", "absent.tsv"], "absent.tsv: found no readable file"),
        (["--metadata", "x", "--assay", "ATAC-seq"], "options of a selection beside it"),
        (["--genome", "hg19", "--assay", "nonsense"], "found no file that fits the selection"),
    ],
)
def test_encode__faults(case: Case, line: list[str], words: str) -> None:
    assert words in _message(case.run("fetch", "encode", "--out", str(case.out), *line))


def test_encode__server_that_does_not_recover(case: Case) -> None:
    case.served.always["/metadata/"] = status(500)
    assert "500 Internal Server Error, 2 times in a row" in _message(case.encode())
    assert len(case.served.requests("/metadata/")) == 2


def test_encode__stalled_server_ends(case: Case) -> None:
    case.served.always["/metadata/"] = slowly(0.05)
    begin = time.monotonic()
    assert "too slow to wait for" in _message(case.encode("--timeout", "0.3", "--attempts", "1"))
    assert time.monotonic() - begin < 10


def test_encode__hostile_table(case: Case) -> None:
    case.portal.metadata[0]["File download URL"] = "http://169.254.169.254/latest[/red]"
    assert "http://169.254.169.254/latest[/red]" in _message(case.encode())


def _size(path: Path) -> int:
    """Give the length of a file that may just be renamed."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def test_encode__killed_and_run_again(case: Case) -> None:
    """kill -9 in the middle; the same command ends with the whole, and asks for no finished file again."""
    for accession in case.accessions:
        case.served.always[Portal.storage_path(accession)] = slowly(0.04, block=500)
    line = [*COMMAND, "fetch", "encode", "--out", str(case.out), *SELECTION, "--jobs", "2"]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peaks = case.out / "peaks"
    deadline = time.monotonic() + 120
    while len(list(peaks.glob("SIM*"))) < 3 or not any(_size(part) for part in peaks.glob(".*.part")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)
    os.kill(process.pid, 9)
    process.wait()
    finished = {path.name.partition(".")[0] for path in peaks.glob("SIM*")}
    sizes = {row["File accession"]: int(row["Size"]) for row in case.portal.metadata}
    parts = {path.name.split(".")[1]: path.stat().st_size for path in peaks.glob(".*.part")}
    begun = [name for name, size in parts.items() if 0 < size < sizes[name]]
    whole = [name for name, size in parts.items() if size == sizes[name]]  # but for its name
    assert begun + whole
    assert not (case.out / "manifest.json").exists()
    case.served.always = {
        path: trick for path, trick in case.served.always.items() if "/storage/" not in path
    }
    case.served.asked.clear()
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    asked = [asked for asked in case.served.asked if "/storage/" in asked.path]
    assert not finished & {one.path.rpartition("/")[2].partition(".")[0] for one in asked}
    assert len(asked) == len(case.accessions) - len(finished) - len(whole)
    assert sum(one.range is not None for one in asked) == len(
        begun
    )  # what was begun went on where it broke off
    for accession in case.accessions:
        name = f"{accession}.bed.gz"
        assert (peaks / name).read_bytes() == (case.sources / "peaks" / name).read_bytes()
    assert not list(peaks.glob(".*"))
    assert (case.out / "manifest.json").exists()


def test_genome__of_the_users_own(case: Case) -> None:
    content = (case.sources / "genome.fa.gz").read_bytes()
    case.served.files["/own.fa.gz"] = content
    line = ["fetch", "genome", "simulated", "--fasta", case.served.url("/own.fa.gz")]
    digest = hashlib.md5(content).hexdigest()
    told = json.loads(case.run(*line, "--digest", digest, "--json").stdout)
    fasta = case.folder / "cache" / "genomes" / "simulated" / "own.fa"
    assert told["fasta"] == str(fasta)
    assert fasta.read_bytes() == gzip.decompress(content)
    result = case.run(*line)
    assert str(fasta) in result.stdout.replace("\n", "")
    assert len(case.served.requests("/own.fa.gz")) == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["dm6"], "no published assembly that is known here"),
        (["hg38"], "bigZips/hg38.fa.gz: found 404"),
        (["hg38", "--digest", "md5:00"], "--digest: found no --fasta beside it"),
        (["x", "--fasta", "http://h/x.fa", "--digest", "md5:00"], "--digest: found 'md5:00'"),
        (["x", "--fasta", "file:///etc/passwd"], "no address of the web"),
        (["../x", "--fasta", "http://h/x.fa"], "found a name unfit for a file"),
    ],
)
def test_genome__faults(case: Case, line: list[str], words: str) -> None:
    assert words in _message(case.run("fetch", "genome", *line))


def test_genomes(case: Case) -> None:
    told = json.loads(case.run("genomes", "--json").stdout)
    assert told["cache"] == str(case.folder / "cache")
    assert [genome["name"] for genome in told["genomes"]] == ["hg38", "hg19", "mm10", "mm39"]
    hg38 = told["genomes"][0]
    assert hg38["chromosomes"]["chr22"] == 50_818_468
    assert hg38["cached"] is None
    assert told["genomes"][3]["blacklist"] is None
    folder = case.folder / "cache" / "genomes" / "hg38"
    folder.mkdir(parents=True)
    (folder / "hg38.fa").touch()
    table = case.run("genomes").stdout
    assert [line.split()[-1] for line in table.splitlines() if line.strip().startswith(("hg38", "hg19"))] == [
        "yes",
        "no",
    ]
    other = json.loads(case.run("genomes", "--json", "--cache", str(case.folder / "other")).stdout)
    assert other["genomes"][0]["cached"] is None


def test_build__fetches_peaks_and_says_before_what_it_takes(case: Case) -> None:
    targets = sorted({row["Experiment target"] for row in case.portal.metadata if row["Experiment target"]})
    for row in case.portal.metadata:
        row["Biosample type"] = "tissue"
        if row["Experiment target"] == targets[0]:
            row["Experiment target"] = "CTCF-human"
    store = case.folder / "x.zarr"
    line = ["build", "--genome", "simulated", "--fasta", str(case.sources / "genome.fa.gz")]
    line += ["--out", str(store), "--chroms", "chr1,chr2", "--split-blocks"]
    dry = case.run(*line, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "would fetch peak files" in dry.stdout
    assert "4.0 GB of memory (--memory)" in dry.stdout
    assert "GB for the store" in dry.stdout
    assert not store.exists()
    assert not (case.folder / "cache").exists()
    told = json.loads(case.run(*line, "--dry-run", "--json").stdout)
    with_target = [row for row in case.portal.metadata if row["Experiment target"] in ("", "CTCF-human")]
    wanted = [row for row in case.portal.metadata if row["Assay"] in ("ATAC-seq", "DNase-seq")]
    wanted += [row for row in with_target if row["Experiment target"]]
    assert told["n_experiments"] == len(wanted)
    assert told["downloads"] == {"peak files": sum(int(row["Size"]) for row in wanted)}
    built = case.run(*line, "--json")
    assert built.exit_code == 0, built.output
    assert json.loads(built.stdout)["counts"]["experiments"] == len(wanted)
    with (case.folder / "cache" / "encode" / "simulated" / "metadata.tsv").open() as handle:
        assert len(list(csv.reader(handle, delimiter="\t"))) == len(wanted) + 1


def test_build__half_given(case: Case) -> None:
    line = ["build", "--genome", "hg38", "--out", str(case.folder / "x.zarr")]
    assert "--peaks and --metadata, which belong together" in _message(case.run(*line, "--peaks", "x"))
    assert "no published assembly" in _message(
        case.run("build", "--genome", "mine", "--out", str(case.folder / "x"))
    )
