"""Labels against two loops and against pyranges; packing against place values."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfdstore.labels import (
    count_positive,
    label_bins,
    pack_labels,
    set_experiment,
    transpose_bits,
    unpack_labels,
)
from tests.oracles import naive_label_bins, naive_pack
from tests.strategies import Tiling, label_matrices, tilings


def _label(tiling: Tiling) -> np.ndarray:
    return label_bins(
        tiling.starts,
        tiling.ends,
        n_bins=tiling.n_bins,
        bin_size=tiling.bin_size,
        min_overlap=tiling.min_overlap,
    )


@settings(max_examples=300)
@given(tilings())
def test_label_bins__agrees_with_the_definition(tiling: Tiling) -> None:
    expected = naive_label_bins(
        tiling.peaks, n_bins=tiling.n_bins, bin_size=tiling.bin_size, min_overlap=tiling.min_overlap
    )
    np.testing.assert_array_equal(_label(tiling), expected)


@settings(max_examples=40)
@given(tilings())
def test_label_bins__agrees_with_pyranges(tiling: Tiling) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pyranges 0.1 calls functions that pandas has deprecated
        import pyranges

        expected = np.zeros(tiling.n_bins, np.bool_)
        if tiling.n_bins and tiling.peaks:
            edges = np.arange(tiling.n_bins) * tiling.bin_size
            bins = pd.DataFrame({"Chromosome": "c", "Start": edges, "End": edges + tiling.bin_size})
            peaks = pd.DataFrame({"Chromosome": "c", "Start": tiling.starts, "End": tiling.ends})
            joined = pyranges.PyRanges(bins).join(pyranges.PyRanges(peaks), report_overlap=True).df
            if len(joined):
                good = joined[joined["Overlap"] >= tiling.min_overlap]
                expected[good["Start"].to_numpy() // tiling.bin_size] = True
    np.testing.assert_array_equal(_label(tiling), expected)


def test_label_bins__two_peaks_do_not_add_up() -> None:
    starts, ends = np.array([0, 40]), np.array([40, 63])
    labels = label_bins(starts, ends, n_bins=2, bin_size=128, min_overlap=64)
    assert labels.tolist() == [False, False]
    together = label_bins(np.array([0]), np.array([64]), n_bins=2, bin_size=128, min_overlap=64)
    assert together.tolist() == [True, False]


@pytest.mark.parametrize("min_overlap", [0, -1, 129])
def test_label_bins__refuses_an_overlap_that_means_nothing(min_overlap: int) -> None:
    with pytest.raises(ValueError, match=f"min_overlap {min_overlap} "):
        label_bins(np.array([0]), np.array([1]), n_bins=1, bin_size=128, min_overlap=min_overlap)


@given(label_matrices())
def test_pack_labels__is_place_value_and_comes_back(labels: np.ndarray) -> None:
    bits = pack_labels(labels)
    assert bits.dtype == np.uint8
    assert bits.shape == (len(labels), -(-labels.shape[1] // 8))
    assert bits.tolist() == naive_pack(labels.tolist())
    found = unpack_labels(bits, labels.shape[1])
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, labels)


@given(label_matrices())
def test_set_experiment__column_by_column_gives_the_packed_rows(labels: np.ndarray) -> None:
    bits = np.zeros((len(labels), -(-labels.shape[1] // 8)), np.uint8)
    for experiment in np.random.default_rng(0).permutation(labels.shape[1]):
        set_experiment(bits, int(experiment), labels[:, experiment])
    np.testing.assert_array_equal(bits, pack_labels(labels))


@given(label_matrices())
def test_count_positive__counts_labels(labels: np.ndarray) -> None:
    assert count_positive(pack_labels(labels)).tolist() == [sum(row) for row in labels.tolist()]


@given(label_matrices(), st.sampled_from([8, 16, 65_536]))
def test_transpose_bits__is_the_transpose_whatever_the_block(labels: np.ndarray, rows: int) -> None:
    turned = transpose_bits(pack_labels(labels), labels.shape[1], rows_per_block=rows)
    assert turned.shape == (labels.shape[1], -(-len(labels) // 8))
    assert turned.tolist() == naive_pack(labels.T.tolist())
    np.testing.assert_array_equal(unpack_labels(turned, len(labels)), labels.T)
