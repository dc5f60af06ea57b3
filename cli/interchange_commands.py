"""Commands of `mfdstore` that take over other formats and give them back: import-mfd, export."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli.console import explained, progress_bars
from cli.options import (
    AsJson,
    BlockFractions,
    Gap,
    SplitBlocks,
    SplitTest,
    SplitValid,
    StorePath,
    check_splits,
    equations,
    fractions,
    given,
    local_path,
    names,
    print_json,
    some_names,
)
from cli.store_tables import print_export, print_import

_FILES, _LABELS, _CHOICE = "Files", "Labels", "What to export"
_SPLIT_OPTIONS = ("split_valid", "split_test", "split_blocks", "block_fractions", "gap")


def add_interchange(app: typer.Typer) -> None:
    """Give the app the commands of this module."""
    app.command("import-mfd")(import_mfd)
    app.command("export")(export)


def import_mfd(
    context: typer.Context,
    regions: Annotated[
        Path, typer.Option(help="The release's bins: regions.bed or regions.bed.gz.", rich_help_panel=_FILES)
    ],
    overlaps: Annotated[
        Path,
        typer.Option(
            help="The release's overlaps.h5: which experiment has a peak in which bin.",
            rich_help_panel=_FILES,
        ),
    ],
    metadata: Annotated[
        Path,
        typer.Option(
            help="The release's metadata table, or the ENCODE portal's metadata.tsv of the same files.",
            rich_help_panel=_FILES,
        ),
    ],
    fasta: Annotated[
        Path, typer.Option(help="Reference genome: FASTA, plain, gzip or BGZF.", rich_help_panel=_FILES)
    ],
    genome: Annotated[
        str, typer.Option(help="Name of the assembly: hg38, hg19, mm10 or your own.", rich_help_panel=_FILES)
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--out",
            parser=local_path,
            metavar="PATH",
            help="Store to create on disk; must not exist yet.",
            rich_help_panel=_FILES,
        ),
    ],
    report: Annotated[
        Path | None,
        typer.Option(
            help="The portal's experiment report, beside the portal's table.", rich_help_panel=_FILES
        ),
    ] = None,
    chroms: Annotated[
        str,
        typer.Option(
            help="Chromosomes to import, separated by commas; all of the FASTA if not given.",
            rich_help_panel=_FILES,
        ),
    ] = "",
    min_overlap: Annotated[
        int | None,
        typer.Option(
            help="By how many bp a peak overlapped a bin to label it: the release does not say. 64 if not given.",
            rich_help_panel=_LABELS,
            show_default=False,
        ),
    ] = None,
    min_experiments: Annotated[
        int | None,
        typer.Option(
            help="How many experiments label each bin of the release at least; checked. 2 if not given.",
            rich_help_panel=_LABELS,
            show_default=False,
        ),
    ] = None,
    split_valid: SplitValid = "chr8",
    split_test: SplitTest = "chr9,chr10",
    split_blocks: SplitBlocks = False,
    block_fractions: BlockFractions = "0.8,0.1,0.1",
    gap: Gap = 1152,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing", help="Leave out rows of the metadata whose experiments have no labels."
        ),
    ] = False,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Keep experiments without a peak on the chosen chromosomes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Turn a release in the format of MFD's authors into a store.

    Labels are taken as they are; the sequence comes from the FASTA.

    What `mfdstore export --format mfd-hdf5` wrote comes back whole: splits, thresholds and all factors.
    """
    with explained():
        from mfdstore.import_mfd import ImportSettings, ReleaseSources, import_release
        from mfdstore.splitting import SplitOptions

        shares = fractions(block_fractions)
        check_splits(context, split_blocks)
        splits = SplitOptions(
            names("--split-valid", split_valid),
            names("--split-test", split_test),
            shares if split_blocks else None,
            gap,
        )
        settings = ImportSettings(
            genome,
            chroms=names("--chroms", chroms),
            min_overlap=min_overlap,
            min_experiments=min_experiments,
            # an export says itself how it was split, unless the user says otherwise
            splits=splits if given(context, _SPLIT_OPTIONS) else None,
            allow_missing=allow_missing,
            allow_empty=allow_empty,
        )
        sources = ReleaseSources(regions, overlaps, metadata, fasta, report)
        with progress_bars() as on_progress:
            done = import_release(sources, output, settings, on_progress)
        if as_json:
            print_json({"path": str(done.path), "digest": done.digest, "counts": asdict(done.counts)})
        else:
            print_import(done)


def export(
    store: StorePath,
    format: Annotated[
        str,
        typer.Option(
            help="mfd-hdf5: the files of MFD's authors; bed: for bedtools and browsers; parquet: tables."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--out", parser=local_path, metavar="PATH", help="Folder to create on disk; must not exist yet."
        ),
    ],
    split: Annotated[
        str | None,
        typer.Option(help="Only windows of these splits, such as train,valid.", rich_help_panel=_CHOICE),
    ] = None,
    chroms: Annotated[
        str | None, typer.Option(help="Only windows of these chromosomes.", rich_help_panel=_CHOICE)
    ] = None,
    experiments: Annotated[
        str | None,
        typer.Option(
            help="Only these experiments, by accession, or 'all'. As BED they get a file of positive windows each.",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="FACTOR=VALUE or FACTOR=VALUE,VALUE: experiments with one of the values. May be given again: values "
            "of one factor add up, several factors must all hold.",
            rich_help_panel=_CHOICE,
        ),
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Do not pack BED files by gzip.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write STORE as files that other programs read.

    mfd-hdf5: regions.bed.gz, overlaps.h5 and metadata.tsv, as MFD's authors have them; `mfdstore import-mfd` makes the
    same store of them again.

    bed: windows.bed.gz and, for experiments that are named, the windows with a peak of each.

    parquet: windows, labels (a row for each window and experiment with a peak in it) and experiments.
    """
    with explained():
        from mfdstore.export.choice import Choice
        from mfdstore.export.exporting import check_format, export_store

        choice = Choice(
            splits=some_names("--split", split),
            chroms=some_names("--chroms", chroms),
            experiments=some_names("--experiments", experiments),
            where=equations("--where", where),
        )
        with progress_bars() as on_progress:
            done = export_store(
                store, output, check_format(format), choice, packed=not plain, on_progress=on_progress
            )
        if as_json:
            print_json(asdict(done))
        else:
            print_export(done)
