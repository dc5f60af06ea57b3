"""The command `mfdstore`: info and simulate; commands of one subject are in a module of theirs."""

from __future__ import annotations

import atexit
import gc
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.bench_command import add_bench
from cli.build_command import add_build
from cli.check_commands import add_checks
from cli.console import add_version, explained, out, progress_bars
from cli.copy_command import add_copy
from cli.fetch_commands import add_fetch_commands
from cli.grow_commands import add_growing
from cli.interchange_commands import add_interchange
from cli.options import AsJson, StorePath, local_path, print_json
from cli.store_tables import describe_store, print_info, print_path

app = typer.Typer(
    name="mfdstore",
    help="Turn reference genomes, ENCODE peak files and metadata into one labelled Zarr store.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


add_version(app, "mfdstore")
add_fetch_commands(app)
add_build(app)


@app.command()
def info(store: StorePath, as_json: AsJson = False) -> None:
    """Say what is in STORE: windows, experiments, factors and where they came from."""
    with explained():
        from mfdstore.store import Store

        opened = Store(store)
        described = describe_store(opened)
        if as_json:
            print_json(described)
        else:
            print_info(described)


@app.command()
def simulate(
    output: Annotated[
        Path,
        typer.Option(
            "--out", parser=local_path, metavar="PATH", help="Folder to create; must not exist yet."
        ),
    ],
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
    year_confounding: Annotated[
        float | None, typer.Option(help="0 to 1: how much each biosample sticks to its year of release.")
    ] = None,
    replicates: Annotated[int | None, typer.Option(help="Labs that measure the same thing.")] = None,
    labs_repeat: Annotated[
        bool,
        typer.Option(
            "--labs-repeat", help="A lab may measure the same again, so --confounding moves all replicates."
        ),
    ] = False,
    guest_labs: Annotated[
        int | None,
        typer.Option(help="Labs beside the others that measure everything, whatever is tied to what."),
    ] = None,
    gc_bias: Annotated[float | None, typer.Option(help="Factor on the GC preference of the assays.")] = None,
    kmer_bias: Annotated[
        float | None, typer.Option(help="Factor on the sequence preference of the labs.")
    ] = None,
    drift_bias: Annotated[
        float | None, typer.Option(help="Factor on what older experiments call too much.")
    ] = None,
    assay_kmer_bias: Annotated[
        float | None,
        typer.Option(help="Factor on a sequence preference of DNase-seq and ATAC-seq; 0 plants none."),
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
            "year_confounding": year_confounding,
            "n_replicates": replicates,
            "labs_repeat": labs_repeat,
            "n_guest_labs": guest_labs,
            "gc_bias": gc_bias,
            "kmer_bias": kmer_bias,
            "drift_bias": drift_bias,
            "assay_kmer_bias": assay_kmer_bias,
        }
        settings = SimulationSettings(
            seed=seed, **{key: value for key, value in given.items() if value is not None}
        )
        with progress_bars() as on_progress:
            made = simulate_sources(
                output, settings, on_progress=lambda done, total: on_progress("simulation", done, total)
            )
        if as_json:
            print_json(
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


add_checks(app)
add_copy(app)
add_growing(app)
add_interchange(app)
add_bench(app)


def main() -> None:
    """Run the command; the entry point of the console script."""
    atexit.register(gc.freeze)  # what is gone with the process need not be collected before
    app()
