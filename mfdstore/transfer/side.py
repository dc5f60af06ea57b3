"""Files that are moved several at a time: waiting for a server is most of the time that one takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Final

AT_ONCE: Final = 8
"""Files at a time, each held in memory: some MB, a shard at most."""


def side_by_side(work: Callable[[str], None], names: Sequence[str], on_done: Callable[[int], None]) -> None:
    """Do something with each file, a bounded number at a time; the first that fails ends it.

    Parameters
    ----------
    work
        Called with a name.
    names
        Of the files.
    on_done
        Called with the number of files done.
    """
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="copy") as pool:
        futures = [pool.submit(work, name) for name in names]
        try:
            for done, future in enumerate(as_completed(futures), start=1):
                future.result()
                on_done(done)
        finally:
            for future in futures:
                future.cancel()
