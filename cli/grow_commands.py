"""Commands of `mfdstore` that make stores of stores: subset, add, merge."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli.console import err, explained, out, progress_bars
from cli.options import AsJson, equations, local_path, some_names
from cli.store_tables import print_path

if TYPE_CHECKING:
    from mfdstore.grow.content import GrowReport

_EXPERIMENTS, _WINDOWS, _FILES, _OLD = "Experiments", "Windows", "Files", "To add windows too"
Parent = Annotated[
    str, typer.Argument(metavar="STORE", help="Directory or address of the store; it is not changed.")
]
Output = Annotated[
    Path,
    typer.Option(
        "--out", parser=local_path, metavar="PATH", help="Store to create on disk; must not exist yet."
    ),
]


def add_growing(app: typer.Typer) -> None:
    """Give the app the commands of this module."""
    for command in (subset, add, merge):
        app.command()(command)


def subset(
    store: Parent,
    output: Output,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="FACTOR=VALUE or FACTOR=VALUE,VALUE: experiments with one of the values. May be given again: values "
            "of one factor add up, several factors must all hold.",
            rich_help_panel=_EXPERIMENTS,
        ),
    ] = None,
    experiments: Annotated[
        str | None,
        typer.Option(
            help="Accessions joined by commas, or @FILE with one a line.", rich_help_panel=_EXPERIMENTS
        ),
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(
            help="chr1 or chr1:0-1,000,000 (0-based, half-open): windows whose bin shares a base with it. May be given "
            "again.",
            rich_help_panel=_WINDOWS,
        ),
    ] = None,
    regions: Annotated[
        Path | None, typer.Option(help="BED file of such regions.", rich_help_panel=_WINDOWS)
    ] = None,
    chroms: Annotated[
        str | None, typer.Option(help="Chromosomes, separated by commas.", rich_help_panel=_WINDOWS)
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Splits, separated by commas: train, valid, test, gap.", rich_help_panel=_WINDOWS),
    ] = None,
    min_experiments: Annotated[
        int | None,
        typer.Option(
            help="Leave out windows that fewer of the experiments kept label; without it all windows stay.",
            rich_help_panel=_WINDOWS,
        ),
    ] = None,
    keep_chroms: Annotated[
        bool,
        typer.Option(
            "--keep-chroms",
            help="Keep the sequence of chromosomes that have no window left.",
            rich_help_panel=_WINDOWS,
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Cut STORE to some of its experiments and windows.

    Labels, splits and metadata of what is kept stay as they are.
    """
    with explained():
        from mfdstore.grow.choice import Choice
        from mfdstore.grow.subset import subset_store

        choice = Choice(
            where=equations("--where", where),
            experiments=_accessions(experiments),
            regions=tuple(region or ()),
            bed=regions,
            chroms=some_names("--chroms", chroms),
            splits=some_names("--split", split),
            min_experiments=min_experiments,
            keep_chroms=keep_chroms,
        )
        with progress_bars() as on_progress:
            done = subset_store(store, output, choice, on_progress)
        _print(done, as_json=as_json)


def add(
    store: Parent,
    peaks: Annotated[
        Path,
        typer.Option(
            help="Folder of the new experiments' peak files, named by accession.", rich_help_panel=_FILES
        ),
    ],
    metadata: Annotated[
        Path, typer.Option(help="The ENCODE portal's metadata.tsv of these files.", rich_help_panel=_FILES)
    ],
    output: Output,
    report: Annotated[
        Path | None,
        typer.Option(help="The portal's experiment report; only there is the lab.", rich_help_panel=_FILES),
    ] = None,
    old_peaks: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the peak files that STORE was built from: then bins become windows that qualify now, "
            "and the result is that of a build of all.",
            rich_help_panel=_OLD,
        ),
    ] = None,
    blacklist: Annotated[
        Path | None,
        typer.Option(help="The blacklist of the build, if it had one.", rich_help_panel=_OLD),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Leave out rows of the metadata that have no peak file.")
    ] = False,
    allow_empty: Annotated[
        bool,
        typer.Option("--allow-empty", help="Keep experiments without a peak on the store's chromosomes."),
    ] = False,
    jobs: Annotated[int, typer.Option(help="Peak files read at a time; 0 means one a processor.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Add new experiments to STORE, as a new store beside it.

    Without --old-peaks the windows stay as they are: labels of the old experiments elsewhere are not known.
    """
    with explained():
        from mfdstore.build.settings import Resources
        from mfdstore.grow.add import AddedSources, add_experiments

        sources = AddedSources(peaks, metadata, report, old_peaks, blacklist, allow_missing, allow_empty)
        with progress_bars() as on_progress:
            done = add_experiments(store, output, sources, on_progress, Resources(jobs=jobs))
        _print(done, as_json=as_json)


def merge(
    stores: Annotated[
        list[str], typer.Argument(metavar="STORE STORE...", help="Two stores or more; they are not changed.")
    ],
    output: Output,
    windows: Annotated[
        str,
        typer.Option(
            help="Of stores with different experiments keep the windows that all hold (intersection) or that any holds "
            "(union): that is refused where labels are not known."
        ),
    ] = "intersection",
    splits: Annotated[
        str,
        typer.Option(
            help="What if stores put a window into different splits: refuse (agree), or take that of the first store "
            "(first)."
        ),
    ] = "agree",
    as_json: AsJson = False,
) -> None:
    """Put stores of one genome together: experiments side by side, chromosomes and regions one after another.

    An experiment that stands in several stores must have the same labels and metadata there, and becomes one.
    """
    with explained():
        from typing import cast

        from mfdstore.grow.matching import SplitChoice, WindowChoice
        from mfdstore.grow.merge import merge_stores

        with progress_bars() as on_progress:
            done = merge_stores(
                stores,
                output,
                # names that are none are refused there
                windows=cast(WindowChoice, windows),
                splits=cast(SplitChoice, splits),
                on_progress=on_progress,
            )
        _print(done, as_json=as_json)


def _print(done: GrowReport, *, as_json: bool) -> None:
    """Print what was made: a table and notes, or JSON."""
    if as_json:
        typer.echo(json.dumps(asdict(done), indent=2, default=str))
        return
    table = Table(box=None, show_header=False)
    splits = ", ".join(f"{n:,} {name}" for name, n in done.windows_by_split.items() if n)
    table.add_row("windows", f"{done.n_windows:,}", splits)
    table.add_row("experiments", f"{done.n_experiments:,}", "")
    table.add_row("positive pairs", f"{done.positive_pairs:,}", "of window and experiment")
    table.add_row("min_experiments", f"{done.min_experiments:,}", "at least label each window")
    for name, n in done.counts.items():
        if n:
            table.add_row("", f"{n:,}", name.replace("_", " "))
    table.columns[1].justify = "right"
    out.print(table)
    for note in done.notes:
        # on stderr, so that the last line for a script is the path; file names may hold brackets
        err.print(f"Note: {note}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    print_path(str(done.path))


def _accessions(text: str | None) -> tuple[str, ...]:
    """Read accessions joined by commas, or the lines of a file whose name stands behind @."""
    from mfdstore.errors import ConfigError, SourceError

    if text is None or not text.startswith("@"):
        return some_names("--experiments", text)
    path = Path(text[1:])
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        found = error.strerror if isinstance(error, OSError) else "no text in UTF-8"
        raise SourceError(
            path,
            found=f"no readable file ({found})",
            expected="accessions, one a line",
            remedy="Check the path behind the @ of --experiments.",
        ) from error
    names = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    if not names:
        raise ConfigError(str(path), found="no accession", expected="one a line", remedy="Name some.")
    return names
