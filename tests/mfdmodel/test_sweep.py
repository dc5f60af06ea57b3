"""A sweep: resumed, scored as scikit-learn scores, one run's fault its own."""

from __future__ import annotations

import csv
import json
import multiprocessing
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score

from mfdmodel.checkpoint.models import load_model
from mfdmodel.config_reading import override
from mfdmodel.evaluate.run import predict
from mfdmodel.evaluate.subspaces import predict_by_subspace
from mfdmodel.report.sweep import draw_sweep
from mfdmodel.sweep.cells import RESULT, CellResult, plan_cells, spell
from mfdmodel.sweep.grid import run_sweep
from mfdmodel.sweep.summary import summarise, write_sweep
from mfdmodel.train.keeper import CURVES, LAST_STATE
from mfdstore.errors import ConfigError, RunError
from mfdstore.store import Store
from tests.planted import tiny_config, write_planted_store


def sweep(store: Store, out: Path, **options: object) -> tuple[CellResult, ...]:
    given = {"lambdas": (0.0, 0.001), "seeds": (0, 1), "device": "cpu", "threads": 1} | options
    return run_sweep(tiny_config(epochs=1), store=store.path, out=out, **given)


@pytest.fixture(scope="module")
def swept(planted: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[CellResult, ...]]:
    out = tmp_path_factory.mktemp("sweep") / "out"
    return out, sweep(planted, out)


def test_sweep__scores_what_each_subspace_says_alone(
    planted: Store, swept: tuple[Path, tuple[CellResult, ...]]
) -> None:
    out, results = swept
    assert [(one.lambda_indep, one.seed) for one in results] == [(0.0, 0), (0.0, 1), (0.001, 0), (0.001, 1)]
    one = results[2]
    model = load_model(out / one.name).model
    rows = planted.windows.rows("test")
    predicted = predict_by_subspace(
        model, store=planted, rows=rows, positions=192, ways=("combined", "biological", "technical")
    )
    whole = predict(model, store=planted, rows=rows, positions=192)
    np.testing.assert_allclose(predicted["combined"], whole, rtol=1e-5, atol=1e-7)
    assert one.auroc is not None
    for way in ("combined", "biological", "technical"):
        # the last experiment has one class only in the test split
        expected = [
            roc_auc_score(planted.labels_of(column)[rows], predicted[way][column]) for column in range(5)
        ]
        assert one.auroc[way] == pytest.approx(np.mean(expected), abs=1e-6)
    assert one.valid_loss != results[3].valid_loss


def test_sweep__goes_on_where_it_was(planted: Store, swept: tuple[Path, tuple[CellResult, ...]]) -> None:
    out, results = swept
    kept = {one.name: (out / one.name / "model" / "model.safetensors").stat().st_mtime_ns for one in results}
    (out / results[1].name / RESULT).unlink()
    assert sweep(planted, out) == results
    assert kept == {
        one.name: (out / one.name / "model" / "model.safetensors").stat().st_mtime_ns for one in results
    }
    rows = rows_of(out)
    assert [row["run"] for row in rows] == [one.name for one in results]
    assert float(rows[3]["auroc_technical"]) == pytest.approx(results[3].auroc["technical"], abs=1e-6)


