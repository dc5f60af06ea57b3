"""What `mfdstore` prints of a build and of a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from cli.console import out

if TYPE_CHECKING:
    from mfdstore.build.settings import BuildReport
    from mfdstore.export.exporting import ExportReport
    from mfdstore.import_mfd import ImportReport
    from mfdstore.places.address import Place
    from mfdstore.store import Store
    from mfdstore.transfer.run import CopyReport


_MOST_FAULTS = 20


def print_path(path: str) -> None:
    """Print a path in one piece, for a script to read, and without markup: names may hold brackets."""
    out.print(path, style="bold", markup=False, highlight=False, soft_wrap=True)


def print_build(done: BuildReport) -> None:
    """Print what came in, what each filter took, and what is left."""
    counts = done.counts
    rows = [
        ("experiments", f"{counts.experiments:,}", ""),
        (
            "peaks",
            f"{counts.peaks:,}",
            f"{counts.peaks_on_other_sequences:,} on sequences that are not built",
        ),
        ("bins", f"{counts.bins:,}", ""),
        ("left out", f"{counts.bins_below_min_experiments:,}", "labelled by too few experiments"),
        ("", f"{counts.bins_with_blank:,}", "with an unknown base"),
        ("", f"{counts.bins_blacklisted:,}", "blacklisted"),
        (
            "windows",
            f"{counts.windows:,}",
            ", ".join(f"{n:,} {name}" for name, n in counts.windows_by_split.items()),
        ),
        ("positive pairs", f"{counts.positive_pairs:,}", "of window and experiment"),
    ]
    _print_counts(rows, counts.metadata, done.path)


def _print_counts(rows: Sequence[tuple[str, str, str]], metadata: Mapping[str, int], path: Place) -> None:
    """Print what came into a new store and what was left out, what its tables do not say, and where it is."""
    table = Table(box=None, show_header=False)
    for row in rows:
        table.add_row(*row)
    told = [(name.replace("_", " "), f"{n:,}") for name, n in metadata.items() if n]
    for index, (name, n) in enumerate(told):
        table.add_row("metadata" if index == 0 else "", n, name)
    table.columns[1].justify = "right"
    out.print(table)
    _print_unknown(path)
    print_path(str(path))


def _print_unknown(path: Place) -> None:
    """Name the biological and technical factors that the tables of a new store say nothing of."""
    from mfdstore.sources.encode_columns import COLUMNS
    from mfdstore.store import Store

    attributes = Store(path).attributes
    known = {factor["name"] for factor in attributes["factors"]}
    unknown = [column.name for column in COLUMNS if column.role is not None and column.name not in known]
    if not unknown:
        return
    out.print(f"nothing is known of: {', '.join(unknown)}", style="dim", highlight=False, soft_wrap=True)
    without_report = "peaks" in attributes["provenance"] and len(attributes["provenance"]["tables"]) == 1
    if without_report and {"lab", "life_stage", "age"} & set(unknown):
        hint = "lab, life stage and age are in the portal's experiment report: --report"
        out.print(hint, style="dim", highlight=False, soft_wrap=True)


def print_import(done: ImportReport) -> None:
    """Print what a release held, what was left out, and what is in the store."""
    counts = done.counts
    rows = [
        ("experiments", f"{counts.experiments:,}", ""),
        ("regions", f"{counts.regions:,}", ""),
        ("left out", f"{counts.regions_on_other_sequences:,}", "on sequences that are not imported"),
        ("", f"{counts.regions_with_blank:,}", "with an unknown base"),
        (
            "windows",
            f"{counts.windows:,}",
            ", ".join(f"{n:,} {name}" for name, n in counts.windows_by_split.items()),
        ),
        ("pairs", f"{counts.pairs:,}", f"{counts.pairs_repeated:,} of them a second time"),
        ("positive pairs", f"{counts.positive_pairs:,}", "of window and experiment"),
    ]
    _print_counts(rows, counts.metadata, done.path)


def print_export(done: ExportReport) -> None:
    """Print how much was written, and to where."""
    written = f"{done.n_windows:,} windows, {done.n_experiments:,} experiments, {done.n_pairs:,} positive pairs written"
    out.print(f"{written}: {', '.join(done.files)}", highlight=False, markup=False, soft_wrap=True)
    print_path(str(done.path))


def print_copy(done: CopyReport) -> None:
    """Print how much was copied, what is wrong with it, and to where."""
    again = f", {done.n_there:,} of them there already" if done.n_there else ""
    out.print(f"{done.n_files:,} files{again}", highlight=False, soft_wrap=True)
    for fault in done.damaged[:_MOST_FAULTS]:
        out.print(f"damaged: {fault}", style="red", markup=False, highlight=False, soft_wrap=True)
    if len(done.damaged) > _MOST_FAULTS:
        out.print(f"and {len(done.damaged) - _MOST_FAULTS:,} more; --json lists all", style="dim")
    print_path(str(done.path))


def describe_store(store: Store) -> dict[str, Any]:
    """Gather what `mfdstore info` says of a store, as plain values."""
    from mfdstore.schema import FORMAT_VERSION, SPLITS

    windows = store.windows
    return {
        "path": str(store.path),
        "format_version": store.attributes["format_version"],
        "newest_format_version": FORMAT_VERSION,
        "digest": store.digest,
        "genome": store.genome,
        "chroms": dict(zip(store.chroms, store.chrom_sizes, strict=True)),
        "bin_size": store.bin_size,
        "min_overlap": store.min_overlap,
        "min_experiments": store.min_experiments,
        "n_windows": store.n_windows,
        "n_experiments": store.n_experiments,
        "n_positive_pairs": int(store.n_positive.sum()),
        "windows_by_split": {name: int((windows.split == code).sum()) for code, name in enumerate(SPLITS)},
        "factors": [
            {
                "name": factor.name,
                "role": factor.role,
                "kind": factor.kind,
                "n_missing": int(factor.missing.sum()),
                "n_categories": len(factor.categories()),
                "examples": list(factor.categories()[:3]),
            }
            for factor in store.factors
        ],
        "provenance": store.provenance,
    }


def print_info(described: dict[str, Any]) -> None:
    """Print what `describe_store` gathered."""
    pairs = described["n_windows"] * described["n_experiments"]
    positive = described["n_positive_pairs"]
    splits = ", ".join(f"{n:,} {name}" for name, n in described["windows_by_split"].items() if n)
    chroms = described["chroms"]
    shown = ", ".join(list(chroms)[:6]) + (f" and {len(chroms) - 6} more" if len(chroms) > 6 else "")
    print_path(described["path"])
    summary = Table(box=None, show_header=False)
    for name, value in (
        ("genome", escape(f"{described['genome']}: {shown}, {sum(chroms.values()):,} bp")),
        ("windows", f"{described['n_windows']:,} ({splits})"),
        (
            "bins",
            f"{described['bin_size']} bp, labelled by a peak that overlaps {described['min_overlap']} bp or more",
        ),
        ("experiments", f"{described['n_experiments']:,}"),
        (
            "positive pairs",
            f"{positive:,} ({positive / pairs:.2%})",
        ),
        ("format version", str(described["format_version"])),
        ("digest", described["digest"][:16]),
    ):
        summary.add_row(name, value)
    out.print(summary)
    table = Table("factor", "role", "kind", "known", "values", "such as", box=None)
    for factor in described["factors"]:
        if factor["role"] is not None:
            known = described["n_experiments"] - factor["n_missing"]
            values = str(factor["n_categories"]) if factor["n_categories"] else ""
            table.add_row(
                factor["name"],
                factor["role"],
                factor["kind"],
                str(known),
                values,
                escape(", ".join(factor["examples"])),
            )
    out.print(table)
    others = [factor["name"] for factor in described["factors"] if factor["role"] is None]
    out.print("also kept: " + ", ".join(others), style="dim", highlight=False, markup=False)
