"""Which experiments count in the losses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mfdmodel.config import TrainingConfig
from mfdmodel.config_reading import override
from mfdmodel.train.counted import held_out_columns, loss_weights, starting_frequency
from mfdmodel.train.fit import train
from mfdmodel.train.keeper import read_curves
from mfdstore.errors import ConfigError
from mfdstore.store import Store
from tests.planted import tiny_config, write_planted_store

NAMES = ("a", "b", "c", "d")


def test_loss_weights__are_powers_of_the_frequency() -> None:
    frequency = np.array([0.4, 0.1, 0.025, 0.2])
    nobody = np.zeros(4, np.bool_)
    assert loss_weights(TrainingConfig(), frequency, nobody) is None
    weights = loss_weights(TrainingConfig(rare_weight=0.5), frequency, nobody)
    assert weights is not None
    raw = np.array([0.4**-0.5, 0.1**-0.5, 0.025**-0.5, 0.2**-0.5])
    np.testing.assert_allclose(weights.numpy(), raw / raw.mean(), rtol=1e-6)
    held_out = np.array([False, True, False, False])
    weights = loss_weights(TrainingConfig(rare_weight=1.0), frequency, held_out)
    assert weights is not None
    assert weights[1] == 0
    np.testing.assert_allclose(
        (weights.numpy() * frequency)[~held_out], 3 / (1 / frequency[~held_out]).sum(), rtol=1e-6
    )


def test_starting_frequency__of_what_is_held_out_is_that_of_the_others() -> None:
    found = starting_frequency(np.array([40, 10, 20, 5]), 100, np.array([False, True, False, False]))
    np.testing.assert_allclose(found, [0.4, (0.4 + 0.2 + 0.05) / 3, 0.2, 0.05])


@pytest.mark.parametrize(
    ("held_out", "message"),
    [(("b", "nobody"), "found nobody, not in the store"), (("a", "b", "c"), "3 of 4 experiments")],
)
def test_held_out_columns__refuse_what_cannot_be(held_out: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        held_out_columns(TrainingConfig(held_out=held_out), NAMES)


def test_held_out__needs_metadata() -> None:
    with pytest.raises(ConfigError, match="without metadata nothing predicts them"):
        override(tiny_config(), {"model.kind": "linear_head", "training.held_out": ["EXP0"]})


def test_held_out__labels_change_nothing_of_a_run(planted: Store, tmp_path: Path) -> None:
    """Two stores that differ in the labels of one experiment give one model where that is held out."""
    other = write_planted_store(tmp_path / "other.zarr", scrambled=1)
    assert not np.array_equal(other.labels_of(1), planted.labels_of(1))
    assert all(np.array_equal(other.labels_of(i), planted.labels_of(i)) for i in (0, 2, 3, 4, 5))
    curves = {}
    for held_out in ((), (planted.experiments[1],)):
        config = tiny_config(epochs=1, held_out=list(held_out))
        for name, store in (("one", planted), ("other", other)):
            run = tmp_path / f"{name}{len(held_out)}"
            train(config, store=store, run=run, device="cpu", threads=1)
            curves[name, len(held_out)] = [(r.train_loss, r.valid_loss, r.l_indep) for r in read_curves(run)]
    assert curves["one", 1] == curves["other", 1]
    assert curves["one", 0] != curves["other", 0]
    assert curves["one", 0] != curves["one", 1]


def test_weights__are_no_part_of_a_state(planted: Store) -> None:
    from mfdmodel.model import build_model
    from mfdmodel.train.players import Players

    model = build_model(tiny_config().model, factors=planted.factors, positive_fraction=np.full(6, 0.3))
    players = Players(model, tiny_config(), n_steps=1, loss_weights=torch.ones(6))
    assert not any("loss_weights" in name for name in players.state_dict())
