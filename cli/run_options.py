"""Options that several commands of `mfdmodel` share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

COMPUTING = "Computing"
"""Panel of the options that say where and how to compute."""


class EvaluatedSplit(StrEnum):
    """Splits that can be scored."""

    train = "train"
    valid = "valid"
    test = "test"


RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, as given to train --out.")]
Device = Annotated[
    str,
    typer.Option(
        help="Where to compute: auto (a GPU if there is one), cpu, cuda, cuda:1, mps.",
        rich_help_panel=COMPUTING,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1, help="Processor threads for torch. Default: torch's own choice.", rich_help_panel=COMPUTING
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more on stderr.", rich_help_panel=COMPUTING)
]
