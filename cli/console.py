"""What both commands share: errors as one sentence, progress bars, tables."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeAlias

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from mfdstore.display import plain
from mfdstore.errors import MfdError

OnProgress: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""

EXIT_FAULT = 1
EXIT_INTERRUPTED = 130
_LONGEST_ERROR = 1 << 16
"""Signs; an error is cut only if it is as long as a file."""

_LONGEST_WORD: Final = 12
"""Signs of a word that a narrow table keeps in one line: an accession has 11."""

out = Console()
err = Console(stderr=True)


def add_version(app: typer.Typer, command: str) -> None:
    """Give an app of several commands the option ``--version``."""

    def print_version(asked: bool) -> None:
        if asked:
            out.print(f"{command} {version('mfd')}", highlight=False)
            raise typer.Exit

    option = typer.Option(  # as a default: annotations here are text, and text cannot name what is local
        False, "--version", callback=print_version, is_eager=True, help="Print the version and leave."
    )

    @app.callback()
    def options(version_asked: bool = option) -> None:
        pass


@contextmanager
def explained() -> Iterator[None]:
    """Print a user's fault as one line on stderr and exit with 1; anything else keeps its traceback.

    Ctrl-C exits with 130, as shells expect.
    """
    try:
        yield
    except MfdError as error:
        _print_error(error)
        raise typer.Exit(EXIT_FAULT) from error
    except OSError as error:
        if error.filename is None:  # not about a path that a user gave
            raise
        fault = MfdError(
            Path(os.fsdecode(error.filename)),
            found=f"a path that cannot be used ({error.strerror})",
            expected="one that this user may read, or write where it is an output",
            remedy="Check the path, and that it may be used.",
        )
        _print_error(fault)
        raise typer.Exit(EXIT_FAULT) from error
    except KeyboardInterrupt:
        err.print("Interrupted.", style="yellow")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _print_error(error: MfdError) -> None:
    # through the console without markup, and with signs that steer a terminal spelt out: file names and metadata
    # may hold any
    text = plain(f"Error: {error}", _LONGEST_ERROR)
    err.print(text, style="red", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bars() -> Iterator[OnProgress]:
    """Show a bar a task while the block runs, on stderr, so that stdout stays clean for results.

    Where stderr is no terminal nothing is drawn.

    Yields
    ------
    A callback; a new `what` opens a new bar, `done` equal to `total` completes it.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as progress:
        tasks = {}

        def on_progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=total)
            progress.update(tasks[what], completed=done, total=total)

        yield on_progress


def fit(table: Table) -> Table:
    """Give a table's columns widths at which the terminal holds it; text goes on in the next line, nothing is cut.

    Lines break between words first. Words longer than an accession are broken where that is not enough.
    """
    widths, words = [], []
    for column in table.columns:
        texts = [Text.from_markup(str(cell)).plain for cell in (column.header, *column.cells)]
        widths.append(max(cell_len(line) for text in texts for line in text.split("\n")))
        words.append(max((cell_len(word) for text in texts for word in text.split()), default=1))
    room = out.width - 3 * len(widths) - 1  # borders, and a space on either side
    for least in ([min(word, _LONGEST_WORD) for word in words], [1] * len(widths)):
        while sum(widths) > room and any(width > low for width, low in zip(widths, least, strict=True)):
            widest = max(range(len(widths)), key=lambda index: widths[index] - least[index])
            widths[widest] -= 1
    for column, width in zip(table.columns, widths, strict=True):
        column.width, column.overflow = max(width, 1), "fold"
    return table


def log_to_stderr(*, verbose: bool) -> None:
    """Send the packages' own log lines to stderr: notes with `verbose`, otherwise warnings only."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    for package in ("mfdstore", "mfdmodel"):
        logger = logging.getLogger(package)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO if verbose else logging.WARNING)
