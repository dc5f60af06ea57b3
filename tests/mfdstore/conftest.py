"""A store of the small world, built once; tests that change it take a copy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mfdstore import schema
from mfdstore.build.run import build_store
from mfdstore.build.settings import BuildReport, BuildSettings, Sources
from mfdstore.store import Store
from tests.servers import Bucket, Served, http_server, s3_server, set_environment
from tests.worlds import Expected, World, expect, settings


@dataclass(frozen=True, repr=False)
class Little:
    """A world, its files, the store built of them, and what the definitions say it holds."""

    world: World
    sources: Sources
    report: BuildReport
    expected: Expected

    def __repr__(self) -> str:
        """Keep the letters out of a failing test's account."""
        return f"Little({self.path})"

    @property
    def path(self) -> Path:
        """Of the store; not to be changed."""
        return self.report.path

    @property
    def store(self) -> Store:
        """The store, opened anew."""
        return Store(self.path)


@pytest.fixture(scope="session")
def little(tmp_path_factory: pytest.TempPathFactory) -> Little:
    folder = tmp_path_factory.mktemp("little")
    world = World()
    sources = world.write(folder)
    report = build_store(sources, folder / "little.zarr", settings())
    return Little(world, sources, report, expect(world))


@pytest.fixture
def copied(little: Little, tmp_path: Path) -> Path:
    """Path of a copy of the store, to damage."""
    return Path(shutil.copytree(little.path, tmp_path / "copy.zarr"))


@pytest.fixture
def cut_small(little: Little, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small world in many shards of several chunks."""
    monkeypatch.setattr(schema, "ROWS_PER_CHUNK", 2)
    monkeypatch.setattr(schema, "ROWS_PER_SHARD", 8)
    monkeypatch.setattr(schema, "CODES_PER_SHARD", 1024)
    monkeypatch.setattr("mfdstore.layout._CODES_PER_CHUNK", 256)
    monkeypatch.setattr("mfdstore.layout._WINDOW_BYTES_PER_CHUNK", 2)
    monkeypatch.setattr("mfdstore.layout._VALUES_PER_CHUNK", 20)
    out = tmp_path / "small.zarr"
    build_store(little.sources, out, settings())
    return out


@pytest.fixture(scope="session")
def real_chr22(real_data: Path, real_fasta: Path, tmp_path_factory: pytest.TempPathFactory) -> BuildReport:
    """Build one real chromosome with all of its experiments, without the blacklist."""
    folder = real_data / "hg38-chr22"
    sources = Sources(
        real_fasta,
        folder / "peaks",
        folder / "metadata.tsv",
        folder / "experiment_report.tsv",
    )
    out = tmp_path_factory.mktemp("real") / "chr22.zarr"
    return build_store(sources, out, BuildSettings("hg38", blocks=(0.8, 0.1, 0.1)))


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A server of S3 on loopback, where the environment leads to."""
    with s3_server() as served:
        set_environment(monkeypatch, served.url)
        yield served


@pytest.fixture
def served(little: Little) -> Iterator[Served]:
    """A server of plain HTTP that serves the folder of the little store."""
    with http_server(little.path.parent) as running:
        yield running
