"""The command `mfdmodel embed`: tables, JSON, and its errors in one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.embed_command import EmbeddingMethod
from cli.mfdmodel_app import app
from mfdmodel.analyses.embedding.projection import Method
from mfdmodel.train.fit import train
from tests.planted import tiny_config, write_planted_store

runner = CliRunner()


def call(*arguments: object) -> tuple[int, str, str]:
    result = runner.invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("embed")
    store = write_planted_store(folder / "planted.zarr")
    train(tiny_config(epochs=1), store=store, run=folder / "run", device="cpu", threads=1)
    return folder / "run"


def test_embed__prints_tables_and_json(run: Path) -> None:
    code, out, _ = call("embed", run, "--device", "cpu", "--threads", 1)
    assert code == 0
    assert "biological: 12 features" in out
    assert "target=CTCF" in out
    assert "[red]" in out.replace("\n", "")  # a target's name is no markup
    code, out, _ = call("embed", run, "--device", "cpu", "--threads", 1, "--color", "lab", "--json")
    assert code == 0
    assert json.loads(out) == json.loads((run / "evaluation" / "embedding.json").read_text())
    assert list(json.loads(out)["colours"]) == ["lab"]


def test_embed__says_in_one_line_what_is_wrong(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    for arguments, said in (
        ((run, "--method", "umap"), "pip install umap-learn"),
        ((run, "--color", "\x1b[31mlab"), "which is no factor"),
        ((tmp_path / "nowhere",), "no such file"),
        ((run, "--store", tmp_path / "nowhere.zarr"), "nowhere.zarr"),
    ):
        code, out, err = call("embed", *arguments, "--device", "cpu")
        assert (code, out) == (1, "")
        assert err.startswith("Error: ")
        assert err.count("\n") == 1
        assert said in err
        assert "\x1b" not in err


def test_embed__offers_the_methods_of_the_library() -> None:
    assert {method.value for method in EmbeddingMethod} == set(Method.__args__)
