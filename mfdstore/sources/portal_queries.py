"""What is asked of the ENCODE portal: a selection as the parameters of its addresses, or a list that it wrote itself.

Parameters that begin with ``files.`` choose among the files of an experiment, the others among experiments.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from mfdstore.errors import ConfigError, SourceError
from mfdstore.sources.releases import known_release

ACCESSIBILITY_ASSAYS: Final = ("ATAC-seq", "DNase-seq")
CHIP_ASSAYS: Final = ("TF ChIP-seq", "Histone ChIP-seq")
PAPER_TARGETS: Final = (
    "CTCF",
    "H3K27ac",
    "H3K27me3",
    "H3K36me3",
    "H3K4me1",
    "H3K4me3",
    "H3K9ac",
    "H3K9me3",
)
HOST: Final = "www.encodeproject.org"
"""What the portal's own tables and lists say, whatever mirror is asked."""

_UNTARGETED: Final = (*ACCESSIBILITY_ASSAYS, "FAIRE-seq", "snATAC-seq")
ACCESSION: Final = re.compile(r"[A-Z0-9]{6,20}")
BATCH: Final = 100
"""Objects asked for by name in one address, which servers accept up to some 8,000 letters."""
_DOWNLOAD_PATH: Final = re.compile(
    r"/files/([A-Z0-9]{6,20})/@@download/([A-Z0-9]{6,20})((?:\.[A-Za-z0-9]+)+)"
)


@dataclass(frozen=True)
class Selection:
    """What is wanted of the portal; the default is what the published model was trained on: tissues, eight targets.

    Parameters
    ----------
    assays
        Assay titles. Targets do not narrow those that have none (ATAC-seq, DNase-seq).
    targets
        Labels of targets; empty means any.
    biosample_types
        ``tissue``, ``cell line``, ``primary cell`` ...; empty means any.
    biosamples
        Names of biosamples; empty means any.
    statuses
        Of experiments and files.
    output_types
        Of files, such as ``IDR thresholded peaks``; empty means any.
    file_types
        Format and kind of BED, as the portal writes them.
    preferred
        Take of each experiment only the files that the portal prefers, which is usually one.
    """

    assays: tuple[str, ...] = (*ACCESSIBILITY_ASSAYS, *CHIP_ASSAYS)
    targets: tuple[str, ...] = PAPER_TARGETS
    biosample_types: tuple[str, ...] = ("tissue",)
    biosamples: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ("released",)
    output_types: tuple[str, ...] = ()
    file_types: tuple[str, ...] = ("bed narrowPeak",)
    preferred: bool = True

    def __post_init__(self) -> None:
        needed = {"--assay": self.assays, "--status": self.statuses, "--file-type": self.file_types}
        for option, values in needed.items():
            if not values:
                raise ConfigError(option, found="nothing", expected="one at least", remedy="Name one.")


def write_queries(selection: Selection, portal_assembly: str, organism: str | None) -> tuple[str, ...]:
    """Write a selection as the parameters of the portal's addresses.

    Two, where targets narrow some of the assays only: the portal joins its parameters by "and".

    Parameters
    ----------
    selection
        What is wanted.
    portal_assembly
        The assembly as the portal calls it.
    organism
        As the portal calls it; `None` for any.
    """
    without = tuple(assay for assay in selection.assays if assay in _UNTARGETED)
    groups = [(selection.assays, selection.targets)]
    if selection.targets:
        others = tuple(assay for assay in selection.assays if assay not in without)
        groups = [(without, ()), (others, selection.targets)]
    queries = []
    for assays, targets in groups:
        if not assays:
            continue
        parameters = [("type", "Experiment"), ("control_type!", "*"), ("perturbed", "false")]
        parameters += [("status", status) for status in selection.statuses]
        if organism is not None:
            parameters.append(("replicates.library.biosample.donor.organism.scientific_name", organism))
        parameters += [("biosample_ontology.classification", kind) for kind in selection.biosample_types]
        parameters += [("biosample_ontology.term_name", name) for name in selection.biosamples]
        parameters += [("assay_title", assay) for assay in assays]
        parameters += [("target.label", target) for target in targets]
        parameters += [("assembly", portal_assembly), ("files.assembly", portal_assembly)]
        parameters += [("files.file_type", file_type) for file_type in selection.file_types]
        parameters += [("files.output_type", output_type) for output_type in selection.output_types]
        parameters += [("files.status", status) for status in selection.statuses]
        if selection.preferred:
            parameters += [("files.analyses.status", "released"), ("files.preferred_default", "true")]
        queries.append(urlencode(parameters))
    return tuple(queries)


