"""Options that commands of `mfdmodel` have in common."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer


class Preset(StrEnum):
    """Configurations that ship with the package."""

    paper = "paper"
    small = "small"
    demo = "demo"


class Kind(StrEnum):
    """Models that can be trained."""

    mfd = "mfd"
    linear_head = "linear_head"
    dinucleotides = "dinucleotides"


class LoaderMode(StrEnum):
    """How windows come from a store."""

    auto = "auto"
    ram = "ram"
    stream = "stream"
    device = "device"


class EvaluatedSplit(StrEnum):
    """Splits that can be scored."""

    train = "train"
    valid = "valid"
    test = "test"


MOST_THREADS: Final = 1024
"""Processor threads that are taken; torch ends without a word where the system gives it no more."""

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, as given to train --out.")]
Device = Annotated[
    str,
    typer.Option(
        help="Where to compute: auto (a GPU if there is one), cpu, cuda, cuda:1, mps.",
        rich_help_panel="Computing",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MOST_THREADS,
        help="Processor threads for torch. Default: torch's own choice.",
        rich_help_panel="Computing",
    ),
]
Loading = Annotated[
    LoaderMode,
    typer.Option(
        help="How windows are read. ram: the store is read into memory first; stream: while it is used; device: into "
        "the GPU's memory first. auto: by where the store is, its size, and the memory there is.",
        rich_help_panel="Computing",
    ),
]
LoaderMemory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Most memory for the store, such as 4GB. Default: 60% of what is free; a quarter of it where a store is "
        "streamed.",
        rich_help_panel="Computing",
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more on stderr.", rich_help_panel="Computing")
]
StoreOfRun = Annotated[
    str | None,
    typer.Option(metavar="S", help="Store to read, if not the one of the training; same experiments."),
]
