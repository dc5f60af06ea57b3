"""Held-out experiments: who their neighbours are, and scores against scikit-learn's."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from mfdmodel.analyses.imputation.run import impute_run
from mfdmodel.analyses.imputation.scores import MODEL, neighbours_of, score_imputation
from mfdmodel.checkpoint.models import load_model, write_model
from mfdmodel.config_reading import override
from mfdmodel.train.fit import train
from mfdstore.errors import RunError
from mfdstore.metadata import Factor, FactorTable
from mfdstore.store import Store
from tests.planted import HOSTILE, tiny_config


def objects(values: list[object]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


TABLE = FactorTable(
    ("E0", "E1", "E2", "E3", "E4", "E5"),
    (
        Factor("target", "category", "biological", objects(["CTCF", "CTCF", "MYC", None, None, "CTCF"])),
        Factor(
            "biosample",
            "category",
            "biological",
            objects(["liver", "heart", "liver", "liver", "heart", None]),
        ),
        Factor("assay", "category", "technical", objects(["ChIP", "ChIP", "ChIP", "DNase", "DNase", "ChIP"])),
        Factor(
            "organ",
            "multi_category",
            "biological",
            objects([("a", "b"), ("b",), ("a", "b"), None, ("c",), ()]),
        ),
        Factor("age", "number", "biological", np.array([5, 5, np.nan, 7, np.nan, np.nan])),
    ),
)


def neighbours(column: int, held_out: list[int]) -> dict[str, list[int]]:
    training = np.ones(6, np.bool_)
    training[held_out] = False
    return {kind: found.tolist() for kind, found in neighbours_of(TABLE, column, training).items()}


def test_neighbours__share_target_biosample_or_most_of_all() -> None:
    # E1 shares target, assay, age and half of the organs; E2 biosample, assay and all organs
    assert neighbours(0, [0]) == {
        "same target": [1, 5],
        "same biosample": [2, 3],
        "nearest metadata": [1],
    }
    assert neighbours(0, [0, 1]) == {
        "same target": [5],
        "same biosample": [2, 3],
        "nearest metadata": [2],
    }


def test_neighbours__of_what_has_no_target_share_its_assay() -> None:
    assert neighbours(3, [3])["same target"] == [4]
    assert neighbours(5, [5])["same biosample"] == []  # missing is shared by nobody
    assert neighbours(5, [5])["nearest metadata"] == [0, 1]


def test_scores__are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    n = 600
    labels = rng.random((6, n)) < 0.3
    predictions = (labels + rng.normal(size=(6, n))).astype(np.float32)
    held_out = np.array([True, False, False, True, False, False])
    score = score_imputation(
        predictions,
        lambda column: labels[column],
        factors=TABLE,
        held_out=held_out,
        blocks=np.repeat(np.arange(60), 10),
        unknown=[{}] * 6,
    )
    assert [one.experiment for one in score.experiments] == ["E0", "E3"]
    first, second = score.experiments
    assert first.auroc[MODEL].value == pytest.approx(roc_auc_score(labels[0], predictions[0]))
    average = (labels[1].astype(float) + labels[5]) / 2
    assert first.auroc["same target, labels"].value == pytest.approx(roc_auc_score(labels[0], average))
    average = (predictions[1].astype(float) + predictions[5]) / 2
    assert first.auroc["same target, predictions"].value == pytest.approx(roc_auc_score(labels[0], average))
    assert second.n_neighbours == {"same target": 1, "same biosample": 1, "nearest metadata": 2}
    for way, mean in score.mean.items():
        values = [one.auroc[way].value for one in score.experiments]
        assert mean.value == pytest.approx(np.nanmean(values))
        assert mean.low <= mean.value <= mean.high
    assert score.gain["same target, labels"].value == pytest.approx(
        score.mean[MODEL].value - score.mean["same target, labels"].value
    )
    assert first.auroc[MODEL].low > 0.6  # the planted one is found
    assert first.auroc["same target, labels"].low < 0.5 < first.auroc["same target, labels"].high


def test_impute_run__predicts_what_its_metadata_say(planted: Store, tmp_path: Path) -> None:
    """An experiment of CTCF that no loss saw: by what the configuration reads of it, it is the other one of CTCF."""
    run = tmp_path / "run"
    subspace = {"out_dim": 8}
    config = override(
        tiny_config(epochs=4, held_out=["ENCFF001XYZ"]),
        {
            "model.head.subspaces.biological": subspace | {"direct": ["target"], "interact": ["target"]},
            "model.head.subspaces.technical": subspace | {"direct": ["assay"], "interact": ["assay"]},
        },
    )
    train(config, store=planted, run=run, device="cpu", threads=1)
    score = impute_run(run, device="cpu", threads=1)
    (one,) = score.experiments
    assert one.experiment == "ENCFF001XYZ"
    assert one.factors == {"target": "CTCF", "biosample": "K562", "assay": "TF ChIP-seq"}
    assert one.auroc[MODEL].value > 0.75
    rows = planted.windows.rows("test")
    labels = planted.labels_of(1)[rows]
    expected = roc_auc_score(labels, planted.labels_of(0)[rows])
    assert one.auroc["same target, labels"].value == pytest.approx(expected)
    written = json.loads((run / "evaluation" / "imputation.test.json").read_text())
    assert written["experiments"][0]["auroc"][MODEL]["value"] == pytest.approx(one.auroc[MODEL].value)
    with (run / "evaluation" / "imputation.test.tsv").open() as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    assert row["experiment"] == "ENCFF001XYZ"
    assert float(row["model"]) == pytest.approx(one.auroc[MODEL].value, abs=1e-6)
    assert row["model low"] == ""  # 19 kb are too little to draw stretches of


def test_impute_run__names_what_training_did_not_know_and_reads_nothing_of_it(
    planted: Store, tmp_path: Path
) -> None:
    """The last experiment's target, year and weights' decay leave no trace in what it is predicted to be."""
    run = tmp_path / "run"
    config = override(
        tiny_config(epochs=1, held_out=["ENCFF005XYZ"], weight_decay=20.0),
        {"model.head.signal_to_noise": True},
    )
    train(config, store=planted, run=run, device="cpu", threads=1)
    (one,) = impute_run(run, split="valid", device="cpu", threads=1).experiments
    assert one.unknown == {"target": (HOSTILE,), "date_released": ("2020",)}
    (written,) = json.loads((run / "evaluation" / "imputation.valid.json").read_text())["experiments"]
    assert written["unknown_to_training"] == {"target": [HOSTILE], "date_released": ["2020"]}
    with (run / "evaluation" / "imputation.valid.tsv").open() as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    assert row["unknown to training"] == f"target={HOSTILE}; date_released=2020"
    model = load_model(run).model
    assert not model.weights["biological"]()[5, : len(model.direct_features["biological"])].any()
    # in no loss, its own numbers stay where they began
    rows = planted.windows.rows("train")
    frequency = np.mean([planted.labels_of(index)[rows].mean() for index in range(5)])
    assert float(model.bias.detach()[5]) == pytest.approx(np.log(frequency / (1 - frequency)), rel=1e-5)
    assert float(model.log_signal.detach()[5]) == 0
    assert not torch.equal(model.log_signal[:5], torch.zeros(5))


def test_impute_run__needs_something_held_out(planted: Store, tmp_path: Path) -> None:
    train(tiny_config(epochs=1), store=planted, run=tmp_path / "run", device="cpu", threads=1)
    with pytest.raises(RunError, match="learned from all its experiments"):
        impute_run(tmp_path / "run", device="cpu", threads=1)


def test_impute_run__refuses_predictions_that_are_no_numbers(planted: Store, tmp_path: Path) -> None:
    run = tmp_path / "run"
    config = override(tiny_config(epochs=1), {"training.held_out": (planted.experiments[0],)})
    train(config, store=planted, run=run, device="cpu", threads=1)
    trained = load_model(run)
    with torch.no_grad():
        trained.model.bias[0] = torch.nan
    write_model(run, trained.model, epoch=trained.epoch, valid_loss=trained.valid_loss)
    with pytest.raises(RunError, match=r"no numbers for 1 of 6 experiments.*diverged"):
        impute_run(run, device="cpu", threads=1)
    assert not list((run / "evaluation").glob("imputation*"))
