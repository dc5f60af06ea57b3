"""Shared by all tests: where real data is, and how hard hypothesis tries."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# `tests.oracles` and `tests.strategies`, before any package of that name that a dependency brings along
sys.path.insert(0, str(Path(__file__).parents[1]))

settings.register_profile("mfd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mfd")

# a shell that begins tests in the background has them ignore Ctrl-C, and so would the programs that they interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with real data and golden answers; the test is skipped where it is not set."""
    folder = os.environ.get("MFD_REAL_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("MFD_REAL_DATA names no folder: this test reads real data")
    return Path(folder)


@pytest.fixture(scope="session")
def real_fasta(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real chromosome's FASTA, by a link, so that its index does not come to lie beside the real data."""
    link = tmp_path_factory.mktemp("fasta") / "hg38.chr22.fa.gz"
    link.symlink_to((real_data / "hg38-chr22" / link.name).resolve())
    return link
