"""Which windows are held out: the options of a split, resolved against a genome and given to windows.

Shared by all that make a store of sources, so that the same options hold out the same windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.errors import ConfigError
from mfdstore.genomes import Genome, find_assembly, some, usual_name
from mfdstore.windows import split_by_blocks, split_by_chrom


@dataclass(frozen=True)
class SplitOptions:
    """How windows are split in train, valid and test.

    Parameters
    ----------
    valid_chroms, test_chroms
        Chromosomes held out whole, by any of their names.
    blocks
        Fractions of train, valid and test to cut each chromosome by instead, in this order along it.
    gap
        Width in bp of what is left unused between two blocks: as wide as a window.

    Raises
    ------
    ConfigError
        If the gap is negative or the fractions are not three that sum to 1.
    """

    valid_chroms: tuple[str, ...] = ("chr8",)
    test_chroms: tuple[str, ...] = ("chr9", "chr10")
    blocks: tuple[float, float, float] | None = None
    gap: int = schema.DEFAULT_POSITIONS

    def __post_init__(self) -> None:
        if self.gap < 0:
            raise ConfigError(
                "--gap", found=str(self.gap), expected="0 bp or more", remedy="Correct the option."
            )
        if self.blocks is not None and not (
            all(fraction >= 0 for fraction in self.blocks) and abs(sum(self.blocks) - 1) < 1e-9
        ):
            raise ConfigError(
                "--block-fractions",
                found=",".join(map(str, self.blocks)),
                expected="three fractions that sum to 1",
                remedy="Correct the option.",
            )

    def within(self, genome: Genome) -> SplitOptions:
        """Leave out chromosomes to hold out that a genome lacks: for a store that was built on some of its genome's."""
        valid, test = (
            tuple(name for name in names if genome.resolve(name) is not None)
            for names in (self.valid_chroms, self.test_chroms)
        )
        return replace(self, valid_chroms=valid, test_chroms=test)


class Splitter:
    """Split options held against a genome: gives each window its split.

    Parameters
    ----------
    options
        Of the split.
    genome
        Whose chromosomes are meant.

    Raises
    ------
    ConfigError
        If a chromosome to hold out is none of the genome's, or is held out twice.
    """

    def __init__(self, options: SplitOptions, genome: Genome) -> None:
        self._options = options
        self._valid: list[str] = []
        self._test: list[str] = []
        if options.blocks is not None:
            return
        self._valid = _resolve("--split-valid", options.valid_chroms, genome)
        self._test = _resolve("--split-test", options.test_chroms, genome)
        both = sorted(set(self._valid) & set(self._test))
        if both:
            raise ConfigError(
                "--split-valid and --split-test",
                found=f"{some(both)} in both",
                expected="each chromosome in one split",
                remedy="Remove it from one of the two.",
            )

    def split(self, chrom: str, starts: NDArray[np.int32], bin_size: int) -> NDArray[np.int8]:
        """Split the windows of one chromosome.

        Parameters
        ----------
        chrom
            Its name in the store.
        starts
            Of all its bins, ascending, in bp, shape ``(window,)``.
        bin_size
            In bp.

        Returns
        -------
        Codes of `schema.SPLITS`, shape ``(window,)``.
        """
        if self._options.blocks is not None:
            fractions, gap = self._options.blocks, self._options.gap
            return split_by_blocks(starts, bin_size=bin_size, fractions=fractions, gap=gap)
        code = schema.SPLITS.index(split_by_chrom(chrom, self._valid, self._test))
        return np.full(len(starts), code, np.int8)

    def check_counts(self, windows_by_split: Mapping[str, int], chroms: Sequence[str]) -> None:
        """Refuse a split that leaves train, valid or test without a window.

        Raises
        ------
        ConfigError
            If one has none.
        """
        empty = [split for split in ("train", "valid", "test") if windows_by_split.get(split, 0) == 0]
        if empty:
            raise ConfigError(
                "the splits",
                found=f"no window for {' and '.join(empty)} on {some(chroms)}",
                expected="windows in train, valid and test",
                remedy="Choose a narrower --gap or other --block-fractions."
                if self._options.blocks
                else "Name chromosomes by --split-valid and --split-test, or pass --split-blocks.",
            )


def count_splits(split: NDArray[np.int8]) -> dict[str, int]:
    """Count windows by the name of their split; every split has an entry."""
    counts = np.bincount(split, minlength=len(schema.SPLITS))
    return {name: int(count) for name, count in zip(schema.SPLITS, counts, strict=True)}


def _resolve(option: str, names: Sequence[str], genome: Genome) -> list[str]:
    """Resolve the chromosomes of a split; one that the assembly has but this FASTA lacks holds nothing out."""
    assembly = find_assembly(genome.name)
    resolved = []
    for name in names:
        chrom = genome.resolve(name)
        if chrom is not None:
            resolved.append(chrom)
        elif assembly is None or usual_name(name, assembly) not in assembly.sizes:
            raise ConfigError(
                option,
                found=f"chromosome {name!r}, which the FASTA does not have",
                expected=f"one of {some(genome.sizes)}",
                remedy="Name chromosomes by --split-valid and --split-test, or pass --split-blocks.",
            )
    return resolved
