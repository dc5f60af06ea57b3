"""The command `mfdstore`: simulate, build, info, verify, subset, add, merge."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import add_version, err, explained, out, progress_bars
from cli.grow_commands import add_growing
from cli.store_tables import describe_store, print_build, print_info, print_path

app = typer.Typer(
    name="mfdstore",
    help="Turn reference genomes, ENCODE peak files and metadata into one labelled Zarr store.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

StorePath = Annotated[
    Path, typer.Argument(metavar="STORE", help="Directory of the store, such as encode.zarr.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read.")]
_FILES, _BINS, _SPLITS, _COMPUTING = "Files", "Bins and filters", "Splits", "Computing"


add_version(app, "mfdstore")


@app.command()
def build(
    context: typer.Context,
    genome: Annotated[
        str, typer.Option(help="Name of the assembly: hg38, hg19, mm10 or your own.", rich_help_panel=_FILES)
    ],
    fasta: Annotated[
        Path, typer.Option(help="Reference genome: FASTA, plain, gzip or BGZF.", rich_help_panel=_FILES)
    ],
    peaks: Annotated[
        Path,
        typer.Option(
            help="Folder of peak files named by accession: X.bed, X.narrowPeak or X.broadPeak, plain or .gz.",
            rich_help_panel=_FILES,
        ),
    ],
    metadata: Annotated[
        Path, typer.Option(help="The ENCODE portal's metadata.tsv of these files.", rich_help_panel=_FILES)
    ],
    output: Annotated[
        Path, typer.Option("--out", help="Store to create; must not exist yet.", rich_help_panel=_FILES)
    ],
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
            help="Chromosomes to build, separated by commas; all of the FASTA if not given.",
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
    split_valid: Annotated[
        str, typer.Option(help="Chromosomes held out for validation.", rich_help_panel=_SPLITS)
    ] = "chr8",
    split_test: Annotated[
        str, typer.Option(help="Chromosomes held out for the test.", rich_help_panel=_SPLITS)
    ] = "chr9,chr10",
    split_blocks: Annotated[
        bool,
        typer.Option(
            "--split-blocks",
            help="Cut each chromosome into three blocks instead: for one chromosome alone.",
            rich_help_panel=_SPLITS,
        ),
    ] = False,
    block_fractions: Annotated[
        str,
        typer.Option(help="Shares of train, valid and test with --split-blocks.", rich_help_panel=_SPLITS),
    ] = "0.8,0.1,0.1",
    gap: Annotated[
        int,
        typer.Option(
            help="Unused bp between two blocks with --split-blocks; as wide as a window, no base is read twice.",
            rich_help_panel=_SPLITS,
        ),
    ] = 1152,
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
    as_json: AsJson = False,
) -> None:
    """Build a store from a genome, peak files and their metadata.

    One row a bin, one column an experiment; every column of the metadata becomes a coordinate. Nothing appears
    under the name of --out until the store is whole. If it is stopped, the same command goes on where it was.
    """
    with explained():
        from mfdstore.build.run import build_store
        from mfdstore.build.settings import BuildSettings, Resources, Sources

        fractions = _fractions(block_fractions)
        _check_splits(context, split_blocks)
        settings = BuildSettings(
            genome=genome,
            chroms=_names("--chroms", chroms),
            bin_size=bin_size,
            min_overlap=min_overlap,
            min_experiments=min_experiments,
            valid_chroms=_names("--split-valid", split_valid),
            test_chroms=_names("--split-test", split_test),
            blocks=fractions if split_blocks else None,
            gap=gap,
            allow_missing=allow_missing,
            allow_empty=allow_empty,
        )
        with progress_bars() as on_progress:
            done = build_store(
                Sources(fasta, peaks, metadata, report, blacklist),
                output,
                settings,
                on_progress,
                Resources(_bytes("--memory", memory), jobs, scheduler),
            )
        if as_json:
            seconds = {stage: round(taken, 3) for stage, taken in done.seconds.items()}
            counts = asdict(done.counts)
            _print_json({"path": str(done.path), "digest": done.digest, "counts": counts, "seconds": seconds})
        else:
            print_build(done)


@app.command()
def info(store: StorePath, as_json: AsJson = False) -> None:
    """Say what is in STORE: windows, experiments, factors and where they came from."""
    with explained():
        from mfdstore.store import Store

        opened = Store(store)
        described = describe_store(opened)
        if as_json:
            _print_json(described)
        else:
            print_info(described)


@app.command()
def verify(
    store: StorePath,
    peaks: Annotated[
        Path | None,
        typer.Option(help="Folder of the peak files: every label is computed again, by pyranges."),
    ] = None,
    fasta: Annotated[Path | None, typer.Option(help="The genome: every base is compared.")] = None,
    blacklist: Annotated[
        Path | None, typer.Option(help="The blacklist of the build, if it had one; with --peaks.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read STORE back and check it: checksums and digests, and against the sources given.

    Exits with 1 if anything is not as it should be.
    """
    with explained():
        from mfdstore.verify import verify_store

        with progress_bars() as on_progress:
            found = verify_store(
                store, peaks=peaks, fasta=fasta, blacklist=blacklist, on_progress=on_progress
            )
        if as_json:
            _print_json({"sound": found.sound, "findings": [asdict(finding) for finding in found.findings]})
        else:
            verdicts = {True: "ok", False: "[red]WRONG[/red]", None: "[yellow]not checked[/yellow]"}
            table = Table("check", "", "detail", box=None)
            for finding in found.findings:
                table.add_row(finding.check, verdicts[finding.sound], escape(finding.detail))
            out.print(table)
        if not found.sound:
            err.print(
                f"{store} is damaged or differs from its sources.",
                style="red",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
            raise typer.Exit(1)


@app.command()
def simulate(
    output: Annotated[Path, typer.Option("--out", help="Folder to create; must not exist yet.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 0,
    chrom_count: Annotated[int | None, typer.Option("--chroms", help="Number of chromosomes.")] = None,
    chrom_size: Annotated[int | None, typer.Option(help="Length of the first chromosome in bp.")] = None,
    targets: Annotated[int | None, typer.Option(help="Transcription factors, each with a motif.")] = None,
    biosamples: Annotated[
        int | None, typer.Option(help="Biosamples, each with a motif that opens its elements.")
    ] = None,
    labs: Annotated[
        int | None, typer.Option(help="Labs, each with a technical preference of its own.")
    ] = None,
    confounding: Annotated[
        float | None, typer.Option(help="0 to 1: how much each biosample sticks to its home lab.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a small world with known truth: genome, peaks, metadata, variants, enhancers.

    Peaks come from planted motifs (biology) and planted biases of assays and labs (technique); what was planted
    is written beside them in truth/.
    """
    with explained():
        from mfdstore.simulate.settings import SimulationSettings
        from mfdstore.simulate.simulation import simulate_sources

        given: dict[str, Any] = {
            "n_chroms": chrom_count,
            "chrom_size": chrom_size,
            "n_targets": targets,
            "n_biosamples": biosamples,
            "n_labs": labs,
            "confounding": confounding,
        }
        settings = SimulationSettings(
            seed=seed, **{key: value for key, value in given.items() if value is not None}
        )
        with progress_bars() as on_progress:
            made = simulate_sources(
                output, settings, on_progress=lambda done, total: on_progress("simulation", done, total)
            )
        if as_json:
            _print_json(
                {key: str(value) if isinstance(value, Path) else value for key, value in asdict(made).items()}
            )
        else:
            out.print(
                f"{made.n_bases:,} bp on {len(made.chroms)} chromosomes, {made.n_experiments} experiments, "
                f"{made.n_peaks:,} peaks, {made.n_variants:,} variants, {made.n_enhancers:,} enhancers",
                highlight=False,
                soft_wrap=True,
            )
            print_path(str(made.path))


def _names(option: str, text: str) -> tuple[str, ...]:
    from mfdstore.errors import ConfigError

    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if text and not names:
        raise ConfigError(
            option,
            found=repr(text),
            expected="names joined by commas",
            remedy="Name chromosomes, or leave out the option.",
        )
    return names


def _check_splits(context: typer.Context, split_blocks: bool) -> None:
    """Refuse options that the kind of split chosen would not read."""
    from mfdstore.errors import ConfigError

    unread = ("split_valid", "split_test") if split_blocks else ("block_fractions", "gap")
    # typer brings a click of its own in later versions, so the source is asked for its name
    given = [
        name
        for name in unread
        if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
    ]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise ConfigError(
            option,
            found="--split-blocks beside it" if split_blocks else "no --split-blocks beside it",
            expected="splits by whole chromosomes or by blocks, not both",
            remedy=f"Leave out {option}, or {'leave out' if split_blocks else 'pass'} --split-blocks.",
        )


def _bytes(option: str, text: str) -> int:
    from dask.utils import parse_bytes

    from mfdstore.errors import ConfigError

    try:
        return int(parse_bytes(text))
    except ValueError:
        raise ConfigError(
            option, found=repr(text), expected="a size such as 4GB or 800MiB", remedy="Correct the option."
        ) from None


def _fractions(text: str) -> tuple[float, float, float]:
    from mfdstore.errors import ConfigError

    try:
        train, valid, test = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            "--block-fractions",
            found=repr(text),
            expected="three numbers such as 0.8,0.1,0.1",
            remedy="Correct the option.",
        ) from None
    return train, valid, test


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=2, default=str))


add_growing(app)


def main() -> None:
    """Run the command; the entry point of the console script."""
    app()
