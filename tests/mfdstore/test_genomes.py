"""One name for each chromosome, however a file spells it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from mfdstore.errors import ConfigError, SourceError
from mfdstore.genomes import ASSEMBLIES, Genome, find_assembly, same_assembly, some, usual_name

CHR22 = 50_818_468


@pytest.mark.parametrize("fasta_name", ["chr22", "22", "NC_000022.11", "CHR22"])
@pytest.mark.parametrize("name", ["hg38", "GRCh38", "grch38", "GRCh38.p14"])
def test_resolve__takes_every_spelling_of_the_assembly(fasta_name: str, name: str) -> None:
    genome = Genome.from_fasta(name, {fasta_name: CHR22, "chrUn_1": 5}, "x.fa")
    assert dict(genome.sizes) == {"chr22": CHR22, "chrUn_1": 5}
    assert genome.fasta_names["chr22"] == fasta_name
    assert {genome.resolve(spelt) for spelt in ("chr22", "22", "NC_000022.11", "Chr22")} == {"chr22"}
    assert genome.resolve("chrUn_1") == "chrUn_1"


@pytest.mark.parametrize("spelt", ["NC_000022.10", "chr2", "2", "", "chr", "NC_000002.12", "chr22_alt"])
def test_resolve__does_not_guess(spelt: str) -> None:
    genome = Genome.from_fasta("hg38", {"chr22": CHR22}, "x.fa")
    assert genome.resolve(spelt) is None


def test_usual_name__of_the_assemblies() -> None:
    human, old, mouse = (find_assembly(name) for name in ("hg38", "hg19", "mm10"))
    assert usual_name("NC_000001.11", human) == "chr1"
    assert usual_name("NC_000001.10", old) == "chr1"
    assert usual_name("NC_000023.11", human) == usual_name("X", human) == "chrX"
    assert usual_name("NC_000024.10", human) == "chrY"
    assert usual_name("NC_000067.6", mouse) == "chr1"
    assert usual_name("NC_000085.6", mouse) == "chr19"
    assert usual_name("NC_000087.7", mouse) == "chrY"
    new_mouse = find_assembly("GRCm39")
    named = [usual_name(f"NC_0000{name}", new_mouse) for name in ("67.7", "68.8", "85.7", "86.8", "87.8")]
    assert named == ["chr1", "chr2", "chr19", "chrX", "chrY"]
    assert usual_name("NC_000067.6", new_mouse) == "NC_000067.6"
    assert usual_name("NC_012920.1", human) == usual_name("MT", human) == usual_name("M", None) == "chrM"
    assert usual_name("scaffold_7", None) == "scaffold_7"


def test_assemblies__number_their_chromosomes() -> None:
    for assembly in ASSEMBLIES:
        chroms = set(assembly.refseq.values())
        assert chroms == set(assembly.sizes) | {"chrM"}
        assert len(assembly.refseq) == len(chroms)
    # published totals of the primary chromosomes, in bp
    totals = {assembly.names[0]: sum(assembly.sizes.values()) for assembly in ASSEMBLIES}
    assert totals == {
        "hg38": 3_088_269_832,
        "hg19": 3_095_677_412,
        "mm10": 2_725_521_370,
        "mm39": 2_723_414_844,
    }


@pytest.mark.real
def test_assemblies__agree_with_the_published_sizes(real_data: Path) -> None:
    with (real_data / "hg38-chr22" / "hg38.chrom.sizes").open() as handle:
        published = {name: int(size) for name, size in csv.reader(handle, delimiter="\t")}
    hg38 = find_assembly("hg38")
    assert hg38 is not None
    shared = published.keys() & hg38.sizes.keys()
    assert len(shared) >= 24
    assert {name: hg38.sizes[name] for name in shared} == {name: published[name] for name in shared}


def test_same_assembly__knows_both_names() -> None:
    assert same_assembly("hg38", "GRCh38")
    assert same_assembly("mine", "mine")
    assert not same_assembly("hg38", "hg19")
    assert not same_assembly("mine", "yours")


def test_from_fasta__finds_the_fasta_of_another_assembly() -> None:
    with pytest.raises(SourceError, match="That is the length in hg19: pass --genome hg19") as caught:
        Genome.from_fasta("hg38", {"chr22": 51_304_566}, "x.fa")
    assert "50,818,468 bp" in caught.value.expected
    with pytest.raises(SourceError, match="Take its FASTA, or give --genome a name of your own"):
        Genome.from_fasta("hg38", {"chr22": 1000}, "x.fa")
    assert Genome.from_fasta("small", {"chr22": 1000}, "x.fa").sizes == {"chr22": 1000}


def test_from_fasta__refuses_one_chromosome_under_two_names() -> None:
    with pytest.raises(SourceError, match="'22' and 'chr22', both of which are chr22"):
        Genome.from_fasta("small", {"chr22": 10, "22": 10}, "x.fa")


def test_restrict__keeps_the_order_of_the_fasta() -> None:
    genome = Genome.from_fasta("small", {"chr10": 1, "chr2": 1, "x": 1}, "x.fa")
    assert genome.restrict(["x", "2", "chr2"]) == ("chr2", "x")
    with pytest.raises(ConfigError, match=r"chromosome 'chr3': found no such .* one of chr10, chr2, x"):
        genome.restrict(["chr2", "chr3"])


def test_some__shortens() -> None:
    assert some("abc") == "a, b, c"
    assert some("abcdefgh") == "a, b, c, d, e, f and 2 more"
    assert some([]) == ""
