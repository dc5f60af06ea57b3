"""The commands `mfdstore genomes`, `mfdstore fetch genome` and `mfdstore fetch encode`, and what a build foresees."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import err, explained, log_to_stderr, out, progress_bars
from cli.options import AsJson, local_path
from cli.store_tables import print_path

if TYPE_CHECKING:
    from mfdstore.fetch.complete import Forecast
    from mfdstore.fetch.manifest import Change
    from mfdstore.sources.web import Web

Cache = Annotated[
    Path | None,
    typer.Option(
        "--cache", help="Folder of the cache; else that of the variable MFD_CACHE, else the system's own."
    ),
]
Jobs = Annotated[int, typer.Option("--jobs", min=1, max=64, help="Downloads at a time.")]
Attempts = Annotated[
    int, typer.Option("--attempts", min=1, help="How often a server that stumbles is asked in a row.")
]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.1, help="Seconds to wait for an answer or its next byte.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be fetched, how much and where to; write nothing.")
]

fetch_app = typer.Typer(
    name="fetch",
    help="Download genomes and peak files, checked and resumable.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def add_fetch_commands(app: typer.Typer) -> None:
    """Give the app the commands of this module."""
    app.command()(genomes)
    app.add_typer(fetch_app)


def genomes(cache: Cache = None, as_json: AsJson = False) -> None:
    """List the assemblies known by name: their aliases, lengths, and what is in the cache."""
    with explained():
        from mfdstore.fetch.genome import genome_folder
        from mfdstore.sources.cache import cache_folder
        from mfdstore.sources.releases import RELEASES, Sites

        folder, sites = cache_folder(cache), Sites.from_environment()
        rows: list[dict[str, Any]] = []
        for release in RELEASES:
            fasta = genome_folder(folder, release.name) / f"{release.name}.fa"
            rows.append(
                {
                    "name": release.name,
                    "aliases": [name for name in release.assembly.names if name != release.name],
                    "organism": release.organism,
                    "length": sum(release.assembly.sizes.values()),
                    "chromosomes": dict(release.assembly.sizes),
                    "fasta": release.fasta_address(sites),
                    "fasta_digest": release.fasta_digest,
                    "blacklist": release.blacklist_address(sites) if release.has_blacklist else None,
                    "blacklist_digest": release.blacklist_digest,
                    "cached": str(fasta) if fasta.is_file() else None,
                }
            )
        if as_json:
            typer.echo(json.dumps({"cache": str(folder), "genomes": rows}, indent=2))
            return
        table = Table("name", "aliases", "chromosomes", "length, bp", "blacklist", "cached", box=None)
        for row in rows:
            table.add_row(
                row["name"],
                ", ".join(row["aliases"]),
                f"{len(row['chromosomes'])}",
                f"{row['length']:,}",
                "yes" if row["blacklist"] else "none",
                "yes" if row["cached"] else "no",
            )
        out.print(table)
        out.print(f"cache: {escape(str(folder))}", highlight=False, soft_wrap=True)


@fetch_app.command("genome")
def fetch_genome_command(
    name: Annotated[str, typer.Argument(help="hg38, hg19, mm10, mm39 or an alias; with --fasta, any name.")],
    fasta: Annotated[
        str | None, typer.Option("--fasta", help="Address of a FASTA of your own choice instead.")
    ] = None,
    digest: Annotated[
        str | None, typer.Option("--digest", help="Of that file: md5:... or sha256:...; checked.")
    ] = None,
    cache: Cache = None,
    attempts: Attempts = 6,
    timeout: Timeout = 60,
    as_json: AsJson = False,
) -> None:
    """Download a genome into the cache: FASTA, lengths of its sequences, blacklist.

    What is there is checked and kept; a download that broke off goes on where it did.
    """
    with explained():
        log_to_stderr(verbose=False)
        from mfdstore.errors import ConfigError
        from mfdstore.fetch.genome import fetch_genome, fetch_own_genome
        from mfdstore.sources.cache import cache_folder
        from mfdstore.sources.downloads import check_digest
        from mfdstore.sources.releases import Sites

        folder, web = cache_folder(cache), make_web(attempts, timeout)
        if digest is not None and fasta is None:
            raise ConfigError(
                "--digest",
                found="no --fasta beside it",
                expected="the address of the file that it is of",
                remedy="Leave out --digest: that of a known assembly is known.",
            )
        with progress_bars() as on_progress:
            if fasta is None:
                sites = Sites.from_environment()
                done = fetch_genome(name, folder, web=web, sites=sites, on_progress=on_progress)
            else:
                checked = check_digest(digest) if digest is not None else None
                done = fetch_own_genome(name, fasta, checked, folder, web=web, on_progress=on_progress)
        if as_json:
            _print_json(asdict(done))
            return
        for path in (done.fasta, done.sizes, done.blacklist):
            if path is not None:
                print_path(str(path))


@fetch_app.command("encode")
def fetch_encode_command(
    output: Annotated[
        Path,
        typer.Option(
            "--out", parser=local_path, metavar="PATH", help="Folder to fill; run again, it is completed."
        ),
    ],
    genome: Annotated[str, typer.Option(help="Name of the assembly.")] = "hg38",
    assay: Annotated[list[str] | None, typer.Option(help="Assay title; may be given again.")] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="Target of ChIP-seq; may be given again. 'any' for all."),
    ] = None,
    biosample_type: Annotated[
        list[str] | None,
        typer.Option(help="tissue, 'cell line', 'primary cell' ...; may be given again. 'any' for all."),
    ] = None,
    biosample: Annotated[
        list[str] | None, typer.Option(help="Name of a biosample; may be given again.")
    ] = None,
    status: Annotated[
        list[str] | None, typer.Option(help="Of experiments and files; may be given again.")
    ] = None,
    output_type: Annotated[
        list[str] | None, typer.Option(help="Of files: 'IDR thresholded peaks' ...; may be given again.")
    ] = None,
    file_type: Annotated[
        list[str] | None, typer.Option(help="'bed narrowPeak', 'bed broadPeak' ...; may be given again.")
    ] = None,
    every_file: Annotated[
        bool, typer.Option("--every-file", help="Not only the files that the portal prefers.")
    ] = False,
    files: Annotated[
        Path | None, typer.Option(help="A files.txt of the portal, instead of a selection.")
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option(help="A metadata.tsv of the portal, instead of a selection.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="An experiment report that you have; else it is asked for.")
    ] = None,
    jobs: Jobs = 8,
    attempts: Attempts = 6,
    timeout: Timeout = 60,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Download peak files of the ENCODE portal with their tables, into a folder that `build` reads.

    Without a selection: human tissues, ATAC-seq, DNase-seq, and ChIP-seq of CTCF, H3K27ac, H3K27me3, H3K36me3,
    H3K4me1, H3K4me3, H3K9ac and H3K9me3, as the published model was trained on. Run again, whole files are kept, and
    files that were archived, revoked or replaced since are named.
    """
    with explained():
        log_to_stderr(verbose=False)
        from mfdstore.fetch.encode import fetch_encode
        from mfdstore.fetch.plan import Request, plan_encode
        from mfdstore.sources.portal import Portal
        from mfdstore.sources.portal_queries import Selection
        from mfdstore.sources.releases import Sites

        chosen: dict[str, Any] = {
            "assays": assay,
            "targets": target,
            "biosample_types": biosample_type,
            "biosamples": biosample,
            "statuses": status,
            "output_types": output_type,
            "file_types": file_type,
        }
        given = {key: _some_or_any(values) for key, values in chosen.items() if values}
        _check_selection(given, every_file, files, metadata)
        selection = Selection(**given, preferred=not every_file)
        request = Request(genome, selection, files, metadata, report)
        portal = Portal(make_web(attempts, timeout), Sites.from_environment().portal)
        with progress_bars() as on_progress:
            if dry_run:
                plan = plan_encode(output, request, portal, on_progress=on_progress)
            else:
                done = fetch_encode(output, request, portal, jobs=jobs, on_progress=on_progress)
        if dry_run:
            counts = {
                "folder": str(output),
                "files": len(plan.files),
                "bytes": plan.n_bytes,
                "files_to_fetch": len(plan.lacking),
                "bytes_to_fetch": plan.n_lacking_bytes,
            }
            sentence = (
                f"{len(plan.files):,} peak files, {plan.n_bytes:,} bytes; to fetch {len(plan.lacking):,}, "
                f"{plan.n_lacking_bytes:,} bytes, to"
            )
        else:
            counts = {
                "folder": str(output),
                "files": done.n_files,
                "bytes": done.n_bytes,
                "files_fetched": done.n_fetched,
            }
            sentence = (
                f"{done.n_files:,} peak files, {done.n_bytes:,} bytes; {done.n_fetched:,} fetched now, in"
            )
        changes = plan.changes if dry_run else done.changes
        if as_json:
            _print_json(counts | {"changes": [asdict(change) for change in changes]})
            return
        print_changes(changes)
        out.print(sentence, highlight=False, soft_wrap=True)
        print_path(str(output))


