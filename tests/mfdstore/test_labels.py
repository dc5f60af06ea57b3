"""Packing against place values."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mfdstore.labels import (
    count_positive,
    pack_labels,
    transpose_bits,
    unpack_labels,
)
from tests.oracles import naive_pack
from tests.strategies import label_matrices


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
def test_count_positive__counts_labels(labels: np.ndarray) -> None:
    assert count_positive(pack_labels(labels)).tolist() == [sum(row) for row in labels.tolist()]


@given(label_matrices(), st.sampled_from([8, 16, 65_536]))
def test_transpose_bits__is_the_transpose_whatever_the_block(labels: np.ndarray, rows: int) -> None:
    turned = transpose_bits(pack_labels(labels), labels.shape[1], rows_per_block=rows)
    assert turned.shape == (labels.shape[1], -(-len(labels) // 8))
    assert turned.tolist() == naive_pack(labels.T.tolist())
    np.testing.assert_array_equal(unpack_labels(turned, len(labels)), labels.T)
