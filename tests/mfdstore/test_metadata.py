"""Factors hold together: kinds, roles, what is missing, what is taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mfdstore.metadata import Factor, FactorTable


def _objects(*values: Any) -> np.ndarray:
    filled = np.empty(len(values), object)
    filled[:] = values
    return filled


def _several(*values: tuple[str, ...] | None) -> np.ndarray:
    filled = np.empty(len(values), object)
    for index, value in enumerate(values):
        filled[index] = value
    return filled


TARGET = Factor("target", "category", "biological", _objects("CTCF", None, "CTCF", "MAX"))
ORGAN = Factor(
    "organ", "multi_category", "biological", _several(("liver", "gland"), None, ("blood",), ("liver",))
)
AGE = Factor("age", "number", "biological", np.array([15.0, np.nan, 0.0, -1.0]), "years")
DAY = Factor(
    "date", "date", "technical", np.array(["2016-07-28", "NaT", "1969-12-31", "NaT"], "datetime64[D]")
)
NOTE = Factor("note", "category", None, _objects("x", "y", "z", None))
TABLE = FactorTable(("A", "B", "C", "D"), (TARGET, ORGAN, AGE, DAY, NOTE))


def test_missing__is_told_by_kind() -> None:
    assert TARGET.missing.tolist() == [False, True, False, False]
    assert ORGAN.missing.tolist() == [False, True, False, False]
    assert AGE.missing.tolist() == [False, True, False, False]
    assert DAY.missing.tolist() == [False, True, False, True]
    assert TARGET.missing.dtype == np.bool_


def test_categories__are_sorted_each_once_and_never_missing() -> None:
    assert TARGET.categories() == ("CTCF", "MAX")
    assert ORGAN.categories() == ("blood", "gland", "liver")
    assert AGE.categories() == DAY.categories() == ()


def test_take__keeps_every_column_in_step() -> None:
    taken = TABLE.take(np.array([2, 0]))
    assert taken.experiments == ("C", "A")
    assert taken["organ"].values.tolist() == [("blood",), ("liver", "gland")]
    assert taken["age"].values.tolist() == [0.0, 15.0]
    assert taken["age"].unit == "years"
    assert taken["target"].role == "biological"


def test_table__is_looked_up_by_name() -> None:
    assert TABLE.names == ("target", "organ", "age", "date", "note")
    assert "age" in TABLE
    assert "lab" not in TABLE
    assert len(TABLE) == 4
    assert [factor.name for factor in TABLE] == list(TABLE.names)
    with pytest.raises(KeyError):
        TABLE["lab"]


@pytest.mark.parametrize(
    ("kind", "role", "values"),
    [
        ("colour", None, _objects("x")),
        ("category", "social", _objects("x")),
        ("category", None, np.array([1.0])),
        ("category", None, np.array(["x"])),
        ("number", None, _objects(1.0)),
        ("number", None, np.array([1])),
        ("number", None, np.array([[1.0]])),
        ("date", None, np.array([1.0])),
    ],
)
def test_factor__refuses_what_does_not_fit_together(kind: Any, role: Any, values: np.ndarray) -> None:
    with pytest.raises(ValueError, match="factor x: "):
        Factor("x", kind, role, values)


@pytest.mark.parametrize(
    ("experiments", "factors", "words"),
    [
        (("A",), (TARGET,), "4 values for 1 experiments"),
        (("A", "A", "B", "C"), (TARGET,), "experiment occurs twice"),
        (("A", "B", "C", "D"), (TARGET, TARGET), "factor occurs twice"),
    ],
)
def test_table__refuses_columns_out_of_step(
    experiments: tuple[str, ...], factors: tuple[Factor, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        FactorTable(experiments, factors)
