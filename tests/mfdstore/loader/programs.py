"""Programs in processes of their own, which have the loader imported when they begin: that takes seconds."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

# it has no thread of its own, so that its forks are as good as new processes
_ORIGIN = """
import atexit, gc, json, os, sys
import numpy as np
import torch
from mfdstore.loader import kernels, Loader
from mfdstore.store import Store

kernels.cut_windows(
    np.zeros(9, np.uint8), np.zeros(1, np.int64), np.zeros(1, np.bool_), np.zeros(1, np.int64),
    np.zeros((1, 2), np.uint8),
)
kernels.copy_rows(
    np.zeros((1, 2), np.uint8), np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros((1, 2), np.uint8)
)
gc.collect()
gc.freeze()
code = None
while code is None:
    line = sys.stdin.readline()
    if not line:
        os._exit(0)
    asked = json.loads(line)
    if "poll" in asked:
        pid, status = os.waitpid(asked["poll"], os.WNOHANG)
        answer = os.waitstatus_to_exitcode(status) if pid else None
    else:
        answer = os.fork()
        if answer == 0:
            code = asked["program"]
            sys.argv = ["-c", *asked["arguments"]]
            nothing = os.open(os.devnull, os.O_RDONLY)
            for name, number in (("out", 1), ("err", 2)):
                os.dup2(os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
            os.dup2(nothing, 0)
            break
    print(json.dumps(answer), flush=True)
_whole = asked["whole"]
exec(compile(code, "program", "exec"))
if not _whole:
    # what else an interpreter does at its end takes half a second
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(0)
"""


@dataclass
class Running:
    """One program."""

    pid: int
    _origin: Programs
    _out: Path
    _err: Path
    code: int | None = None

    @property
    def out(self) -> str:
        return self._out.read_text(encoding="utf-8") if self._out.exists() else ""

    @property
    def err(self) -> str:
        return self._err.read_text(encoding="utf-8") if self._err.exists() else ""

    def signal(self, number: int) -> None:
        if self.ended() is None:
            os.kill(self.pid, number)

    def ended(self) -> int | None:
        """Give the status of its exit, negative for that of a signal; `None` while it runs."""
        if self.code is None:
            self.code = self._origin.ask({"poll": self.pid})
        return self.code

    def line(self, number: int = 0, seconds: float = 30) -> str:
        """Wait for a line of its output."""
        deadline = time.monotonic() + seconds
        while self.out.count("\n") <= number:
            assert self.ended() is None or self.out.count("\n") > number, self.err
            assert time.monotonic() < deadline, f"no line {number} of {self.out!r}; {self.err}"
            time.sleep(0.005)
        return self.out.splitlines()[number]

    def wait(self, seconds: float = 30) -> int:
        """Wait for its end; gives the status."""
        deadline = time.monotonic() + seconds
        while (code := self.ended()) is None:
            assert time.monotonic() < deadline, f"it runs on; {self.out!r}; {self.err}"
            time.sleep(0.005)
        return code

    def result(self, seconds: float = 30) -> Any:
        """Give the last line of its output, as JSON, when it has ended well."""
        assert self.wait(seconds) == 0, self.err
        return json.loads(self.out.splitlines()[-1])


@dataclass
class Programs:
    """Starts programs, with `np`, `torch`, `Loader` and `Store` at hand, and ends those that are left."""

    folder: Path
    _process: subprocess.Popen[str]
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _started: list[Running] = field(default_factory=list)

    def start(self, program: str, *arguments: object, whole: bool = False) -> Running:
        """Start one; `whole` for one that is to end as any program does, where it is the end that matters."""
        name = str(next(self._numbers))
        out, err = self.folder / f"{name}.out", self.folder / f"{name}.err"
        asked = {
            "program": program,
            "arguments": list(map(str, arguments)),
            "out": str(out),
            "err": str(err),
            "whole": whole,
        }
        running = Running(self.ask(asked), self, out, err)
        self._started.append(running)
        return running

    def ask(self, question: dict[str, Any]) -> Any:
        wire, back = _both(self._process)
        wire.write(json.dumps(question) + "\n")
        wire.flush()
        answer = back.readline()
        assert answer, "no program can be started"
        return json.loads(answer)

    def end_all(self) -> None:
        for running in self._started:
            running.signal(signal.SIGKILL)
            running.wait()
        self._started.clear()


def _both(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


@contextmanager
def run_programs(folder: Path) -> Iterator[Programs]:
    """Be ready to start programs."""
    root = str(Path(__file__).parents[3])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with subprocess.Popen(
        [sys.executable, "-c", _ORIGIN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    ) as process:
        programs = Programs(folder, process)
        yield programs
        programs.end_all()
        _both(process)[0].close()
