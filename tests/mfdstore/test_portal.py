"""What is asked of the ENCODE portal, and what is taken from the lists and tables that it writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from mfdstore.errors import ConfigError, DownloadError, SourceError
from mfdstore.sources.portal import FileState, Portal
from mfdstore.sources.portal_queries import (
    PAPER_TARGETS,
    FilesList,
    Selection,
    download_address,
    read_files_list,
    select,
    write_queries,
)
from mfdstore.sources.tables import Row
from mfdstore.sources.web import Patience, Web
from tests.portal import Loopback, serving

PORTAL = "https://www.encodeproject.org"
QUICK = Patience(attempts=2, first_wait=0.01, read_timeout=1)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as loopback:
        yield loopback


def test_select__the_published_selection() -> None:
    accessible, chip = (parse_qs(query) for query in select(Selection(), "hg38"))
    for query in (accessible, chip):
        assert query["type"] == ["Experiment"]
        assert query["status"] == query["files.status"] == ["released"]
        assert query["biosample_ontology.classification"] == ["tissue"]
        assert query["replicates.library.biosample.donor.organism.scientific_name"] == ["Homo sapiens"]
        assert query["assembly"] == query["files.assembly"] == ["GRCh38"]
        assert query["files.file_type"] == ["bed narrowPeak"]
        assert query["files.preferred_default"] == ["true"]
        assert query["control_type!"] == ["*"]
    assert accessible["assay_title"] == ["ATAC-seq", "DNase-seq"]
    assert "target.label" not in accessible
    assert chip["assay_title"] == ["TF ChIP-seq", "Histone ChIP-seq"]
    expected = ["CTCF", "H3K27ac", "H3K27me3", "H3K36me3", "H3K4me1", "H3K4me3", "H3K9ac", "H3K9me3"]
    assert chip["target.label"] == expected == list(PAPER_TARGETS)


def test_select__the_portals_name_of_each_genome() -> None:
    names = [
        parse_qs(select(Selection(), name)[0])["files.assembly"][0]
        for name in ("GRCh38.p14", "GRCh37", "mm10", "mm39")
    ]
    assert names == ["GRCh38", "hg19", "mm10", "GRCm39"]
    organisms = parse_qs(select(Selection(), "mm10")[0])
    assert organisms["replicates.library.biosample.donor.organism.scientific_name"] == ["Mus musculus"]
    with pytest.raises(ConfigError, match=r"'dm6'.*hg38, hg19, mm10, mm39"):
        select(Selection(), "dm6")


def test_write_queries__other_selections() -> None:
    (query,) = write_queries(Selection(assays=("TF ChIP-seq",), targets=()), "x", None)
    assert "target.label" not in parse_qs(query)
    (query,) = write_queries(Selection(assays=("DNase-seq",)), "x", None)
    assert "target.label" not in parse_qs(query)
    (query,) = write_queries(Selection(targets=(), preferred=False, output_types=("peaks",)), "x", None)
    read = parse_qs(query)
    assert len(read["assay_title"]) == 4
    assert read["files.output_type"] == ["peaks"]
    assert "files.preferred_default" not in read
    hostile = "a&type=File#\n"
    (query,) = write_queries(Selection(biosamples=(hostile,), assays=("DNase-seq",)), "x", None)
    assert parse_qs(query)["biosample_ontology.term_name"] == [hostile]
    with pytest.raises(ConfigError, match="--assay"):
        Selection(assays=())


def _list(folder: Path, *lines: str) -> Path:
    path = folder / "files.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


QUOTED = f'"{PORTAL}/metadata/?type=Experiment&assay_title=DNase-seq&files.file_type=bed+narrowPeak"'
FILE = f"{PORTAL}/files/ENCFF005YUC/@@download/ENCFF005YUC.bed.gz"


def test_read_files_list(tmp_path: Path) -> None:
    read = read_files_list(_list(tmp_path, QUOTED, FILE, "", FILE.replace("YUC", "ABC")), PORTAL)
    assert read.accessions == {"ENCFF005YUC", "ENCFF005ABC"}
    assert [parse_qs(query) for query in read.queries] == [
        {"type": ["Experiment"], "assay_title": ["DNase-seq"], "files.file_type": ["bed narrowPeak"]}
    ]
    assert read_files_list(_list(tmp_path, QUOTED), PORTAL).accessions is None
    assert read_files_list(_list(tmp_path, QUOTED.strip('"')), PORTAL) == FilesList(read.queries, None)


def test_read_files_list__experiments_as_an_argument_of_curl(tmp_path: Path) -> None:
    named = [f"/experiments/ENCSR{number:03d}AAA/" for number in range(250)]
    elements = ", ".join(f'"{name}"' for name in named)
    first = (
        f'"{PORTAL}/metadata/?type=Experiment&option=raw" -X GET -H "Accept: text/tsv" '
        f'-H "Content-Type: application/json" --data \'{{"elements": [{elements}]}}\''
    )
    read = read_files_list(_list(tmp_path, first, FILE), PORTAL)
    assert [len(parse_qs(query)["@id"]) for query in read.queries] == [100, 100, 50]
    assert [one for query in read.queries for one in parse_qs(query)["@id"]] == named
    assert all(parse_qs(query)["type"] == ["Experiment"] for query in read.queries)
    assert all(len(query) < 8000 for query in read.queries)


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ([], 1),
        ([FILE], 1),
        (['"https://evil.org/metadata/?type=Experiment"'], 1),
        (['"file:///metadata/?type=Experiment"'], 1),
        ([f'"{PORTAL}/metadata/"'], 1),
        ([f'"{PORTAL}/metadata/?type=Experiment" --data'], 1),
        ([f"\"{PORTAL}/metadata/?type=Experiment\" --data '[1]'"], 1),
        ([f'"{PORTAL}/metadata/?type=Experiment" --data \'{{"elements": ["../x"]}}\''], 1),
        (['"no closing'], 1),
        ([QUOTED, FILE, "https://evil.org/files/ENCFF005YUC/@@download/ENCFF005YUC.bed.gz"], 3),
        ([QUOTED, f"{PORTAL}/files/ENCFF005YUC/@@download/../../etc/passwd"], 2),
        ([QUOTED, f"{PORTAL}/files/ENCFF005YUC/@@download/ENCFF005ABC.bed.gz"], 2),
        ([QUOTED, "/etc/passwd"], 2),
        ([QUOTED, "http://[::1"], 2),
    ],
)
def test_read_files_list__faults(tmp_path: Path, lines: list[str], line: int) -> None:
    with pytest.raises(SourceError, match=r"files\.txt as the portal wrote it") as caught:
        read_files_list(_list(tmp_path, *lines), PORTAL)
    assert caught.value.line == line


def test_read_files_list__no_text(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "x", tmp_path / "y", tmp_path):
        with pytest.raises(SourceError, match="no readable text"):
            read_files_list(path, PORTAL)


@pytest.mark.parametrize(
    ("written", "address"),
    [
        (FILE, "http://mirror:8/files/ENCFF005YUC/@@download/ENCFF005YUC.bed.gz"),
        ("", "http://mirror:8/files/ENCFF005YUC/@@download/ENCFF005YUC.bed.gz"),
        (FILE.replace(PORTAL, "http://mirror:8"), FILE.replace(PORTAL, "http://mirror:8")),
        (FILE.replace("www.encodeproject.org", "169.254.169.254"), None),
        (FILE.replace("www.encodeproject.org", "www.encodeproject.org.evil.org"), None),
        (FILE.replace("https://", "file://"), None),
        (FILE.replace("YUC.bed", "ABC.bed"), None),
        (FILE + "?x=1", None),
        (FILE.replace("ENCFF005YUC.bed.gz", "..%2f..%2fx"), None),
        ("../../etc/passwd", None),
    ],
)
def test_download_address(written: str, address: str | None) -> None:
    row = Row({"File accession": "ENCFF005YUC", "File download URL": written}, Path("m"), 2)
    assert download_address(row, "http://mirror:8") == address


@pytest.mark.parametrize("accession", ["../x", "", "encff", "A" * 21, "ENCFF/001"])
def test_download_address__hostile_accession(accession: str) -> None:
    row = Row({"File accession": accession}, Path("m"), 2)
    assert download_address(row, PORTAL) is None


def test_metadata__joins_the_tables_of_a_selection(served: Loopback) -> None:
    answers = {"a": b"x\ty\r\n1\t2\r\n", "b": b"x\ty\r\n", "c": b"x\ty\n3\t4", "d": b"x\tz\n5\t6\n"}
    served.tables["/metadata/"] = lambda query: answers.get(query["q"][0])
    portal = Portal(Web(QUICK), served.address)
    assert portal.metadata(["q=a", "q=b", "q=none", "q=c"]) == b"x\ty\r\n1\t2\n3\t4\n"
    with pytest.raises(DownloadError, match="tables with different columns"):
        portal.metadata(["q=a", "q=d"])
    for nothing in ("b", "none"):
        with pytest.raises(DownloadError, match=r"/search/\?q=.*no file that fits the selection"):
            portal.metadata([f"q={nothing}"])


def test_report__asks_in_parts(served: Loopback) -> None:
    names = [f"ENCSR{number:03d}AAA" for number in range(230)]

    def answer(query: dict[str, list[str]]) -> bytes:
        assert query["type"] == ["Experiment"]
        assert {"accession", "lab.title", "files.@id", "biosample_ontology.organ_slims"} <= set(
            query["field"]
        )
        rows = "".join(f"{one.split('/')[2]}\tlab\r\n" for one in query["@id"])
        return f"stamp\thttp://x\r\nAccession\tLab\r\n{rows}".encode()

    served.tables["/report.tsv"] = answer
    portal = Portal(Web(QUICK), served.address)
    table = portal.report([*names, names[0], "../hostile", ""])
    assert table is not None
    lines = table.decode().splitlines()
    assert lines[:2] == ["stamp\thttp://x", "Accession\tLab"]
    assert [line.split("\t")[0] for line in lines[2:]] == names
    assert len(served.asked) == 3
    served.tables.clear()
    assert portal.report(names) is None
    assert portal.report([]) is None


def test_states(served: Loopback) -> None:
    served.tables["/report.tsv"] = lambda query: (
        b"stamp\r\nAccession\tStatus\tsuperseded_by\r\nENCFF001AAA\tarchived\t/files/ENCFF002AAA/,/files/ENCFF003AAA/\r\n"
        b"ENCFF004AAA\trevoked\t\r\nENCFF005AAA\r\n"
    )
    states = Portal(Web(QUICK), served.address).states(["ENCFF001AAA", "ENCFF009AAA"])
    assert states == {
        "ENCFF001AAA": FileState("archived", ("ENCFF002AAA", "ENCFF003AAA")),
        "ENCFF004AAA": FileState("revoked", ()),
        "ENCFF005AAA": FileState("", ()),
    }
