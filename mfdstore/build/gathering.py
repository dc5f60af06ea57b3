"""Gathers a crew: threads of this program, processes started for the time, or the workers of a dask scheduler.

Dask is imported where it is asked for: that takes longer than many builds' first stage.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from mfdstore.build.crew import Crew
from mfdstore.errors import ConfigError, CrewError, without_keys

if TYPE_CHECKING:
    from distributed import Client

_ANSWER_SECONDS: Final = 20
"""How long a scheduler may take to answer."""
_ALONE_SECONDS: Final = 60
"""How long a scheduler may be without workers: those that died may be started again."""


@dataclass(frozen=True)
class DaskCrew(Crew):
    """The workers that a client knows.

    Parameters
    ----------
    client
        Of the scheduler.
    alone_since
        When it was first seen without workers, as `time.monotonic` says; nothing while it has some.
    """

    client: Client = field(kw_only=True)
    alone_since: list[float] = field(default_factory=list, kw_only=True)

    def look(self) -> None:
        """Raise an error if the scheduler does not answer, or has had no worker for a minute."""
        try:
            alone = not self.client.nthreads()
        except OSError as error:  # a closed connection is one
            raise _lost("no answer from the dask scheduler") from error
        if not alone:
            self.alone_since.clear()
            return
        if not self.alone_since:
            self.alone_since.append(time.monotonic())
        if time.monotonic() - self.alone_since[0] > _ALONE_SECONDS:
            raise _lost(f"no worker for {_ALONE_SECONDS} s")

    def explain(self, error: BaseException) -> BaseException:
        """Say in a user's words what dask says of lost workers and schedulers."""
        from distributed import KilledWorker
        from distributed.comm.core import CommClosedError

        if isinstance(error, KilledWorker):
            return _lost("a task that several workers died of, perhaps for want of memory")
        if isinstance(error, (CancelledError, CommClosedError)):
            return _lost("tasks that the dask scheduler gave up")
        return error


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
        If the name is neither.
    CrewError
        If no scheduler answers there, or it has no workers.
    """
    if scheduler == "threads":
        with ThreadPoolExecutor(n_jobs, thread_name_prefix="build") as pool:
            yield Crew(pool, n_jobs, n_jobs)
        return
    if scheduler != "processes" and "://" not in scheduler:
        raise ConfigError(
            "--scheduler",
            found=without_keys(repr(scheduler)),
            expected="threads, processes, or the address of a dask scheduler such as tcp://host:8786",
            remedy="Correct the option.",
        )
    with _start(n_jobs) if scheduler == "processes" else _join(scheduler) as crew:
        yield crew


@contextmanager
def _start(n_jobs: int) -> Iterator[DaskCrew]:
    """Start processes of this machine, one task each."""
    from distributed import Client, LocalCluster

    _be_quiet()
    with _deaf_children():
        cluster = LocalCluster(n_workers=n_jobs, threads_per_worker=1, dashboard_address="127.0.0.1:0")
    with cluster, Client(cluster) as client, client.get_executor(pure=False) as executor:
        yield DaskCrew(executor, n_jobs, n_jobs, n_jobs + 1, client=client)


@contextmanager
def _join(address: str) -> Iterator[DaskCrew]:
    """Join the workers of a running scheduler.

    Raises
    ------
    CrewError
        If it does not answer, or has no workers.
    """
    from distributed import Client

    _be_quiet()
    try:
        client = Client(address, timeout=_ANSWER_SECONDS)
    except (OSError, ValueError) as error:
        raise CrewError(
            "--scheduler",
            found=without_keys(f"no dask scheduler at {address} ({error or type(error).__name__})"),
            expected="a scheduler that answers",
            remedy="Check the address, and that it runs the same versions of dask and mfd.",
        ) from error
    with client, client.get_executor(pure=False) as executor:
        workers = client.scheduler_info()["workers"].values()
        if not workers:
            raise CrewError(
                "--scheduler",
                found=without_keys(f"no worker at {address}"),
                expected="at least one",
                remedy="Start workers, then run the same command again.",
            )
        threads: Counter[str] = Counter()
        for worker in workers:
            threads[worker["host"]] += worker["nthreads"]
        programs = Counter(worker["host"] for worker in workers)
        yield DaskCrew(
            executor, threads.total(), max(threads.values()), max(programs.values()), client=client
        )


def _be_quiet() -> None:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C, which a terminal sends to all of them: their parent ends them."""
    if threading.current_thread() is not threading.main_thread():  # only there a handler may be set
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _lost(found: str) -> CrewError:
    return CrewError(
        "--scheduler",
        found=found,
        expected="workers to the end of the build",
        remedy="Start workers, with more memory or fewer threads each if they died of it, and run the same command "
        "again: what is done is kept.",
    )
