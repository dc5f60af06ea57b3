"""Labels by the join of pyranges are those of the definition, and pyranges keeps quiet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfdstore.overlaps import label_bins_by_join
from tests.oracles import naive_label_bins

intervals = st.tuples(st.integers(0, 900), st.integers(1, 300)).map(lambda drawn: (drawn[0], sum(drawn)))


@given(st.lists(intervals, min_size=1, max_size=12), st.integers(0, 9), st.integers(1, 100))
def test_label_bins_by_join__agrees_with_the_definition(
    peaks: list[tuple[int, int]], n_bins: int, min_overlap: int
) -> None:
    starts, ends = np.array(peaks, np.int64).T
    found = label_bins_by_join("chr1", starts, ends, n_bins=n_bins, bin_size=100, min_overlap=min_overlap)
    expected = naive_label_bins(peaks, n_bins=n_bins, bin_size=100, min_overlap=min_overlap)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("start", [0, 90, 100])
def test_label_bins_by_join__says_nothing(capfd: pytest.CaptureFixture[str], start: int) -> None:
    label_bins_by_join(
        "chr1", np.array([start]), np.array([start + 5]), n_bins=1, bin_size=100, min_overlap=5
    )
    assert capfd.readouterr() == ("", "")
