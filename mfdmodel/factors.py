"""Factors as numbers: categories to zeros and ones, numbers standardised, dates by their year.

A coding is fitted on the experiments that a model is trained for and then applied to any others. What is
missing is no category: a missing category is a row of zeros, a missing number is the mean (0 once
standardised).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mfdmodel.config import DateCoding
from mfdstore.errors import ConfigError
from mfdstore.metadata import Factor
from mfdstore.schema import Kind


@dataclass(frozen=True)
class FactorCoding:
    """How one factor becomes columns.

    Parameters
    ----------
    name
        Of the factor.
    kind
        Of the factor: a coding reads no other kind.
    coding
        ``multi_hot``: one column a value; ``number``: one standardised column.
    values
        What each column stands for: the value of a category, the year of a date, or the name of a number.
    mean, deviation
        Of a number, over the experiments where it is known; population standard deviation, in its unit. 0 and
        1 where there is no number.
    """

    name: str
    kind: Kind
    coding: Literal["multi_hot", "number"]
    values: tuple[str, ...]
    mean: float = 0.0
    deviation: float = 1.0

    def __len__(self) -> int:
        return len(self.values)

    def encode(self, factor: Factor) -> NDArray[np.float32]:
        """Code the experiments of a factor.

        Values that were not there when the coding was fitted are coded as missing; `unknown_values` names them.

        Returns
        -------
        Shape ``(experiment, column)``.

        Raises
        ------
        ConfigError
            If the factor is of another kind.
        """
        if factor.kind != self.kind:
            raise ConfigError(
                f"factor {self.name}",
                found=f"kind {factor.kind}",
                expected=f"kind {self.kind}, as where the coding was fitted",
                remedy="Use a store whose metadata was read in the same way.",
            )
        if self.coding == "number":
            number = (_numbers(factor) - self.mean) / self.deviation
            return np.nan_to_num(number, nan=0.0).astype(np.float32)[:, None][:, : len(self)]
        column = {value: index for index, value in enumerate(self.values)}
        coded = np.zeros((len(factor.values), len(self.values)), np.float32)
        for row, items in enumerate(_items(factor)):
            for item in items:
                if item in column:
                    coded[row, column[item]] = 1
        return coded

    def unknown_values(self, factor: Factor) -> list[tuple[str, ...]]:
        """Name what `encode` codes as missing, though it is known, by experiment.

        A number is on the scale of any other, unless none was known where the coding was fitted.
        """
        if self.coding == "number":
            return [() if len(self) or np.isnan(number) else (f"{number:g}",) for number in _numbers(factor)]
        known = set(self.values)
        return [tuple(item for item in items if item not in known) for items in _items(factor)]

    def to_json(self) -> dict[str, Any]:
        """Write as what JSON can hold."""
        return asdict(self) | {"values": list(self.values)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> FactorCoding:
        """Read what `to_json` wrote."""
        return cls(**(content | {"values": tuple(content["values"])}))


def fit_coding(factor: Factor, *, date: DateCoding = "year_category") -> FactorCoding:
    """Learn the columns of a factor from its values.

    Parameters
    ----------
    factor
        Of the experiments that the model is trained for.
    date
        Whether a date's year is a category or a number; no other kind heeds it.

    Returns
    -------
    A coding; without columns where nothing is known of any experiment.
    """
    if factor.kind == "number" or (factor.kind == "date" and date == "year_number"):
        known = _numbers(factor)[~factor.missing]
        if not known.size:
            return FactorCoding(factor.name, factor.kind, "number", ())
        deviation = float(known.std())
        return FactorCoding(
            factor.name, factor.kind, "number", (factor.name,), float(known.mean()), deviation or 1.0
        )
    values = tuple(sorted({item for items in _items(factor) for item in items}))
    return FactorCoding(factor.name, factor.kind, "multi_hot", values)


def _numbers(factor: Factor) -> NDArray[np.float64]:
    """Read numbers, or the years of dates; NaN where missing."""
    if factor.kind == "date":
        years = factor.values.astype("datetime64[Y]").astype(np.int64) + 1970.0
        return np.where(factor.missing, np.nan, years)
    return factor.values.astype(np.float64)


def _items(factor: Factor) -> list[tuple[str, ...]]:
    """Read what each experiment is said to be, as a tuple of any length; empty where missing."""
    if factor.kind == "date":
        return [() if np.isnan(year) else (str(int(year)),) for year in _numbers(factor)]
    return [
        () if value is None else (value,) if isinstance(value, str) else tuple(value)
        for value in factor.values
    ]
