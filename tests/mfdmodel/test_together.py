"""Two processes beside one with the joined batch: the same steps, but for rounding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from mfdmodel.checkpoint.models import load_model
from mfdmodel.config_reading import override
from mfdmodel.train.fit import train
from mfdmodel.train.keeper import read_curves
from mfdmodel.train.together import _JOINED
from mfdstore.store import Store
from tests.planted import tiny_config

TOLERANCE = {"adversarial": 5e-4, "discriminator": 2e-2}
"""Relative, of losses after two epochs of short steps: float32 sums in another order, made larger by 56 steps of two
players. (With long steps the courses of two such models part, as those of two seeds do.) The discriminator's rows are
paired anew by their order, which differs."""


def run_together(arguments: list[object], n_processes: int) -> list[subprocess.CompletedProcess[str]]:
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(20_000 + os.getpid() % 20_000)}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "cli.mfdmodel_app", *map(str, arguments)],
            env=os.environ
            | meeting
            | {
                "RANK": str(number),
                "LOCAL_RANK": str(number),
                "WORLD_SIZE": str(n_processes),
                "GLOO_SOCKET_IFNAME": "lo",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(n_processes)
    ]
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *texts)
        for process in running
        for texts in [process.communicate(timeout=300)]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("terms", [{"adversarial": 1.0}, {"discriminator": 1.0, "frobenius": 0.01}])
def test_two_processes__make_the_steps_of_one_with_the_joined_batch(
    planted: Store, tmp_path: Path, terms: dict[str, float]
) -> None:
    base = override(
        tiny_config(lr=0.0003, gradient_clip=1.0),
        {"model.trunk.dropout": 0.0, "model.penalty.terms": terms, "model.penalty.lambda_indep": 0.01},
    )
    one = override(base, {"training.batch_size": 50})
    train(one, store=planted, run=tmp_path / "one", device="cpu", threads=1)
    config = tmp_path / "half.yaml"
    half = override(base, {"training.batch_size": 25})
    config.write_text(yaml.safe_dump(half.model_dump(mode="json")))
    options = ["--store", planted.path, "--config", config, "--out", tmp_path / "two"]
    done = run_together(["train", *options, "--device", "cpu", "--threads", 1], 2)
    assert [process.returncode for process in done] == [0, 0], done
    assert "2 epochs" in done[0].stdout
    assert done[1].stdout == done[1].stderr == ""  # one tells
    tolerance = TOLERANCE[next(iter(terms))]
    for mine, other in zip(read_curves(tmp_path / "one"), read_curves(tmp_path / "two"), strict=True):
        assert other.train_loss == pytest.approx(mine.train_loss, rel=tolerance)
        assert other.valid_loss == pytest.approx(mine.valid_loss, rel=tolerance)
        assert other.l_indep == pytest.approx(mine.l_indep, rel=4 * tolerance)
    model = load_model(tmp_path / "two").model
    assert not any(type(module) in _JOINED.values() for module in model.modules())
    # gone on with by one process alone
    train(override(half, {}), store=planted, run=tmp_path / "two", resume=True, device="cpu", threads=1)
    assert len(read_curves(tmp_path / "two")) == 2


def test_joined_batch_norm__is_torchs_where_there_is_one_process() -> None:
    """All that it does but the messages: those two processes are held to above."""
    torch.manual_seed(0)
    for norm, x in (
        (torch.nn.BatchNorm1d(5), torch.randn(40, 5)),
        (torch.nn.BatchNorm2d(5), torch.randn(8, 5, 1, 30)),
        (torch.nn.BatchNorm1d(5, affine=False), torch.randn(40, 5) * 7 + 3),
    ):
        other = type(norm)(5, affine=norm.affine)
        other.__class__ = _JOINED[type(norm)]
        for _ in range(3):
            torch.testing.assert_close(other(x), norm(x), rtol=1e-4, atol=1e-5)
        for name, value in norm.state_dict().items():
            torch.testing.assert_close(other.state_dict()[name], value, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(other.eval()(x), norm.eval()(x), rtol=1e-4, atol=1e-5)
