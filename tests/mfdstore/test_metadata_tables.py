"""Genuine large tables, read as a user's build reads them, against facts that pandas counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mfdstore.errors import SourceError
from mfdstore.sources.encode import PIPELINE, ExperimentTable, read_experiments

TF, H1 = "encode_portal_metadata_tfchip_1674.tsv", "encode_portal_metadata_H1_186.tsv"
ASSEMBLIES = {"hg38": "GRCh38", "hg19": "hg19"}
pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def tables(real_data: Path) -> Path:
    return real_data / "metadata-tables"


def _pandas(path: Path, genome: str) -> pd.DataFrame:
    """Read the rows of BED files of one assembly; every cell as text."""
    rows = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    assembly = "File assembly" if "File assembly" in rows else "Assembly"
    kept = rows["File format"].str.startswith("bed ") & (rows[assembly] == ASSEMBLIES[genome])
    return rows[kept].reset_index(drop=True)


@pytest.mark.parametrize(
    ("name", "genome", "n_rows", "n_experiments", "n_targets"),
    [
        (TF, "hg38", 1674, 1660, 832),
        (TF, "hg19", 1674, 14, 9),
        (H1, "hg38", 186, 26, 6),
        (H1, "hg19", 186, 28, 6),
    ],
)
def test_portal_metadata__becomes_factors(
    tables: Path, name: str, genome: str, n_rows: int, n_experiments: int, n_targets: int
) -> None:
    read = read_experiments(tables / name, None, genome)
    expected = _pandas(tables / name, genome)
    assert read.counts["metadata_rows"] == n_rows
    assert len(read.factors) == n_experiments == len(expected)
    assert n_rows - sum(read.counts[key] for key in ("rows_not_bed", "rows_other_assembly")) == n_experiments
    assert list(read.factors.experiments) == expected["File accession"].tolist()
    assert len(read.factors["target"].categories()) == n_targets == expected["Experiment target"].nunique()
    assert read.factors["target"].values.tolist() == [
        target.removesuffix("-human") for target in expected["Experiment target"]
    ]
    assert read.factors["biosample"].values.tolist() == expected["Biosample term name"].tolist()
    assert read.factors["biosample_type"].values.tolist() == expected["Biosample type"].tolist()
    assert read.factors["assay"].categories() == ("ChIP-seq",)
    dates = pd.to_datetime(expected["Experiment date released"]).to_numpy().astype("datetime64[D]")
    np.testing.assert_array_equal(read.factors["date_released"].values, dates)
    assert read.md5 == dict(zip(expected["File accession"], expected["md5sum"], strict=True))
    _check_missing(read, expected)


def _check_missing(read: ExperimentTable, expected: pd.DataFrame) -> None:
    """Count what is missing, column by column; what holds nothing is named as empty."""
    columns = {
        "treatment": "Biosample treatments",
        "library_fragmentation": "Library fragmentation method",
        "genetic_modification": "Biosample genetic modifications methods",
        "platform": "Platform",
        "read_length": "Read length",
        "run_type": "Run type",
        "library_size_range": "Library size range",
        "audit_warning": "Audit WARNING",
    }
    for factor, column in columns.items():
        n_missing = int((expected[column] == "").sum())
        if n_missing == len(expected):
            assert factor in read.empty_columns, factor
            assert factor not in read.factors, factor
        else:
            assert int(read.factors[factor].missing.sum()) == n_missing, factor
    labs = expected["Lab"].where(expected["Lab"] != PIPELINE, "")
    if (labs == "").all():
        assert "lab" in read.empty_columns
    else:
        assert [lab or "" for lab in read.factors["lab"].values] == labs.tolist()
    assert {"organ", "life_stage", "age"} <= set(read.empty_columns)


def test_portal_metadata__takes_several_values_of_a_cell_apart(tables: Path) -> None:
    read = read_experiments(tables / TF, None, "hg38")
    expected = _pandas(tables / TF, "hg38")["Library fragmentation method"]
    values = read.factors["library_fragmentation"].values
    for value, text in zip(values, expected, strict=True):
        assert value == (tuple(sorted(part.strip() for part in text.split(","))) if text else None)
    assert any(value is not None and len(value) == 2 for value in values)


def test_portal_metadata__of_another_genome_says_so(tables: Path) -> None:
    with pytest.raises(SourceError, match="132 of them no BED file and 54 not of mm10"):
        read_experiments(tables / H1, None, "mm10")


def _refusal(path: Path) -> str:
    with pytest.raises(SourceError) as told:
        read_experiments(path, None, "hg38")
    return str(told.value)


def test_candi__is_told_what_it_lacks(tables: Path, tmp_path: Path) -> None:
    message = _refusal(tables / "candi_2684.csv")
    assert "separated by commas instead of tabs; expected a header with 'File accession'" in message
    assert (
        "'file_accession' holds file accessions (to be taken out: repeats: 142): "
        "save the table with tabs and call it 'File accession'" in message
    )
    # and after that: 142 of its accessions stand there twice, which is told by line
    rows = pd.read_csv(tables / "candi_2684.csv", dtype=str, keep_default_na=False)
    renamed = rows.rename(
        columns={
            "file_accession": "File accession",
            "lab": "Lab",
            "assembly": "File assembly",
            "read_length": "Read length",
        }
    )
    renamed.to_csv(tmp_path / "all.tsv", sep="\t", index=False)
    line = int(rows["file_accession"].duplicated().to_numpy().argmax()) + 2
    assert f"line {line}: found accession" in _refusal(tmp_path / "all.tsv")
    once = renamed.drop_duplicates("File accession")
    once.to_csv(tmp_path / "once.tsv", sep="\t", index=False)
    factors = read_experiments(tmp_path / "once.tsv", None, "hg38").factors
    assert len(factors) == rows["file_accession"].nunique() == 2542
    assert factors["lab"].categories() == tuple(sorted(rows["lab"].unique()))
    assert int(factors["read_length"].missing.sum()) == int((once["Read length"] == "").sum())
    assert factors["assay_name"].role is None


def test_dhs_vocabulary__is_told_what_it_lacks(tables: Path, tmp_path: Path) -> None:
    message = _refusal(tables / "dhs_vocabulary_733.tsv")
    assert "expected a header with 'File accession'" in message
    assert (
        "'DCC File ID' holds file accessions (to be taken out: empty cells: 1): call it 'File accession'"
        in message
    )
    names = {
        "DCC File ID": "File accession",
        "Biosample name": "Biosample term name",
        "Organ": "Biosample organ slims",
        "System": "Biosample system slims",
        "Growth stage": "Biosample life stage",
    }
    rows = pd.read_csv(tables / "dhs_vocabulary_733.tsv", sep="\t", dtype=str, keep_default_na=False)
    rows.rename(columns=names).to_csv(tmp_path / "all.tsv", sep="\t", index=False)
    # its last row counts the others, and is no experiment
    assert "line 735: found '' in column 'File accession'" in _refusal(tmp_path / "all.tsv")
    rows = rows[rows["DCC File ID"] != ""]
    rows.rename(columns=names).to_csv(tmp_path / "rows.tsv", sep="\t", index=False)
    factors = read_experiments(tmp_path / "rows.tsv", None, "hg38").factors
    assert len(factors) == 733
    assert factors["biosample"].categories() == tuple(sorted(rows["Biosample name"].unique()))
    assert factors["life_stage"].categories() == tuple(sorted(rows["Growth stage"].unique()))
    assert int(factors["organ"].missing.sum()) == int((rows["Organ"] == "").sum())
    assert factors["library_sequencing_date"].role is None
