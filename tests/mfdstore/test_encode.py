"""The portal's tables: factors with their roles and kinds, what is missing, and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from mfdstore.errors import SourceError
from mfdstore.schema import RESERVED
from mfdstore.sources.encode import ExperimentTable, read_experiments
from tests.worlds import ACCESSIONS, GENOME, METADATA_COLUMNS, World, write_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    World().write(tmp_path)
    return tmp_path


def _read(folder: Path) -> ExperimentTable:
    return read_experiments(folder / "metadata.tsv", folder / "report.tsv", GENOME)


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_read_experiments__types_every_factor(folder: Path) -> None:
    factors = _read(folder).factors
    described = {factor.name: (factor.role, factor.kind) for factor in factors if factor.role}
    assert described == {
        "target": ("biological", "category"),
        "biosample": ("biological", "category"),
        "organ": ("biological", "multi_category"),
        "life_stage": ("biological", "category"),
        "age": ("biological", "number"),
        "age_unit": ("biological", "category"),
        "assay": ("technical", "category"),
        "lab": ("technical", "category"),
        "date_released": ("technical", "date"),
        "read_length": ("technical", "number"),
    }
    assert factors.experiments == tuple(ACCESSIONS)


def test_read_experiments__keeps_what_is_missing_missing(folder: Path) -> None:
    factors = _read(folder).factors
    missing = {factor.name: np.flatnonzero(factor.missing).tolist() for factor in factors if factor.role}
    assert missing == {
        "target": [9],
        "biosample": [],
        "organ": [2, 4, 6, 9],  # empty, a lone comma, NA, empty
        "life_stage": [0, 3, 6, 9],
        "age": [1, 2, 4],  # two donors, empty, "90 or above"
        "age_unit": [1, 2, 4],
        "assay": [],
        "lab": [2],
        "date_released": [1],
        "read_length": [1, 3],  # empty, "unknown"
    }


def test_read_experiments__reads_the_values(folder: Path) -> None:
    factors = _read(folder).factors
    assert factors["target"].values[[0, 2, 3, 4, 7, 10]].tolist() == [
        *("CTCF", "Accessible DNA", "Accessible DNA", "H3K27ac", "MAX", "x[/b]y")
    ]
    assert factors["organ"].values[0] == ("exocrine gland", "liver")
    assert factors["organ"].values[5] == ("blood", "liver")
    assert factors["assay"].categories() == ("ATAC-seq", "ChIP-seq", "DNase-seq")
    assert factors["lab"].categories() == ("Michael Snyder, Stanford", "Richard Myers, HAIB")
    assert factors["date_released"].values[2] == np.datetime64("2020-02-29")
    assert factors["read_length"].values[[0, 2]].tolist() == [36.0, 50.5]
    assert factors["age"].values[[0, 3]].tolist() == [15.0, 3.5]
    assert factors["age_unit"].values[[0, 3]].tolist() == ["year", "month"]


def test_read_experiments__without_a_report_knows_no_lab(folder: Path) -> None:
    table = read_experiments(folder / "metadata.tsv", None, GENOME)
    assert "lab" not in table.factors  # the pipeline is nobody's lab
    assert {"lab", "life_stage", "age"} <= set(table.empty_columns)


def test_read_experiments__joins_by_file_before_experiment(folder: Path) -> None:
    world = World()
    rows = world.report_rows()
    rows[0]["Files"] = ""  # still found by its experiment
    rows[1]["Accession"] = "ENCSR777AAA"  # still found by its file
    rows[3]["Accession"] = rows[3]["Files"] = "ENCSR888AAA"  # not found
    write_table(folder / "report.tsv", list(rows[0]), rows)  # and without a time stamp
    table = _read(folder)
    assert table.factors["lab"].values[:4].tolist() == [
        *("Richard Myers, HAIB", "Michael Snyder, Stanford", None, None)
    ]
    assert table.counts["rows_without_report"] == 1


def test_read_experiments__leaves_out_other_assemblies_and_formats_and_says_so(folder: Path) -> None:
    rows = World().metadata_rows()
    rows[2]["File assembly"] = "hg19"
    rows[3]["File format"] = "bigWig"
    rows[4]["File format"] = "bigBed narrowPeak"
    write_table(folder / "metadata.tsv", METADATA_COLUMNS, rows)
    table = _read(folder)
    assert table.factors.experiments == tuple(
        name for index, name in enumerate(ACCESSIONS) if index not in (2, 3, 4)
    )
    assert table.counts == {
        "metadata_rows": 11,
        "rows_not_bed": 2,
        "rows_other_assembly": 1,
        "rows_without_report": 0,
    }


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_read_experiments__takes_any_line_end_and_a_byte_order_mark(folder: Path, end: str) -> None:
    before = _read(folder)
    for name in ("metadata.tsv", "report.tsv"):
        text = (folder / name).read_text()
        (folder / name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", end).encode())
    after = _read(folder)
    for old, new in zip(before.factors, after.factors, strict=True):
        assert old.name == new.name
        np.testing.assert_array_equal(old.values, new.values)


def test_read_experiments__keeps_other_columns_off_the_formats_names(folder: Path) -> None:
    columns = [name.upper() for name in sorted(RESERVED)] + ["Target", "target!", "A (b)", "a  b"]
    rows = [dict.fromkeys(columns, f"v{index}") | row for index, row in enumerate(World().metadata_rows())]
    write_table(folder / "metadata.tsv", METADATA_COLUMNS[:-2] + columns, rows)
    names = _read(folder).factors.names
    assert not RESERVED & set(names)
    assert {f"{name}_" for name in RESERVED} <= set(names)
    assert {"target", "target_", "target__", "a_b", "a_b_"} <= set(names)


def test_read_experiments__counts_every_column_whatever_its_letters(folder: Path) -> None:
    columns = ["Größe", "細胞", "%"]
    rows = [dict.fromkeys(columns, f"v{index}") | row for index, row in enumerate(World().metadata_rows())]
    write_table(folder / "metadata.tsv", METADATA_COLUMNS + columns, rows)
    factors = _read(folder).factors
    for name in ("gr_e", "column_15", "column_16"):
        assert factors[name].values[3] == "v3"


def test_read_experiments__refuses_a_column_too_long_for_a_name(folder: Path) -> None:
    for length, fits in ((200, True), (201, False)):
        rows = [{"x" * length: "v"} | row for row in World().metadata_rows()]
        write_table(folder / "metadata.tsv", [*METADATA_COLUMNS, "x" * length], rows)
        if fits:
            assert "x" * length in _read(folder).factors
        else:
            with pytest.raises(SourceError, match=r"a column of 201 letters, 'xxx.*Shorten") as caught:
                _read(folder)
            assert caught.value.line == 1


@pytest.mark.parametrize("age", ["37-42 weeks", "5-6 day", "18 - 20 years"])
def test_read_experiments__takes_no_end_of_a_range_for_the_age(folder: Path, age: str) -> None:
    _edit(folder / "report.tsv", "15 years", age)
    factors = _read(folder).factors
    assert factors["age"].missing[0]
    assert factors["age_unit"].values[0] is None


def test_read_experiments__refuses_report_rows_that_disagree(folder: Path) -> None:
    rows = World().report_rows()
    rows[1]["Biosample age"] = ""
    write_table(folder / "report.tsv", list(rows[0]), [*rows, rows[1]])
    text = (folder / "report.tsv").read_text()
    (folder / "report.tsv").write_text(text.removesuffix("\t\n"))  # without its last cell, which is empty
    assert _read(folder).factors["lab"].values[1] == "Michael Snyder, Stanford"  # said twice, but the same
    write_table(folder / "report.tsv", list(rows[0]), [*rows, rows[1] | {"Lab": "Bing Ren, UCSD"}])
    with pytest.raises(SourceError, match="ENCSR001AAA again, first on line 3, with another 'Lab'") as caught:
        _read(folder)
    assert caught.value.line == 13


def test_read_experiments__of_a_file_in_two_experiments_takes_its_own(folder: Path) -> None:
    rows = World().report_rows()
    rows[1]["Files"] += f",/files/{ACCESSIONS[0]}/"
    write_table(folder / "report.tsv", list(rows[0]), rows)
    assert _read(folder).factors["lab"].values[0] == "Richard Myers, HAIB"
    rows[0]["Accession"] = "ENCSR777AAA"  # now neither is its own
    write_table(folder / "report.tsv", list(rows[0]), rows)
    with pytest.raises(SourceError, match=f"{ACCESSIONS[0]} again, first on line 2, with another 'ID'"):
        _read(folder)


def test_read_experiments__takes_cells_of_any_length(folder: Path) -> None:
    _edit(folder / "report.tsv", "/files/ENCFF999ZZZ/,", "/files/ENCFF999ZZZ/," * 10_000)
    assert _read(folder).counts["rows_without_report"] == 0


def test_read_experiments__takes_quotes_for_letters(folder: Path) -> None:
    _edit(folder / "metadata.tsv", "HepG2", '"HepG2')
    assert _read(folder).factors["biosample"].values[1] == '"HepG2'


@pytest.mark.parametrize("accession", ["../x", "a/b", "", ".hidden", "a..b", "a b", "x" * 101, "a\\b", "-x"])
def test_read_experiments__refuses_an_accession_that_names_no_file(folder: Path, accession: str) -> None:
    _edit(folder / "metadata.tsv", ACCESSIONS[2], accession)
    with pytest.raises(SourceError, match="column 'File accession'; expected letters, digits") as caught:
        _read(folder)
    assert caught.value.line == 4


def test_read_experiments__refuses_an_accession_that_occurs_twice(folder: Path) -> None:
    _edit(folder / "metadata.tsv", ACCESSIONS[4], ACCESSIONS[1])
    with pytest.raises(SourceError, match=f"accession {ACCESSIONS[1]} again, first on line 3") as caught:
        _read(folder)
    assert caught.value.line == 6


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("\t50.5\t", "\tlong\t", 4, "'long' in column 'Read length'; expected a number"),
        ("\t50.5\t", "\tinf\t", 4, "'inf' in column 'Read length'; expected a number"),
        ("\t50.5\t", "\t1e999\t", 4, "expected a number"),
        ("2020-02-29", "2021-02-29", 4, "'2021-02-29' in column 'Experiment date released'; expected a date"),
        ("2020-02-29", "July", 4, "expected a date"),
        ("\t50.5\t", "\t50.5\t\t\t", 4, "found 15 cells; expected 13"),
        ("\t50.5\t", "", 4, "found 11 cells; expected 13"),
        ("File accession", "Accession", 1, "expected a header with 'File accession'"),
        ("File assembly", "Assay", 1, "column 'Assay' more than once"),
    ],
)
def test_read_experiments__names_the_line_at_fault(
    folder: Path, old: str, new: str, line: int, words: str
) -> None:
    _edit(folder / "metadata.tsv", old, new)
    with pytest.raises(SourceError) as caught:
        _read(folder)
    assert words in str(caught.value)
    assert caught.value.line == line
    assert caught.value.where == str(folder / "metadata.tsv")


@pytest.mark.parametrize("name", ["metadata.tsv", "report.tsv"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no header line"),
        (b"\x00" * 200_000, "expected a header with"),
        (bytes(range(256)) * 20, "bytes that are not text"),
        (b"\x1f\x8b\x08\x00junk", "Unpack it if it is compressed"),
        ("File accession\tAssay\nENCFF000AAA\tü\n".encode("latin-1"), "bytes that are not text"),
        (b"File accession\tAccession\n", "no rows"),
        (b"\n\n\n", "expected a header with"),
    ],
)
def test_read_experiments__refuses_what_is_no_table(
    folder: Path, name: str, content: bytes, words: str
) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(SourceError, match=words) as caught:
        _read(folder)
    assert caught.value.where == str(folder / name)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize("name", ["metadata.tsv", "report.tsv"])
@pytest.mark.parametrize("what", ["missing", "folder"])
def test_read_experiments__wants_readable_files(folder: Path, name: str, what: str) -> None:
    (folder / name).unlink()
    if what == "folder":
        (folder / name).mkdir()
    with pytest.raises(SourceError, match="no readable file"):
        _read(folder)


def test_read_experiments__finds_a_table_cut_off_within_a_line(folder: Path) -> None:
    content = (folder / "metadata.tsv").read_bytes()
    (folder / "metadata.tsv").write_bytes(content[: content.rindex(b"HepG2")])
    with pytest.raises(SourceError, match="The file may be truncated") as caught:
        _read(folder)
    assert caught.value.line == 11


def test_read_experiments__with_no_row_left_says_why(folder: Path) -> None:
    with pytest.raises(SourceError, match="11 rows, 0 of them no BED file and 11 not of hg38"):
        read_experiments(folder / "metadata.tsv", None, "hg38")


@pytest.mark.real
def test_read_experiments__lab_reaches_the_files_that_the_report_names(real_data: Path) -> None:
    folder = real_data / "hg38-chr22"
    table = read_experiments(folder / "metadata.tsv", folder / "experiment_report.tsv", "hg38")
    with (folder / "experiment_report.tsv").open(encoding="utf-8", newline="") as handle:
        handle.readline()
        report = list(csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE))
    with (folder / "metadata.tsv").open(encoding="utf-8", newline="") as handle:
        metadata = {
            row["File accession"]: row
            for row in csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
        }
    by_file = {entry.strip("/").split("/")[-1]: row for row in report for entry in row["Files"].split(",")}
    by_experiment = {row["Accession"]: row for row in report}
    n_named = n_labs = 0
    for accession, lab, stage in zip(
        table.factors.experiments,
        table.factors["lab"].values,
        table.factors["life_stage"].values,
        strict=True,
    ):
        row = by_file.get(accession) or by_experiment.get(metadata[accession]["Experiment accession"])
        n_named += row is not None
        n_labs += lab is not None
        listed = metadata[accession]["Lab"]
        if row is None:
            assert lab == (listed if listed not in ("", "ENCODE Processing Pipeline") else None)
        else:
            assert (lab, stage) == (row["Lab"], row["Life stage"])
    assert len(table.factors) == 148
    assert n_named >= 35
    assert n_labs >= n_named


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "genome"),
    [
        ("encode_portal_metadata_tfchip_1674.tsv", "hg38"),
        ("encode_portal_metadata_tfchip_1674.tsv", "hg19"),
        ("encode_portal_metadata_H1_186.tsv", "hg19"),
    ],
)
def test_read_experiments__reads_large_genuine_tables(real_data: Path, name: str, genome: str) -> None:
    path = real_data / "metadata-tables" / name
    table = read_experiments(path, None, genome)
    assert (
        sum(table.counts.values()) - table.counts["metadata_rows"] + len(table.factors)
        == len(path.read_text(encoding="utf-8").splitlines()) - 1
    )
    assert {"assay", "biosample"} <= set(table.factors.names)
    assert not table.factors["assay"].missing.any()
