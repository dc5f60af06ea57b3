"""Which process of a run this is, and whether it may read at all."""

from __future__ import annotations

import os

import torch

from mfdstore.errors import ConfigError


def rank_here() -> tuple[int, int] | None:
    """Give rank and number of the processes of ``torch.distributed``; `None` where it is not initialised."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return None


def check_process(made_in: int) -> None:
    """Refuse to read in a fork of the process that made a loader.

    Locks that threads of the first process held are held for ever in the fork, and connections and descriptors are
    shared by both: it would hang, or read what the other one asked for.

    Parameters
    ----------
    made_in
        Number of the process that made it.

    Raises
    ------
    ConfigError
        If this is another process.
    """
    if os.getpid() != made_in:
        raise ConfigError(
            "loader",
            found=f"use in process {os.getpid()}, a fork of process {made_in} that made it",
            expected="use in the process that made it: its threads do what worker processes would",
            remedy='Set num_workers=0, or multiprocessing_context="spawn" or "forkserver".',
        )