def make_web(attempts: int = 6, timeout: float = 60) -> Web:
    """Make a client as the options say."""
    from mfdstore.sources.web import Patience, Web

    return Web(Patience(attempts=attempts, read_timeout=timeout, connect_timeout=min(15, timeout)))


def print_changes(changes: Sequence[Change]) -> None:
    """Say on stderr what is otherwise with single files."""
    for change in changes:
        err.print(str(change), style="yellow", markup=False, highlight=False, soft_wrap=True)


def print_forecast(forecast: Forecast, store: str, memory: int, *, as_json: bool) -> None:
    """Say what a build would fetch and take."""
    if as_json:
        content = asdict(forecast)
        _print_json(content | {"memory_bytes": memory, "out": str(store)})
        return
    lines = [
        f"would fetch {what}: {n_bytes / 1e9:,.2f} GB to {forecast.folders[what]}"
        for what, n_bytes in forecast.downloads.items()
    ]
    lines += [
        f"would build {forecast.n_experiments:,} experiments x at most {forecast.n_bins:,} windows, "
        f"{forecast.n_bases:,} bp, to {store}",
        f"disk: {forecast.fetched_bytes / 1e9:,.2f} GB for what is fetched, "
        f"at most about {forecast.store_bytes / 1e9:,.2f} GB for the store",
        f"while it builds: {forecast.scratch_bytes / 1e9:,.2f} GB of disk beside the store, "
        f"{memory / 1e9:,.1f} GB of memory (--memory)",
    ]
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)


def _some_or_any(values: Sequence[str]) -> tuple[str, ...]:
    return () if list(values) == ["any"] else tuple(values)


def _check_selection(
    given: dict[str, Any], every_file: bool, files: Path | None, metadata: Path | None
) -> None:
    """Refuse a selection beside a table that is one already."""
    from mfdstore.errors import ConfigError

    if (given or every_file) and (files is not None or metadata is not None):
        raise ConfigError(
            "--files" if files is not None else "--metadata",
            found="options of a selection beside it",
            expected="a table of the portal or a selection",
            remedy="Leave out one of them.",
        )


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=2, default=str))
