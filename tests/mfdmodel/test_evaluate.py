"""Evaluation: all windows, both strands, against scikit-learn; files that read back; stores that do not fit."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from mfdmodel.checkpoint.models import load_model, write_model
from mfdmodel.evaluate.run import evaluate_run, predict, score_predictions
from mfdmodel.evaluate.scores import Evaluation, format_table, read_evaluation, to_json, write_evaluation
from mfdmodel.train.fit import train
from mfdstore.dinucleotides import one_hot, reverse_complement
from mfdstore.errors import RunError, StoreError
from mfdstore.store import Store
from tests.planted import HOSTILE, planted_factors, tiny_config, write_planted_store


@pytest.fixture(scope="module")
def run(planted: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run; tests may evaluate it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(tiny_config(epochs=3), store=planted, run=folder, device="cpu", threads=1)
    return folder


def naive_predictions(run: Path, store: Store, split: str) -> np.ndarray:
    """Cut windows from the chromosome one by one, turn them by hand, average the probabilities."""
    model = load_model(run).model
    rows = store.windows.rows(split)
    codes = np.concatenate(
        [
            np.full(192, 16, np.uint8),
            store.codes(store.chroms[store.windows.chrom[rows[0]]]),
            np.full(192, 16, np.uint8),
        ]
    )
    predictions = []
    for start in store.windows.start[rows]:
        first = 192 + int(start) + 64 - 96
        window = codes[first : first + 192]
        strands = [
            np.ascontiguousarray(one_hot(turned))[None] for turned in (window, reverse_complement(window))
        ]
        with torch.no_grad():
            predictions.append(
                np.mean([torch.sigmoid(model(torch.from_numpy(x))).numpy()[0] for x in strands], axis=0)
            )
    return np.array(predictions)


def test_evaluate_run__agrees_with_scikit_learn_on_windows_cut_by_hand(planted: Store, run: Path) -> None:
    evaluation = evaluate_run(run, device="cpu", threads=1)
    predictions = naive_predictions(run, planted, "test")
    rows = planted.windows.rows("test")
    assert evaluation.n_windows == len(rows) == 151
    for index, score in enumerate(evaluation.experiments[:5]):
        labels = planted.labels_of(index)[rows]
        assert score.n_positive == labels.sum()
        assert score.auroc == pytest.approx(roc_auc_score(labels, predictions[:, index]), abs=2e-4)
        assert score.average_precision == pytest.approx(
            average_precision_score(labels, predictions[:, index]), abs=2e-3
        )
    assert np.isnan(evaluation.experiments[5].auroc)
    assert evaluation.experiments[5].n_positive == 0
    means = [score.auroc for score in evaluation.experiments[:5]]
    assert evaluation.overall.auroc == pytest.approx(np.mean(means))
    assert (evaluation.overall.n_scored, evaluation.overall.n_experiments) == (5, 6)
    by_target = {group.name: group for group in evaluation.groups["target"]}
    assert by_target["CTCF"].auroc == pytest.approx(np.mean(means[:2]))
    assert by_target[None].auroc == pytest.approx(means[4])
    assert np.isnan(by_target[HOSTILE].auroc)
    assert tuple(evaluation.groups) == ("assay", "target", "biosample")


def test_predict__does_not_depend_on_the_batch(planted: Store, run: Path) -> None:
    model = load_model(run).model
    rows = planted.windows.rows("valid")[:40]
    at_once = predict(model, store=planted, rows=rows, positions=192, batch_size=40)
    by_seven = predict(model.train(), store=planted, rows=rows, positions=192, batch_size=7)
    assert at_once.shape == (6, 40)
    np.testing.assert_allclose(at_once, by_seven, rtol=1e-4)


def test_predict__tells_progress(planted: Store, run: Path) -> None:
    told: list[tuple[str, int, int]] = []
    rows = planted.windows.rows("valid")[:50]
    predict(
        load_model(run).model,
        store=planted,
        rows=rows,
        positions=192,
        batch_size=20,
        on_progress=lambda *step: told.append(step),
    )
    assert told == [("predicting", 20, 50), ("predicting", 40, 50), ("predicting", 50, 50)]


def same(first: Evaluation, second: Evaluation) -> bool:
    """Compare by JSON, where NaN equals NaN."""
    return json.dumps(to_json(first), allow_nan=False) == json.dumps(to_json(second), allow_nan=False)


def test_evaluation__reads_back_from_the_runs_folder(run: Path) -> None:
    evaluation = evaluate_run(run, split="valid", device="cpu", threads=1)
    read = read_evaluation(run, "valid")
    assert read is not None
    assert same(read, evaluation)
    assert read_evaluation(run, "train") is None


def test_evaluation__is_a_table_too(run: Path, planted: Store) -> None:
    evaluation = evaluate_run(run, device="cpu", threads=1)
    with (run / "evaluation" / "test.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["experiment"] for row in rows] == list(planted.experiments)
    assert rows[5]["target"] == HOSTILE
    assert rows[5]["auroc"] == rows[4]["target"] == ""
    assert float(rows[0]["auroc"]) == pytest.approx(evaluation.experiments[0].auroc, abs=1e-6)
    assert format_table(evaluation).count("\n") == 7


@pytest.mark.parametrize("held_out", [(), (1,), (0, 1, 4, 5)])
def test_score_predictions__keeps_what_was_held_out_from_the_means(
    planted: Store, tmp_path: Path, held_out: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    rows = planted.windows.rows("test")
    labels = np.array([planted.labels_of(column)[rows] for column in range(6)])
    predictions = (labels + rng.normal(size=labels.shape)).astype(np.float32)
    evaluation = score_predictions(
        predictions,
        store=planted,
        split="test",
        epoch=0,
        factors=planted.factors,
        held_out=np.isin(np.arange(6), held_out),
    )
    # the last one has one class only
    auroc = {k: roc_auc_score(labels[k], predictions[k]) for k in range(5)}
    precision = {k: average_precision_score(labels[k], predictions[k]) for k in range(5)}
    trained = [k for k in range(6) if k not in held_out]
    parts = [(trained, evaluation)]
    if held_out:
        assert evaluation.held_out is not None
        parts.append((list(held_out), evaluation.held_out))
    else:
        assert evaluation.held_out is None
    for members, means in parts:
        scored = [k for k in members if k < 5]
        assert (means.overall.n_scored, means.overall.n_experiments) == (len(scored), len(members))
        assert means.overall.auroc == pytest.approx(np.mean([auroc[k] for k in scored]))
        assert means.overall.average_precision == pytest.approx(np.mean([precision[k] for k in scored]))
        by_target = {group.name: group for group in means.groups["target"]}
        of_ctcf = [auroc[k] for k in members if k < 2]
        assert ("CTCF" in by_target) == bool(of_ctcf)
        if of_ctcf:
            assert by_target["CTCF"].auroc == pytest.approx(np.mean(of_ctcf))
            assert by_target["CTCF"].n_experiments == len(of_ctcf)
    assert [k for k, score in enumerate(evaluation.experiments) if score.held_out] == list(held_out)
    write_evaluation(tmp_path, evaluation)
    read = read_evaluation(tmp_path, "test")
    assert read is not None
    assert same(read, evaluation)
    assert len(read.held_out_experiments) == len(held_out)
    with (tmp_path / "evaluation" / "test.tsv").open(newline="") as file:
        marks = [row["held_out"] for row in csv.DictReader(file, delimiter="\t")]
    assert marks == ["yes" if k in held_out else "no" for k in range(6)]


def test_read_evaluation__explains_damage(run: Path, tmp_path: Path) -> None:
    write_evaluation(tmp_path, evaluate_run(run, device="cpu", threads=1))
    path = tmp_path / "evaluation" / "test.json"
    whole = json.loads(path.read_text())
    for change in ({"groups": None}, {"n_windows": "many"}, {"experiments": [{}]}, {"held_out": {}}):
        path.write_text(json.dumps(whole | change))
        with pytest.raises(RunError, match="damaged"):
            read_evaluation(tmp_path, "test")


def test_evaluate_run__notices_that_its_store_changed(tmp_path: Path) -> None:
    store = write_planted_store(tmp_path / "a.zarr")
    train(tiny_config(epochs=1), store=store, run=tmp_path / "run", device="cpu", threads=1)
    digest = store.digest
    shutil.rmtree(tmp_path / "a.zarr")
    with pytest.raises(StoreError, match=r"a\.zarr"):
        evaluate_run(tmp_path / "run", device="cpu")
    other = write_planted_store(tmp_path / "a.zarr", seed=1)
    with pytest.raises(RunError, match=rf"{other.digest[:12]}.*{digest[:12]}.*--store"):
        evaluate_run(tmp_path / "run", device="cpu")
    assert not (tmp_path / "run" / "evaluation").exists()
    evaluation = evaluate_run(tmp_path / "run", store=tmp_path / "a.zarr", device="cpu", threads=1)
    assert evaluation.store_digest == other.digest


def test_evaluate_run__refuses_stores_that_do_not_fit(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    factors = planted_factors()
    monkeypatch.setattr("tests.planted.planted_factors", lambda: factors.take(np.array([0, 1, 3, 2, 4, 5])))
    other = write_planted_store(tmp_path / "other.zarr")
    with pytest.raises(RunError, match="from number 3 on"):
        evaluate_run(run, store=other.path, device="cpu")
    monkeypatch.setattr("tests.planted.planted_factors", lambda: factors)
    monkeypatch.setattr("tests.planted.BIN_ATTRIBUTE", 64)
    wide = write_planted_store(tmp_path / "wide.zarr")
    with pytest.raises(RunError, match="bins of 64 bp"):
        evaluate_run(run, store=wide.path, device="cpu")


def test_evaluate_run__refuses_predictions_that_are_no_numbers(
    run: Path, planted: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("evaluation"))
    trained = load_model(folder)
    with torch.no_grad():
        trained.model.bias[2] = torch.nan
    write_model(folder, trained.model, epoch=trained.epoch, valid_loss=trained.valid_loss)
    with pytest.raises(RunError, match=r"no numbers for 1 of 6 experiments.*diverged"):
        evaluate_run(folder, device="cpu", threads=1)
    assert not (folder / "evaluation").exists()


def test_evaluate_run__needs_windows_in_the_split(run: Path, tmp_path: Path) -> None:
    store = write_planted_store(tmp_path / "some.zarr", splits=("train", "valid"))
    with pytest.raises(StoreError, match=r"split test.*--split"):
        evaluate_run(run, store=store.path, device="cpu")
