"""A part of a store trains a model as any store does, with columns of one value or of none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mfdmodel.train.fit import train
from mfdmodel.train.keeper import read_curves
from mfdstore.grow.choice import Choice
from mfdstore.grow.subset import subset_store
from mfdstore.store import Store
from tests.planted import tiny_config, write_planted_store


@pytest.mark.slow
@pytest.mark.parametrize(
    "experiments", [("ENCFF001XYZ", "ENCFF003XYZ", "ENCFF004XYZ"), ("ENCFF002XYZ", "ENCFF005XYZ")]
)
def test_train__on_a_part(tmp_path: Path, experiments: tuple[str, ...]) -> None:
    write_planted_store(tmp_path / "whole.zarr")
    choice = Choice(experiments=experiments, regions=("chr1:0-100,000", "chr2", "chr3"), min_experiments=0)
    done = subset_store(tmp_path / "whole.zarr", tmp_path / "part.zarr", choice)
    part = Store(done.path)
    assert part.factors["organ"].missing.all() == (len(experiments) == 2)
    train(tiny_config(epochs=1), store=part, run=tmp_path / "run", device="cpu", threads=1)
    (epoch,) = read_curves(tmp_path / "run")
    assert np.isfinite([epoch.train_loss, epoch.valid_loss]).all()
