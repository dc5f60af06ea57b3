"""Experiments by their weights: against scikit-learn and the definitions, on planted groups, from file to report."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from mfdmodel.analyses.embedding.experiments import (
    SubspaceView,
    embed_experiments,
    scale_weights,
    variance_shares,
)
from mfdmodel.analyses.embedding.neighbours import cluster_by_neighbours
from mfdmodel.analyses.embedding.projection import project
from mfdmodel.analyses.embedding.run import EMBEDDING, TABLE, embed_run, read_embedding, to_json
from mfdmodel.checkpoint.models import load_model, write_model
from mfdmodel.config_reading import override
from mfdmodel.evaluate.run import evaluate_run
from mfdmodel.features import experiment_weights, latent_features
from mfdmodel.model import build_model
from mfdmodel.report.embedding_figure import draw_embedding
from mfdmodel.report.write import write_report
from mfdmodel.train.fit import train
from mfdstore.errors import ConfigError, RunError, StoreError
from mfdstore.metadata import Factor, FactorTable
from mfdstore.store import Store
from tests.planted import HOSTILE, objects, tiny_config, write_planted_store


@pytest.fixture(scope="module")
def run(planted: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run; tests may embed and report it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(tiny_config(), store=planted, run=folder, device="cpu", threads=1)
    evaluate_run(folder, device="cpu", threads=1)
    return folder


def category(name: str, values: tuple[object, ...]) -> Factor:
    return Factor(name, "category", "biological", objects(values))


def test_experiment_weights__times_features_are_the_logits(planted: Store) -> None:
    torch.manual_seed(0)
    config = override(tiny_config(), {"model.head.signal_to_noise": True}).model
    model = build_model(config, factors=planted.factors, positive_fraction=np.full(6, 0.2)).eval()
    with torch.no_grad():
        assert model.log_signal is not None
        model.log_signal.copy_(torch.linspace(-1, 1, 6))
    latent = {role: torch.randn(5, width) for role, width in model.widths.items()}
    weights = experiment_weights(model)
    with torch.no_grad():
        for role, logits in model.logits_by_role(latent).items():
            np.testing.assert_allclose(latent[role].numpy() @ weights[role].T, logits, rtol=1e-4, atol=1e-6)


def test_variance_shares__add_up_and_are_covariances() -> None:
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(400, 1))
    features = {"a": shared + rng.normal(size=(400, 3)) + 5, "b": 2 * shared + rng.normal(size=(400, 2))}
    weights = {"a": rng.normal(size=(4, 3)), "b": rng.normal(size=(4, 2))}
    weights["a"][3] = weights["b"][3] = 0
    shares = variance_shares(weights, features)
    for i in range(3):
        logit = sum(features[role] @ weights[role][i] for role in weights)
        for role in weights:
            for k in range(weights[role].shape[1]):
                part = weights[role][i, k] * features[role][:, k]
                expected = np.cov(part, logit)[0, 1] / np.var(logit, ddof=1)
                assert shares[role][i, k] == pytest.approx(expected)
        assert shares["a"][i].sum() + shares["b"][i].sum() == pytest.approx(1)
    assert not shares["a"][3].any()


def test_scale_weights__is_how_far_a_feature_moves_the_logits() -> None:
    rng = np.random.default_rng(0)
    features = {"a": rng.normal(3, [1.0, 10.0], size=(500, 2))}
    weights = {"a": np.array([[1.0, -0.5]])}
    np.testing.assert_allclose(
        np.abs(scale_weights(weights, features)["a"][0]), (features["a"] * weights["a"][0]).std(0)
    )


def test_project__is_scikit_learns_pca_and_takes_what_does_not_vary() -> None:
    points = np.random.default_rng(0).normal(size=(30, 6)) * [5, 3, 1, 1, 1, 1]
    coordinates, explained = project(points)
    pca = PCA(2).fit(points)
    np.testing.assert_allclose(np.abs(coordinates), np.abs(pca.transform(points)))
    np.testing.assert_allclose(explained, pca.explained_variance_ratio_)
    for few in (np.ones((5, 3)), np.ones((1, 3)), np.arange(4.0)[:, None]):
        coordinates, explained = project(few)
        assert coordinates.shape == (len(few), 2)
        assert np.isfinite(coordinates).all()
        assert explained in ((0.0, 0.0), (1.0, 0.0))


def test_cluster_by_neighbours__agrees_with_scikit_learn_and_finds_what_is_planted() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 60)
    values = tuple(f"v{label}" for label in labels)
    for spread in (0.0, 1.5, 3.0):
        points = rng.normal(size=(60, 5))
        points[:, 0] += spread * labels
        found = cluster_by_neighbours(points, category("target", values), role="biological")
        assert found is not None
        expected = cross_val_score(KNeighborsClassifier(1), points, labels, cv=LeaveOneOut()).mean()
        assert found.accuracy == pytest.approx(expected)
        assert found.chance == pytest.approx(sum((labels == k).mean() ** 2 for k in range(4)), abs=0.03)
        assert (found.p_value < 0.01) == (spread > 0.5)
        assert found.chance_low < found.chance < found.chance_high
        assert found.n_scored == found.n_known == 60


def test_cluster_by_neighbours__shares_ties_and_scores_what_can_be_right() -> None:
    # three experiments in one place, of which two share; a lonely value; an unknown one; another pair far away
    points = np.array([[0.0], [0.0], [0.0], [9.0], [9.1], [4.0], [4.0]])
    factor = category("lab", ("a", "a", "b", "b", "c", None, "c"))
    found = cluster_by_neighbours(points, factor, role="technical")
    assert found is not None
    # a: 1/2 each; b at 0: none; b at 9: its nearest is c; c at 9.1: b; c at 4: the three at 0 (the unknown is none)
    assert found.accuracy == pytest.approx((0.5 + 0.5) / 6)
    assert (found.n_scored, found.n_known) == (6, 6)
    several = Factor(
        "organ",
        "multi_category",
        "biological",
        objects((("x", "y"), ("y",), ("z",), ("z", "x"), None, None, None)),
    )
    found = cluster_by_neighbours(points, several, role="biological")
    assert found is not None
    assert found.accuracy == pytest.approx((0.5 + 0.5 + 0 + 2 / 3) / 4)
    dates = np.array(
        ["2011-01-01", "2011-12-31", "2012-01-01", "2012-01-01", "NaT", "NaT", "NaT"], "datetime64[D]"
    )
    found = cluster_by_neighbours(points, Factor("date", "date", "technical", dates), role="technical")
    assert found is not None
    assert found.n_known == 4


def test_cluster_by_neighbours__has_nothing_to_say_without_groups() -> None:
    points = np.arange(4.0)[:, None]
    for values in (("a",) * 4, ("a", "b", "c", "d"), (None,) * 4, ("a", "a", None, None)):
        assert cluster_by_neighbours(points, category("target", values), role="biological") is None
    number = Factor("age", "number", "biological", np.arange(4.0))
    with pytest.raises(ValueError, match="no groups"):
        cluster_by_neighbours(points, number, role="biological")


def test_embed_experiments__refuses_weights_that_do_not_fit() -> None:
    factors = FactorTable(("A", "B"), (category("target", ("x", "y")),))
    features = {"biological": np.zeros((5, 3))}
    for shape in ((3, 3), (2, 4)):
        with pytest.raises(ValueError, match="fit neither"):
            embed_experiments({"biological": np.zeros(shape)}, features, factors=factors, direct={})


def test_umap__is_asked_only_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(0).normal(size=(10, 4))
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ConfigError, match=r"pip install umap-learn.*--method pca"):
        project(points, method="umap")
    asked: dict[str, object] = {}

    class Reducer:
        def __init__(self, **options: object) -> None:
            asked.update(options)

        def fit_transform(self, values: np.ndarray) -> np.ndarray:
            return values[:, :2].astype(np.float32)

    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Reducer))
    coordinates, explained = project(points, method="umap", seed=3)
    assert explained is None
    np.testing.assert_allclose(coordinates, points[:, :2], rtol=1e-6)
    assert (asked["n_neighbors"], asked["n_components"], asked["random_state"]) == (9, 2, 3)
    with pytest.raises(ConfigError, match="at least 4"):
        project(points[:3], method="umap")


def test_embed_run__writes_what_the_model_says(run: Path, planted: Store) -> None:
    result = embed_run(run, device="cpu", threads=1)
    assert result.experiments == planted.experiments
    assert tuple(result.colours) == ("target", "biosample", "assay", "lab")
    assert result.n_windows == 151
    model = load_model(run).model
    weights = experiment_weights(model)
    features = latent_features(model, store=planted, rows=planted.windows.rows("test"), positions=192)
    bio, tech = result.embedding.subspaces
    assert bio.variance_share + tech.variance_share == pytest.approx(1)
    expected = PCA(2).fit_transform(weights["biological"] * features["biological"].std(0))
    np.testing.assert_allclose(np.abs(bio.coordinates), np.abs(expected), rtol=1e-3, atol=1e-4)
    by_name = {one.name: one for one in result.embedding.direct_features}
    assert tuple(by_name) == (*model.direct_features["biological"], *model.direct_features["technical"])
    assert by_name["target=CTCF"].n_experiments == 2
    index = model.direct_features["biological"].index("target=CTCF")
    # a direct weight is 1, so that what it moves the logits by is its feature's deviation
    assert by_name["target=CTCF"].deviation == pytest.approx(features["biological"][:, index].std(), rel=1e-4)
    assert {one.factor for one in result.embedding.clusterings} <= set(planted.factors.names) - {"age"}

    read = read_embedding(run)
    assert read is not None
    assert json.dumps(to_json(read), allow_nan=False) == json.dumps(to_json(result), allow_nan=False)
    with (run / TABLE).open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["experiment"] for row in rows] == list(planted.experiments)
    assert rows[5]["target"] == HOSTILE
    assert rows[4]["target"] == ""
    assert float(rows[2]["technical_2"]) == pytest.approx(tech.coordinates[2, 1], rel=1e-4, abs=1e-9)


def test_embed_run__refuses_in_one_line(run: Path, planted: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'age', which is a number.*target"):
        embed_run(run, colours=["age"], device="cpu")
    with pytest.raises(ConfigError, match="'nothing', which is no factor"):
        embed_run(run, colours=["lab", "nothing"], device="cpu")
    with pytest.raises(RunError, match="no such file"):
        embed_run(tmp_path, device="cpu")
    base = tmp_path / "base"
    config = override(tiny_config(epochs=1), {"model.kind": "dinucleotides"})
    train(config, store=planted, run=base, device="cpu", threads=1)
    with pytest.raises(
        RunError, match=r"dinucleotides, whose weights are made from no metadata.*--model mfd"
    ):
        embed_run(base, device="cpu")
    store = write_planted_store(tmp_path / "some.zarr", splits=("train", "valid"))
    with pytest.raises(StoreError, match=r"split test.*--split"):
        embed_run(run, store=store.path, device="cpu")
    broken = tmp_path / "broken"
    shutil.copytree(run, broken, ignore=shutil.ignore_patterns("evaluation"))
    trained = load_model(broken)
    with torch.no_grad():
        next(trained.model.features.parameters())[0] = torch.nan
    write_model(broken, trained.model, epoch=trained.epoch, valid_loss=trained.valid_loss)
    with pytest.raises(RunError, match="diverged"):
        embed_run(broken, device="cpu", threads=1)
    assert not (base / EMBEDDING).exists()
    assert not (broken / EMBEDDING).exists()


def test_read_embedding__explains_damage(run: Path, tmp_path: Path) -> None:
    assert read_embedding(tmp_path) is None
    embed_run(run, device="cpu", threads=1)
    whole = json.loads((run / EMBEDDING).read_text())
    (tmp_path / EMBEDDING).parent.mkdir()
    first = whole["subspaces"][0]
    for change in (
        {"method": "tsne"},
        {"experiments": ["A"]},
        {"colours": {"lab": []}},
        {"subspaces": [first | {"coordinates": [[0, 0, 0]]}]},
        {"clusterings": whole["clusterings"][:1]},
        {"clusterings": [{"role": "biological"}]},
        {"direct_features": [{"name": "x"}]},
        {"direct_features": 3},
    ):
        (tmp_path / EMBEDDING).write_text(json.dumps(whole | change))
        with pytest.raises(RunError, match=r"write it again: mfdmodel embed"):
            read_embedding(tmp_path)
    for text in ("[1]", "{", ""):
        (tmp_path / EMBEDDING).write_text(text)
        with pytest.raises(RunError, match=r"write it again: mfdmodel embed"):
            read_embedding(tmp_path)


def test_report__shows_the_embedding_of_its_model_only(run: Path, planted: Store, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns("embedding.*"))
    assert "space of their weights" not in write_report(copy).read_text("utf-8")
    embed_run(copy, colours=["target"], device="cpu", threads=1)
    html = write_report(copy).read_text("utf-8")
    assert "Experiments in the space of their weights" in html
    assert "target=CTCF" in html
    assert "<script" not in html
    assert "coloured by target" in html
    content = json.loads((copy / EMBEDDING).read_text())
    (copy / EMBEDDING).write_text(json.dumps(content | {"epoch": content["epoch"] + 1}))
    with pytest.raises(RunError, match=r"mfdmodel embed"):
        write_report(copy)


def test_draw_embedding__names_values_and_counts_the_rest() -> None:
    coordinates = np.random.default_rng(0).normal(size=(50, 2))
    views = [SubspaceView(role, 3, 0.5, (0.75, 0.125), coordinates) for role in ("biological", "technical")]
    values: list[str | None] = [f"value {index // 2} $x$ <b>" for index in range(48)]
    text = " ".join(
        ElementTree.fromstring(draw_embedding(views, [*values, None, None], factor="lab")).itertext()
    )
    assert text.count("$x$ <b>") == 18
    assert "6 other values" in text
    assert "(missing)" in text
    assert "axis 1, 75 %" in text
    assert "technical" in text
    plain = [SubspaceView("biological", 3, 1.0, None, coordinates)]
    text = " ".join(ElementTree.fromstring(draw_embedding(plain, ["a"] * 50, factor="lab")).itertext())
    assert "axis 1 " in text
    assert "(missing)" not in text
    assert "other" not in text
