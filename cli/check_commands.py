"""Commands of `mfdstore` that check stores: verify, diff."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from cli.console import err, explained, out, progress_bars
from cli.options import StorePath
from mfdstore.display import plain

if TYPE_CHECKING:
    from mfdstore.differences import StoreDiff
    from mfdstore.repair.run import RepairReport
    from mfdstore.verify import VerifyReport

_MOST_ROWS = 20
"""Rows of a table; --json gives all."""
_MOST_OF_A_KIND = 8
_VERDICTS = {True: "ok", False: "[red]WRONG[/red]", None: "[yellow]not checked[/yellow]"}
_CHECKS, _SOURCES = "What to do", "Sources"

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read: all, not the first.")]


def add_checks(app: typer.Typer) -> None:
    """Give the app the commands of this module."""
    app.command("verify")(verify)
    app.command("diff")(diff)


def verify(
    store: StorePath,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Compute labels again from --peaks, by pyranges, and codes from --fasta, by strings.",
            rich_help_panel=_CHECKS,
        ),
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Give damaged files their bytes back: from what else the store holds, else from the sources given.",
            rich_help_panel=_CHECKS,
        ),
    ] = False,
    peaks: Annotated[
        Path | None, typer.Option(help="Folder of the build's peak files.", rich_help_panel=_SOURCES)
    ] = None,
    fasta: Annotated[Path | None, typer.Option(help="The build's genome.", rich_help_panel=_SOURCES)] = None,
    blacklist: Annotated[
        Path | None,
        typer.Option(help="The build's blacklist, if it had one; with --peaks.", rich_help_panel=_SOURCES),
    ] = None,
    metadata: Annotated[
        Path | None,
        typer.Option(help="The build's metadata.tsv; for --repair.", rich_help_panel=_SOURCES),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="The build's experiment report; for --repair.", rich_help_panel=_SOURCES),
    ] = None,
    jobs: Annotated[
        int, typer.Option(help="Files and experiments at a time; 0 means one a processor.", min=0)
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Read STORE back and check it: every file, every array, and with --deep its sources.

    What is damaged is named by file, windows and experiments. Exits with 1 if anything is not as it should be, in
    the end: a store that --repair made whole again exits with 0.
    """
    with explained():
        import os

        from mfdstore.verify import verify_store

        _check_options(
            deep,
            repair,
            {"peaks": peaks, "fasta": fasta, "blacklist": blacklist},
            {"metadata": metadata, "report": report},
        )
        n_jobs = jobs or len(os.sched_getaffinity(0))
        repaired = None
        with progress_bars() as on_progress:
            if repair:
                from mfdstore.repair.bench import RepairSources
                from mfdstore.repair.run import repair_store

                sources = RepairSources(peaks, fasta, metadata, report, blacklist)
                repaired = repair_store(store, sources, n_jobs=n_jobs, on_progress=on_progress)
        with progress_bars() as on_progress:
            found = verify_store(
                store,
                peaks=peaks if deep else None,
                fasta=fasta if deep else None,
                blacklist=blacklist if deep else None,
                n_jobs=n_jobs,
                on_progress=on_progress,
            )
        if as_json:
            content = asdict(found) | {"path": str(found.path), "sound": found.sound}
            if repaired is not None:
                content |= {"repaired": repaired.repaired, "lost": repaired.lost}
            _print_json(content)
        else:
            if repaired is not None:
                _print_repair(repaired)
            _print_verify(found)
        if not found.sound:
            err.print(
                f"{store} is damaged or differs from its sources.",
                style="red",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
            raise typer.Exit(1)


def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="Directory or address of a store.")],
    b: Annotated[str, typer.Argument(metavar="B", help="That of another.")],
    as_json: AsJson = False,
) -> None:
    """Say what differs between the stores A and B: settings, sources, windows, factors, labels, sequence.

    Exits with 0 if they are equal and with 1 if they differ. With 1, an error on stderr and nothing on stdout if one
    of them cannot be read. `verify` says whether a store holds what its digests say.
    """
    with explained():
        from mfdstore.diff import diff_stores
        from mfdstore.store import Store

        with progress_bars() as on_progress:
            found = diff_stores(Store(a), Store(b), on_progress)
        if as_json:
            _print_json(asdict(found) | {"equal": found.equal})
        elif found.equal:
            out.print("The stores are equal.")
        else:
            _print_diff(found)
        if not found.equal:
            raise typer.Exit(1)


