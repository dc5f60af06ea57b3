"""Work done by threads ahead of whoever takes its results, in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from mfdstore.loader.threads import end_threads, start_threads

T = TypeVar("T")


def in_order(
    tasks: Iterator[Callable[[], T]], *, threads: int, ahead: int, stop: threading.Event, leave: bool
) -> Iterator[T]:
    """Give the results of tasks in their order; some are done or under way while one is used.

    The threads live while the iterator does: they are gone when it is exhausted, closed or dropped. What fails in a
    thread is raised here, when its turn comes.

    Parameters
    ----------
    tasks
        Taken one by one, as room is.
    threads
        That do them; 0 to do each when it is asked for.
    ahead
        Results that are held or under way while one is used.
    stop
        Set when nobody wants results any more, before the threads are waited for.
    leave
        Whether they are not (`start_threads`).
    """
    if threads == 0:
        for task in tasks:
            yield task()
        return
    pending: deque[Future[T]] = deque()
    pool = start_threads(threads, "cut", leave=leave)
    try:
        for task in tasks:
            pending.append(pool.submit(task))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        stop.set()
        end_threads(pool)