def test_sweep__is_drawn(swept: tuple[Path, tuple[CellResult, ...]]) -> None:
    out, results = swept
    picture = draw_sweep(out, results, penalty="squared correlations")
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert os.listdir(out).count("sweep.png") == 1


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "sweep.tsv").open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_sweep__refuses_to_go_on_with_another_store(
    swept: tuple[Path, tuple[CellResult, ...]], tmp_path: Path
) -> None:
    out = Path(shutil.copytree(swept[0], tmp_path / "out"))
    other = write_planted_store(tmp_path / "other.zarr", seed=1)
    before = (out / "sweep.tsv").read_bytes()
    with pytest.raises(RunError, match=rf"a run on a store of digest.*of digest {other.digest[:12]}"):
        sweep(other, out)
    # also where the first run is one to be made: nothing is trained
    with pytest.raises(RunError, match="a run on a store of digest"):
        sweep(other, out, lambdas=(0.5, 0.0))
    assert not (out / "lambda0.5_seed0").exists()
    assert (out / "sweep.tsv").read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"valid_loss": -1.0},
        {"valid_loss": 0.001},
        {"auroc": {"combined": 7.0, "biological": 0.5, "technical": 0.5}},
        {"auroc": {"combined": 0.5}},
        {"auroc": [1]},
        {"n_epochs": 9},
        {"best_epoch": 3},
        {"penalty": "much"},
        {"seconds": float("nan")},
        {"more": 1},
        None,
    ],
    ids=str,
)
def test_sweep__scores_again_what_was_cut_or_changed(
    planted: Store,
    swept: tuple[Path, tuple[CellResult, ...]],
    tmp_path: Path,
    change: dict[str, object] | None,
) -> None:
    results = swept[1][:1]
    name = results[0].name
    out = tmp_path / "out"
    shutil.copytree(swept[0] / name, out / name)
    kept = out / name / RESULT
    whole = kept.read_bytes()
    if change is None:
        cut(kept)
    else:
        kept.write_text(json.dumps(json.loads(whole) | change))
    assert sweep(planted, out, lambdas=(0.0,), seeds=(0,)) == results
    assert kept.read_bytes() == whole


@pytest.mark.parametrize(
    "file", [LAST_STATE, Path("model/model.json"), Path("model/model.safetensors"), CURVES]
)
def test_sweep__tells_a_damaged_run_and_does_the_others(
    planted: Store, swept: tuple[Path, tuple[CellResult, ...]], tmp_path: Path, file: Path
) -> None:
    out = Path(shutil.copytree(swept[0], tmp_path / "out"))
    broken = swept[1][0].name
    cut(out / broken / file)
    (out / broken / RESULT).unlink()
    results = sweep(planted, out)
    assert results[1:] == swept[1][1:]
    assert file.name in results[0].fault
    assert f"delete {out / broken}" in results[0].fault
    assert "\n" not in results[0].fault
    rows = rows_of(out)
    assert [row["run"] for row in rows] == [one.name for one in results]
    assert rows[0]["fault"] == results[0].fault
    assert (rows[0]["epochs"], rows[0]["best_epoch"], rows[0]["valid_loss"]) == ("", "", "")
    assert (rows[1]["epochs"], rows[1]["best_epoch"]) == ("1", "1")
    written = json.loads((out / "sweep.json").read_text())["runs"][0]
    assert (written["n_epochs"], written["best_epoch"], written["fault"]) == (None, None, results[0].fault)
    draw_sweep(out, results, penalty="squared correlations")
    if file == LAST_STATE:  # what it says to do mends it
        shutil.rmtree(out / broken)
        assert sweep(planted, out)[0].valid_loss == swept[1][0].valid_loss


@pytest.mark.slow
def test_sweep__side_by_side_does_the_others_too(
    planted: Store, swept: tuple[Path, tuple[CellResult, ...]], tmp_path: Path
) -> None:
    out = Path(shutil.copytree(swept[0], tmp_path / "out"))
    cut(out / swept[1][0].name / LAST_STATE)
    (out / swept[1][0].name / RESULT).unlink()
    results = sweep(planted, out, lambdas=(0.0, 0.001, 0.002), seeds=(0,), jobs=2)
    assert [bool(one.fault) for one in results] == [True, False, False]
    assert [bool(row["fault"]) for row in rows_of(out)] == [True, False, False]


@pytest.mark.slow
def test_sweep__side_by_side_gives_the_same(
    planted: Store, swept: tuple[Path, tuple[CellResult, ...]], tmp_path: Path
) -> None:
    told = []
    results = sweep(
        planted,
        tmp_path / "out",
        jobs=2,
        seeds=(1,),
        on_result=lambda one, done, total: told.append((done, total)),
    )
    expected = [one for one in swept[1] if one.seed == 1]
    assert [one.auroc for one in results] == [one.auroc for one in expected]
    assert [one.valid_loss for one in results] == [one.valid_loss for one in expected]
    assert told == [(1, 2), (2, 2)]


