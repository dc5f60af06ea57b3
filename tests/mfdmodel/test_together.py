"""Two processes beside one with the joined batch: the same steps, but for rounding."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from mfdmodel.checkpoint.models import load_model
from mfdmodel.checkpoint.states import write_json
from mfdmodel.config import RunConfig
from mfdmodel.config_reading import override
from mfdmodel.train.fit import train
from mfdmodel.train.keeper import read_curves
from mfdmodel.train.resuming import RUN_RECORD, check_processes
from mfdmodel.train.together import _JOINED
from mfdstore.errors import RunError
from mfdstore.store import Store
from tests.planted import tiny_config

TOLERANCE = {"adversarial": 5e-4, "discriminator": 2e-2}
"""Relative, of losses after an epoch of short steps: float32 sums in another order, made larger by 28 steps of two
players. (With long steps the courses of two such models part, as those of two seeds do.) The discriminator's rows are
paired anew by their order, which differs."""
TERMS: dict[str, dict[str, float]] = {
    "adversarial": {"adversarial": 1.0},
    "discriminator": {"discriminator": 1.0, "frobenius": 0.01},
}


def run_together(arguments: list[object], n_processes: int) -> list[subprocess.CompletedProcess[str]]:
    """Run the processes side by side; none is left behind, also where they wait for each other in vain."""
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.mfdmodel.one_of_several", *map(str, arguments)],
            env=os.environ
            | {
                "MASTER_ADDR": "127.0.0.1",
                "RANK": str(number),
                "LOCAL_RANK": str(number),
                "WORLD_SIZE": str(n_processes),
                "GLOO_SOCKET_IFNAME": "lo",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for number in range(n_processes)
    ]
    try:
        texts = [process.communicate(timeout=300) for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    return [
        subprocess.CompletedProcess(process.args, process.returncode, *both)
        for process, both in zip(running, texts, strict=True)
    ]


def config_of(terms: str, batch_size: int) -> RunConfig:
    return override(
        tiny_config(lr=0.0003, gradient_clip=1.0, epochs=1, batch_size=batch_size),
        {"model.trunk.dropout": 0.0, "model.penalty.terms": TERMS[terms], "model.penalty.lambda_indep": 0.01},
    )


@pytest.fixture(scope="module")
def together(planted: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes left, started once for all trainings: to start them takes longer than to train."""
    folder = tmp_path_factory.mktemp("together")
    commands = []
    for terms in TERMS:
        config = folder / f"{terms}.yaml"
        config.write_text(yaml.safe_dump(config_of(terms, 25).model_dump(mode="json")))
        options = ["--store", planted.path, "--config", config, "--out", folder / terms]
        commands.append(["train", *map(str, options), "--device", "cpu", "--threads", "1"])
    port = 20_000 + os.getpid() % 20_000
    done = run_together([port, folder, *map(json.dumps, commands)], 2)
    assert [process.returncode for process in done] == [0, 0], done
    assert done[0].stdout.count("1 epoch") == 2
    assert done[1].stdout == done[1].stderr == ""  # one tells
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("terms", TERMS)
def test_two_processes__make_the_steps_of_one_with_the_joined_batch(
    planted: Store, together: Path, tmp_path: Path, terms: str
) -> None:
    train(config_of(terms, 50), store=planted, run=tmp_path / "one", device="cpu", threads=1)
    tolerance = TOLERANCE[terms]
    (mine,), (other,) = read_curves(tmp_path / "one"), read_curves(together / terms)
    assert other.train_loss == pytest.approx(mine.train_loss, rel=tolerance)
    assert other.valid_loss == pytest.approx(mine.valid_loss, rel=tolerance)
    assert other.l_indep == pytest.approx(mine.l_indep, rel=4 * tolerance)
    model = load_model(together / terms).model
    assert not any(type(module) in _JOINED.values() for module in model.modules())


@pytest.mark.slow
def test_two_processes__are_recorded_and_asked_for_again(planted: Store, together: Path) -> None:
    run = together / "adversarial"
    assert json.loads((run / "run.json").read_text())["processes"] == 2
    with pytest.raises(RunError, match=r"found a run by 2 processes.*torchrun --nproc-per-node 2") as refused:
        train(None, store=planted, run=run, resume=True, device="cpu", threads=1)
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_two_processes__draw_dropout_apart_and_the_penalty_alike(together: Path) -> None:
    first, second = (json.loads((together / f"told{rank}.json").read_text()) for rank in (0, 1))
    torch.manual_seed(7)
    alone = torch.rand(6).tolist()
    assert first["before"] + first["after"] == alone  # the first draws as if it were alone
    assert not set(second["before"] + second["after"]) & set(alone)
    assert first["alike"] == second["alike"]


@pytest.mark.slow
def test_two_processes__have_means_where_one_has_no_windows_to_validate_on(together: Path) -> None:
    for rank in (0, 1):
        told = json.loads((together / f"told{rank}.json").read_text())
        assert told["means"] == pytest.approx([(1.0 * 10 + 2.0 * 30) / 40, 0.25])


def test_check_processes__counts_one_where_a_run_does_not_say(tmp_path: Path) -> None:
    write_json(tmp_path / RUN_RECORD, {})
    check_processes(tmp_path, 1)
    with pytest.raises(RunError, match=r"found a run by one process.*expected one by 3 processes"):
        check_processes(tmp_path, 3)
    write_json(tmp_path / RUN_RECORD, {"processes": "two"})
    with pytest.raises(RunError, match="'two' processes"):
        check_processes(tmp_path, 1)


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
