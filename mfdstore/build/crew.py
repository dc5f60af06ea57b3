"""Who does the tasks: threads of this process, processes of this machine, or the workers of a dask cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mfdstore.errors import ConfigError

_WAIT_SECONDS = 20
"""How long a scheduler may take to answer, in seconds."""


@dataclass(frozen=True)
class Crew:
    """An executor and how many tasks it does at a time."""

    executor: Executor
    n_jobs: int

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
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    results[running.pop(future)] = future.result()
                    n_done += 1
                    on_done(n_done)
        finally:
            for future in running:
                future.cancel()
            wait([future for future in running if not future.cancelled()])


@contextmanager
def gather_crew(scheduler: str, n_jobs: int) -> Iterator[Crew]:
    """Start or join who does the tasks.

    Parameters
    ----------
    scheduler
        ``threads``, ``processes``, or the address of a dask scheduler (``tcp://host:8786``), whose workers must see
        the sources and the output's folder under the same paths.
    n_jobs
        Tasks at a time; on a cluster as many as its workers have threads.

    Raises
    ------
    ConfigError
        If the name is neither, or no scheduler answers there.
    """
    if scheduler == "threads":
        with ThreadPoolExecutor(n_jobs, thread_name_prefix="build") as pool:
            yield Crew(pool, n_jobs)
        return
    if scheduler != "processes" and "://" not in scheduler:
        raise ConfigError(
            "--scheduler",
            found=repr(scheduler),
            expected="threads, processes, or the address of a dask scheduler such as tcp://host:8786",
            remedy="Correct the option.",
        )
    # imported here, for it takes longer than many builds' first stage
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.ERROR)
    if scheduler == "processes":
        with (
            LocalCluster(n_workers=n_jobs, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster,
            Client(cluster) as client,
            client.get_executor(pure=False) as executor,
        ):
            yield Crew(executor, n_jobs)
        return
    try:
        client = Client(scheduler, timeout=_WAIT_SECONDS)
    except (OSError, ValueError) as error:
        raise ConfigError(
            "--scheduler",
            found=f"no dask scheduler at {scheduler} ({error or type(error).__name__})",
            expected="a scheduler that answers",
            remedy="Check the address, and that it runs the same versions of dask and mfd.",
        ) from error
    with client, client.get_executor(pure=False) as executor:
        n_threads = sum(client.nthreads().values())
        if n_threads == 0:
            raise ConfigError(
                "--scheduler",
                found=f"no worker at {scheduler}",
                expected="at least one",
                remedy="Start workers, then run the same command again.",
            )
        yield Crew(executor, n_threads)
