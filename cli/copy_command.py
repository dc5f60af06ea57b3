"""The command `mfdstore copy`: a store to S3, or from S3 and HTTP to disk."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from cli.console import err, explained, log_to_stderr, progress_bars
from cli.options import AsJson, StorePath, print_json
from cli.store_tables import print_copy


def add_copy(app: typer.Typer) -> None:
    """Give the app the command of this module."""
    app.command()(copy)


def copy(
    store: StorePath,
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="Path or s3://bucket/folder/x.zarr to copy to; must not exist yet."
        ),
    ],
    damaged: Annotated[
        bool,
        typer.Option(
            "--damaged", help="Fetch a damaged store to disk as it is, to be mended by `verify --repair`."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Copy STORE to TARGET: publish it on S3, or fetch it from S3 or HTTP to disk.

    Every file is held against the store's manifest on the way. Nothing is a store under the new name until all of it is
    there. If it is stopped, the same command goes on where it was. Credentials are read from the environment alone.
    """
    with explained():
        log_to_stderr(verbose=False)
        from mfdstore.transfer.run import copy_store

        with progress_bars() as on_progress:
            done = copy_store(store, target, on_progress, damaged=damaged)
        if as_json:
            print_json(asdict(done) | {"path": str(done.path)})
        else:
            print_copy(done)
        if done.damaged:
            err.print(f"{done.path} is damaged, as its source is.", style="red", markup=False, soft_wrap=True)
            raise typer.Exit(1)
