"""What a results file must say of the machine and the command that made it."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path


def cpu_model() -> str:
    """Name the processor as the system does."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def describe_machine(*packages: str) -> list[str]:
    """Write date, hardware, versions and command, as lines of Markdown.

    Paths in the command are given by their last part: a results file tells nothing of where things lie.
    """
    command = [Path(part).name if part.startswith(("/", "..")) else part for part in sys.argv[1:]]
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return [
        f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d}. {cpu_model()}, {len(os.sched_getaffinity(0))} cores, "
        f"{platform.system()} {platform.release().partition('-')[0]}.",
        f"Python {platform.python_version()}, {versions}.",
        "",
        f"    python benchmarks/{Path(sys.argv[0]).name} {shlex.join(command)}",
        "",
    ]
