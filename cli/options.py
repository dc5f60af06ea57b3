"""Options that several commands of `mfdstore` share: how their text is read, and which of them were given."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

# text, not paths: a path would make s3:/x of s3://x
StorePath = Annotated[
    str,
    typer.Argument(
        metavar="STORE",
        help="Directory of the store, such as encode.zarr, or its address: s3://... or https://...",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script to read.")]

SPLITS = "Splits"
"""Panel of the options that hold windows out."""
SplitValid = Annotated[str, typer.Option(help="Chromosomes held out for validation.", rich_help_panel=SPLITS)]
SplitTest = Annotated[str, typer.Option(help="Chromosomes held out for the test.", rich_help_panel=SPLITS)]
SplitBlocks = Annotated[
    bool,
    typer.Option(
        "--split-blocks",
        help="Cut each chromosome into three blocks instead: for one chromosome alone.",
        rich_help_panel=SPLITS,
    ),
]
BlockFractions = Annotated[
    str, typer.Option(help="Shares of train, valid and test with --split-blocks.", rich_help_panel=SPLITS)
]
Gap = Annotated[
    int,
    typer.Option(
        help="Unused bp between two blocks with --split-blocks; as wide as a window, no base is read twice.",
        rich_help_panel=SPLITS,
    ),
]


def local_path(text: str) -> Path:
    """Read a path to write to, of a command that writes to disk alone."""
    from mfdstore.errors import MfdError
    from mfdstore.places.address import here

    try:
        return here("--out", text)
    except MfdError as error:
        raise typer.BadParameter(str(error)) from None


def names(option: str, text: str) -> tuple[str, ...]:
    """Read names joined by commas; none if the option was not given.

    Raises
    ------
    ConfigError
        If there is text without a name.
    """
    return some_names(option, text) if text else ()


def equations(option: str, texts: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    """Read pairs of a factor and a value, as ``target=CTCF``.

    Raises
    ------
    ConfigError
        If one is none.
    """
    from mfdstore.selecting import equation

    return tuple(equation(option, text) for text in texts or ())


def some_names(option: str, text: str | None) -> tuple[str, ...]:
    """Read names joined by commas; none if it is `None`. What is empty, as a shell's unset variable, is refused.

    Raises
    ------
    ConfigError
        If there is no name.
    """
    from mfdstore.errors import ConfigError

    if text is None:
        return ()
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if not found:
        raise ConfigError(
            option,
            found=repr(text),
            expected="names joined by commas",
            remedy="Name some, or leave out the option.",
        )
    return found


def given(context: typer.Context, parameters: Sequence[str]) -> list[str]:
    """List those of a command's parameters that the user gave, rather than left as they are."""
    # typer brings a click of its own in later versions, so the source is asked for its name
    return [
        name
        for name in parameters
        if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
    ]


def check_splits(context: typer.Context, split_blocks: bool) -> None:
    """Refuse options that the kind of split chosen would not read.

    Raises
    ------
    ConfigError
        If one was given.
    """
    from mfdstore.errors import ConfigError

    unread = given(context, ("split_valid", "split_test") if split_blocks else ("block_fractions", "gap"))
    if unread:
        option = f"--{unread[0].replace('_', '-')}"
        raise ConfigError(
            option,
            found="--split-blocks beside it" if split_blocks else "no --split-blocks beside it",
            expected="splits by whole chromosomes or by blocks, not both",
            remedy=f"Leave out {option}, or {'leave out' if split_blocks else 'pass'} --split-blocks.",
        )


def fractions(text: str) -> tuple[float, float, float]:
    """Read the shares of train, valid and test.

    Raises
    ------
    ConfigError
        If they are not three numbers.
    """
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


def print_json(content: Any) -> None:
    """Print a result for a script to read."""
    typer.echo(json.dumps(content, indent=2, default=str))


def size(option: str, text: str) -> int:
    """Read a number of bytes such as ``4GB``."""
    from pydantic import ByteSize, TypeAdapter

    from mfdstore.errors import ConfigError

    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except (ValueError, OverflowError):
        raise ConfigError(
            option, found=repr(text), expected="a size such as 4GB or 800MiB", remedy="Correct the option."
        ) from None
