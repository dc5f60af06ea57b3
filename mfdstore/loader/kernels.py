"""The inner loops of the loader, compiled by numba; none holds the GIL, none checks.

The loops run over one-dimensional slices by unsigned indices, because only then does LLVM see that nothing wraps
around or overlaps and handles 32 bytes at a time: six times faster than ``out[i, j] = source[start + j]``.

Whatever a piece needs is done by few calls: each one gives Python's lock back and has to wait for it again, which on
two cores takes as long as to cut some hundred windows.

A window is cut from one place among gigabytes, which takes the memory longer to find than to copy: so windows are
asked for some turns before they are copied (`_AHEAD`; a third more windows a second on one thread).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from mfdstore.compiled import compiled

_AHEAD: Final = 8
_LINE: Final = 64
"""Bytes that a processor fetches at a time."""


def _define_prefetch(
    typing_context: Any, source: Any, index: Any
) -> tuple[Any, Any]:  # pragma: no cover - runs in the compiler
    """Ask for the memory of one element, without waiting for it; harmless where there is none."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.bitcast(builder.gep(array.data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", fnty=kind)
        builder.call(function, [place, number(0), number(3), number(1)])  # to read, to keep, data
        return context.get_dummy_value()

    return types.void(source, types.int64), generate


_prefetch: Any = intrinsic(_define_prefetch)


_INCREMENT: Final = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2: Final = np.uint64(0x94D049BB133111EB)


@compiled
def augment(
    tickets: NDArray[np.int64],
    n_rows: int,
    key: np.uint64,
    strand: int,
    max_shift: int,
    shift_all: int,
    rows: NDArray[np.int64],
    reverse: NDArray[np.bool_],
    shift: NDArray[np.int64],
) -> None:  # pragma: no cover - compiled
    """Find row, strand and shift of each ticket, as `sampler.draws.draw_augmentation` says.

    Parameters
    ----------
    tickets
        Shape ``(window,)``.
    n_rows
        Windows of the store.
    key
        Of the stream of draws.
    strand
        0 for all forward, 1 for all reverse, 2 for drawn.
    max_shift, shift_all
        Farthest drawn shift, and one of all windows, in bp.
    rows, reverse, shift
        To be filled, shape ``(window,)``.
    """
    spread = np.uint64(2 * max_shift + 1)
    for i in range(tickets.shape[0]):
        ticket = tickets[i]
        rows[i] = ticket if ticket < n_rows else ticket % n_rows
        state = key + (np.uint64(ticket) + np.uint64(1)) * _INCREMENT
        state = (state ^ (state >> np.uint64(30))) * _MULTIPLY_1
        state = (state ^ (state >> np.uint64(27))) * _MULTIPLY_2
        state = state ^ (state >> np.uint64(31))
        reverse[i] = state >> np.uint64(63) == np.uint64(1) if strand == 2 else strand == 1
        drawn = ((state & np.uint64(0xFFFFFFFF)) * spread) >> np.uint64(32)
        shift[i] = np.int64(drawn) - max_shift + shift_all


