"""The two tables that ENCODE's portal gives for a set of files: ``metadata.tsv`` and the cart report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mfdstore.simulate.plan import Biosample, Experiment, Plan

ASSEMBLY: Final = "simulated"
"""Name of the simulated genome, in the tables and for ``--genome``."""

_MODIFICATIONS: Final = "Biosample genetic modifications"
METADATA_COLUMNS: Final = (
    "File accession", "File format", "File type", "File format type", "Output type", "File assembly",
    "Experiment accession", "Assay", "Donor(s)", "Biosample term id", "Biosample term name", "Biosample type",
    "Biosample organism", "Biosample treatments", "Biosample treatments amount",
    "Biosample treatments duration", f"{_MODIFICATIONS} methods", f"{_MODIFICATIONS} categories",
    f"{_MODIFICATIONS} targets", f"{_MODIFICATIONS} gene targets", f"{_MODIFICATIONS} site coordinates",
    f"{_MODIFICATIONS} zygosity", "Experiment target", "Library made from", "Library depleted in",
    "Library extraction method", "Library lysis method", "Library crosslinking method",
    "Library strand specific", "Experiment date released", "Project", "RBNS protein concentration",
    "Library fragmentation method", "Library size range", "Biological replicate(s)",
    "Technical replicate(s)", "Read length", "Mapped read length", "Run type", "Paired end", "Paired with",
    "Index of", "Derived from", "Size", "Lab", "md5sum", "dbxrefs", "File download URL",
    "Genome annotation", "Platform", "Controlled by", "File Status", "s3_uri", "File analysis title",
    "File analysis status", "Audit WARNING", "Audit NOT_COMPLIANT", "Audit ERROR",
)  # fmt: skip
"""The portal's 58 columns, in its order."""

REPORT_COLUMNS: Final = (
    "ID", "Accession", "Assay name", "Assay title", "Biosample classification", "Target", "Target of assay",
    "Target gene symbol", "Biosample summary", "Biosample term name", "Dbxrefs", "Description", "Lab",
    "Project", "Status", "Files", "Related series", "Biosample accession", "Biological replicate",
    "Technical replicate", "Linked antibody", "Organism", "Life stage", "Biosample age",
    "Biosample treatment", "Biosample treatment ontology ID", "Biosample treatment amount",
    "Biosample treatment amount units", "Biosample treatment duration", "Biosample treatment duration units",
    "Synchronization", "Post-synchronization time", "Post-synchronization time units",
    "Biosample modification site target organism", "Biosample modification site introduced gene organism",
    "Replicates", "Mixed biosamples", "Cellular component", "Library construction platform",
    "Library construction method",
)  # fmt: skip
"""The columns of a cart report of experiments, in its order."""

_PIPELINE: Final = "ENCODE Processing Pipeline"
_REPORT_STAMP: Final = "2024-01-01 00:00:00.000000\tsimulated cart report of experiments"


@dataclass(frozen=True)
class FileFacts:
    """What the portal says of a file's bytes: their number and their md5 digest in hex."""

    size: int
    md5: str


def format_metadata(plan: Plan, facts: Mapping[str, FileFacts]) -> str:
    """Write ``metadata.tsv``, one row a peak file.

    As in the portal's own table, the lab of a processed file is the pipeline, an accessibility assay has no
    target, and the true lab and the life stage are only in the report.

    Parameters
    ----------
    plan
        With the experiments.
    facts
        By file accession.
    """
    by_name = {biosample.name: biosample for biosample in plan.biosamples}
    rows = [
        _metadata_row(experiment, by_name[experiment.biosample], facts[experiment.file])
        for experiment in plan.experiments
    ]
    return _format_table(METADATA_COLUMNS, rows)


def format_report(plan: Plan) -> str:
    """Write ``experiment_report.tsv``: a stamp, a header, and one row an experiment that is not left out."""
    by_name = {biosample.name: biosample for biosample in plan.biosamples}
    rows = [
        _report_row(experiment, by_name[experiment.biosample])
        for experiment in plan.experiments
        if not experiment.lacks_report
    ]
    return f"{_REPORT_STAMP}\n{_format_table(REPORT_COLUMNS, rows)}"


def _metadata_row(experiment: Experiment, biosample: Biosample, facts: FileFacts) -> dict[str, str]:
    is_chip = bool(experiment.target)
    return {
        "File accession": experiment.file,
        "File format": "bed narrowPeak",
        "File type": "bed",
        "File format type": "narrowPeak",
        "Output type": "IDR thresholded peaks" if is_chip else "peaks",
        "File assembly": ASSEMBLY,
        "Experiment accession": experiment.accession,
        "Assay": experiment.assay,
        "Biosample term id": biosample.term_id,
        "Biosample term name": biosample.name,
        "Biosample type": biosample.type,
        "Biosample organism": "Homo sapiens",
        "Experiment target": f"{experiment.target}-human" if is_chip else "",
        "Library made from": "DNA",
        "Experiment date released": "" if experiment.lacks_date else experiment.released.isoformat(),
        "Project": "simulated",
        "Biological replicate(s)": "1, 2",
        "Technical replicate(s)": "1_1, 2_1",
        "Derived from": f"/files/{_read_file(experiment)}/",
        "Size": str(facts.size),
        "Lab": _PIPELINE,
        "md5sum": facts.md5,
        "File Status": "released",
        "File analysis title": "simulated",
        "File analysis status": "released",
    }


def _report_row(experiment: Experiment, biosample: Biosample) -> dict[str, str]:
    assay_name = "ChIP-seq" if experiment.target else experiment.assay
    subject = " ".join(word for word in (experiment.target, experiment.assay) if word)
    return {
        "ID": f"/experiments/{experiment.accession}/",
        "Accession": experiment.accession,
        "Assay name": assay_name,
        "Assay title": experiment.assay,
        "Biosample classification": biosample.type,
        "Target": f"/targets/{experiment.target}-human/" if experiment.target else "",
        "Target of assay": experiment.target,
        "Target gene symbol": experiment.target,
        "Biosample summary": f"Homo sapiens {biosample.name}",
        "Biosample term name": biosample.name,
        "Description": f"{subject} on {biosample.name}",
        "Lab": experiment.lab,
        "Project": "simulated",
        "Status": "released",
        "Files": f"/files/{_read_file(experiment)}/,/files/{experiment.file}/",
        "Biological replicate": "1,2",
        "Technical replicate": "1",
        "Organism": "Homo sapiens",
        "Life stage": biosample.life_stage,
        "Biosample age": biosample.age,
    }


def _read_file(experiment: Experiment) -> str:
    """Name the file of reads that a peak file comes from; the report lists it, but it is not simulated."""
    return experiment.file.replace("SIMFF", "SIMFQ")


def _format_table(columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> str:
    lines = ["\t".join(columns)]
    for row in rows:
        unknown = row.keys() - set(columns)
        if unknown:
            raise KeyError(f"columns that the table does not have: {', '.join(sorted(unknown))}")
        lines.append("\t".join(row.get(column, "") for column in columns))
    return "\n".join(lines) + "\n"
