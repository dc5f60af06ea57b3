"""Experiments in the words of an option: what must hold together, values that hold signs, dates by their year."""

from __future__ import annotations

import numpy as np
import pytest

from mfdstore.errors import ConfigError
from mfdstore.selecting import query_experiments, select_experiments
from mfdstore.store import Store
from tests.planted import HOSTILE, LABS, TARGETS, write_planted_store


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_planted_store(tmp_path_factory.mktemp("planted") / "planted.zarr", splits=("test",))


def found(store: Store, *queries: str) -> list[int]:
    return query_experiments(store, queries, option="--hold-out-experiments").tolist()


def test_query__holds_together_what_is_joined(planted: Store) -> None:
    both = [
        index
        for index, (target, lab) in enumerate(zip(TARGETS, LABS, strict=True))
        if target in ("CTCF", "MAX") and lab == "north"
    ]
    assert found(planted, "target=CTCF,MAX & lab=north") == both
    assert found(planted, "target=CTCF & lab=north", "ENCFF004XYZ") == [0, 4]


def test_query__refuses_a_factor_twice(planted: Store) -> None:
    with pytest.raises(ConfigError, match=r"target more than once.*ask for target=CTCF,MAX"):
        found(planted, "target=CTCF & target=MAX")


def test_query__takes_a_value_that_holds_an_ampersand(planted: Store) -> None:
    assert "&" in HOSTILE
    assert found(planted, f"target={HOSTILE}") == [5]
    assert found(planted, f"biosample=K562&target={HOSTILE}") == [5]
    assert found(planted, f"target={HOSTILE} & biosample=K562") == [5]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("target=CTCF & K562", "Write a factor and a = behind the &"),
        ("target=CTCF &", "Write a factor and a = behind the &"),
        ("target=CTCF & biosmple=K562", r"factor 'biosmple'.*Did you mean biosample\?.*by accession"),
        ("target=CTCF & =K562", "FACTOR=VALUE"),
    ],
)
def test_query__says_what_it_cannot_read(planted: Store, query: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        found(planted, query)


def test_dates__are_asked_for_by_year_month_or_day(planted: Store) -> None:
    dates = planted.factors["date_released"].values
    for text, length in (("2011", 4), ("2016", 4), ("2016-02", 7), ("2016-02-02", 10)):
        expected = [index for index, date in enumerate(dates.astype(str)) if date[:length] == text]
        assert found(planted, f"date_released={text}") == expected
        assert select_experiments(planted, [("date_released", text)], ()).tolist() == expected
    assert found(planted, "date_released=2011,2020") == [0, 4, 5]
    for text in ("1999", "20160202", "NaT", "today", "2016-13"):
        with pytest.raises(ConfigError, match="no experiment with date_released"):
            found(planted, f"date_released={text}")
    assert np.isnat(dates[1])  # what is missing is of no year