def select(selection: Selection, genome: str) -> tuple[str, ...]:
    """Write a selection as queries for a genome by any of its names.

    Raises
    ------
    ConfigError
        If the portal's name of the genome is not known.
    """
    release = known_release(genome)
    return write_queries(selection, release.portal_name, release.organism)


@dataclass(frozen=True)
class FilesList:
    """A ``files.txt`` of the portal.

    Parameters
    ----------
    queries
        Of the metadata that belongs to it.
    accessions
        Of the files that it lists; `None` if it lists none, which means all of the metadata.
    """

    queries: tuple[str, ...]
    accessions: frozenset[str] | None


def read_files_list(path: Path, portal: str) -> FilesList:
    """Read a ``files.txt``: the address of the metadata, in quotation marks, then one address a file.

    Lists of a cart that was not saved have the experiments behind the first address, as an argument of curl.

    Raises
    ------
    SourceError
        If it is not that, or an address leads elsewhere than to the portal.
    """
    remedy = "Give the files.txt as the portal wrote it."
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            path, found=f"no readable text ({error})", expected="a files.txt", remedy=remedy
        ) from error
    try:
        words = shlex.split(lines[0]) if lines else []
        data = words[words.index("--data") + 1] if "--data" in words else "{}"
        elements = json.loads(data).get("elements", [])
        named = [_experiment_id(str(element)) for element in elements]
        parts = urlsplit(words[0] if words else "")
    except (ValueError, IndexError, AttributeError, TypeError):
        raise SourceError(
            path, line=1, found=repr(lines[0][:80]), expected="the address of the metadata", remedy=remedy
        ) from None
    if (
        not parts.path.startswith("/metadata/")
        or not parts.query
        or not _is_portal(words[0].partition("?")[0], portal)
    ):
        raise SourceError(
            path,
            line=1,
            found=repr(lines[0][:80]) if lines else "no line",
            expected=f"the address of the metadata: https://{HOST}/metadata/?type=Experiment&...",
            remedy=remedy,
        )
    parameters = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "option"]
    queries = [
        urlencode(parameters + [("@id", one) for one in named[start : start + BATCH]])
        for start in range(0, max(1, len(named)), BATCH)
    ]
    accessions = set()
    for number, line in enumerate(lines[1:], start=2):
        accession = _named_file(line.strip(), portal)
        if accession is not None:
            accessions.add(accession)
        elif line.strip():
            raise SourceError(
                path,
                line=number,
                found=repr(line[:120]),
                expected=f"https://{HOST}/files/ACCESSION/@@download/ACCESSION.bed.gz",
                remedy=remedy,
            )
    return FilesList(tuple(queries), frozenset(accessions) or None)


def _experiment_id(element: str) -> str:
    if not re.fullmatch(r"/[a-z-]+/[A-Z0-9]{6,20}/", element):
        raise ValueError(element)
    return element


def _is_portal(address: str, portal: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    hosts = (HOST, HOST.removeprefix("www."), urlsplit(portal).netloc)
    return parts.scheme in ("http", "https") and parts.netloc in hosts and not parts.query


def download_address(row: Mapping[str, str], portal: str) -> str | None:
    """Give the address of a file of the metadata at the portal that is asked.

    A table is a file as any other: an address in it that leads elsewhere is not followed. Where it has none, the
    portal's usual one is taken.

    Parameters
    ----------
    row
        Of the metadata.
    portal
        Base address.

    Returns
    -------
    `None` if the address leads elsewhere than to this file at the portal.
    """
    accession, written = row["File accession"], row["File download URL"]
    if not ACCESSION.fullmatch(accession):
        return None
    written = written or f"{portal}/files/{accession}/@@download/{accession}.bed.gz"
    return f"{portal}{urlsplit(written).path}" if _named_file(written, portal) == accession else None


def _named_file(address: str, portal: str) -> str | None:
    """Give the accession of the file that an address of the portal names."""
    match = _DOWNLOAD_PATH.fullmatch(urlsplit(address).path) if _is_portal(address, portal) else None
    return match[1] if match is not None and match[1] == match[2] else None
