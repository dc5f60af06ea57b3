"""The sources of a build that the user did not give: fetched, or foreseen with what they and the build take."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mfdstore.errors import ConfigError
from mfdstore.fetch.encode import fetch_encode, find_pinned
from mfdstore.fetch.genome import fetch_genome, genome_folder
from mfdstore.fetch.plan import METADATA, PEAKS, REPORT, Request, plan_encode
from mfdstore.genomes import Genome, usual_name
from mfdstore.sources.bed import peak_stem
from mfdstore.sources.downloads import check_name
from mfdstore.sources.encode import read_experiments
from mfdstore.sources.fasta import open_fasta
from mfdstore.sources.portal import Portal
from mfdstore.sources.releases import Sites, find_release, known_release
from mfdstore.sources.web import Web

Progress = Callable[[str, int, int], None]
"""Called with what is done, how much of it is done, and how much there is."""

# measured on chromosome 22 with 148 experiments; peaks of more experiments lie denser, and pack no worse
_STORED_BYTES_PER_BASE: Final = 0.31
_STORED_SHARE_OF_BITS: Final = 0.25
_STORED_BYTES_PER_WINDOW: Final = 8
_PACKED_BYTES_PER_PEAK: Final = 18
_PACKED_BYTES_PER_BASE: Final = 0.31
_SCRATCH_BYTES_PER_PEAK: Final = 8


@dataclass(frozen=True)
class Given:
    """What the user gave of the sources of a build; `None` and an empty tuple where nothing."""

    fasta: Path | None = None
    peaks: Path | None = None
    metadata: Path | None = None
    report: Path | None = None
    blacklist: Path | None = None
    chroms: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.peaks is None) != (self.metadata is None):
            lacking = "--peaks" if self.peaks is None else "--metadata"
            raise ConfigError(
                lacking,
                found="nothing",
                expected="--peaks and --metadata, which belong together",
                remedy="Give both, or none to fetch both from the ENCODE portal.",
            )


@dataclass(frozen=True)
class CompleteSources:
    """All files of a build, and the chromosomes to build: all of the FASTA if empty."""

    fasta: Path
    peaks: Path
    metadata: Path
    report: Path | None
    blacklist: Path | None
    chroms: tuple[str, ...]


def peaks_folder(cache: Path, genome: str) -> Path:
    """Give the folder of the cache where a build fetches peak files to."""
    release = find_release(genome)
    return cache / "encode" / check_name(release.name if release else genome)


def complete_sources(
    given: Given,
    genome: str,
    cache: Path,
    *,
    web: Web,
    sites: Sites,
    jobs: int = 8,
    on_progress: Progress = lambda what, done, total: None,
) -> CompleteSources:
    """Fetch what was not given: the genome with its blacklist, and the default selection of peak files.

    What an earlier build fetched is taken as it is: the portal is asked again by `fetch_encode` only.

    A FASTA that is fetched holds more than chromosomes (alternative and unplaced sequences): then the primary
    chromosomes are built, unless others were chosen.

    Parameters
    ----------
    given
        What is not fetched.
    genome
        Name of the assembly.
    cache
        Where to.
    web, sites
        Whom to ask.
    jobs
        Downloads at a time.
    on_progress
        Called as `Progress` says.

    Raises
    ------
    MfdError
        As `fetch_genome` and `fetch_encode`.
    """
    fasta, blacklist, chroms = given.fasta, given.blacklist, given.chroms
    if fasta is None:
        fetched = fetch_genome(genome, cache, web=web, sites=sites, on_progress=on_progress)
        fasta, blacklist, chroms = fetched.fasta, blacklist or fetched.blacklist, chroms or fetched.chroms
    if given.peaks is not None and given.metadata is not None:
        return CompleteSources(fasta, given.peaks, given.metadata, given.report, blacklist, chroms)
    folder = peaks_folder(cache, genome)
    request = Request(genome, report=given.report)
    if find_pinned(folder, request) is None:
        fetch_encode(folder, request, Portal(web, sites.portal), jobs=jobs, on_progress=on_progress)
    report = given.report or folder / REPORT
    return CompleteSources(
        fasta,
        folder / PEAKS,
        folder / METADATA,
        report if report.exists() else None,
        blacklist,
        chroms,
    )


@dataclass(frozen=True)
class Forecast:
    """What a build would fetch and take; bytes are estimates, except those the portal states.

    Parameters
    ----------
    downloads
        Bytes to download, by what; nothing where all is at hand.
    folders
        Where that goes, by what.
    n_experiments, n_bases, n_bins
        To be built; bases and bins of the chosen chromosomes.
    fetched_bytes
        Disk that the downloads take, unpacked.
    store_bytes
        Disk that the store takes at the most: as if every bin were kept.
    scratch_bytes
        Disk that the build takes while it runs: runs of labelled bins, and the bases of a FASTA that must be unpacked.
    """

    downloads: Mapping[str, int]
    folders: Mapping[str, Path]
    n_experiments: int
    n_bases: int
    n_bins: int
    fetched_bytes: int
    store_bytes: int
    scratch_bytes: int


def foresee(
    given: Given,
    genome: str,
    cache: Path,
    *,
    web: Web,
    sites: Sites,
    bin_size: int,
    on_progress: Progress = lambda what, done, total: None,
) -> Forecast:
    """Say what `complete_sources` and a build of its sources would take; fetches only the portal's tables.

    Raises
    ------
    MfdError
        If what is given cannot be used, or the portal does not answer.
    """
    downloads: dict[str, int] = {}
    folders: dict[str, Path] = {}
    fetched = 0
    sizes = _sizes(given, genome)
    if given.fasta is None:
        release = known_release(genome)
        folder = genome_folder(cache, release.name)
        if not (folder / f"{release.name}.fa").is_file():
            n_bases = sum(release.assembly.sizes.values())
            packed = release.fasta_size or int(_PACKED_BYTES_PER_BASE * n_bases)
            downloads["genome"], folders["genome"] = packed, folder
            fetched += packed + n_bases
    if given.peaks is None or given.metadata is None:
        folder = peaks_folder(cache, genome)
        request = Request(genome, report=given.report)
        pinned = find_pinned(folder, request)
        if pinned is not None:
            n_experiments = len(pinned.files)
            packed_peaks = sum(file.size or 0 for file in pinned.files)
        else:
            plan = plan_encode(folder, request, Portal(web, sites.portal), on_progress=on_progress)
            n_experiments, packed_peaks = len(plan.files), plan.n_bytes
            downloads["peak files"], folders["peak files"] = plan.n_lacking_bytes, folder
            fetched += plan.n_lacking_bytes
    else:
        n_experiments = len(read_experiments(given.metadata, given.report, genome).factors)
        packed_peaks = sum(
            path.stat().st_size for path in given.peaks.iterdir() if peak_stem(path) is not None
        )
    n_bases, n_bins = sum(sizes.values()), sum(size // bin_size for size in sizes.values())
    row = -(-n_experiments // 8)
    return Forecast(
        downloads,
        folders,
        n_experiments,
        n_bases,
        n_bins,
        fetched,
        int(
            _STORED_BYTES_PER_BASE * n_bases
            + n_bins * (2 * row * _STORED_SHARE_OF_BITS + _STORED_BYTES_PER_WINDOW)
        ),
        _SCRATCH_BYTES_PER_PEAK * packed_peaks // _PACKED_BYTES_PER_PEAK + n_bases,
    )


def _sizes(given: Given, genome: str) -> dict[str, int]:
    """Lengths of the chromosomes that would be built."""
    if given.fasta is not None:
        with open_fasta(given.fasta) as fasta:
            opened = Genome.from_fasta(genome, fasta.sizes, str(given.fasta))
        chosen = opened.restrict(given.chroms) if given.chroms else tuple(opened.sizes)
        return {chrom: opened.sizes[chrom] for chrom in chosen}
    assembly = known_release(genome).assembly
    names = [usual_name(chrom, assembly) for chrom in given.chroms] or list(assembly.sizes)
    unknown = [name for name in names if name not in assembly.sizes]
    if unknown:
        raise ConfigError(
            f"chromosome {unknown[0]!r}",
            found=f"no primary chromosome of {genome}",
            expected=f"one of {', '.join(assembly.sizes)}",
            remedy="Correct the name.",
        )
    return {name: assembly.sizes[name] for name in names}
