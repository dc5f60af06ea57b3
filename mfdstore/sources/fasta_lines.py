"""Bases out of the lines of a FASTA file, and two bases to a byte and back; compiled by numba.

Packed, a base is A, C, G or T in either case (0 to 3), another letter (4), or a sign that is none (5): all that codes
need, in half of the room, for a genome that is unpacked has to be written to disk.
"""

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
        Of the file, shape ``(byte,)``; not cut between the two signs of a line's end.
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
    width, line = 0, begin if at_start else -1
    while at < len(text):
        if at_start and 0 < width < len(text) - at and text[at + width] == 10 and text[at] != 62:
            # as long as the line before: copied many signs at once, unless one of them is a line end itself
            letters, copied = text[at : at + width], out[n_out : n_out + width]
            lowest = np.uint8(255)
            for place in range(width):
                copied[place] = letters[place]
                lowest = min(lowest, letters[place])
            if lowest > 13:
                n_out += width
                at += width + 1
                n_lines += 1
                continue
        if at_start:
            line = at
        sign = text[at]
        if sign == 10:
            if at > begin and text[at - 1] == 13:
                n_out -= (
                    1  # it belongs to the line's end; one amid a line stays, and is refused where it is read
                )
            n_lines += 1
            width = at - line if line >= 0 else 0
            at_start = True
        elif sign == 62 and at_start:
            break
        else:
            at_start = False
            out[n_out] = sign
            n_out += 1
        at += 1
    return at, n_out, n_lines, at_start


@compiled
def pack_bases(letters: NDArray[np.uint8], packed: NDArray[np.uint8]) -> None:  # pragma: no cover - compiled
    """Pack letters, two a byte.

    Parameters
    ----------
    letters
        As a file has them, shape ``(base,)``, an even number.
    packed
        Filled; shape ``(byte,)``, half as many.
    """
    for byte in range(len(packed)):
        both = 0
        for half in range(2):
            sign = letters[2 * byte + half]
            base = sign & 0xDF  # upper case
            known = (base == 65) | (base == 67) | (base == 71) | (base == 84)  # A, C, G, T
            none = (sign <= 32) | (sign == 62) | (sign >= 127)
            # bits 1 and 2 of the four letters give 0 to 3 in their order
            index = ((sign >> 1) ^ (sign >> 2)) & 3 if known else (5 if none else 4)
            both |= index << (4 * half)
        packed[byte] = both


def unpack_bases(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give the letters of packed bases: A, C, G, T, N for another letter, a blank for what is none.

    >>> letters = np.frombuffer(b"acGTn>", np.uint8)
    >>> packed = np.empty(3, np.uint8)
    >>> pack_bases(letters, packed)
    >>> unpack_bases(packed).tobytes()
    b'ACGTN '
    """
    letters = np.empty(2 * len(packed), np.uint8)
    _unpack_bases(packed, letters)
    return letters


@compiled
def _unpack_bases(
    packed: NDArray[np.uint8], letters: NDArray[np.uint8]
) -> None:  # pragma: no cover - compiled
    for byte in range(len(packed)):
        for half in range(2):
            base = (packed[byte] >> (4 * half)) & 15
            # 65, 67, 71 and 84 without a table, so that many are unpacked at once
            known = 65 + 2 * base + (2 if base == 2 else 0) + (13 if base == 3 else 0)
            letters[2 * byte + half] = known if base < 4 else (78 if base == 4 else 32)