def test_sweep__side_by_side_says_that_a_process_was_killed(planted: Store, tmp_path: Path) -> None:
    def kill_one() -> None:
        while not multiprocessing.active_children():
            time.sleep(0.02)
        multiprocessing.active_children()[0].kill()

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    with pytest.raises(RunError, match=r"too much memory.*fewer --jobs"):
        sweep(planted, tmp_path / "out", jobs=2)
    killer.join()


def test_sweep__tells_a_run_that_diverged_and_does_the_others(
    planted: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mfdmodel.penalties.penalty import Penalty

    forward = Penalty.forward
    monkeypatch.setattr(
        Penalty,
        "forward",
        lambda self, latent: forward(self, latent) * (float("nan") if torch.initial_seed() == 1 else 1),
    )
    started = time.monotonic()
    results = sweep(planted, tmp_path / "out", lambdas=(0.001,))
    assert 0 < results[0].seconds < time.monotonic() - started
    assert "training diverged" in results[1].fault
    assert np.isnan(results[1].seconds)
    assert results[0].auroc is not None
    (row,) = summarise(results)
    assert row.n_runs == 1
    assert row.valid_loss.value == results[0].valid_loss
    assert np.isnan(row.valid_loss.low)
    written = json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert "training diverged" in written["runs"][1]["fault"]


def test_cells__are_named_by_numbers_that_read_back() -> None:
    prices = (0.0, 0.0002, 0.001, 1e-5, 3.0, 0.0012345678, 0.0012345679, 1234567.0)
    names = [cell.name for cell in plan_cells(tiny_config(), prices, (0, 10_000_019))]
    assert names[:4] == [
        "lambda0_seed0",
        "lambda0_seed10000019",
        "lambda0.0002_seed0",
        "lambda0.0002_seed10000019",
    ]
    assert names[8] == "lambda3_seed0"
    assert len(set(names)) == len(names)
    assert tuple(float(spell(price)) for price in prices) == prices
    assert plan_cells(tiny_config(), (-0.0,), (0,))[0].name == "lambda0_seed0"


def test_penalty__is_named_by_its_terms(tmp_path: Path) -> None:
    def title(terms: dict[str, float]) -> str:
        return override(tiny_config(), {"model.penalty.terms": terms}).model.penalty.title

    assert tiny_config().model.penalty.title == "squared correlations"
    assert title({"adversarial": 2.0}) == "dependence penalty (2 adversarial)"
    assert title({"l1": 0.5, "discriminator": 1.0}) == "dependence penalty (discriminator + 0.5 l1)"
    write_sweep(tmp_path, [CellResult("r", 0.1, 0, fault="it broke")], split="test", penalty="p")
    assert "squared" not in (tmp_path / "sweep.tsv").read_text()
    assert json.loads((tmp_path / "sweep.json").read_text())["penalty"] == "p"


def test_summary__is_students_t_over_seeds() -> None:
    values = [0.31, 0.29, 0.35]
    results = [
        CellResult(
            f"r{seed}", 0.1, seed, 3, 2, value, 5.0, {"combined": 0.8, "biological": 0.7 + value}, 60.0
        )
        for seed, value in enumerate(values)
    ]
    (row,) = summarise(results)
    low, high = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
    assert (row.valid_loss.value, row.valid_loss.low, row.valid_loss.high) == pytest.approx(
        (np.mean(values), low, high)
    )
    assert np.isnan(row.auroc["technical"].value)


@pytest.mark.parametrize(
    ("lambdas", "seeds", "options", "message"),
    [
        ((), (0,), {}, "--lambda-indep: found nothing"),
        ((0.1, 0.1), (0,), {}, "each once"),
        ((0.1,), (1, 1), {}, "--seed: found 1, 1"),
        ((-1.0,), (0,), {}, "lambda_indep"),
        ((0.1,), (0,), {"model.kind": "linear_head"}, "model.kind: found linear_head"),
    ],
)
def test_plan__refuses_what_is_no_grid(
    lambdas: tuple[float, ...], seeds: tuple[int, ...], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_cells(override(tiny_config(), options), lambdas, seeds)
