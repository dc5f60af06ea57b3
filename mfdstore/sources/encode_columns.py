"""Which columns of the ENCODE portal's tables make which factor, and the role that each factor has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mfdstore.schema import Kind, Role


@dataclass(frozen=True)
class Column:
    """How one factor is read from the portal's tables.

    Parameters
    ----------
    name
        Of the factor.
    kind, role
        As in `metadata.Factor`.
    sources
        Columns to try in this order: ``m:`` of the metadata table, ``r:`` of the report.
    """

    name: str
    kind: Kind
    role: Role | None
    sources: tuple[str, ...]


def _slims(kind: str) -> tuple[str, ...]:
    """Name the columns of a slim: of older metadata, of carts, and of a report that was asked for it by its field."""
    return f"m:Biosample {kind} slims", f"r:Biosample {kind} slims", f"r:biosample_ontology.{kind}_slims"


COLUMNS: Final[tuple[Column, ...]] = (
    Column("target", "category", "biological", ("m:Experiment target", "r:Target of assay")),
    Column("biosample", "category", "biological", ("m:Biosample term name", "r:Biosample term name")),
    Column("biosample_type", "category", "biological", ("m:Biosample type", "r:Biosample classification")),
    Column("organ", "multi_category", "biological", _slims("organ")),
    Column("system", "multi_category", "biological", _slims("system")),
    Column("developmental", "multi_category", "biological", _slims("developmental")),
    Column("life_stage", "category", "biological", ("r:Life stage", "m:Biosample life stage")),
    Column("age", "number", "biological", ("r:Biosample age", "m:Biosample age")),
    Column("age_unit", "category", "biological", ("r:Biosample age", "m:Biosample age")),
    Column("treatment", "category", "biological", ("m:Biosample treatments", "r:Biosample treatment")),
    Column("assay", "category", "technical", ("r:Assay name", "m:Assay")),
    Column("lab", "category", "technical", ("r:Lab", "m:Lab")),
    Column("date_released", "date", "technical", ("m:Experiment date released",)),
    Column("project", "category", "technical", ("m:Project", "r:Project")),
    Column("platform", "multi_category", "technical", ("m:Platform",)),
    Column("read_length", "number", "technical", ("m:Read length", "m:Mapped read length")),
    Column("run_type", "category", "technical", ("m:Run type",)),
    Column("library_fragmentation", "multi_category", "technical", ("m:Library fragmentation method",)),
    Column(
        "genetic_modification", "multi_category", "technical", ("m:Biosample genetic modifications methods",)
    ),
    Column("organism", "category", None, ("m:Biosample organism", "r:Organism")),
    Column("assay_title", "category", None, ("m:Assay", "r:Assay title")),
    Column("experiment_accession", "category", None, ("m:Experiment accession", "r:Accession")),
)
