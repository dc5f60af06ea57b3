"""What the tests of models share: the planted store, built once."""

from __future__ import annotations

import pytest

from mfdstore.store import Store
from tests.planted import write_planted_store


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store; not to be changed."""
    return write_planted_store(tmp_path_factory.mktemp("planted") / "planted.zarr")
