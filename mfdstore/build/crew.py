"""Who does the tasks: threads of this process, processes of this machine, or the workers of a dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass
from typing import Any

_LOOK_SECONDS = 5
"""How often it is looked whether anybody still works, in seconds."""


@dataclass(frozen=True)
class Crew:
    """An executor and how many tasks it does at a time.

    Parameters
    ----------
    executor
        Does the tasks.
    n_jobs
        Tasks at a time.
    n_here, n_programs
        Tasks at a time on one machine, at the most, and programs that do them there.
    """

    executor: Executor
    n_jobs: int
    n_here: int
    n_programs: int = 1

    def look(self) -> None:
        """Raise an error if nobody is left to do the tasks; called while they are waited for."""

    def explain(self, error: BaseException) -> BaseException:
        """Give the error that a user should see in place of one that a task ended with."""
        return error

    def run(
        self,
        work: Callable[[Any], Any],
        tasks: Sequence[Any],
        *,
        at_once: int | None = None,
        on_done: Callable[[int], None] = lambda done: None,
    ) -> list[Any]:
        """Do all tasks, a bounded number at a time; the first that fails ends it.

        Parameters
        ----------
        work
            Called with one task.
        tasks
            In the order that results are given.
        at_once
            Bound on tasks under way, where it is less than the crew could do.
        on_done
            Called with the number of tasks done.
        """
        bound = self.n_jobs if at_once is None else min(at_once, self.n_jobs)
        waiting: Iterable[int] = iter(range(len(tasks)))
        running: dict[Future[Any], int] = {}
        results: list[Any] = [None] * len(tasks)
        n_done = 0
        try:
            while True:
                for index in waiting:
                    running[self.executor.submit(work, tasks[index])] = index
                    if len(running) >= bound:
                        break
                if not running:
                    return results
                finished, _ = wait(running, _LOOK_SECONDS, return_when=FIRST_COMPLETED)
                if not finished:
                    self.look()
                for future in finished:
                    results[running.pop(future)] = self._result(future)
                    n_done += 1
                    on_done(n_done)
        finally:
            for future in running:
                future.cancel()
            wait([future for future in running if not future.cancelled()])

    def _result(self, future: Future[Any]) -> Any:
        try:
            return future.result()
        except Exception as error:
            told = self.explain(error)
            if told is error:
                raise
            raise told from error
