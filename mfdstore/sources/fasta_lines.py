"""Bases out of the lines of a FASTA file in one pass, compiled by numba."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mfdstore.compiled import compiled


@compiled
def take_bases(  # pragma: no cover - compiled
    text: NDArray[np.uint8], begin: int, at_start: bool, out: NDArray[np.uint8], n_out: int
) -> tuple[int, int, int, bool]:
    """Copy what is no line end, up to the next header.

    Parameters
    ----------
    text
        Of the file, shape ``(byte,)``.
    begin
        Where to begin.
    at_start
        Whether a line begins there.
    out, n_out
        Filled from this place on, shape ``(byte,)``; it has room for all of the text.

    Returns
    -------
    Where it ended: at the ``>`` of a header or behind the text; how much of `out` is filled now; how many lines ended
    on the way; and whether a line begins where it ended.
    """
    n_lines = 0
    at = begin
    while at < len(text):
        sign = text[at]
        if sign == 10:
            n_lines += 1
            at_start = True
        elif sign == 62 and at_start:
            break
        else:
            at_start = False
            if sign != 13:
                out[n_out] = sign
                n_out += 1
        at += 1
    return at, n_out, n_lines, at_start
