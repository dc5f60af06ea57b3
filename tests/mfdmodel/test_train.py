"""Training: bitwise the same, resumed as if never stopped, and learning what was planted."""

from __future__ import annotations

import copy
import csv
import dataclasses
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mfdmodel.checkpoint.models import load_model
from mfdmodel.checkpoint.seen import SEEN
from mfdmodel.checkpoint.states import read_state, write_state
from mfdmodel.config import RunConfig
from mfdmodel.config_reading import override
from mfdmodel.devices import choose_device
from mfdmodel.evaluate.run import evaluate_run
from mfdmodel.model import build_model
from mfdmodel.train import fit as fitting
from mfdmodel.train.fit import TrainResult, train
from mfdmodel.train.keeper import LAST_STATE, EpochRecord, best_epoch, read_curves
from mfdmodel.train.players import Players
from mfdmodel.train.resuming import RUN_RECORD
from mfdmodel.train.schedule import learning_rate_share
from mfdstore.errors import ConfigError, RunError, StoreError
from mfdstore.loader import Batch, Loader
from mfdstore.store import Store
from tests.planted import tiny_config, write_planted_store


def fit(config: RunConfig | None, store: Store, run: Path, **options: object) -> TrainResult:
    return train(config, store=store, run=run, device="cpu", threads=1, **options)


def losses(run: Path) -> list[tuple[object, ...]]:
    return [(r.epoch, r.train_loss, r.valid_loss, r.l_indep, r.learning_rate) for r in read_curves(run)]


def weights(run: Path) -> dict[str, Tensor]:
    return load_model(run).model.state_dict()


def assert_same_weights(first: Path, second: Path) -> None:
    mine, other = weights(first), weights(second)
    assert mine.keys() == other.keys()
    for name, tensor in mine.items():
        assert torch.equal(tensor, other[name]), name