@compiled
def cut_windows(
    codes: NDArray[np.uint8],
    first: NDArray[np.int64],
    reverse: NDArray[np.bool_],
    place: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:  # pragma: no cover - compiled
    """Cut windows from one strand, as they are or as their reverse complement.

    The reverse complement of a code 4 a + b is 15 - (4 b + a); blank stays blank.

    Parameters
    ----------
    codes
        Of the forward strand, shape ``(base,)``.
    first
        First position that each window reads, in the forward strand, shape ``(window,)``.
    reverse
        Whether it is read from the other strand, shape ``(window,)``.
    place
        Row of `out` that it fills, shape ``(window,)``.
    out
        Shape ``(row, position)``.
    """
    width = out.shape[1]
    last = np.uint64(width - 1)
    n = first.shape[0]
    for i in range(n):
        if i + _AHEAD < n:
            begin = first[i + _AHEAD]
            for line in range(0, width + _LINE - 1, _LINE):
                _prefetch(codes, begin + line)
        window = codes[first[i] : first[i] + width]
        row = out[place[i]]
        if reverse[i]:
            for j in range(np.uint64(width)):
                code = window[last - j]
                swapped = np.uint8(np.uint8(code & np.uint8(3)) << np.uint8(2)) | np.uint8(
                    code >> np.uint8(2)
                )
                row[j] = np.uint8(np.uint8(15) - swapped) if code < np.uint8(16) else code
        else:
            for j in range(np.uint64(width)):
                row[j] = window[j]


@compiled
def copy_rows(
    source: NDArray[np.uint8], rows: NDArray[np.int64], place: NDArray[np.int64], out: NDArray[np.uint8]
) -> None:  # pragma: no cover - compiled
    """Copy rows of one table to rows of another.

    Parameters
    ----------
    source
        Shape ``(row, byte)``.
    rows
        To be copied, shape ``(window,)``.
    place
        Row of `out` that each fills, shape ``(window,)``.
    out
        Shape ``(row, byte)``.
    """
    width = out.shape[1]
    n = rows.shape[0]
    for i in range(n):
        if i + _AHEAD < n:
            ahead = source[rows[i + _AHEAD]]
            for line in range(0, width, _LINE):
                _prefetch(ahead, line)
        row = source[rows[i]]
        to = out[place[i]]
        for j in range(np.uint64(width)):
            to[j] = row[j]


@compiled
def cut_piece(
    codes: NDArray[np.uint8],
    centre: NDArray[np.int64],
    label_bits: NDArray[np.uint8],
    rows: NDArray[np.int64],
    reverse: NDArray[np.bool_],
    shift: NDArray[np.int64],
    out: NDArray[np.uint8],
    out_bits: NDArray[np.uint8],
) -> None:  # pragma: no cover - compiled
    """Cut windows and their labels out of what is held whole.

    Parameters
    ----------
    codes, centre, label_bits
        Of `ram.RamData`, shapes ``(base,)``, ``(window,)`` and ``(window, label_byte)``.
    rows, reverse, shift
        Of the windows, shape ``(window,)``.
    out, out_bits
        To be filled, shapes ``(window, position)`` and ``(window, label_byte)``.
    """
    n = rows.shape[0]
    first = np.empty(n, np.int64)
    place = np.empty(n, np.int64)
    half = out.shape[1] // 2
    for i in range(n):
        first[i] = centre[rows[i]] + shift[i] - half
        place[i] = i
    cut_windows(codes, first, reverse, place, out)
    copy_rows(label_bits, rows, place, out_bits)


@compiled
def cut_stretch(
    source: NDArray[np.uint8],
    origin: int,
    label_bits: NDArray[np.uint8],
    first_row: int,
    first: NDArray[np.int64],
    rows: NDArray[np.int64],
    reverse: NDArray[np.bool_],
    place: NDArray[np.int64],
    out: NDArray[np.uint8],
    out_bits: NDArray[np.uint8],
) -> None:  # pragma: no cover - compiled
    """Cut windows that lie near each other, and their labels, out of what was read of each.

    Parameters
    ----------
    source, origin
        Codes of a stretch of the chromosome, shape ``(base,)``, and the position of the first.
    label_bits, first_row
        Labels of a chunk, shape ``(row, label_byte)``, and the row of the first in the store.
    first, rows, reverse
        First position that each window reads, its row in the store, and its strand, shape ``(window,)``.
    place, out, out_bits
        As of `cut_windows` and `copy_rows`.
    """
    n = rows.shape[0]
    here = np.empty(n, np.int64)
    for i in range(n):
        here[i] = first[i] - origin
    cut_windows(source, here, reverse, place, out)
    for i in range(n):
        here[i] = rows[i] - first_row
    copy_rows(label_bits, here, place, out_bits)


@compiled
def expand_codes(
    codes: NDArray[np.uint8], zero_one: NDArray[Any], out: NDArray[Any]
) -> None:  # pragma: no cover - compiled
    """Set the channel of each code; a code that has no channel (blank) sets none.

    Parameters
    ----------
    codes
        Shape ``(window, position)``.
    zero_one
        What stands for 0 and for 1, shape ``(2,)``.
    out
        Same dtype as `zero_one`, shape ``(window, dinucleotide, position)``.
    """
    zero, one = zero_one[0], zero_one[1]
    for i in range(codes.shape[0]):
        row = codes[i]
        for channel in range(out.shape[1]):
            track = out[i, channel]
            for j in range(np.uint64(row.shape[0])):
                track[j] = one if row[j] == channel else zero


@compiled
def expand_bits(
    bits: NDArray[np.uint8], zero_one: NDArray[Any], out: NDArray[Any]
) -> None:  # pragma: no cover - compiled
    """Spread packed bits over columns, the highest bit of a byte first; what is left over is left out.

    Parameters
    ----------
    bits
        Shape ``(window, label_byte)``.
    zero_one
        What stands for 0 and for 1, shape ``(2,)``.
    out
        Same dtype as `zero_one`, shape ``(window, experiment)``.
    """
    zero, one = zero_one[0], zero_one[1]
    n_whole = out.shape[1] // 8
    for i in range(bits.shape[0]):
        row = bits[i]
        spread = out[i]
        for byte in range(n_whole):
            held = row[byte]
            eight = spread[8 * byte : 8 * byte + 8]
            for bit in range(8):
                eight[bit] = one if (held >> (7 - bit)) & 1 else zero
        for j in range(8 * n_whole, out.shape[1]):
            spread[j] = one if (row[j >> 3] >> (7 - (j & 7))) & 1 else zero
