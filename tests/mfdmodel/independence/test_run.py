"""A run's independence: what is written, what it rests on, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from mfdmodel.analyses.independence.result import read_independence, to_json, write_independence
from mfdmodel.analyses.independence.run import measure_run
from mfdmodel.checkpoint.models import load_model, write_model
from mfdmodel.config_reading import override
from mfdmodel.features import experiment_weights, latent_features
from mfdmodel.train.fit import train
from mfdstore.errors import RunError, StoreError
from mfdstore.store import Store
from tests import planted as planting
from tests.mfdmodel.independence.outcomes import outcome
from tests.planted import tiny_config, write_planted_store

FILES = {"independence.json", "independence.tsv"} | {
    f"independence_{name}.tsv" for name in ("experiments", "features", "associations")
}


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The planted store with more windows held out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(planting.N_WINDOWS, "test", 900)
        return write_planted_store(tmp_path_factory.mktemp("wide") / "wide.zarr")


@pytest.fixture(scope="module")
def run(wide: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    train(tiny_config(epochs=1), store=wide, run=path, device="cpu")
    measure_run(path, device="cpu", threads=1, n_windows=800)
    return path


@pytest.fixture
def copied(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "run"))


def table(run: Path, name: str) -> list[dict[str, str]]:
    with (run / "evaluation" / f"{name}.tsv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_measure_run__writes_what_it_found(run: Path) -> None:
    found = read_independence(run)
    assert found is not None
    assert {path.name for path in (run / "evaluation").iterdir()} == FILES
    assert (found.split, found.n_windows, found.seed) == ("test", 800, 0)
    assert found.n_fit + found.n_tune + found.n_scored + found.n_dropped == 800
    assert found.n_scored_blocks >= 8
    rows = table(run, "independence")
    assert [row["measure"] for row in rows] == [one.name for one in found.found.measures]
    for row, one in zip(rows, found.found.measures, strict=True):
        assert float(row["value"]) == pytest.approx(one.value.value, rel=1e-4)
        assert row["dependent"] == ("yes" if one.dependent else "no")
    assert len(table(run, "independence_experiments")) == len(found.experiments) == 6
    assert len(table(run, "independence_features")) == 24
    linked = table(run, "independence_associations")
    assert {row["through"] for row in linked} == {"weights", "labels"}
    own = [
        row
        for row in linked
        if (row["value"], row["through"], row["subspace"]) == ("CTCF", "weights", "biological")
    ]
    assert [(row["name"], float(row["correlation"])) for row in own] == [("target=CTCF", pytest.approx(1))]
    content = json.loads((run / "evaluation" / "independence.json").read_text("utf-8"))
    assert content["null"].startswith("9 rotations")


def test_measure_run__shares_are_those_of_the_models_own_logits(run: Path, wide: Store) -> None:
    found = read_independence(run)
    assert found is not None
    model = load_model(run).model
    rows = wide.windows.rows("test")
    rows = rows[np.linspace(0, len(rows) - 1, 800).astype(int)]
    features = latent_features(model, store=wide, rows=rows, positions=192)
    with torch.no_grad():
        added = model.logits_by_role({role: torch.from_numpy(values) for role, values in features.items()})
    whole = sum(added.values()).var(0)
    for index, one in enumerate(found.experiments):
        expected = [float(added[role][:, index].var() / whole[index]) for role in ("biological", "technical")]
        assert [one.biological, one.technical] == pytest.approx(expected, rel=1e-3)


def test_measure_run__is_the_same_bytes_for_the_same_seed(run: Path, copied: Path) -> None:
    before = {name: (run / "evaluation" / name).read_bytes() for name in FILES}
    told: list[tuple[str, int, int]] = []
    measure_run(copied, device="cpu", threads=1, n_windows=800, on_progress=lambda *step: told.append(step))
    assert {name: (copied / "evaluation" / name).read_bytes() for name in FILES} == before
    assert {what for what, _, _ in told} == {"features", "measuring"}
    assert told[-1][1] == told[-1][2]


def test_measure_run__reads_signal_to_noise_into_the_weights(wide: Store) -> None:
    from mfdmodel.model import build_model

    config = override(tiny_config(), {"model.head.signal_to_noise": True}).model
    model = build_model(config, factors=wide.factors, positive_fraction=np.full(6, 0.2)).eval()
    with torch.no_grad():
        plain = experiment_weights(model)
        model.log_signal[2] = 1.0
        louder = experiment_weights(model)
    for role in plain:
        np.testing.assert_allclose(louder[role][2], np.e * plain[role][2], rtol=1e-5)
        np.testing.assert_array_equal(louder[role][1], plain[role][1])


def test_measure_run__refuses_models_without_two_subspaces(wide: Store, tmp_path: Path) -> None:
    config = override(tiny_config(epochs=1), {"model.kind": "dinucleotides"})
    train(config, store=wide, run=tmp_path / "run", device="cpu")
    with pytest.raises(RunError, match="no two subspaces"):
        measure_run(tmp_path / "run", device="cpu")
    assert not (tmp_path / "run" / "evaluation").exists()


def test_measure_run__refuses_too_few_windows(copied: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in (copied / "evaluation").iterdir()}
    with pytest.raises(StoreError, match=r"150 windows of split valid.*to score in"):
        measure_run(copied, split="valid", device="cpu")
    with pytest.raises(StoreError, match="Raise --windows"):
        measure_run(copied, n_windows=100, device="cpu")
    store = write_planted_store(tmp_path / "other.zarr", splits=("train", "valid"))
    (tmp_path / "short").mkdir()
    train(tiny_config(epochs=1), store=store, run=tmp_path / "short" / "run", device="cpu")
    with pytest.raises(StoreError, match="no window in split test"):
        measure_run(tmp_path / "short" / "run", device="cpu")
    assert {path: path.read_bytes() for path in (copied / "evaluation").iterdir()} == before


@pytest.mark.parametrize(("value", "said"), [(float("nan"), "no numbers"), (0.0, "the same for all windows")])
def test_measure_run__refuses_features_that_say_nothing(copied: Path, value: float, said: str) -> None:
    trained = load_model(copied)
    with torch.no_grad():
        trained.model.features.norm.weight[:12] = value
        trained.model.features.norm.bias[:12] = 0
    write_model(copied, trained.model, epoch=trained.epoch, valid_loss=trained.valid_loss)
    with pytest.raises(RunError, match=said):
        measure_run(copied, device="cpu")


def test_measure_run__refuses_a_subspace_that_varies_elsewhere_only(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seldom(*arguments: object, **options: object) -> dict[str, np.ndarray]:
        found = latent_features(*arguments, **options)
        found["technical"] = np.zeros_like(found["technical"])
        found["technical"][-1] = 1.0
        return found

    monkeypatch.setattr("mfdmodel.analyses.independence.run.latent_features", seldom)
    with pytest.raises(RunError, match="same in all windows to fit on"):
        measure_run(copied, device="cpu", threads=1)


def test_read_independence__tells_none_from_damage(copied: Path, tmp_path: Path) -> None:
    assert read_independence(tmp_path) is None
    path = copied / "evaluation" / "independence.json"
    content = json.loads(path.read_text("utf-8"))
    content["found"]["measures"][0]["value"] = {"value": "many", "low": None, "high": None}
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(RunError, match=r"found\.measures\.0\.value"):
        read_independence(copied)
    content["n_shuffles"] = content.pop("n_rotations")
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(RunError, match="Measure again with mfdmodel independence"):
        read_independence(copied)
    path.write_text("{", "utf-8")
    with pytest.raises(RunError, match=r"independence\.json"):
        read_independence(copied)


def test_write_independence__comes_back_as_it_was_with_numbers_missing(tmp_path: Path) -> None:
    result = outcome(value="a\tb\n[red]")
    write_independence(tmp_path, result)
    again = read_independence(tmp_path)
    assert again is not None
    assert to_json(again) == to_json(result)
    assert np.isnan(again.mean_logit.technical.value)
    assert again.experiments == result.experiments
    assert again.associations == result.associations
    assert "NaN" not in (tmp_path / "evaluation" / "independence.json").read_text("utf-8")
    assert table(tmp_path, "independence")[3]["value"] == ""
    assert [row["value"] for row in table(tmp_path, "independence_associations")] == ["a\tb\n[red]"] * 2
