"""Names of chromosomes: one name each, whatever a file calls it.

Files say ``chr1``, ``1`` or ``NC_000001.11``. A `Genome` maps each of these to the name its store uses, the UCSC
one (``chr1``). RefSeq accessions and lengths are those of the assemblies' primary chromosomes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from mfdstore.errors import ConfigError, SourceError


@dataclass(frozen=True)
class Assembly:
    """What is known of a published assembly.

    Parameters
    ----------
    names
        What it is called: by UCSC, by its consortium, by the ENCODE portal.
    sizes
        Length in bp of each primary chromosome, by UCSC name.
    refseq
        UCSC name of each RefSeq accession.
    """

    names: tuple[str, ...]
    sizes: Mapping[str, int]
    refseq: Mapping[str, str]


def _assembly(
    names: tuple[str, ...], first: int, last: int, versions: str, sizes: str, mitochondrion: str
) -> Assembly:
    """Spell out an assembly whose RefSeq accessions are NC_ and consecutive numbers, X and Y last.

    The mitochondrion has a name but no length: hg19 and GRCh37 carry different ones.
    """
    n_autosomes = last - first - 1
    chroms = [f"chr{number}" for number in range(1, n_autosomes + 1)] + ["chrX", "chrY"]
    numbers = range(first, last + 1)
    accessions = [
        f"NC_{number:06d}.{version}" for number, version in zip(numbers, versions.split(), strict=True)
    ]
    lengths = dict(zip(chroms, map(int, sizes.split()), strict=True))
    return Assembly(names, lengths, dict(zip(accessions, chroms, strict=True)) | {mitochondrion: "chrM"})


ASSEMBLIES: Final[tuple[Assembly, ...]] = (
    _assembly(
        ("hg38", "GRCh38", "GRCh38.p13", "GRCh38.p14"),
        1,
        24,
        "11 12 12 12 10 12 14 11 12 11 10 12 11 9 10 10 11 10 10 11 9 11 11 10",
        "248956422 242193529 198295559 190214555 181538259 170805979 159345973 145138636 138394717 133797422 "
        "135086622 133275309 114364328 107043718 101991189 90338345 83257441 80373285 58617616 64444167 46709983 "
        "50818468 156040895 57227415",
        "NC_012920.1",
    ),
    _assembly(
        ("hg19", "GRCh37", "b37"),
        1,
        24,
        "10 11 11 11 9 11 13 10 11 10 9 11 10 8 9 9 10 9 9 10 8 10 10 9",
        "249250621 243199373 198022430 191154276 180915260 171115067 159138663 146364022 141213431 135534747 "
        "135006516 133851895 115169878 107349540 102531392 90354753 81195210 78077248 59128983 63025520 48129895 "
        "51304566 155270560 59373566",
        "NC_012920.1",
    ),
    _assembly(
        ("mm10", "GRCm38", "GRCm38.p6"),
        67,
        87,
        "6 6 6 6 6 6 6 6 6 6 6 6 6 6 6 6 6 6 6 7 7",
        "195471971 182113224 160039680 156508116 151834684 149736546 145441459 129401213 124595110 130694993 "
        "122082543 120129022 120421639 124902244 104043685 98207768 94987271 90702639 61431566 171031299 91744698",
        "NC_005089.1",
    ),
    _assembly(
        ("mm39", "GRCm39"),
        67,
        87,
        "7 8 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 8 8",
        "195154279 181755017 159745316 156860686 151758149 149588044 144995196 130127694 124359700 130530862 "
        "121973369 120092757 120883175 125139656 104073951 98008968 95294699 90720763 61420004 169476592 91455967",
        "NC_005089.1",
    ),
)


def find_assembly(name: str) -> Assembly | None:
    """Find a published assembly by any of its names; `None` for a genome of the user's own."""
    for assembly in ASSEMBLIES:
        if name.lower() in (known.lower() for known in assembly.names):
            return assembly
    return None


def same_assembly(first: str, second: str) -> bool:
    """Say whether two names mean one assembly (``hg38`` and ``GRCh38``)."""
    assembly = find_assembly(first)
    return first == second or (assembly is not None and assembly is find_assembly(second))


def usual_name(chrom: str, assembly: Assembly | None) -> str:
    """Give the UCSC name of a chromosome however it is spelt.

    >>> usual_name("NC_000022.11", find_assembly("GRCh38")), usual_name("MT", None), usual_name("7", None)
    ('chr22', 'chrM', 'chr7')
    """
    if assembly is not None and chrom in assembly.refseq:
        return assembly.refseq[chrom]
    bare = chrom[3:] if chrom[:3].lower() == "chr" else chrom
    if bare in ("MT", "M"):
        return "chrM"
    if bare.isdigit() or bare in ("X", "Y", "W", "Z"):
        return f"chr{bare}"
    return chrom


