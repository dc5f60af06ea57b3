"""Repairs accessions and factors: from the attributes and the tables."""

from __future__ import annotations

import numpy as np

from mfdstore import layout, schema
from mfdstore.provenance import describe_file
from mfdstore.repair.bench import Bench, RepairSources, check_source
from mfdstore.sources.encode import read_experiments
from mfdstore.store import Store


def mend_experiments(bench: Bench, store: Store, sources: RepairSources) -> None:
    """Repair what is known of the experiments.

    Raises
    ------
    SourceError
        If a table is not the one that the store was built from.
    """
    if bench.faults_of(schema.EXPERIMENT):
        noted = store.provenance.get("peaks")
        names = list(noted) if isinstance(noted, dict) else []
        if len(names) == store.n_experiments:
            bench.prepare(schema.EXPERIMENT)[...] = np.array(names, object)
            bench.put_prepared(schema.EXPERIMENT, "the attributes")
        else:
            bench.give_up(schema.EXPERIMENT, "the attributes do not list the peak files")
    factors = [entry["name"] for entry in store.attributes["factors"]]
    lost = [name for name in factors if bench.faults_of(name)]
    if not lost:
        return
    reason = _why_not(bench, store, sources)
    if reason:
        for name in lost:
            bench.give_up(name, reason)
        return
    assert sources.metadata is not None
    table = read_experiments(sources.metadata, sources.report, store.genome).factors
    rows = {name: row for row, name in enumerate(table.experiments)}
    kept = table.take(np.array([rows[name] for name in store.experiments if name in rows], np.int64))
    for name in lost:
        if name in kept and len(kept) == store.n_experiments:
            bench.prepare(name)[...] = layout.encode_values(kept[name])
            bench.put_prepared(name, "the tables")
        else:
            bench.give_up(name, "the tables do not hold it for all experiments")


def _why_not(bench: Bench, store: Store, sources: RepairSources) -> str | None:
    """Say what is missing to read the tables; refuse tables of another store."""
    noted = store.provenance.get("tables")
    digests = [file.get("md5") for file in noted if isinstance(file, dict)] if isinstance(noted, list) else []
    if "made_by" in store.provenance:
        return "the tables do not tell all of a store made of stores; make it again from its parents"
    if not digests:
        return "the store does not note the tables that it was built from"
    if not bench.is_whole(schema.EXPERIMENT):
        return "the experiments are lost"
    if sources.metadata is None:
        return "pass --metadata" + (" and --report" if len(digests) > 1 else "")
    if len(digests) > 1 and sources.report is None:
        return "pass --report"
    given = [path for path in (sources.metadata, sources.report) if path is not None]
    for path, expected in zip(given, digests, strict=False):
        check_source(describe_file(path).md5, expected, str(path))
    return None
