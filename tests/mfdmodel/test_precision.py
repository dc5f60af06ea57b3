"""Coarse and compiled training beside float32: the same course, within stated tolerances."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from mfdmodel.config_reading import override
from mfdmodel.evaluate.run import evaluate_run
from mfdmodel.model import build_model
from mfdmodel.penalties.losses import cross_entropy
from mfdmodel.train.fit import train
from mfdmodel.train.keeper import EpochRecord, read_curves
from mfdstore.errors import ConfigError
from mfdstore.loader import Loader
from mfdstore.store import Store
from tests.planted import tiny_config


def curves(store: Store, run: Path, **options: object) -> list[EpochRecord]:
    config = override(tiny_config(), {f"training.{name}": value for name, value in options.items()})
    config = override(config, {"model.trunk.dropout": 0.0})
    train(config, store=store, run=run, device="cpu", threads=1)
    return read_curves(run)


def test_bfloat16__follows_float32(planted: Store) -> None:
    """One step: the loss, and where it pulls all parameters; over many steps even seeds part small models."""
    config = override(tiny_config(), {"model.trunk.dropout": 0.0})
    torch.manual_seed(0)
    model = build_model(config.model, factors=planted.factors, positive_fraction=np.full(6, 0.3))
    (batch,) = Loader(planted, rows=np.arange(400), batch_size=400, positions=192)
    labels = batch.labels(6)
    found = {}
    for name, dtype in (("full", torch.float32), ("coarse", torch.bfloat16)):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=name == "coarse"):
            logits = model(batch.one_hot(dtype))
        loss = cross_entropy(logits.float(), labels)
        loss.backward()
        gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        found[name] = loss.item(), gradient
    assert found["coarse"][0] == pytest.approx(found["full"][0], rel=0.01)
    assert found["coarse"][0] != found["full"][0]
    assert functional.cosine_similarity(found["coarse"][1], found["full"][1], 0) > 0.97


def test_bfloat16__learns_what_was_planted(planted: Store, tmp_path: Path) -> None:
    coarse = curves(planted, tmp_path / "coarse", precision="bfloat16", epochs=3)
    # 0.6 is what the frequencies alone give
    assert min(record.valid_loss for record in coarse) < 0.55
    evaluation = evaluate_run(tmp_path / "coarse", split="valid", device="cpu", threads=1)
    assert evaluation.overall.auroc > 0.7  # chance of the six is 0.5, and one cannot be learnt


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler of C++")
def test_compiled__follows_float32(planted: Store, tmp_path: Path) -> None:
    full = curves(planted, tmp_path / "full")
    compiled = curves(planted, tmp_path / "compiled", compile=True)
    for one, other in zip(full, compiled, strict=True):
        # rounding alone, which a game of two players makes larger
        assert other.train_loss == pytest.approx(one.train_loss, rel=2e-3)
        assert other.valid_loss == pytest.approx(one.valid_loss, rel=2e-3)


def test_compiled__needs_a_compiler(planted: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ConfigError, match="no compiler of C"):
        curves(planted, tmp_path / "run", compile=True)
