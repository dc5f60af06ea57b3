"""Codes against strings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfdstore.dinucleotides import (
    BLANK,
    DINUCLEOTIDES,
    REVERSE_COMPLEMENT,
    encode_bases,
    encode_chromosome,
    one_hot,
    reverse_complement,
)
from tests.oracles import naive_codes, naive_reverse_complement
from tests.strategies import sequences


def test_dinucleotides__are_in_the_papers_order() -> None:
    expected = "AA AC AG AT CA CC CG CT GA GC GG GT TA TC TG TT"
    assert " ".join(DINUCLEOTIDES) == expected


@given(sequences())
def test_encode_bases__agrees_with_a_look_up_of_letters(bases: str) -> None:
    codes = encode_bases(bases.encode())
    assert codes.dtype == np.uint8
    assert codes.tolist() == naive_codes(bases)


@given(st.binary(max_size=40))
def test_encode_bases__takes_any_byte(content: bytes) -> None:
    expected = naive_codes(
        content.decode("latin-1").translate({0xDF: "N"})
    )  # upper() spells ß as two letters
    assert encode_bases(content).tolist() == expected
    assert encode_bases(bytearray(content)).tolist() == expected
    assert encode_bases(np.frombuffer(content, np.uint8)).tolist() == expected


@given(sequences())
def test_encode_chromosome__has_a_code_a_base_and_ends_blank(bases: str) -> None:
    codes = encode_chromosome(bases.encode())
    assert codes.tolist() == naive_codes(bases + "N")


@given(sequences())
def test_reverse_complement__of_codes_is_the_codes_of_the_other_strand(bases: str) -> None:
    codes = encode_bases(bases.encode())
    assert reverse_complement(codes).tolist() == naive_codes(naive_reverse_complement(bases))
    np.testing.assert_array_equal(reverse_complement(reverse_complement(codes)), codes)


def test_reverse_complement__maps_each_code_to_that_of_its_letters() -> None:
    for code, letters in enumerate(DINUCLEOTIDES):
        assert DINUCLEOTIDES[REVERSE_COMPLEMENT[code]] == naive_reverse_complement(letters)
    assert REVERSE_COMPLEMENT[BLANK] == BLANK


def test_reverse_complement__reverses_positions_only() -> None:
    codes = np.array([[1, 2, 16], [3, 4, 5]], np.uint8)
    found = reverse_complement(codes)
    np.testing.assert_array_equal(found, [reverse_complement(codes[0]), reverse_complement(codes[1])])


@given(sequences(min_size=2))
def test_one_hot__has_one_channel_where_a_code_is_known(bases: str) -> None:
    codes = encode_bases(bases.encode())
    hot = one_hot(np.stack([codes, codes]))
    assert hot.shape == (2, 16, len(codes))
    assert hot.dtype == np.float32
    for position, code in enumerate(codes):
        expected = [1.0 if channel == code else 0.0 for channel in range(16)]
        assert hot[1, :, position].tolist() == expected


@pytest.mark.parametrize("dtype", [np.float64, np.int8, np.bool_])
def test_one_hot__comes_in_the_type_asked_for(dtype: type[np.generic]) -> None:
    assert one_hot(np.array([0, 16], np.uint8), dtype).dtype == dtype
