"""What tests of the loader look at: its batches as a whole, its threads, what the process holds."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from mfdstore.loader import Batch


def everything(batches: Iterable[Batch]) -> tuple[Tensor, Tensor, Tensor]:
    """Codes, label bits and rows of all batches, one after another."""
    parts = list(batches)
    return (
        torch.cat([batch.codes for batch in parts]),
        torch.cat([batch.label_bits for batch in parts]),
        torch.cat([batch.window for batch in parts]),
    )


def assert_equal(one: Iterable[Batch], two: Iterable[Batch]) -> None:
    left, right = list(one), list(two)
    assert [len(batch) for batch in left] == [len(batch) for batch in right]
    for mine, theirs in zip(everything(left), everything(right), strict=True):
        assert torch.equal(mine, theirs)


def loader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mfdstore-loader")]


def wait_until(is_so: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Look again and again."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def resident_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def n_objects() -> int:
    gc.collect()
    return len(gc.get_objects())