@pytest.fixture(scope="module")
def finished(planted: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs; not to be changed."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    fit(tiny_config(), planted, run)
    return run


def test_train__with_the_same_seed_gives_the_same_bits(
    planted: Store, finished: Path, tmp_path: Path
) -> None:
    fit(tiny_config(), planted, tmp_path / "again")
    assert losses(finished) == losses(tmp_path / "again")
    assert_same_weights(finished, tmp_path / "again")


def test_train__with_another_seed_gives_other_losses(planted: Store, finished: Path, tmp_path: Path) -> None:
    fit(tiny_config(seed=1), planted, tmp_path / "other")
    assert all(
        mine[1:4] != other[1:4]
        for mine, other in zip(losses(finished), losses(tmp_path / "other"), strict=True)
    )


def test_train__leaves_the_callers_generator_and_threads_alone(planted: Store, tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(7)
    fit(tiny_config(epochs=1), planted, tmp_path / "run")
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


class StoppedError(Exception):
    """Stands for a kill."""


def stop_at(step: int) -> object:
    def on_progress(what: str, done: int, total: int) -> None:
        if done == step:
            raise StoppedError

    return on_progress


@pytest.mark.parametrize(
    "step", [28, 40, 66], ids=["at an epoch's last step", "within the second", "within the third"]
)
def test_train__killed_and_resumed_equals_uninterrupted(planted: Store, tmp_path: Path, step: int) -> None:
    config = tiny_config(epochs=4, schedule="one_cycle", warmup=0.3)  # 28 steps an epoch, with dropout
    fit(config, planted, tmp_path / "whole")
    with pytest.raises(StoppedError):
        fit(config, planted, tmp_path / "parts", on_progress=stop_at(step))
    assert len(read_curves(tmp_path / "parts")) == (step - 1) // 28
    result = fit(config, planted, tmp_path / "parts", resume=True)
    assert result.n_epochs == 4
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert_same_weights(tmp_path / "parts", tmp_path / "whole")
    whole, parts = (read_state(tmp_path / name / LAST_STATE) for name in ("whole", "parts"))
    for first, second in zip(whole["optimizer_states"], parts["optimizer_states"], strict=True):
        for index, state in first["state"].items():
            assert all(torch.equal(value, second["state"][index][name]) for name, value in state.items())


def test_train__out_of_time_stops_between_epochs_and_resumes(
    planted: Store, finished: Path, tmp_path: Path
) -> None:
    result = fit(tiny_config(), planted, tmp_path / "run", max_minutes=0)
    assert (result.n_epochs, result.ended) == (1, "minutes")
    result = fit(None, planted, tmp_path / "run", resume=True)
    assert (result.n_epochs, result.ended) == (2, "epochs")
    assert losses(tmp_path / "run") == losses(finished)


def test_train__resumed_when_done_changes_nothing(planted: Store, tmp_path: Path) -> None:
    first = fit(tiny_config(epochs=1), planted, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.safetensors")}
    assert fit(None, planted, tmp_path / "run", resume=True) == first
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.safetensors")} == before


def test_train__with_resume_begins_where_there_is_no_run(planted: Store, tmp_path: Path) -> None:
    assert fit(tiny_config(epochs=1), planted, tmp_path / "run", resume=True).n_epochs == 1


@pytest.mark.parametrize("killed_behind", [RUN_RECORD, SEEN])
def test_train__killed_before_it_was_a_run_is_begun_anew(
    planted: Store, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_behind: Path
) -> None:
    def kill(*_: object, **__: object) -> None:
        raise StoppedError

    monkeypatch.setattr(fitting, "write_seen" if killed_behind == RUN_RECORD else "write_description", kill)
    with pytest.raises(StoppedError):
        fit(tiny_config(), planted, tmp_path / "run")
    monkeypatch.undo()
    assert (tmp_path / "run" / killed_behind).exists()
    with pytest.raises(RunError, match="no run"):
        fit(tiny_config(), planted, tmp_path / "run")
    fit(tiny_config(), planted, tmp_path / "run", resume=True)
    assert losses(tmp_path / "run") == losses(finished)


def test_train__stops_when_out_of_patience(planted: Store, tmp_path: Path) -> None:
    # a rate at which it can only get worse: the first epoch stays the best
    config = tiny_config(epochs=9, patience=2, lr=1e-12)
    result = fit(override(config, {"model.trunk.dropout": 0.5}), planted, tmp_path / "run")
    records = read_curves(tmp_path / "run")
    assert result.ended == "patience"
    assert len(records) - 1 - best_epoch(records) == 2
    assert load_model(tmp_path / "run").epoch == best_epoch(records)


def test_train__keeps_the_model_of_least_validation_loss(planted: Store, tmp_path: Path) -> None:
    result = fit(tiny_config(epochs=3), planted, tmp_path / "run")
    records = read_curves(tmp_path / "run")
    trained = load_model(tmp_path / "run")
    assert trained.valid_loss == result.best_valid_loss == min(record.valid_loss for record in records)
    loader = Loader(planted, split="valid", batch_size=150, positions=192)
    batch = next(iter(loader))
    with torch.no_grad():
        logits = trained.model(batch.one_hot())
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch.labels(6))
    assert trained.valid_loss == pytest.approx(float(expected), rel=1e-5)


def test_train__sees_each_epoch_in_the_loaders_own_order(
    planted: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[list[int], int]] = []
    step = Players.training_step

    def spy(self: Players, batch: Batch, batch_index: int) -> None:
        seen.append((batch.window.tolist(), int(batch.codes.sum())))
        step(self, batch, batch_index)

    monkeypatch.setattr(Players, "training_step", spy)
    config = tiny_config(seed=3)
    fit(config, planted, tmp_path / "run")
    loader = Loader(
        planted,
        split="train",
        batch_size=50,
        positions=192,
        strand="random",
        max_shift=3,
        shuffle=True,
        drop_last=True,
        seed=3,
    )
    expected = []
    for epoch in range(2):
        loader.set_epoch(epoch)
        expected += [(batch.window.tolist(), int(batch.codes.sum())) for batch in loader]
    assert seen == expected


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "epochs"), [("mfd", 16), ("linear_head", 8)])
def test_train__learns_the_planted_motifs(planted: Store, tmp_path: Path, kind: str, epochs: int) -> None:
    options = {"model.kind": kind, "model.trunk.dropout": 0.0}
    config = override(tiny_config(epochs=epochs, schedule="one_cycle", warmup=0.3), options)
    fit(config, planted, tmp_path / "run")
    scores = evaluate_run(tmp_path / "run", device="cpu").experiments
    assert min(score.auroc for score in scores[:5]) > 0.9
    assert np.isnan(scores[5].auroc)


