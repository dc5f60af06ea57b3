"""Repairs the sequence: from the FASTA, by the tasks of the build."""

from __future__ import annotations

from pathlib import Path

from mfdstore import schema
from mfdstore.build.sequence import encode_stretch, stretches
from mfdstore.genomes import Genome
from mfdstore.provenance import describe_file
from mfdstore.repair.bench import Bench, check_source
from mfdstore.sources.fasta import open_fasta
from mfdstore.store import Store


def mend_sequence(bench: Bench, store: Store, path: Path | None) -> None:
    """Repair shards of the sequence.

    Raises
    ------
    SourceError
        If the FASTA is not the one that the store was built from.
    """
    arrays = {chrom: f"{schema.SEQUENCE}/{chrom}" for chrom in store.chroms}
    lost = [chrom for chrom, array in arrays.items() if bench.faults_of(array)]
    if not lost:
        return
    noted = store.provenance.get("fasta")
    if path is None or not isinstance(noted, dict):
        reason = "pass --fasta" if isinstance(noted, dict) else "the store does not note its FASTA"
        for chrom in lost:
            bench.give_up(arrays[chrom], reason)
        return
    check_source(describe_file(path).md5, noted.get("md5"), str(path))
    with open_fasta(path, bench.folder / "fasta") as fasta:
        genome = Genome.from_fasta(store.genome, fasta.sizes, str(path))
        for chrom in lost:
            array = arrays[chrom]
            bench.prepare(array)
            for stretch in stretches(chrom, genome.fasta_names[chrom], genome.sizes[chrom]):
                if f"{array}/c/{stretch.start // schema.CODES_PER_SHARD}" in bench.faulty:
                    encode_stretch(bench.folder, fasta, stretch)
            bench.put_prepared(array, "the FASTA")
