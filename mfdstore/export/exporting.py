"""Writes a store, or a part of it, in a format of other programs and publishes the folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from mfdstore.errors import ConfigError
from mfdstore.export.bed import write_bed
from mfdstore.export.choice import Choice, Chosen
from mfdstore.export.parquet import write_parquet
from mfdstore.export.release import write_release
from mfdstore.places.address import AnyPlace
from mfdstore.publish import published
from mfdstore.store import Store

Format = Literal["mfd-hdf5", "bed", "parquet"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Parameters
    ----------
    path
        Of the folder.
    format
        That was asked for.
    n_windows, n_experiments
        That were chosen.
    n_pairs
        Positive pairs of window and experiment that were written.
    files
        Names in the folder; a file an experiment is named by its folder, ``positives/``.
    """

    path: Path
    format: Format
    n_windows: int
    n_experiments: int
    n_pairs: int
    files: tuple[str, ...]


def check_format(name: str) -> Format:
    """Give the format of this name.

    Raises
    ------
    ConfigError
        If there is none.
    """
    for known in FORMATS:
        if name == known:
            return known
    raise ConfigError(
        "--format", found=repr(name), expected=f"one of {', '.join(FORMATS)}", remedy="Correct the name."
    )


def export_store(
    path: AnyPlace,
    out: Path,
    format: Format,
    choice: Choice,
    *,
    packed: bool = True,
    on_progress: Progress = lambda stage, done, total: None,
) -> ExportReport:
    """Write a store as files that other programs read.

    Parameters
    ----------
    path
        Of the store.
    out
        Folder to create.
    format
        ``mfd-hdf5``: the authors' release; ``bed``; ``parquet``.
    choice
        Which windows and experiments. As BED, the windows that each experiment labels are written only if
        experiments are named.
    packed
        Whether BED files are packed by gzip.

    Raises
    ------
    ConfigError
        If what is chosen is not known, or nothing is left.
    StoreError
        If the store cannot be read, or `out` exists.
    """
    with published(out) as folder:
        chosen = Chosen(Store(path), choice)
        match format:
            case "mfd-hdf5":
                n_pairs = write_release(
                    chosen, folder, lambda done, total: on_progress("windows", done, total)
                )
            case "bed":
                n_pairs = write_bed(
                    chosen,
                    folder,
                    packed=packed,
                    positives=choice.names_experiments,
                    on_progress=lambda done, total: on_progress("files", done, total),
                )
            case "parquet":
                n_pairs = write_parquet(
                    chosen, folder, lambda done, total: on_progress("windows", done, total)
                )
        files = tuple(
            f"{entry.name}/" if entry.is_dir() else entry.name for entry in sorted(folder.iterdir())
        )
    return ExportReport(out, format, chosen.n_windows, len(chosen.experiments), n_pairs, files)