@pytest.mark.slow
def test_train__penalty_lowers_the_dependence_between_subspaces(planted: Store, tmp_path: Path) -> None:
    found = {}
    for price in (0.0, 0.02):
        config = override(
            tiny_config(epochs=4), {"model.penalty.lambda_indep": price, "model.penalty.width": 32}
        )
        fit(config, planted, tmp_path / f"run{price}")
        found[price] = -read_curves(tmp_path / f"run{price}")[-1].l_indep
    assert found[0.02] < 0.5 * found[0.0]


def test_train__dinucleotides_have_no_second_player(planted: Store, tmp_path: Path) -> None:
    fit(override(tiny_config(epochs=1), {"model.kind": "dinucleotides"}), planted, tmp_path / "run")
    assert read_curves(tmp_path / "run")[0].l_indep is None
    assert len(read_state(tmp_path / "run" / LAST_STATE)["optimizer_states"]) == 1


def test_train__weight_decay_is_for_networks(planted: Store, tmp_path: Path) -> None:
    curves = {}
    for kind in ("dinucleotides", "linear_head"):
        for decay in (0.0, 5.0):
            config = override(tiny_config(epochs=1, weight_decay=decay), {"model.kind": kind})
            fit(config, planted, tmp_path / f"{kind}{decay}")
            curves[kind, decay] = losses(tmp_path / f"{kind}{decay}")
    assert curves["dinucleotides", 0.0] == curves["dinucleotides", 5.0]
    assert curves["linear_head", 0.0] != curves["linear_head", 5.0]


def one_step(
    planted: Store, monkeypatch: pytest.MonkeyPatch, options: dict[str, object]
) -> tuple[Players, Players, Batch, list[torch.optim.Optimizer]]:
    """Play one round without a trainer: players before, players behind it, the batch, and their optimisers."""
    config = override(tiny_config(), {"model.trunk.dropout": 0.0} | options)
    torch.manual_seed(0)
    model = build_model(config.model, factors=planted.factors, positive_fraction=np.full(6, 0.3))
    players = Players(model, config, n_steps=28)
    before = copy.deepcopy(players)
    optimizers = players.configure_optimizers()
    monkeypatch.setattr(players, "_optimizers", lambda: optimizers)
    monkeypatch.setattr(players, "manual_backward", lambda loss: loss.backward())
    batch = next(iter(Loader(planted, split="train", batch_size=50, positions=192)))
    players.training_step(batch, 0)
    return before, players, batch, optimizers


