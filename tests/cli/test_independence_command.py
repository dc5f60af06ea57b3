"""The command `mfdmodel independence`: tables, JSON, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from cli.mfdmodel_app import app
from cli.model_options import EvaluatedSplit
from mfdmodel.analyses.independence import run as measuring
from mfdmodel.config_reading import override
from mfdmodel.train.fit import train
from mfdstore.schema import SPLITS, Split
from tests import planted as planting
from tests.mfdmodel.independence.outcomes import outcome
from tests.planted import tiny_config, write_planted_store

runner = CliRunner(env={"COLUMNS": "220"})


def call(*arguments: object) -> tuple[int, str, str]:
    result = runner.invoke(app, ["independence", *(str(argument) for argument in arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_independence__measures_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(planting.N_WINDOWS, "test", 600)
    store = write_planted_store(tmp_path / "store.zarr")
    run = tmp_path / "run"
    train(tiny_config(epochs=1), store=store, run=run, device="cpu")
    code, out, err = call(run, "--device", "cpu", "--threads", 1, "--windows", 500, "--seed", 4, "--json")
    assert code == 0, err
    content = json.loads(out)
    assert content == json.loads((run / "evaluation" / "independence.json").read_text("utf-8"))
    assert (content["n_windows"], content["seed"]) == (500, 4)

    before = (run / "evaluation" / "independence.json").read_bytes()
    code, out, err = call(run, "--device", "cpu", "--split", "valid")
    assert (code, out) == (1, "")
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert "--split" in err
    assert (run / "evaluation" / "independence.json").read_bytes() == before

    train(
        override(tiny_config(epochs=1), {"model.kind": "linear_head"}),
        store=store,
        run=tmp_path / "base",
        device="cpu",
    )
    code, out, err = call(tmp_path / "base")
    assert (code, out) == (1, "")
    assert "no two subspaces" in err
    code, _, err = call(tmp_path / "nowhere")
    assert code == 1
    assert "nowhere" in err


def test_independence__prints_tables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(measuring, "measure_run", lambda run, **_: outcome(value="[red]CTCF"))
    code, out, _ = call(tmp_path)
    assert code == 0
    lines = out.splitlines()
    told = {line.split("│")[1].strip(): line for line in lines if line.startswith("│")}
    assert "0.300 (0.280 to 0.320)" in told["a perceptron predicts"]
    assert "dependent" in told["a perceptron predicts"]
    assert "no dependence seen" in told["a straight line predicts"]
    assert "70% (60% to 80%)" in told["mean of 2 experiments"]
    assert "[red]CTCF" in told["target"]
    assert "number 3: -0.25" in told["target"]
    assert "12 features (1 constant)" in out


def test_splits__are_those_of_the_store() -> None:
    assert {split.value for split in EvaluatedSplit} <= set(get_args(Split)) == set(SPLITS)
