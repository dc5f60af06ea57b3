"""The learning rate of each step, as a pure function: a resumed run needs no state to go on with it."""

from __future__ import annotations

import math
from typing import Final, assert_never

from mfdmodel.config import Schedule

_ONE_CYCLE_START: Final = 1 / 25
_ONE_CYCLE_END: Final = 1e-4


def learning_rate_share(schedule: Schedule, *, step: int, n_steps: int, warmup: float) -> float:
    """Compute which share of the peak learning rate a step is taken at.

    Parameters
    ----------
    schedule
        ``constant``: the peak, once warm; ``cosine``: half a cosine from the peak to 0; ``one_cycle``: half a cosine
        up from 1/25 and another down to 1/10,000 (Smith and Topin, 2019). The first two rise along a straight line.
    step
        Counted from 0.
    n_steps
        Of the whole training.
    warmup
        Share of all steps in which the rate rises.

    Examples
    --------
    >>> [learning_rate_share("cosine", step=step, n_steps=4, warmup=0.5) for step in range(4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    n_warm = round(warmup * n_steps)
    if step < n_warm:
        if schedule == "one_cycle":
            return _ONE_CYCLE_START + (1 - _ONE_CYCLE_START) * _rise(step / n_warm)
        return (step + 1) / n_warm
    done = (step - n_warm) / max(n_steps - n_warm, 1)
    match schedule:
        case "constant":
            return 1.0
        case "cosine":
            return 1 - _rise(done)
        case "one_cycle":
            return 1 - (1 - _ONE_CYCLE_END) * _rise(done)
    assert_never(schedule)


def _rise(share: float) -> float:
    """Go from 0 to 1 along half a cosine."""
    return (1 - math.cos(math.pi * share)) / 2
