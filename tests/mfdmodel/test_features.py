"""Features by role, over both strands; and probes that find what was planted where it is."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from mfdmodel.analyses.truth.probes import ProbeScore, probe_truths, summarise
from mfdmodel.features import latent_features
from mfdmodel.model import SequenceModel, build_model
from mfdstore.errors import SourceError, StoreError
from mfdstore.loader import Loader
from mfdstore.simulate.reading import read_bin_truth
from mfdstore.store import Store
from tests.planted import tiny_config


@pytest.fixture
def model(planted: Store) -> SequenceModel:
    torch.manual_seed(0)
    config = tiny_config().model
    return build_model(config, factors=planted.factors, positive_fraction=np.full(6, 0.2))


def test_latent_features__are_the_mean_of_both_strands(planted: Store, model: SequenceModel) -> None:
    rows = np.array([5, 900, 3, 1400])
    features = latent_features(model, store=planted, rows=rows, positions=192, batch_size=3)
    assert {role: values.shape for role, values in features.items()} == {
        "biological": (4, 12),
        "technical": (4, 12),
    }
    latents = []
    for strand in ("forward", "reverse"):
        batch = next(iter(Loader(planted, rows=rows, batch_size=4, positions=192, strand=strand)))
        with torch.no_grad():
            latents.append(model.eval().latent(batch.one_hot()))
    for role, values in features.items():
        np.testing.assert_allclose(values, (latents[0][role] + latents[1][role]) / 2, rtol=1e-4, atol=1e-5)


def test_latent_features__refuses_rows_that_are_not_there(planted: Store, model: SequenceModel) -> None:
    with pytest.raises(StoreError):
        latent_features(model, store=planted, rows=np.array([10**6]), positions=192)


def test_probe_truths__finds_a_truth_in_the_features_that_hold_it() -> None:
    rng = np.random.default_rng(0)

    def draw(n: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        truth = rng.random((n, 3)) < np.array([0.2, 0.2, 0.0])
        features = {role: rng.normal(size=(n, 5)).astype(np.float32) for role in ("biological", "technical")}
        features["biological"][:, 2] += 1000 + 2 * truth[:, 0]
        features["technical"][:, 4] -= 3 * truth[:, 1]
        return features, truth

    names = ("biological:target:A", "technical:lab:North: upper", "technical:lab:South")
    scores = probe_truths(names, train=draw(1000), test=draw(800))
    assert (scores[1].role, scores[1].factor, scores[1].value) == ("technical", "lab", "North: upper")
    assert scores[0].auroc["biological"] > 0.85
    assert scores[0].auroc["technical"] == pytest.approx(0.5, abs=0.1)
    assert scores[1].auroc["technical"] > 0.95
    assert scores[1].auroc["biological"] == pytest.approx(0.5, abs=0.1)
    assert np.isnan(scores[2].auroc["technical"])
    assert scores[2].n_train == scores[2].n_test == 0


def test_probe_truths__gives_a_wider_subspace_no_advantage() -> None:
    rng = np.random.default_rng(0)

    def draw(n: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
        truth = rng.random((n, 1)) < 0.3
        noise = {"biological": rng.normal(size=(n, 40)), "technical": rng.normal(size=(n, 4))}
        return {role: (0.5 * truth + values).astype(np.float32) for role, values in noise.items()}, truth

    (score,) = probe_truths(("biological:target:A",), train=draw(3000), test=draw(3000))
    # each feature tells equally much: as many of them tell equally much, 40 would tell far more than 4
    assert score.auroc["biological"] == pytest.approx(score.auroc["technical"], abs=0.04)
    assert score.auroc["technical"] == pytest.approx(0.76, abs=0.04)


def test_summarise__averages_by_factor_and_counts() -> None:
    nan = float("nan")
    summaries = summarise(
        [
            ProbeScore("biological", "target", "A", 1, 1, {"biological": 0.9, "technical": 0.6}),
            ProbeScore("biological", "target", "B", 1, 1, {"biological": 0.7, "technical": 0.4}),
            ProbeScore("biological", "target", "C", 0, 0, {"biological": nan, "technical": nan}),
            ProbeScore("technical", "lab", "D", 1, 1, {"biological": 0.5, "technical": 0.8}),
        ]
    )
    assert [(one.role, one.factor, one.n_scored, one.n_truths) for one in summaries] == [
        ("biological", "target", 2, 3),
        ("technical", "lab", 1, 1),
    ]
    assert summaries[0].auroc == {"biological": pytest.approx(0.8), "technical": pytest.approx(0.5)}


def write_bins(folder: Path, rows: list[tuple[str, int, int, int]]) -> Path:
    lines = [
        "chrom\tstart\tbiological:target:A\ttechnical:lab:B",
        *("\t".join(map(str, row)) for row in rows),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bins.tsv.gz").write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return folder


def test_read_bin_truth__looks_up_each_window_whatever_the_order(planted: Store, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = planted.windows
    present = rng.integers(0, 2, (len(table), 2))
    rows = [
        (table.chroms[chrom], int(start), *map(int, flags))
        for chrom, start, flags in zip(table.chrom, table.start, present, strict=True)
    ]
    rows += [("chr1", 10**6 * index, 1, 1) for index in range(1, 4)]  # bins that are no windows
    rng.shuffle(rows)
    write_bins(tmp_path / "truth", rows)
    for folder in (tmp_path, tmp_path / "truth"):
        truth = read_bin_truth(folder, table)
        assert truth.names == ("biological:target:A", "technical:lab:B")
        np.testing.assert_array_equal(truth.present, present == 1)


def test_read_bin_truth__explains_what_is_wrong(planted: Store, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"bins\.tsv\.gz"):
        read_bin_truth(tmp_path, planted.windows)
    write_bins(tmp_path, [("chr1", 0, 1, 0)])
    with pytest.raises(SourceError, match="no bin chr1:128"):
        read_bin_truth(tmp_path, planted.windows)
    (tmp_path / "bins.tsv.gz").write_bytes(gzip.compress(b"chrom\tstart\nchr1\t0\n"))
    with pytest.raises(SourceError, match="no column"):
        read_bin_truth(tmp_path, planted.windows)
    (tmp_path / "bins.tsv.gz").write_bytes(b"\x1f\x8b broken")
    with pytest.raises(SourceError):
        read_bin_truth(tmp_path, planted.windows)
