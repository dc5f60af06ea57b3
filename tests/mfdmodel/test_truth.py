"""Runs against planted truth: AUROC by scikit-learn, gradients by their completeness, sites by loops, a whole run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from mfdmodel.analyses.truth.attributing import sites_in_windows
from mfdmodel.analyses.truth.overlap import SitesInWindows, average_hits, find_hits, integrated_gradients
from mfdmodel.analyses.truth.recovery import feature_sets, recover, without_covariate
from mfdmodel.analyses.truth.run import TruthSettings, gc_content, score_run
from mfdmodel.analyses.truth.scores import PROBES
from mfdmodel.analyses.truth.transfer import predict_by_neighbours, predict_by_weights, weights_from_metadata
from mfdmodel.checkpoint.models import load_model
from mfdmodel.config_reading import override
from mfdmodel.evaluate.run import evaluate_run
from mfdmodel.features import latent_features
from mfdmodel.model import build_model
from mfdmodel.report.write import write_report
from mfdmodel.resampling import Resampler
from mfdmodel.train.fit import train
from mfdstore.build.run import build_store
from mfdstore.build.settings import BuildSettings, Resources, Sources
from mfdstore.errors import ConfigError, SourceError, StoreError
from mfdstore.grow.choice import Choice
from mfdstore.grow.subset import subset_store
from mfdstore.metadata import Factor, FactorTable
from mfdstore.simulate.reading import PlantedSites, read_sites
from mfdstore.simulate.settings import SimulationSettings
from mfdstore.simulate.simulation import Simulation, simulate_sources
from mfdstore.store import Store
from tests.planted import objects, tiny_config


def test_feature_sets__have_equal_widths_and_the_combined_one_half_of_either() -> None:
    sets = feature_sets({"biological": 9, "technical": 3})
    assert sets.width == 3
    assert {len(draw) for draws in sets.equal.values() for draw in draws} == {3}
    assert all(len(set(draw.tolist())) == 3 for draws in sets.equal.values() for draw in draws)
    assert all((draw < 9).all() for draw in sets.equal["biological"])
    from_biological = {int((draw < 9).sum()) for draw in sets.equal["combined"]}
    assert from_biological == {1, 2}
    assert [len(draws[0]) for draws in sets.whole.values()] == [9, 3, 12]
    alone = feature_sets({"all": 12}, width=4)
    assert list(alone.equal) == list(alone.whole) == ["combined"]
    with pytest.raises(ValueError, match="4 features of a subspace of 3"):
        feature_sets({"biological": 9, "technical": 3}, width=4)


def test_recover__finds_each_truth_where_it_is_and_averages_factors() -> None:
    rng = np.random.default_rng(0)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        truth = rng.random((n, 4)) < np.array([0.3, 0.3, 0.3, 0.0])
        features = rng.normal(size=(n, 6)).astype(np.float32)
        features[:, 1] += 3 * truth[:, 0]
        features[:, 5] += 3 * truth[:, 2]
        return features, truth

    names = (
        "biological:target:A",
        "biological:biosample:B",
        "technical:lab:North: upper",
        "technical:lab:South",
    )
    results = recover(
        names,
        feature_sets({"biological": 3, "technical": 3}),
        train=draw(1000),
        test=draw(800),
        resampler=Resampler.draw(np.arange(800) // 8, rng=rng, n_draws=100),
    )
    by_key = {(one.role, one.factor, one.value): one for one in results}
    target = by_key["biological", "target", "A"]
    assert target.auroc["biological"].low > 0.95
    assert target.auroc["technical"].low < 0.5 < target.auroc["technical"].high
    assert target.whole["combined"].value == pytest.approx(target.whole["biological"].value, abs=0.01)
    assert target.whole_lost["technical"].low > 0.3
    assert np.isnan(by_key["technical", "lab", "South"].auroc["technical"].value)
    # no other window of the factor to tell it from, and a factor with one value
    assert np.isnan(by_key["technical", "lab", "North: upper"].told["combined"].value)
    assert np.isnan(target.told["combined"].value)
    lab = by_key["technical", "lab", None]
    assert lab.n_truths == 1
    assert lab.auroc == by_key["technical", "lab", "North: upper"].auroc
    biology = by_key["biological", None, None]
    both = [
        by_key["biological", factor, None].auroc["biological"].value for factor in ("target", "biosample")
    ]
    assert biology.auroc["biological"].value == pytest.approx(np.mean(both))
    assert biology.n_truths == 2


def test_recover__tells_values_of_a_factor_apart() -> None:
    rng = np.random.default_rng(1)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        truth = np.zeros((n, 3), np.bool_)
        truth[np.arange(n), rng.integers(0, 6, n) % 4 - 1] = True  # the third is the commonest
        truth[:, 2] &= rng.random(n) < 0.5
        features = rng.normal(size=(n, 4)).astype(np.float32)
        features[:, 0] += 4 * truth[:, :2].any(1)  # something is planted
        features[:, 2] += 4 * truth[:, 0]  # it is North's
        return features, truth

    train, test = draw(1500), draw(1200)
    names = ("technical:assay:North", "technical:assay:South", "technical:assay:gc_high")
    results = recover(
        names,
        feature_sets({"biological": 2, "technical": 2}),
        train=train,
        test=test,
        resampler=Resampler.draw(np.arange(1200) // 8, rng=rng, n_draws=50),
    )
    north, south, gc, assay = results[:4]
    assert north.whole["biological"].value > 0.8
    assert north.told["biological"].low < 0.5 < north.told["biological"].high
    assert north.told["technical"].value > 0.97
    assert north.told["technical"].value == pytest.approx(south.told["technical"].value, abs=1e-6)
    assert north.told_lost["biological"].low > 0.3
    assert np.isnan(gc.told["combined"].value)
    assert not np.isnan(gc.whole["combined"].value)
    assert assay.told["technical"].value == pytest.approx(north.told["technical"].value)
    among = test[1][:, :2].any(1)
    probe = LogisticRegression().fit(
        train[0][train[1][:, :2].any(1)][:, 2:], train[1][train[1][:, :2].any(1), 0]
    )
    judged = roc_auc_score(test[1][among, 0], probe.decision_function(test[0][among][:, 2:]))
    assert north.told["technical"].value == pytest.approx(judged, abs=0.005)


def test_without_covariate__leaves_nothing_that_a_line_explains() -> None:
    rng = np.random.default_rng(0)
    gc = rng.random(500)
    features = np.stack([3 * gc + 1, rng.normal(size=500)], 1).astype(np.float32)
    left = without_covariate(features, gc, np.arange(500) < 400)
    assert np.abs(left[:, 0]).max() < 1e-5
    assert np.corrcoef(left[:400, 1], gc[:400])[0, 1] == pytest.approx(0, abs=1e-5)
    assert np.corrcoef(left[:, 1], features[:, 1])[0, 1] > 0.95


def test_gc_content__agrees_with_a_loop_over_codes(planted: Store) -> None:
    rows = np.array([0, 3, 1399, 1500, 1700])
    found = gc_content(planted, rows, positions=192)
    for row, share in zip(rows.tolist(), found.tolist(), strict=True):
        codes = planted.codes(planted.windows.chroms[planted.windows.chrom[row]])
        first = int(planted.windows.first_position(192)[row])
        bases = [
            codes[at] // 4 for at in range(max(first, 0), min(first + 192, len(codes))) if codes[at] < 16
        ]
        assert share == pytest.approx(np.mean([base in (1, 2) for base in bases]))


def test_integrated_gradients__add_up_to_the_logits(planted: Store) -> None:
    torch.manual_seed(0)
    model = build_model(
        tiny_config().model, factors=planted.factors, positive_fraction=np.full(6, 0.2)
    ).eval()
    x = torch.nn.functional.one_hot(torch.randint(0, 16, (3, 192)), 16).float().transpose(1, 2)
    found = integrated_gradients(model, x, [0, 4], n_steps=400)
    with torch.no_grad():
        for role in model.roles:
            at, blank = (model.logits_by_role(model.latent(w))[role][:, [0, 4]].mean(1) for w in (x, 0 * x))
            torch.testing.assert_close(found[role].sum(1), at - blank, rtol=0.02, atol=0.01)
    torch.testing.assert_close(found["combined"], found["biological"] + found["technical"])


def test_hits__are_those_of_a_hand_drawn_window() -> None:
    sites = SitesInWindows(
        own=np.array([[1, 1, 0, 0, 0, 0]], bool),
        acting=np.array([[1, 1, 1, 0, 0, 0]], bool),
        technical=np.array([[0, 0, 0, 0, 0, 1]], bool),
    )
    values = np.array([[-9.0, 0.1, 3.0, 0.2, 0.0, 4.0]], np.float32)
    hits = find_hits("biological:target:A", {"combined": values}, sites, row=np.array([1]), n_top=3)
    value, factor = average_hits([hits], Resampler.draw(np.arange(2), rng=np.random.default_rng(0)))
    assert value.precision["combined"].value == pytest.approx(2 / 3)
    assert value.recall["combined"].value == pytest.approx(1 / 2)
    assert value.technical["combined"].value == pytest.approx(1 / 3)
    assert (value.chance, value.technical_chance) == (pytest.approx(1 / 2), pytest.approx(1 / 6))
    assert (factor.factor, factor.value, factor.n_windows) == ("target", None, 1)
    assert np.isnan(value.precision["combined"].low)  # one window says nothing of others


def test_average_hits__draws_the_blocks_of_the_windows_attributed() -> None:
    rng = np.random.default_rng(0)
    own, values = rng.random((40, 30)) < 0.3, rng.normal(size=(40, 30)).astype(np.float32)
    own[:, 0] = True
    sites = SitesInWindows(own, own, ~own)
    row = np.sort(rng.choice(120, 40, replace=False))
    hits = find_hits("biological:target:A", {"combined": values}, sites, row=row, n_top=5)
    resampler = Resampler.draw(np.arange(120) // 4, rng=rng)
    value, _ = average_hits([hits], resampler)
    share = np.array([own[k][np.argsort(-np.abs(values[k]))[:5]].mean() for k in range(40)])
    drawn = [np.average(share, weights=[draw[window // 4] for window in row]) for draw in resampler.draws[1:]]
    found = value.precision["combined"]
    assert found.value == pytest.approx(share.mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))


def test_sites_in_windows__agree_with_a_loop(planted: Store) -> None:
    sites = PlantedSites(
        chrom=objects(("chr1", "chr1", "chr1", "chr2", "chr1")),
        start=np.array([10, 150, 200, 130, 60]),
        end=np.array([28, 168, 218, 140, 75]),
        role=objects(("biological", "biological", "technical", "biological", "biological")),
        factor=objects(("target", "biosample", "lab", "target", "target")),
        name=objects(("CTCF", "K562", "north", "CTCF", "MAX")),
        biosamples=(frozenset({"K562"}), frozenset(), frozenset(), frozenset({"K562"}), frozenset({"HepG2"})),
    )
    rows = np.array([0, 1])
    found = sites_in_windows(
        sites,
        planted,
        rows,
        positions=192,
        own=("target", "CTCF"),
        # a site of MAX is bound in no biosample of these experiments
        acting_on={"target": {"CTCF", "MAX"}, "biosample": {"K562"}},
    )
    for row in rows.tolist():
        first = int(planted.windows.first_position(192)[row])
        for position in range(192):
            base = first + position
            assert found.own[row, position] == (10 <= base < 28)
            assert found.acting[row, position] == (10 <= base < 28 or 150 <= base < 168)
            assert found.technical[row, position] == (200 <= base < 218)


def test_neighbours__are_those_that_agree_in_most() -> None:
    def table(targets: tuple[str | None, ...], biosamples: tuple[str, ...]) -> FactorTable:
        names = tuple(f"E{index}" for index in range(len(targets)))
        return FactorTable(
            names,
            (
                Factor("target", "category", "biological", objects(targets)),
                Factor("biosample", "category", "biological", objects(biosamples)),
            ),
        )

    trained = table(("A", "A", "B", None), ("x", "y", "x", "x"))
    unseen = table(("A", "B", None, "C"), ("x", "y", "y", "x"))
    predictions = np.array([[0.1], [0.2], [0.3], [0.4]])
    found = predict_by_neighbours(predictions, trained, unseen)[:, 0].tolist()
    assert found == pytest.approx([0.1, 0.25, 0.2, (0.1 + 0.3 + 0.4) / 3])


# ---- whole runs


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    settings = SimulationSettings(
        seed=3,
        n_chroms=3,
        chrom_size=150_000,
        n_targets=2,
        n_histone_targets=0,
        n_replicates=1,
        n_guest_labs=1,
        confounding=1.0,
        missing=0.0,
    )
    return simulate_sources(tmp_path_factory.mktemp("world") / "sources", settings)


@pytest.fixture(scope="module")
def stores(world: Simulation, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Store]:
    """All experiments, and those that are not the guest's."""
    folder = tmp_path_factory.mktemp("stores")
    build_store(
        Sources(world.fasta, world.peaks, world.metadata, world.report, world.blacklist),
        folder / "all.zarr",
        BuildSettings("simulated", valid_chroms=("chr2",), test_chroms=("chr3",)),
        resources=Resources(jobs=1),
    )
    whole = Store(folder / "all.zarr")
    seen = tuple(name for name in whole.experiments if name not in guests(whole))
    subset_store(folder / "all.zarr", folder / "seen.zarr", Choice(experiments=seen))
    return {"all": whole, "seen": Store(folder / "seen.zarr")}


