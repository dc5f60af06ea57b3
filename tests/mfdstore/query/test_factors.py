"""Experiments by what is known of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from mfdstore.errors import ConfigError
from tests.mfdstore.conftest import Little
from tests.worlds import ACCESSIONS


def _open(little: Little, **options: Any) -> xr.Dataset:
    return xr.open_dataset(little.path, engine="mfdstore", **options)


@pytest.mark.parametrize(
    ("wanted", "rows"),
    [
        ({"target": "CTCF"}, [0, 1, 8]),
        ({"target": ["CTCF", "MAX"], "biosample": "K562"}, [0, 6, 8]),
        ({"organ": "liver"}, [0, 3, 5]),
        ({"organ": {"blood", "lung"}}, [1, 5, 7, 8, 10]),
        ({"read_length": 36}, [0]),
        ({"date_released": "2020-02-29"}, [2]),
        ({"date_released": np.datetime64("2011-10-29")}, [0]),
        ({"experiment": np.array(ACCESSIONS[:2])}, [0, 1]),
        ({"organ": xr.DataArray(["blood", "lung"], dims="x")}, [1, 5, 7, 8, 10]),
        ({}, list(range(11))),
    ],
)
def test_experiments__are_selected_by_what_is_known(
    little: Little, wanted: dict[str, Any], rows: list[int]
) -> None:
    found = _open(little).mfd.experiments(wanted)
    assert found.experiment.values.tolist() == [ACCESSIONS[row] for row in rows]
    np.testing.assert_array_equal(found.label, little.expected.labels[:, rows])


@pytest.mark.parametrize(
    ("wanted", "known"),
    [
        ({"target": ["CTCF", "CTFC"]}, "CTFC'; expected .*CTCF"),
        ({"target": ""}, "'; expected .*CTCF"),
        ({"organ": ""}, "'; expected .*liver"),
        ({"organ": "livre"}, "livre'; expected .*liver"),
        ({"read_length": 37}, "37'; expected .*36"),
        ({"date_released": "yesterday"}, "yesterday'; expected .*2020-02-29"),
    ],
)
def test_experiments__refuses_a_value_that_none_has(
    little: Little, wanted: dict[str, Any], known: str
) -> None:
    with pytest.raises(ConfigError, match=f"found no experiment with '.*{known}"):
        _open(little).mfd.experiments(wanted)


@pytest.mark.parametrize("name", ["nothing", "start", "label"])
def test_experiments__refuses_a_factor_that_is_none(little: Little, name: str) -> None:
    with pytest.raises(ConfigError, match=f"factor '{name}': found no such factor; expected .*target"):
        _open(little).mfd.experiments({name: "x"})


def test_nothing_asked_for_is_refused(little: Little) -> None:
    dataset = xr.open_dataset(little.path, engine="mfdstore")
    with pytest.raises(ConfigError, match="target: found no value"):
        dataset.mfd.experiments({"target": []})
    for by in (None, [], 3):
        with pytest.raises(ConfigError, match="Name at least one factor"):
            dataset.mfd.count_windows(by=by)
