"""How the authors' files are laid out, and what a store adds so that it can be had back whole.

Beside their two datasets, a file that `mfdstore export` wrote holds a group of ours, which their loader passes by:
the split of each region, and as JSON whatever their format has no place for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from mfdstore.schema import KINDS, ROLES, Kind, Role
from mfdstore.sources.encode_columns import COLUMNS

REGIONS: Final = "regions.bed.gz"
OVERLAPS: Final = "overlaps.h5"
METADATA: Final = "metadata.tsv"

QUERY: Final = "query"
"""Dataset: row of the region, counted from 0, ascending; attribute `MD5`."""
TARGET: Final = "target"
"""Dataset of shape ``(pair, 1)``: index of the experiment; attributes `LABELS` and `N_POSITIVE`."""
MD5: Final = "md5"
"""Of the region file, unpacked."""
LABELS: Final = "labels"
"""Accessions of the experiments."""
N_POSITIVE: Final = "N"
"""Pairs of each experiment."""
PAIRS_PER_CHUNK: Final = 65_536
GZIP_LEVEL: Final = 6

CARRIED: Final = "mfdstore"
"""Group of ours."""
CARRIED_STORE: Final = "store"
"""Dataset in it: a `CarriedStore` as JSON."""
CARRIED_SPLIT: Final = "split"
"""Dataset in it: code of the split, a region each."""
CARRIED_PREFIX: Final = "mfdstore."
"""Before the name of a factor in the columns of ours in the metadata."""

MISSING: Final = "NA"
UNKNOWN: Final = "unknown"
ACCESSION: Final = "File.accession"


@dataclass(frozen=True)
class ReleaseColumn:
    """One column of the authors' metadata.

    Parameters
    ----------
    header
        As they call it.
    factor
        What it is called in a store.
    kind, role
        As in `metadata.Factor`.
    missing
        What they write where nothing is known.
    """

    header: str
    factor: str
    kind: Kind
    role: Role | None
    missing: str = MISSING


def _column(header: str, factor: str, missing: str = MISSING) -> ReleaseColumn:
    """Take kind and role of a factor from the ENCODE portal's reader, so that both make the same of it."""
    known = next(column for column in COLUMNS if column.name == factor)
    return ReleaseColumn(header, factor, known.kind, known.role, missing)


METADATA_COLUMNS: Final[tuple[ReleaseColumn, ...]] = (
    _column("Biosample.term.name", "biosample"),
    _column("Biosample.organ.slims", "organ"),
    _column("Biosample.system.slims", "system"),
    _column("Biosample.developmental.slims", "developmental"),
    _column("Biosample.organism", "organism"),
    _column("proc_Assay_lvl1", "assay"),
    _column("proc_target", "target"),
    _column("Experiment.date.released", "date_released"),
    _column("Library.lab", "lab"),
    # how well an experiment went is neither biology nor technique: it only describes
    ReleaseColumn("spot2_score", "spot2_score", "number", None),
    ReleaseColumn("five_percent_narrowpeaks_count", "five_percent_narrowpeaks_count", "number", None),
    ReleaseColumn("frip", "frip", "number", None),
    ReleaseColumn("reproducible_peaks", "reproducible_peaks", "number", None),
    _column("proc_age_bin", "age", UNKNOWN),
    _column("proc_age_bin_units", "age_unit"),
    _column("proc_Biosample_life_stage", "life_stage", UNKNOWN),
)
"""All but `ACCESSION`, in the authors' order."""


@dataclass(frozen=True)
class CarriedFactor:
    """How a factor of the exported store is to be read from its column; as in `metadata.Factor`."""

    name: str
    kind: Kind
    role: Role | None
    unit: str


@dataclass(frozen=True)
class CarriedStore:
    """What a store knows and the authors' format has no place for.

    Parameters
    ----------
    genome, bin_size, min_overlap, min_experiments
        As in the store's attributes.
    digest
        Of the store that was exported.
    chrom_sizes
        Length in bp of each chromosome, by name, in the store's order.
    sequence_digests
        Digest of each chromosome's codes, by name.
    factors
        In the store's order.
    """

    genome: str
    bin_size: int
    min_overlap: int
    min_experiments: int
    digest: str
    chrom_sizes: Mapping[str, int]
    sequence_digests: Mapping[str, str]
    factors: tuple[CarriedFactor, ...]

    def to_json(self) -> str:
        """Write it as text, the same for the same content."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> CarriedStore:
        """Read what `to_json` wrote.

        Raises
        ------
        ValueError
            If it is anything else; the text says what.
        """
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("no JSON object")
        lacking = sorted({*cls.__dataclass_fields__} ^ {*content})
        if lacking:
            raise ValueError(f"{lacking[0]!r} missing or not known")
        for name, kind in _KINDS.items():
            if not isinstance(content[name], kind) or isinstance(content[name], bool):
                raise ValueError(f"{name!r} of another kind")
        for name, kind in (("chrom_sizes", int), ("sequence_digests", str)):
            if not all(isinstance(value, kind) for value in content[name].values()):
                raise ValueError(f"{name!r} of another kind")
        factors = tuple(_read_factor(entry) for entry in content.pop("factors"))
        if len({factor.name for factor in factors}) != len(factors):
            raise ValueError("a factor twice")
        return cls(**content, factors=factors)


_KINDS: Final[Mapping[str, type]] = {
    "genome": str,
    "bin_size": int,
    "min_overlap": int,
    "min_experiments": int,
    "digest": str,
    "chrom_sizes": dict,
    "sequence_digests": dict,
    "factors": list,
}


def _read_factor(entry: Any) -> CarriedFactor:
    if not isinstance(entry, dict) or {*entry} != {*CarriedFactor.__dataclass_fields__}:
        raise ValueError("a factor that is not described")
    sound = (
        isinstance(entry["name"], str)
        and entry["name"] != ""
        and isinstance(entry["unit"], str)
        and entry["kind"] in KINDS
        and (entry["role"] is None or entry["role"] in ROLES)
    )
    if not sound:
        raise ValueError(f"a factor {entry['name']!r} of no known kind, role or unit")
    return CarriedFactor(**entry)
