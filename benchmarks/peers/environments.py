"""Makes the environments of other projects' loaders: a folder each, by pip, once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TORCH = "torch==2.13.0"
TIMEOUT = 1800


class CannotInstall(Exception):  # noqa: N818 - it is caught and listed
    """An environment could not be made; the message is what the results say."""


@dataclass(frozen=True)
class Environment:
    """What one peer needs.

    Parameters
    ----------
    name
        Of its folder.
    steps
        Arguments of `pip install`, one call each, in order.
    """

    name: str
    steps: tuple[tuple[str, ...], ...]

    def python(self, folder: Path) -> Path:
        """Name its Python."""
        return folder / self.name / "bin" / "python"


GENVARLOADER = Environment("genvarloader", ((TORCH, "genvarloader==0.43.1"),))
GRELU = Environment("grelu", ((TORCH, "gReLU==1.1.0"),))
SEQDATA = Environment(
    "seqdata",
    (
        # pybedtools, which SeqData asks for, is built here, and only by a setuptools that still has pkg_resources
        ("setuptools<80", "wheel", "cython<3.1", "numpy==1.26.4"),
        ("--no-build-isolation", "pybedtools==0.9.1"),
        (TORCH, "seqdata==0.2.2"),
    ),
)


def ensure(environment: Environment, folder: Path) -> Path:
    """Make an environment unless it is there as it should be; gives its Python.

    Raises
    ------
    CannotInstall
        If pip fails, with its last word.
    """
    home = folder / environment.name
    done = home / "installed.json"
    wanted = json.dumps([sys.version_info[:2], environment.steps])
    if done.exists() and done.read_text() == wanted:
        return environment.python(folder)
    print(f"{environment.name}: installing", file=sys.stderr, flush=True)
    shutil.rmtree(home, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    run([sys.executable, "-m", "venv", str(home)], "venv")
    for step in environment.steps:
        pip = [str(environment.python(folder)), "-m", "pip", "install", "--quiet"]
        run([*pip, "--disable-pip-version-check", *step], f"pip install {' '.join(step)}")
    done.write_text(wanted)
    return environment.python(folder)


def run(command: list[str], what: str) -> None:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT, env=clean, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CannotInstall(f"{what} took more than {TIMEOUT} s") from error
    if ended.returncode:
        print(ended.stdout, ended.stderr, sep="\n", file=sys.stderr)
        said = [line for line in ended.stderr.splitlines() if "error" in line.lower()]
        raise CannotInstall(f"{what} failed: {(said or ['no word of it'])[0].strip()}")