@dataclass(frozen=True)
class Genome:
    """The chromosomes of a FASTA under the names that the store uses.

    Parameters
    ----------
    name
        Of the genome, as the user gives it: ``hg38``.
    sizes
        Length in bp by the store's names, in the FASTA's order.
    fasta_names
        The name in the FASTA of each.
    """

    name: str
    sizes: Mapping[str, int]
    fasta_names: Mapping[str, str]
    _resolved: dict[str, str | None] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_fasta(cls, name: str, sizes: Mapping[str, int], fasta: str) -> Genome:
        """Name the chromosomes of a FASTA, and check that they are those of the assembly meant.

        Parameters
        ----------
        name
            Of the genome.
        sizes
            Length in bp by the name in the FASTA.
        fasta
            The file, for messages.

        Raises
        ------
        SourceError
            If two sequences are one chromosome, or a chromosome's length is that of another assembly.
        """
        assembly = find_assembly(name)
        renamed: dict[str, int] = {}
        origin: dict[str, str] = {}
        for fasta_name, size in sizes.items():
            chrom = usual_name(fasta_name, assembly)
            if chrom in renamed:
                raise SourceError(
                    fasta,
                    found=f"{fasta_name!r} and {origin[chrom]!r}, both of which are {chrom}",
                    expected="each chromosome once",
                    remedy="Keep one of the two sequences.",
                )
            expected = assembly.sizes.get(chrom) if assembly else None
            if expected is not None and expected != size:
                others = [other.names[0] for other in ASSEMBLIES if other.sizes.get(chrom) == size]
                hint = (
                    f"That is the length in {others[0]}: pass --genome {others[0]}"
                    if others
                    else "Take its FASTA"
                )
                raise SourceError(
                    fasta,
                    found=f"{fasta_name} of {size:,} bp",
                    expected=f"{expected:,} bp, the length of {chrom} in {name}",
                    remedy=f"{hint}, or give --genome a name of your own.",
                )
            renamed[chrom] = size
            origin[chrom] = fasta_name
        return cls(name, renamed, origin)

    def resolve(self, chrom: str) -> str | None:
        """Give the store's name of a chromosome however a file spells it; `None` if the FASTA has no such one."""
        if chrom not in self._resolved:
            usual = usual_name(chrom, find_assembly(self.name))
            self._resolved[chrom] = usual if usual in self.sizes else chrom if chrom in self.sizes else None
        return self._resolved[chrom]

    def restrict(self, chroms: Iterable[str]) -> tuple[str, ...]:
        """Choose chromosomes by any of their names; in the FASTA's order.

        Raises
        ------
        ConfigError
            If a name is none of the FASTA's.
        """
        chosen = set()
        for chrom in chroms:
            resolved = self.resolve(chrom)
            if resolved is None:
                raise ConfigError(
                    f"chromosome {chrom!r}",
                    found="no such sequence in the FASTA",
                    expected=f"one of {some(self.sizes)}",
                    remedy="Correct the name.",
                )
            chosen.add(resolved)
        return tuple(chrom for chrom in self.sizes if chrom in chosen)


def some(names: Iterable[str], most: int = 6) -> str:
    """Write the first few names and how many more there are."""
    listed = list(names)
    rest = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + rest


@dataclass(frozen=True)
class Region:
    """A chromosome, by any of its names, or a part of it in 0-based half-open bp."""

    chrom: str
    bounds: tuple[int, int] | None


REGION_WORDS: Final = "chr22 or chr22:20,000,000-21,000,000, with start before end"
"""How a region is written, for messages."""
_REGION: Final = re.compile(r"(?P<chrom>[^:]+)(?::(?P<start>[0-9][0-9,_]*)-(?P<end>[0-9][0-9,_]*))?")


def parse_region(text: str) -> Region | None:
    """Read a region such as ``chr22:20,000,000-21,000,000``; `None` if it is none, or ends before it begins."""
    match = _REGION.fullmatch(text.strip())
    if match is None:
        return None
    if match["start"] is None:
        return Region(match["chrom"].strip(), None)
    start, end = (int(re.sub("[,_]", "", match[side])) for side in ("start", "end"))
    return Region(match["chrom"].strip(), (start, end)) if start < end else None
