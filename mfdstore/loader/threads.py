"""The threads of a loader: those that a disk is read by are waited for, those that a server is asked by are left."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_PREFIX: Final = "mfdstore-loader"
_Tasks = SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]


def start_threads(n: int, name: str, *, leave: bool) -> Executor:
    """Make threads that do tasks.

    Parameters
    ----------
    n
        How many.
    name
        Behind that of the package.
    leave
        Whether nobody is to wait for a task that is under way, not even the end of the program: a request to a server
        may take minutes to fail.
    """
    prefix = f"{_PREFIX}-{name}"
    return _LeftThreads(n, prefix) if leave else ThreadPoolExecutor(n, thread_name_prefix=prefix)


def end_threads(pool: Executor) -> None:
    """Cancel what is not begun, and wait for what is, if it is to be waited for.

    A thread of a loader does not wait: a garbage collection may have it end the iterator that it works for.
    """
    wait = not threading.current_thread().name.startswith(_PREFIX)
    pool.shutdown(wait=wait, cancel_futures=True)


class _LeftThreads(Executor):
    """As `ThreadPoolExecutor`, whose threads the interpreter would wait for when it ends."""

    def __init__(self, n: int, prefix: str) -> None:
        self._tasks: _Tasks = SimpleQueue()
        self._lock = threading.Lock()
        self._ended = False
        self._threads = [
            threading.Thread(target=_work, args=(self._tasks,), name=f"{prefix}_{number}", daemon=True)
            for number in range(n)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()
        with self._lock:
            if self._ended:
                raise RuntimeError("its threads have been ended")
            self._tasks.put((future, lambda: task(*args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            self._ended = True
        if cancel_futures:
            with suppress(Empty):
                while (work := self._tasks.get_nowait()) is not None:
                    work[0].cancel()
        for _ in self._threads:
            self._tasks.put(None)


def _work(tasks: _Tasks) -> None:
    while (work := tasks.get()) is not None:
        _do(*work)
        del work  # what it was of is not to be held until there is another one


def _do(future: Future[Any], task: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = task()
    except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
        future.set_exception(error)
    else:
        future.set_result(result)
