"""Work done by threads ahead of whoever takes its results, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_order(tasks: Iterator[Callable[[], T]], *, threads: int, ahead: int) -> Iterator[T]:
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
    """
    if threads == 0:
        for task in tasks:
            yield task()
        return
    pending: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="mfdstore-loader") as pool:
        try:
            for task in tasks:
                pending.append(pool.submit(task))
                if len(pending) > ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