@pytest.mark.parametrize("steps", [1, 3])
def test_training_step__moves_each_player_by_its_own_loss_only(
    planted: Store, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """First the adversaries by theirs, as often as is asked, on a fixed latent; then the model, which pays for what
    they find by then."""
    options: dict[str, object] = {"model.penalty.steps": steps, "model.penalty.lambda_indep": 0.1}
    before, players, batch, optimizers = one_step(planted, monkeypatch, options)
    assert [{int(state["step"]) for state in each.state.values()} for each in optimizers] == [{1}, {steps}]
    model, penalty = before.model, before.penalty
    latent = model.latent(batch.one_hot())
    fixed = {role: features.detach() for role, features in latent.items()}
    # fused too: biases ahead of a batch norm have gradients of nothing but rounding, which Adam makes whole steps of
    adversaries = torch.optim.Adam(penalty.parameters(), lr=1e-3, amsgrad=True, fused=True)
    for _ in range(steps):
        adversaries.zero_grad()
        penalty.adversary_loss(fixed).backward()
        adversaries.step()
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(model.logits(latent), batch.labels(6))
    of_model = list(model.parameters())
    gradients = torch.autograd.grad(entropy + 0.1 * penalty(latent), of_model, allow_unused=True)
    for parameter, gradient in zip(players.model.parameters(), gradients, strict=True):
        if gradient is not None:
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-3, atol=2e-5)
    for found, expected in zip(players.penalty.parameters(), penalty.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert any(
        not torch.equal(found, first)
        for found, first in zip(players.model.parameters(), of_model, strict=True)
    )


def test_training_step__clips_the_gradient_where_that_is_asked(
    planted: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms = {}
    for clip in (None, 1e-3):
        _, players, _, _ = one_step(planted, monkeypatch, {"training.gradient_clip": clip})
        gradients = [each.grad.flatten() for each in players.model.parameters() if each.grad is not None]
        norms[clip] = float(torch.cat(gradients).norm())
    assert norms[None] > 0.1
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-3)


def test_train__resumes_a_run_of_an_earlier_version_whose_optimiser_had_one_group(
    planted: Store, begun: Path, tmp_path: Path
) -> None:
    """Parameters were numbered as they are now: where nothing decays the run ends as if nothing had changed."""
    for name in ("now", "earlier"):
        shutil.copytree(begun, tmp_path / name)
    path = tmp_path / "earlier" / LAST_STATE
    state = read_state(path)
    first, second = state["optimizer_states"][0]["param_groups"]
    assert (first["params"], second["params"][0]) == ([0], 1)  # the biases of experiments, then the network
    state["optimizer_states"][0]["param_groups"] = [second | {"params": first["params"] + second["params"]}]
    write_state(path, state)
    for name in ("now", "earlier"):
        fit(None, planted, tmp_path / name, resume=True, max_minutes=0)
    assert losses(tmp_path / "earlier") == losses(tmp_path / "now")
    assert len(losses(tmp_path / "now")) == 2
    assert len(read_state(path)["optimizer_states"][0]["param_groups"]) == 2


def test_train__writes_curves_for_people_and_for_tensorboard(finished: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with (finished / "logs" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    events = EventAccumulator(str(finished / "logs" / "tensorboard"))
    events.Reload()
    assert [event.value for event in events.Scalars("valid_loss")] == pytest.approx(
        [float(row["valid_loss"]) for row in rows], rel=1e-6
    )


def test_train__counts_labels_by_split(finished: Path, planted: Store) -> None:
    record = json.loads((finished / "run.json").read_text())
    for split, counts in record["labels"].items():
        rows = planted.windows.rows(split)
        assert counts["n_windows"] == len(rows)
        assert counts["n_positive"] == [int(planted.labels_of(index)[rows].sum()) for index in range(6)]


def test_train__tells_progress_and_epochs(planted: Store, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    epochs: list[EpochRecord] = []
    fit(
        tiny_config(),
        planted,
        tmp_path / "run",
        on_progress=lambda *step: told.append(step),
        on_epoch=epochs.append,
    )
    read = [step for step in told if step[0] == "bytes read"]
    assert read == told[: len(read)]
    assert read[-1][1] == read[-1][2]
    assert told[len(read) :] == [("training", step, 56) for step in range(1, 57)]
    assert [dataclasses.replace(record) for record in epochs] == read_curves(tmp_path / "run")


def test_train__refuses_a_taken_name(planted: Store, finished: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="--resume"):
        fit(tiny_config(), planted, finished)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="no run"):
        fit(tiny_config(), planted, tmp_path)
    with pytest.raises(RunError, match="no run"):
        fit(tiny_config(), planted, tmp_path, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_train__refuses_to_resume_with_other_options_or_another_store(
    planted: Store, finished: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=r"training.lr = 0.01.*training.lr = 0.5"):
        fit(tiny_config(lr=0.5), planted, finished, resume=True)
    other = write_planted_store(tmp_path / "other.zarr", seed=1)
    with pytest.raises(RunError, match=other.digest[:12]):
        fit(None, other, finished, resume=True)


def test_train__without_configuration_needs_a_run(planted: Store, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no configuration"):
        fit(None, planted, tmp_path / "run", resume=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("missing", ["train", "valid"])
def test_train__needs_both_splits(tmp_path: Path, missing: str) -> None:
    splits = tuple(split for split in ("train", "valid", "test") if split != missing)
    store = write_planted_store(tmp_path / "some.zarr", splits=splits)
    with pytest.raises(StoreError, match=rf"split {missing}.*--split-blocks"):
        fit(tiny_config(), store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_train__that_diverges_ends_with_an_error(planted: Store, tmp_path: Path) -> None:
    config = tiny_config(lr=1e30, patience=None)
    with pytest.raises(RunError, match=r"training loss nan.* in epoch 1.*training\.lr"):
        fit(config, planted, tmp_path / "run")
    assert read_curves(tmp_path / "run") == []
    assert not (tmp_path / "run" / LAST_STATE).exists()


def test_train__that_diverges_later_keeps_the_model_of_before(
    planted: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(tiny_config(), planted, tmp_path / "run", max_minutes=0)
    monkeypatch.setattr(
        "mfdmodel.train.players.cross_entropy",
        lambda logits, labels, weights: (
            torch.nn.functional.binary_cross_entropy_with_logits(logits, labels) * np.inf
        ),
    )
    with pytest.raises(RunError, match=r"loss nan.* in epoch 2.*model of epoch 1 is kept"):
        fit(None, planted, tmp_path / "run", resume=True)
    assert [record.epoch for record in read_curves(tmp_path / "run")] == [0]
    assert load_model(tmp_path / "run").epoch == 0


def test_train__leaves_nothing_behind_when_the_configuration_does_not_fit(
    planted: Store, tmp_path: Path
) -> None:
    for options in ({"model.head.subspaces.biological.direct": ["donor"]}, {"training.batch_size": 1401}):
        with pytest.raises(ConfigError):
            fit(override(tiny_config(), options), planted, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_train__refuses_a_damaged_state(planted: Store, tmp_path: Path) -> None:
    fit(tiny_config(), planted, tmp_path / "run", max_minutes=0)
    state = tmp_path / "run" / LAST_STATE
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"last\.safetensors"):
        fit(None, planted, tmp_path / "run", resume=True)
    write_state(state, {"callbacks": {}})
    with pytest.raises(RunError, match="learning curves"):
        fit(None, planted, tmp_path / "run", resume=True)


@pytest.fixture(scope="module")
def begun(planted: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run stopped after its first epoch; not to be changed."""
    run = tmp_path_factory.mktemp("runs") / "begun"
    fit(tiny_config(epochs=3), planted, run, max_minutes=0)
    return run


@pytest.mark.parametrize(
    "path",
    [
        ("callbacks", "Keeper", "records", 0, "train_loss"),
        ("pytorch-lightning_version",),
        ("generators",),
        ("generators", "cpu"),
        ("optimizer_states",),
        ("optimizer_states", 1),
        ("optimizer_states", 0, "state", 0),
        ("optimizer_states", 0, "state", 0, "exp_avg"),
        ("optimizer_states", 0, "param_groups", 0, "betas"),
        ("state_dict",),
        ("state_dict", "model.bias"),
        ("loops",),
        ("loops", "fit_loop", "epoch_progress"),
        ("loops", "fit_loop", "epoch_progress", "current", "ready"),
        ("epoch",),
        ("global_step",),
        ("description",),
    ],
    ids=lambda path: ".".join(map(str, path)),
)
def test_train__refuses_to_resume_from_a_state_that_lacks_something(
    planted: Store, begun: Path, tmp_path: Path, path: tuple[str | int, ...]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(begun, run)
    state = read_state(run / LAST_STATE)
    node = state
    for key in path[:-1]:
        node = node[key]
    del node[path[-1]]
    write_state(run / LAST_STATE, state)
    with pytest.raises(RunError, match=r"last\.safetensors"):
        fit(None, planted, run, resume=True)
    assert len(read_curves(run)) == 1


def test_train__refuses_the_state_of_another_run(planted: Store, begun: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    fit(tiny_config(epochs=3, seed=5), planted, run, max_minutes=0)
    shutil.copy(begun / LAST_STATE, run / LAST_STATE)
    with pytest.raises(RunError, match="state of another run"):
        fit(None, planted, run, resume=True)


def test_train__explains_places_that_cannot_be_written(planted: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for run in (tmp_path / "file" / "run", Path("/proc/nope/run")):
        with pytest.raises(RunError, match="cannot be written"):
            fit(tiny_config(epochs=1), planted, run)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_train__says_nothing_of_its_own_accord(
    planted: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fit(tiny_config(epochs=1), planted, tmp_path / "run")
    said = capfd.readouterr()
    assert said.out == said.err == ""
    assert caplog.text == ""


def test_train__lets_ctrl_c_through(planted: Store, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)

    def interrupt(what: str, done: int, total: int) -> None:
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(tiny_config(), planted, tmp_path / "run", on_progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    assert threading.active_count() == 1 or not any(
        "mfdstore-loader" in thread.name for thread in threading.enumerate()
    )


@pytest.mark.slow
def test_train__killed_outright_leaves_whole_files_only(planted: Store, tmp_path: Path) -> None:
    run = tmp_path / "run"
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "from tests.planted import tiny_config; from mfdmodel.train.fit import train;"
        "from mfdstore.store import Store;"
        "train(tiny_config(epochs=500, patience=None), store=Store(sys.argv[2]), run=Path(sys.argv[3]),"
        " device='cpu', threads=1)"
    )
    root = str(Path(__file__).parents[2])
    process = subprocess.Popen([sys.executable, "-c", program, root, str(planted.path), str(run)])
    deadline = time.monotonic() + 120
    while len(read_curves(run)) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    n_done = len(read_curves(run))
    assert n_done >= 3
    assert load_model(run).epoch < n_done + 1
    state = read_state(run / LAST_STATE)
    assert len(state["callbacks"]["Keeper"]["records"]) >= n_done


def test_train__moves_both_players_rates_by_one_schedule(planted: Store, tmp_path: Path) -> None:
    config = tiny_config(epochs=2, schedule="one_cycle", warmup=0.25)
    fit(config, planted, tmp_path / "run")
    state = read_state(tmp_path / "run" / LAST_STATE)
    sequence, predictors = (optimizer["param_groups"][0]["lr"] for optimizer in state["optimizer_states"])
    assert sequence < config.training.lr / 2
    assert predictors / config.model.penalty.lr == pytest.approx(sequence / config.training.lr)


def test_best_epoch__takes_the_first_of_equals_and_no_nan() -> None:
    def record(loss: float) -> EpochRecord:
        return EpochRecord(0, 0.0, loss, None, 0.1, 1.0, 1.0)

    assert best_epoch([record(0.5), record(0.3), record(0.3)]) == 1
    assert best_epoch([record(float("nan")), record(0.9)]) == 1


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
@pytest.mark.parametrize("warmup", [0.0, 0.25, 1.0])
def test_learning_rate_share__rises_then_falls_and_peaks_at_one(schedule: str, warmup: float) -> None:
    shares = [learning_rate_share(schedule, step=step, n_steps=200, warmup=warmup) for step in range(200)]
    n_warm = round(warmup * 200)
    assert all(0 < share <= 1 for share in shares)
    assert max(shares) == pytest.approx(1, abs=1e-3)
    assert np.all(np.diff(shares[:n_warm]) > 0)
    assert np.all(np.diff(shares[n_warm:]) <= 0)


def test_learning_rate_share__one_cycle_is_that_of_torch() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    judge = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        1.0,
        total_steps=2001,
        pct_start=0.3,
        div_factor=25,
        final_div_factor=400,
        cycle_momentum=False,
    )
    for step in range(2000):
        mine = learning_rate_share("one_cycle", step=step, n_steps=2000, warmup=0.3)
        assert mine == pytest.approx(optimizer.param_groups[0]["lr"], abs=2e-3)
        optimizer.step()
        judge.step()


def test_choose_device__names_what_there_is() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigError, match=r"'tpu'.*cpu"):
        choose_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="cuda"):
            choose_device("cuda")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have no mallopt")
def test_keep_freed_memory__reuses_pages_between_steps() -> None:
    program = (
        "import resource, sys, torch; from mfdmodel.devices import keep_freed_memory\n"
        "if sys.argv[1] == 'keep' and not keep_freed_memory(): sys.exit('no glibc')\n"
        "torch.set_num_threads(1)\n"
        # blocks are aligned, so the heap grows a few times, depending on its address, until a freed one fits
        "for _ in range(40): torch.ones(2**24).sum()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(10): torch.ones(2**24).sum()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )

    def faults(mode: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", program, mode], capture_output=True, text=True, check=False
        )
        if "no glibc" in done.stderr:
            pytest.skip("the C library is not glibc")
        return int(done.stdout)

    assert faults("keep") < 0.5 * faults("leave")