def _check_options(
    deep: bool, repair: bool, of_both: dict[str, Path | None], of_repair: dict[str, Path | None]
) -> None:
    """Refuse sources that would not be read, and a check that has nothing to read."""
    from mfdstore.errors import ConfigError

    if of_both["blacklist"] is not None and of_both["peaks"] is None:
        raise ConfigError(
            "--blacklist",
            found="no --peaks beside it",
            expected="the peaks too: which bins should be kept is known from both",
            remedy="Pass --peaks, or leave out --blacklist.",
        )
    for sources, sound, needed in (
        (of_both, deep or repair, "--deep or --repair"),
        (of_repair, repair, "--repair"),
    ):
        for name, path in sources.items():
            if path is not None and not sound:
                raise ConfigError(
                    f"--{name}",
                    found=f"no {needed} beside it",
                    expected="what the file is to be read for",
                    remedy=f"Pass {needed}, or leave out --{name}.",
                )
    if deep and of_both["peaks"] is None and of_both["fasta"] is None:
        raise ConfigError(
            "--deep",
            found="neither --peaks nor --fasta beside it",
            expected="the sources that the store is to be held against",
            remedy="Pass one or both of them, or leave out --deep.",
        )


def _print_verify(found: VerifyReport) -> None:
    table = Table("check", "", "detail", box=None)
    for finding in _first(found.findings):
        table.add_row(
            escape(_printable(finding.check)), _VERDICTS[finding.sound], escape(_printable(finding.detail))
        )
    out.print(table)
    _print_rest(len(found.findings))
    if found.damage:
        damaged = Table("file", "", "holds", box=None)
        for damage in _first(found.damage):
            damaged.add_row(escape(_printable(damage.file)), damage.fault, escape(_printable(damage.holds)))
        out.print(damaged)
        _print_rest(len(found.damage))


def _print_repair(done: RepairReport) -> None:
    if not done.repaired and not done.lost:
        out.print("Nothing to repair.")
        return
    table = Table("file", "", "from, or why not", box=None)
    rows = [(one.file, "repaired", one.source) for one in done.repaired]
    rows = [(one.file, "[red]LOST[/red]", one.reason) for one in done.lost] + rows
    for file, verdict, detail in _first(rows):
        table.add_row(escape(_printable(file)), verdict, escape(_printable(detail)))
    out.print(table)
    _print_rest(len(rows))


def _print_diff(found: StoreDiff) -> None:
    table = Table("what", "", "A", "B", box=None)
    for kind, rows in _rows_of(found):
        for index, (what, a, b) in enumerate(rows[:_MOST_OF_A_KIND]):
            table.add_row(
                kind if index == 0 else "",
                escape(_printable(what)),
                escape(_printable(a)),
                escape(_printable(b)),
            )
        if len(rows) > _MOST_OF_A_KIND:
            table.add_row("", f"and {len(rows) - _MOST_OF_A_KIND:,} more", "", "")
    if table.row_count:
        out.print(table)
    else:
        out.print("The digests of the stores differ, though nothing that they are of does: verify both.")
    if not found.labels_compared:
        out.print("Bins of another size are no windows of both: labels are not compared.")


def _rows_of(found: StoreDiff) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Give what differs, kind by kind: what, in A, in B."""
    from mfdstore.differences import as_text

    yield "settings", [(one.what, as_text(one.a), as_text(one.b)) for one in found.settings]
    yield "sources", [(one.what, as_text(one.a), as_text(one.b)) for one in found.sources]
    experiments = [(name, "yes", "-") for name in found.only_a] + [
        (name, "-", "yes") for name in found.only_b
    ]
    if found.experiments_reordered:
        experiments.append(("order of those of both", "", "another"))
    yield "experiments", experiments
    chroms = {**found.windows_only_a, **found.windows_only_b}
    yield (
        "windows of one only",
        [
            (chrom, f"{found.windows_only_a.get(chrom, 0):,}", f"{found.windows_only_b.get(chrom, 0):,}")
            for chrom in chroms
        ],
    )
    yield (
        "splits",
        [(f"{n:,} windows", *_parted(change)) for change, n in found.splits.items()],
    )
    factors = [(one.what, as_text(one.a), as_text(one.b)) for one in found.factors]
    if found.factors_reordered:
        factors.append(("order of those of both", "", "another"))
    yield "factors", factors
    yield (
        "values",
        [(f"{one.factor} of {one.experiment}", as_text(one.a), as_text(one.b)) for one in found.values],
    )
    yield (
        "labels of one only",
        [(one.experiment, f"{one.only_a:,}", f"{one.only_b:,}") for one in found.labels],
    )
    yield (
        "sequence",
        [
            (chrom, "", f"{n:,} positions differ" if n >= 0 else "another length")
            for chrom, n in found.sequence.items()
        ],
    )


def _parted(change: str) -> tuple[str, str]:
    first, second = change.split(" to ")
    return first, second


def _first(rows: Sequence[Any]) -> Iterable[Any]:
    return rows[:_MOST_ROWS]


def _print_rest(n_rows: int) -> None:
    if n_rows > _MOST_ROWS:
        out.print(f"and {n_rows - _MOST_ROWS:,} more; --json lists all", style="dim", highlight=False)


def _printable(text: str) -> str:
    """Spell out what no terminal can show, or would obey: names of files and metadata may hold anything."""
    return plain(text.encode("utf-8", "replace").decode(), len(text))


def _print_json(content: Any) -> None:
    typer.echo(json.dumps(content, indent=2, default=_plain))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else asdict(value)