def guests(store: Store) -> tuple[str, ...]:
    pairs = zip(store.experiments, store.factors["lab"].values, strict=True)
    return tuple(name for name, lab in pairs if lab.startswith("Dogwood"))


@pytest.fixture(scope="module")
def runs(stores: dict[str, Store], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    config = override(
        tiny_config(),
        {
            "model.head.subspaces.biological.interact": ("biosample", "target"),
            "training.held_out": guests(stores["all"]),
        },
    )
    train(config, store=stores["all"], run=folder / "mfd", device="cpu", threads=1)
    other = override(config, {"model.kind": "linear_head", "training.held_out": ()})
    train(other, store=stores["seen"], run=folder / "linear_head", device="cpu", threads=1)
    return {"mfd": folder / "mfd", "linear_head": folder / "linear_head"}


FEW = TruthSettings(n_draws=20, n_attributed=4, n_steps=4)


def test_score_run__writes_what_it_gives(runs: dict[str, Path], world: Simulation) -> None:
    scores = score_run(runs["mfd"], truth=world.truth, settings=FEW, device="cpu", threads=1)
    content = json.loads((runs["mfd"] / PROBES).read_text())
    assert content["split"] == "test"
    # what the continuous build reads
    probes = [probe["auroc"] for probe in content["probes"] if probe["factor"] == "target"]
    assert len(probes) == 2
    assert all(0 <= probe[role] <= 1 for probe in probes for role in ("biological", "technical", "combined"))
    labs = [probe["value"] for probe in content["probes"] if probe["factor"] == "lab"]
    assert len(labs) == 3
    assert not any(lab.startswith("Dogwood") for lab in labs)
    summary = scores.summary("biological")
    assert summary is not None
    kept = next(
        one
        for one in content["recovery"]
        if (one["role"], one["factor"], one["value"]) == ("biological", None, None)
    )
    assert kept["auroc"]["biological"]["value"] == pytest.approx(summary.auroc["biological"].value)
    assert {one["factor"] for one in content["overlap"]} == {"target", "biosample"}
    assert len(content["transfer"]["experiments"]) == (2 + 2) * 3
    assert set(content["transfer"]["auroc"]) == {"biological", "technical", "combined", "neighbours"}


def test_score_run__transfers_as_the_network_predicts(
    runs: dict[str, Path], stores: dict[str, Store]
) -> None:
    trained = load_model(runs["mfd"])
    store = stores["all"]
    unseen = np.isin(np.array(store.experiments), guests(store))
    weights = weights_from_metadata(trained.model, unseen)
    assert weights is not None
    rows = store.windows.rows("test")[:20]
    features = latent_features(trained.model, store=store, rows=rows, positions=192)
    found = predict_by_weights(features, weights)
    with torch.no_grad():
        latent = {role: torch.from_numpy(values) for role, values in features.items()}
        expected = trained.model.logits_by_role(latent)["biological"].numpy().T[unseen]
    # every biological value of a guest's experiment is known; its laboratory is not, and is coded as missing
    np.testing.assert_allclose(found["biological"], expected, atol=1e-4)
    part = trained.model.weights["technical"]
    assert "Dogwood, Simulated University" not in trained.model.codings["lab"].values
    columns = {name: getattr(part, f"coded_{number}")[unseen] for number, name in enumerate(part.names)}
    blank = columns | {"lab": torch.zeros_like(columns["lab"])}
    np.testing.assert_allclose(weights["technical"], part(blank).detach().numpy(), atol=1e-6)


def test_score_run__of_a_baseline_compares_neighbours_and_takes_gc_out(
    runs: dict[str, Path], stores: dict[str, Store], world: Simulation
) -> None:
    run = runs["linear_head"]
    settings = TruthSettings(n_draws=20, n_attributed=4, n_steps=4, width=6)
    scores = score_run(
        run, truth=world.path, settings=settings, unseen=stores["all"].path, device="cpu", threads=1
    )
    assert scores.width == 6
    assert all(list(one.auroc) == ["combined"] for one in scores.recovery)
    assert scores.transfer is not None
    assert list(scores.transfer.auroc) == ["neighbours"]
    assert set(scores.transfer.experiments) <= set(guests(stores["all"]))
    assert scores.overlap is not None
    assert all(list(one.precision) == ["combined"] for one in scores.overlap)
    gc = score_run(
        run, truth=world.path, settings=TruthSettings(n_draws=20, without_gc=True), device="cpu", threads=1
    )
    assert gc.overlap is None
    assert gc.transfer is None
    with_gc, without = (part.summary("technical", "assay") for part in (scores, gc))
    assert with_gc is not None
    assert without is not None
    assert without.auroc["combined"].value < with_gc.auroc["combined"].value


def test_report__keeps_the_fuller_scores_of_the_same_model(runs: dict[str, Path], world: Simulation) -> None:
    run = runs["mfd"]
    evaluate_run(run, device="cpu", threads=1)
    score_run(run, truth=world.truth, settings=FEW, device="cpu", threads=1)
    before = (run / PROBES).read_bytes()
    write_report(run, truth=world.truth, device="cpu", threads=1)
    assert (run / PROBES).read_bytes() == before
    (run / PROBES).unlink()
    write_report(run, truth=world.truth, device="cpu", threads=1)
    assert set(json.loads((run / PROBES).read_text())) == {"split", "probes"}


def test_score_run__explains_what_does_not_fit(
    runs: dict[str, Path], stores: dict[str, Store], world: Simulation, planted: Store, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=r"bins\.tsv\.gz"):
        score_run(runs["mfd"], truth=tmp_path, device="cpu")
    with pytest.raises(ConfigError, match="found train, whose windows probes are fitted on"):
        score_run(runs["mfd"], truth=world.truth, split="train", device="cpu")
    with pytest.raises(ConfigError, match="--width: found 99"):
        score_run(runs["mfd"], truth=world.truth, settings=TruthSettings(width=99), device="cpu")
    with pytest.raises(StoreError, match="windows that are not those of"):
        score_run(
            runs["linear_head"],
            truth=world.truth,
            settings=TruthSettings(n_draws=5, n_attributed=0),
            unseen=planted.path,
            device="cpu",
        )
    with pytest.raises(ConfigError, match="draws: found 1"):
        TruthSettings(n_draws=1)
    (tmp_path / "sites.tsv").write_text("chrom\tstart\tactive\nchr1\tx\t1\n")
    with pytest.raises(SourceError, match=r"sites\.tsv"):
        read_sites(tmp_path)


def test_read_sites__are_those_that_act(world: Simulation) -> None:
    lines = [line.split("\t") for line in (world.truth / "sites.tsv").read_text().splitlines()]
    header, rows = lines[0], lines[1:]
    active = [dict(zip(header, row, strict=True)) for row in rows if row[header.index("active")] == "1"]
    sites = read_sites(world.path)
    assert len(sites) == len(active)
    for index in (0, len(active) // 2, len(active) - 1):
        row = active[index]
        assert (sites.chrom[index], sites.start[index], sites.end[index], sites.name[index]) == (
            row["chrom"],
            int(row["start"]),
            int(row["end"]),
            row["name"],
        )
        assert sites.biosamples[index] == set(filter(None, row["biosamples"].split(";")))
