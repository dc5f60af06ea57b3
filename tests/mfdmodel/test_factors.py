"""Coding of factors against scikit-learn and the definition."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import MultiLabelBinarizer, StandardScaler

from mfdmodel.factors import FactorCoding, fit_coding
from mfdstore.errors import ConfigError
from mfdstore.metadata import Factor


def objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


words = st.sampled_from(["liver", "heart", "spleen", "a,b", "é"])
cells = st.lists(st.none() | st.lists(words, max_size=3, unique=True).map(tuple), min_size=1, max_size=12)
numbers = st.lists(st.just(np.nan) | st.integers(-90, 90).map(float), min_size=2, max_size=12)


@given(values=cells)
def test_multi_category__agrees_with_scikit_learn(values: list[tuple[str, ...] | None]) -> None:
    factor = Factor("organ", "multi_category", "biological", objects(values))
    coding = fit_coding(factor)
    judge = MultiLabelBinarizer()
    expected = judge.fit_transform([value or () for value in values])
    assert coding.values == tuple(judge.classes_)
    np.testing.assert_array_equal(coding.encode(factor), expected)


@given(values=numbers)
def test_number__is_standardised_and_missing_is_the_mean(values: list[float]) -> None:
    factor = Factor("age", "number", "biological", np.array(values), "years")
    coding = fit_coding(factor)
    coded = coding.encode(factor)
    if np.isnan(values).all():
        assert len(coding) == 0
        return
    assert coding.values == ("age",)
    expected = StandardScaler().fit_transform(
        np.array(values)[:, None]
    )  # knows NaN, divides by 1 if constant
    np.testing.assert_allclose(coded, np.nan_to_num(expected, nan=0.0), atol=1e-6)


def test_category__missing_is_no_category() -> None:
    factor = Factor("target", "category", "biological", objects(["CTCF", None, "H3K27ac", "CTCF"]))
    coding = fit_coding(factor)
    assert coding.values == ("CTCF", "H3K27ac")
    assert coding.encode(factor).tolist() == [[1, 0], [0, 0], [0, 1], [1, 0]]


def test_date__is_its_year_as_category_or_number() -> None:
    dates = np.array(["2016-01-01", "2016-12-31", "NaT", "2020-02-29"], "datetime64[D]")
    factor = Factor("date_released", "date", "technical", dates)
    category = fit_coding(factor)
    assert category.values == ("2016", "2020")
    assert category.encode(factor).tolist() == [[1, 0], [1, 0], [0, 0], [0, 1]]
    number = fit_coding(factor, date="year_number")
    assert number.values == ("date_released",)
    years = np.array([2016, 2016, 2020])
    expected = (years - years.mean()) / years.std()
    np.testing.assert_allclose(number.encode(factor)[[0, 1, 3], 0], expected, rtol=1e-6)
    assert number.encode(factor)[2, 0] == 0


def test_nothing_known__gives_no_columns() -> None:
    nothing = {
        "category": objects([None, None]),
        "multi_category": objects([None, ()]),
        "number": np.array([np.nan, np.nan]),
        "date": np.array(["NaT", "NaT"], "datetime64[D]"),
    }
    for kind, values in nothing.items():
        factor = Factor("x", kind, None, values)  # type: ignore[arg-type]
        coding = fit_coding(factor)
        assert len(coding) == 0
        assert coding.encode(factor).shape == (2, 0)


def test_coding__applies_to_other_experiments() -> None:
    coding = fit_coding(Factor("lab", "category", "technical", objects(["a", "b"])))
    other = Factor("lab", "category", "technical", objects(["b", "new", "a"]))
    assert coding.encode(other).tolist() == [[0, 1], [0, 0], [1, 0]]
    assert coding.unknown_values(other) == [(), ("new",), ()]
    with pytest.raises(ConfigError, match="kind number"):
        coding.encode(Factor("lab", "number", "technical", np.array([1.0])))


def test_unknown_values__of_sets_dates_and_numbers() -> None:
    organs = fit_coding(Factor("organ", "multi_category", None, objects([("a", "b"), None])))
    others = Factor("organ", "multi_category", None, objects([("a", "c", "d"), None, ("b",)]))
    assert organs.unknown_values(others) == [("c", "d"), (), ()]
    dates = np.array(["2016-01-01", "2020-02-29", "NaT"], "datetime64[D]")
    date = Factor("date", "date", None, dates)
    assert fit_coding(date.take(np.array([0]))).unknown_values(date) == [(), ("2020",), ()]
    age = Factor("age", "number", None, np.array([1.0, np.nan, 7.5]))
    assert fit_coding(age.take(np.array([0]))).unknown_values(age) == [(), (), ()]
    # where no number was known, none has a scale
    assert fit_coding(age.take(np.array([1]))).unknown_values(age) == [("1",), (), ("7.5",)]


def test_json__keeps_a_coding() -> None:
    age = fit_coding(Factor("age", "number", "biological", np.array([1.0, 2.5, np.nan])))
    lab = fit_coding(Factor("lab", "category", "technical", objects(["a", "é"])))
    for coding in (age, lab):
        assert FactorCoding.from_json(json.loads(json.dumps(coding.to_json()))) == coding
