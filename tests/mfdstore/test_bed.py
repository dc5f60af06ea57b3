"""Peak files: what is read of the good ones, and where the bad ones are at fault."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfdstore.errors import SourceError
from mfdstore.genomes import Genome
from mfdstore.sources.bed import Intervals, peak_stem, read_intervals
from mfdstore.sources.bed_lines import scan_intervals
from mfdstore.sources.bed_tables import parse_intervals
from tests.strategies import intervals

GENOME = Genome.from_fasta("small", {"chr1": 1000, "2": 500, "odd": 40}, "small.fa")


def _read(path: Path, content: bytes) -> Intervals:
    path.write_bytes(content)
    return read_intervals(path, GENOME)


def _as_lists(found: Intervals) -> dict[str, list[tuple[int, int]]]:
    return {
        chrom: list(zip(starts.tolist(), ends.tolist(), strict=True))
        for chrom, (starts, ends) in found.by_chrom.items()
    }


rows = st.lists(
    st.sampled_from([("chr1", 1000), ("1", 1000), ("chr2", 500), ("odd", 40), ("chrZ", 9999)]).flatmap(
        lambda chrom: st.tuples(st.just(chrom[0]), intervals(chrom[1]))
    ),
    min_size=1,
    max_size=20,
).filter(lambda drawn: any(name != "chrZ" for name, _ in drawn))


@given(rows, st.integers(0, 7), st.sampled_from(["plain", "gzip"]), st.booleans())
def test_read_intervals__reads_every_row_once(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[tuple[str, tuple[int, int]]],
    n_more: int,
    packing: str,
    commented: bool,
) -> None:
    more = "".join(f"\tx{index}" for index in range(n_more))
    lines = [f"{name}\t{start}\t{end}{more}" for name, (start, end) in drawn]
    if commented:
        lines = ["track name=x", "#chrom\tstart\tend", *lines[:1], "# between", *lines[1:], "browser y"]
    content = "".join(f"{line}\n" for line in lines).encode()
    raw = gzip.compress(content) if packing == "gzip" else content
    found = _read(tmp_path_factory.getbasetemp() / "x.bed", raw)
    names = {"chr1": "chr1", "1": "chr1", "chr2": "chr2", "odd": "odd"}
    expected: dict[str, list[tuple[int, int]]] = {}
    for name, interval in drawn:
        if name in names:
            expected.setdefault(names[name], []).append(interval)
    assert {chrom: sorted(found) for chrom, found in _as_lists(found).items()} == {
        chrom: sorted(wanted) for chrom, wanted in expected.items()
    }
    assert found.n_intervals == len(drawn)
    assert found.n_elsewhere == sum(name == "chrZ" for name, _ in drawn)
    assert (found.file.size, found.file.md5) == (len(raw), hashlib.md5(raw).hexdigest())


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        (b"chr1\t1\t2\nchr1\t990\t1001\n", 2, "an interval to 1,001; expected at most 1,000"),
        (b"1\t1\t1001\n", 1, "at most 1,000, the length of chr1"),
        (b"chr1\t5\t9\nchr1\t9\t9\n", 2, "start 9 and end 9"),
        (b"chr1\t9\t5\n", 1, "start 9 and end 5"),
        (b"chr1\t-1\t5\n", 1, "start -1 and end 5"),
        (b"chr1\t5\t9\nchr1\tten\t20\n", 2, "'ten' as start; expected a whole number"),
        (b"chr1\t5\t9.0\n", 1, "'9.0' as end"),
        (b"chr1\t1e2\t200\n", 1, "'1e2' as start"),
        (b"chr1\t\t20\n", 1, "'' as start"),
        (b"chr1\t 1\t20\n", 1, "' 1' as start"),
        ("chr1\t\u0661\t\u0662\n".encode(), 1, "as start; expected a whole number"),
        (b"chr1\t1\t" + b"9" * 5000 + b"\n", 1, "as end"),
        (b"chr1\t1\t99999999999999999999\n", 1, "expected at most 1,000"),
        (b"chrZ\t1\t99999999999999999999\nchr1\t1\t2\n", 1, "expected at most 9,223,372,036,854,775,807"),
        (b"chr1\t1\t2\r\nchr1\t3\t4\r\n", 1, "CR LF"),
        (b"chr1\t1\t2\nchr1\t3\t4\r\n", 2, "CR LF"),
        (b"chr1\t1\t2\tp\rq\n", 1, "signs that are no text"),
        (b"chrom\tstart\tend\nchr1\t1\t2\n", 1, "remove it or begin it with '#'"),
        (b"# fine\nchr1\t1\t2\nchrom\tstart\tend\n", 3, "remove it or begin it with '#'"),
        (b"chr1\t1\t2\n\nchr1\t3\t4\n", 2, "an empty line"),
        (b"chr1\t1\t2\n\n", 2, "an empty line"),
        (b"chr1 1 2\n", 1, "1 column(s)"),
        (b"chr1\t1\n", 1, "2 column(s)"),
        (b"chr1\t1\t2\tx\nchr1\t3\t4\n", 2, "found 3 columns; expected 4"),
        (b"chr1\t1\t2\nchr1\t3\t4\tx\n", 2, "found 4 columns; expected 3"),
        (b"#a\tb\tc\td\tf\nchr1\t1\t2\tx\nchr1\t3\t4\tx\nchr1\t3\t4", 4, "found 3 columns; expected 4"),
        (b"\t1\t2\n", 1, "an empty chromosome name"),
        (b"chr1\t1\t2\t\xff\xfe\n", 1, "signs that are no text"),
        (bytes(range(256)), 1, "column(s)"),
    ],
)
@pytest.mark.parametrize("packing", ["plain", "gzip"])
def test_read_intervals__names_the_line_at_fault(
    tmp_path: Path, content: bytes, line: int, words: str, packing: str
) -> None:
    path = tmp_path / "ENCFF000AAA.bed.gz"
    with pytest.raises(SourceError) as caught:
        _read(path, gzip.compress(content) if packing == "gzip" else content)
    assert caught.value.line == line
    assert caught.value.where == str(path)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("content", [b"", b"\n\n", b"# nothing\n", b"track name=x\n", gzip.compress(b"")])
def test_read_intervals__wants_an_interval(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SourceError, match="found no intervals"):
        _read(tmp_path / "x.bed", content)


def test_read_intervals__shows_both_sets_of_names_where_none_matches(tmp_path: Path) -> None:
    with pytest.raises(
        SourceError, match="found chromosomes NC_1, NC_2; expected names of the genome: chr1, chr2, odd"
    ):
        _read(tmp_path / "x.bed", b"NC_1\t1\t2\nNC_2\t1\t2\n")
    found = read_intervals(tmp_path / "x.bed", GENOME, may_be_elsewhere=True)
    assert (found.by_chrom, found.n_intervals, found.n_elsewhere) == ({}, 2, 2)


def test_read_intervals__finds_a_gzip_file_cut_off_anywhere(tmp_path: Path) -> None:
    content = gzip.compress(b"".join(b"chr1\t%d\t%d\tpeak_%d\n" % (n, n + 7, n * n) for n in range(60)))
    for length in range(len(content)):
        with pytest.raises(SourceError):
            _read(tmp_path / "x.bed.gz", content[:length])


def test_read_intervals__finds_a_flipped_bit_in_gzip(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(b"chr1\t1\t2\n" * 500))
    content[len(content) // 2] ^= 0x10
    with pytest.raises(SourceError):
        _read(tmp_path / "x.bed.gz", bytes(content))


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_read_intervals__wants_a_readable_file(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.bed"
    if what == "folder":
        path.mkdir()
    with pytest.raises(SourceError, match="no readable file"):
        read_intervals(path, GENOME)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("ENCFF1.bed", "ENCFF1"),
        ("ENCFF1.bed.gz", "ENCFF1"),
        ("ENCFF1.narrowPeak", "ENCFF1"),
        ("a.b.broadPeak.gz", "a.b"),
        ("ENCFF1.txt", None),
        ("bed", None),
        (".ENCFF1.bed", None),
        ("ENCFF1.BED", None),
        ("ENCFF1.bed.gz.md5", None),
    ],
)
def test_peak_stem__is_the_accession(name: str, stem: str | None) -> None:
    assert peak_stem(Path(name)) == stem


@given(
    st.lists(
        st.lists(
            st.sampled_from(
                [
                    "chr1",
                    "1",
                    "chrZ",
                    "",
                    "#x",
                    "track",
                    "0",
                    "5",
                    "17",
                    "-1",
                    "+3",
                    "1e3",
                    " 4",
                    "x",
                    "\xe9",
                    "999999999999999999999",
                ]
            ),
            min_size=1,
            max_size=5,
        ),
        max_size=6,
    ),
    st.sampled_from(["\n", "\r\n", "\n\n"]),
    st.booleans(),
)
def test_scan_intervals__reads_what_polars_reads_or_nothing(
    drawn: list[list[str]], line_end: str, closed: bool
) -> None:
    content = (line_end.join("\t".join(cells) for cells in drawn) + (line_end if closed else "")).encode()
    scanned, table = scan_intervals(content), parse_intervals(content)
    if scanned is not None:
        assert table is not None
        rows = [
            (chrom, *pair)
            for chrom, (s, e) in scanned.items()
            for pair in zip(s.tolist(), e.tolist(), strict=True)
        ]
        names = list(scanned)
        assert rows == sorted(table.rows(), key=lambda row: names.index(row[0]))


def test_scan_intervals__reads_what_is_plain() -> None:
    rng = np.random.default_rng(0)
    names = [f"chr{number}" for number in range(1, 23)] + ["chrUn_KI270302v1"]
    rows = [
        (names[i], int(s), int(s) + 5)
        for i, s in zip(rng.integers(0, 23, 5000), rng.integers(0, 10**8, 5000), strict=True)
    ]
    content = "".join(f"{name}\t{start}\t{end}\t.\t7\n" for name, start, end in rows).encode()
    for text in (content, content[:-1]):
        scanned = scan_intervals(text)
        assert scanned is not None
        for name in names:
            expected = [(start, end) for chrom, start, end in rows if chrom == name]
            assert list(zip(*(part.tolist() for part in scanned[name]), strict=True)) == expected


def test_scan_intervals__leaves_too_many_names_to_others() -> None:
    content = "".join(f"scaffold{number}\t0\t9\n" for number in range(5000)).encode()
    assert scan_intervals(content) is None
    table = parse_intervals(content)
    assert table is not None
    assert len(table) == 5000


def test_read_intervals__longer_and_shorter_lines_do_not_make_up_for_each_other(tmp_path: Path) -> None:
    content = b"chr1\t0\t5\tx\nchr1\t5\t9\nchr1\t7\t9\tx\ty\nchr1\t8\t9\tx\n"
    assert scan_intervals(content) is None
    with pytest.raises(SourceError, match="line 2: found 3 columns; expected 4"):
        _read(tmp_path / "x.bed", content)
