"""The command `mfdstore build`: sources, at hand or fetched, to a store."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from cli.console import explained, log_to_stderr, progress_bars
from cli.fetch_commands import Cache, make_web, print_forecast
from cli.options import (
    AsJson,
    BlockFractions,
    Gap,
    SplitBlocks,
    SplitTest,
    SplitValid,
    check_splits,
    fractions,
    names,
    print_json,
    size,
)
from cli.store_tables import print_build

_FILES, _BINS, _COMPUTING = "Files", "Bins and filters", "Computing"


def add_build(app: typer.Typer) -> None:
    """Give the app the command of this module."""
    app.command()(build)


def build(
    context: typer.Context,
    genome: Annotated[
        str,
        typer.Option(
            help="Name of the assembly: hg38, hg19, mm10, mm39 or your own.", rich_help_panel=_FILES
        ),
    ],
    output: Annotated[
        str,  # text: a path would make s3:/x of s3://x
        typer.Option(
            "--out",
            metavar="STORE",
            help="Store to create, a path or s3://bucket/folder/x.zarr; must not exist yet.",
            rich_help_panel=_FILES,
        ),
    ],
    fasta: Annotated[
        Path | None,
        typer.Option(
            help="Reference genome: FASTA, plain, gzip or BGZF. If not given, it is fetched into the cache.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    peaks: Annotated[
        Path | None,
        typer.Option(
            help="Folder of peak files named by accession: X.bed, X.narrowPeak or X.broadPeak, plain or .gz. "
            "If not given, the default selection of `fetch encode` is fetched into the cache.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(help="The ENCODE portal's metadata.tsv of these files.", rich_help_panel=_FILES),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="The portal's experiment report (experiment_report.tsv). Only there is the lab that did the work.",
            rich_help_panel=_FILES,
        ),
    ] = None,
    blacklist: Annotated[
        Path | None,
        typer.Option(
            help="BED of regions to leave out, such as the ENCODE blacklist.", rich_help_panel=_FILES
        ),
    ] = None,
    chroms: Annotated[
        str,
        typer.Option(
            help="Chromosomes to build, separated by commas; all of the FASTA if not given, the primary ones "
            "if it is fetched.",
            rich_help_panel=_FILES,
        ),
    ] = "",
    bin_size: Annotated[
        int,
        typer.Option(help="Width of a bin in bp: labels say which peaks lie in it.", rich_help_panel=_BINS),
    ] = 128,
    min_overlap: Annotated[
        int,
        typer.Option(help="A bin is labelled if one peak overlaps it by so many bp.", rich_help_panel=_BINS),
    ] = 64,
    min_experiments: Annotated[
        int,
        typer.Option(help="A bin is kept if so many experiments have a peak in it.", rich_help_panel=_BINS),
    ] = 2,
    split_valid: SplitValid = "chr8",
    split_test: SplitTest = "chr9,chr10",
    split_blocks: SplitBlocks = False,
    block_fractions: BlockFractions = "0.8,0.1,0.1",
    gap: Gap = 1152,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Build without the experiments that have no peak file.")
    ] = False,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Keep experiments without a peak on the chosen chromosomes.")
    ] = False,
    memory: Annotated[
        str,
        typer.Option(
            help="Most memory to take on one machine, such as 4GB; more is not needed for more experiments.",
            rich_help_panel=_COMPUTING,
        ),
    ] = "4GB",
    jobs: Annotated[
        int, typer.Option(help="Tasks at a time; 0 means one a processor.", rich_help_panel=_COMPUTING)
    ] = 0,
    scheduler: Annotated[
        str,
        typer.Option(
            help="Who does the work: threads, processes, or the address of a running dask scheduler "
            "(tcp://host:8786) whose workers see the same files under the same paths.",
            rich_help_panel=_COMPUTING,
        ),
    ] = "threads",
    scratch: Annotated[
        Path | None,
        typer.Option(
            help="Folder to build a store in that goes to S3: it needs the room of the store and what --dry-run says "
            "of disk beside it, and is cleared in the end. If not given, one within the cache.",
            rich_help_panel=_COMPUTING,
        ),
    ] = None,
    cache: Cache = None,
    downloads: Annotated[
        int, typer.Option(min=1, max=64, help="Files to fetch side by side.", rich_help_panel=_COMPUTING)
    ] = 8,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Say what would be fetched and built, and the disk and memory that takes."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build a store from a genome, peak files and their metadata.

    One row a bin, one column an experiment; every column of the metadata becomes a coordinate. Nothing appears
    under the name of --out until the store is whole. If it is stopped, the same command goes on where it was.
    To S3 it is built on disk first (--scratch), then sent; credentials are read from the environment alone.
    Sources that are not given are fetched.
    """
    with explained():
        log_to_stderr(verbose=False)
        from mfdstore.build.run import build_store, check_out
        from mfdstore.build.settings import BuildSettings, Resources, Sources
        from mfdstore.fetch.complete import Given, complete_sources, foresee
        from mfdstore.sources.cache import cache_folder
        from mfdstore.sources.releases import Sites

        shares = fractions(block_fractions)
        check_splits(context, split_blocks)
        settings = BuildSettings(
            genome=genome,
            chroms=names("--chroms", chroms),
            bin_size=bin_size,
            min_overlap=min_overlap,
            min_experiments=min_experiments,
            valid_chroms=names("--split-valid", split_valid),
            test_chroms=names("--split-test", split_test),
            blocks=shares if split_blocks else None,
            gap=gap,
            allow_missing=allow_missing,
            allow_empty=allow_empty,
        )
        _check_places(output, scratch)
        resources = Resources(
            size("--memory", memory), jobs, scheduler, scratch or cache_folder(cache) / "building"
        )
        given = Given(fasta, peaks, metadata, report, blacklist, settings.chroms)
        folder, sites, web = cache_folder(cache), Sites.from_environment(), make_web()
        check_out(output, resources)
        if dry_run:
            with progress_bars() as on_progress:
                forecast = foresee(
                    given, genome, folder, web=web, sites=sites, bin_size=bin_size, on_progress=on_progress
                )
            print_forecast(forecast, output, resources.memory, as_json=as_json)
            return
        with progress_bars() as on_progress:
            found = complete_sources(
                given, genome, folder, web=web, sites=sites, jobs=downloads, on_progress=on_progress
            )
            sources = Sources(found.fasta, found.peaks, found.metadata, found.report, found.blacklist)
            settings = replace(settings, chroms=found.chroms)
            done = build_store(sources, output, settings, on_progress, resources)
        if as_json:
            seconds = {stage: round(taken, 3) for stage, taken in done.seconds.items()}
            counts = asdict(done.counts)
            print_json({"path": str(done.path), "digest": done.digest, "counts": counts, "seconds": seconds})
        else:
            print_build(done)


def _check_places(output: str, scratch: Path | None) -> None:
    """Refuse an address that is none, and a folder that would not be used."""
    from mfdstore.errors import ConfigError
    from mfdstore.places.address import find_place, here

    place = find_place(output)
    if scratch is not None:
        here("--scratch", scratch)
        if isinstance(place, Path):
            raise ConfigError(
                "--scratch",
                found=f"--out {output}, which is on disk",
                expected="a store that goes to S3: another grows beside its own name",
                remedy="Leave out --scratch.",
            )
