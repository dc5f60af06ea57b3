"""The ENCODE portal's tables over the web.

The portal writes ``metadata.tsv`` at ``/metadata/?type=Experiment&...`` and a table of any objects at
``/report.tsv?type=...&field=...``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from mfdstore.errors import DownloadError
from mfdstore.sources.portal_queries import ACCESSION, BATCH
from mfdstore.sources.web import Web

_REPORT_FIELDS: Final = (
    "@id",
    "accession",
    "assay_term_name",
    "assay_title",
    "biosample_ontology.classification",
    "target.label",
    "biosample_summary",
    "biosample_ontology.term_name",
    "biosample_ontology.organ_slims",
    "biosample_ontology.system_slims",
    "biosample_ontology.developmental_slims",
    "lab.title",
    "award.project",
    "status",
    "files.@id",
    "replicates.library.biosample.organism.scientific_name",
    "replicates.library.biosample.life_stage",
    "replicates.library.biosample.age_display",
    "replicates.library.biosample.treatments.treatment_term_name",
)


@dataclass(frozen=True)
class FileState:
    """What became of a file: its status on the portal, and the accessions that replace it."""

    status: str
    superseded_by: tuple[str, ...]


class Portal:
    """Asks the portal for its tables.

    Parameters
    ----------
    web
        The client.
    address
        Base address.
    """

    def __init__(self, web: Web, address: str) -> None:
        self.web = web
        self.address = address

    def metadata(self, queries: Sequence[str]) -> bytes:
        """Get ``metadata.tsv`` of several queries as one table.

        Raises
        ------
        DownloadError
            If none of them finds a file, or the portal does not answer.
        """
        tables = []
        for query in queries:
            table = self._table(f"{self.address}/metadata/?{query}")
            if table is not None and len(table.splitlines()) > 1:
                tables.append(table)
        if not tables:
            raise DownloadError(
                f"{self.address}/search/?{queries[0]}",
                found="no file that fits the selection",
                expected="one at least",
                remedy="Open this address in a browser to see which part of the selection nothing fits.",
            )
        return _join(tables, 1, f"{self.address}/metadata/")

    def report(self, experiments: Iterable[str]) -> bytes | None:
        """Get the experiment report of experiments, by accession; `None` if the portal knows none of them."""
        named = [f"/experiments/{name}/" for name in sorted(set(experiments)) if ACCESSION.fullmatch(name)]
        return self._report("Experiment", named, _REPORT_FIELDS)

    def states(self, accessions: Iterable[str]) -> dict[str, FileState]:
        """Ask what became of files; those that the portal does not show are not in the answer."""
        named = [f"/files/{name}/" for name in sorted(set(accessions)) if ACCESSION.fullmatch(name)]
        table = self._report("File", named, ("accession", "status", "superseded_by"))
        states = {}
        for line in table.decode(errors="replace").splitlines()[2:] if table else []:
            accession, status, successors = [cell.strip() for cell in [*line.split("\t"), "", ""][:3]]
            names = re.findall(r"/files/([A-Z0-9]{6,20})/", successors)
            states[accession] = FileState(status, tuple(names))
        return states

    def _report(self, kind: str, named: Sequence[str], fields: Sequence[str]) -> bytes | None:
        tables = []
        for start in range(0, len(named), BATCH):
            parameters = [("type", kind), *(("@id", name) for name in named[start : start + BATCH])]
            parameters += [("field", field) for field in fields] + [("limit", "all")]
            table = self._table(f"{self.address}/report.tsv?{urlencode(parameters)}")
            if table is not None:
                tables.append(table)
        return _join(tables, 2, f"{self.address}/report.tsv") if tables else None

    def _table(self, address: str) -> bytes | None:
        try:
            return self.web.read(address)
        except DownloadError as error:
            if error.status == 404:  # the portal's way to say that a search finds nothing
                return None
            raise


def _join(tables: Sequence[bytes], n_head: int, address: str) -> bytes:
    """Put tables of one header under it; `n_head` lines are before the first row."""
    split = [table.splitlines(keepends=True) for table in tables]
    headers = {lines[n_head - 1].strip() if len(lines) >= n_head else b"" for lines in split}
    if len(headers) > 1:
        raise DownloadError(
            address,
            found="tables with different columns for parts of one selection",
            expected="one header",
            remedy="Run the same command again; if it stays so, select less at a time.",
        )
    rows = [line.rstrip(b"\r\n") + b"\n" for lines in split for line in lines[n_head:]]
    return b"".join([*split[0][:n_head], *rows])
