"""Repairs the labels: either order from the other where that holds, else from the peaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mfdstore import schema
from mfdstore.bitmaps import turn_rows
from mfdstore.build.crew import Crew
from mfdstore.build.labels import write_lines
from mfdstore.build.peaks import PER_PIECE
from mfdstore.repair.bench import Bench
from mfdstore.repair.peaks import kept_of, raster
from mfdstore.store import Store
from mfdstore.verify.arrays import block_of_windows
from mfdstore.verify.report import Damage

_ROWS: Final = schema.LABEL_BITS
_LINES: Final = schema.LABEL_BITS_BY_EXPERIMENT
_AT_ONCE: Final = 16
"""Shards of lines that are made from rows at a time: each holds the labels of eight experiments."""
_STEP: Final = 1 << 16
"""Windows turned at a time."""


def mend_labels(
    bench: Bench, store: Store, damage: Mapping[str, Damage], peaks: Path | None, crew: Crew
) -> None:
    """Repair both orders of the labels.

    Parameters
    ----------
    bench, store
        What is under repair.
    damage
        By file: which windows of it are lost.
    peaks
        Folder of the peak files, needed only for what is lost in both orders.
    crew
        Who reads peak files.

    Raises
    ------
    SourceError
        If a peak file is not the one that the store was built from.
    """
    lost_rows = [span for file in bench.faults_of(_ROWS) for span in damage[file].windows]
    lines = bench.faults_of(_LINES)
    in_both = [file for file in lines if _overlap(damage[file].windows, lost_rows)]
    in_rows = [file for file in lines if file not in in_both]
    for first in range(0, len(in_rows), _AT_ONCE):
        _lines_from_rows(bench, store, damage, in_rows[first : first + _AT_ONCE])
    if in_both:
        _lines_from_peaks(bench, store, in_both, peaks, crew)
    if bench.faults_of(_ROWS):
        if bench.is_whole(_LINES):
            _rows_from_lines(bench, store)
        else:
            bench.give_up(_ROWS, "labels by experiment are lost too; pass --peaks")


def _overlap(first: Sequence[tuple[int, int]], second: Sequence[tuple[int, int]]) -> bool:
    return any(low < behind and begin < high for low, high in first for begin, behind in second)


def _lines_from_rows(bench: Bench, store: Store, damage: Mapping[str, Damage], files: Sequence[str]) -> None:
    """Make shards of lines: what holds of them is kept, the rest is turned from rows."""
    stored, rows = store.array(_LINES), store.array(_ROWS)
    pieces = {file: int(file.split("/")[-2]) for file in files}
    counts = {file: min(PER_PIECE, store.n_experiments - piece * PER_PIECE) for file, piece in pieces.items()}
    made = {file: np.zeros((counts[file], stored.shape[1]), np.uint8) for file in files}
    step = 8 * stored.chunks[1]
    for begin in range(0, store.n_windows, step):
        end = min(begin + step, store.n_windows)
        columns = slice(begin // 8, schema.n_bytes(end))
        lost = [file for file in files if _overlap(damage[file].windows, [(begin, end)])]
        for file in files:
            if file not in lost:
                first = pieces[file] * PER_PIECE
                made[file][:, columns] = stored[first : first + counts[file], columns]
        if lost:
            _turn(rows, begin, end, {pieces[file]: made[file] for file in lost})
    for file in files:
        first = pieces[file] * PER_PIECE
        bench.prepare(_LINES)[first : first + counts[file]] = made[file]
        bench.put(file, (bench.folder / "store" / file).read_bytes(), "labels by window")


def _turn(rows: object, begin: int, end: int, lines: Mapping[int, NDArray[np.uint8]]) -> None:
    """Turn rows of windows [begin, end) into lines of some pieces."""
    for first in range(begin, end, _STEP):
        stop = min(first + _STEP, end)
        block = np.asarray(rows[first:stop])  # type: ignore[index]
        for piece, line in lines.items():
            turned = np.zeros((len(line), schema.n_bytes(stop - first)), np.uint8)
            turn_rows(np.ascontiguousarray(block[:, piece : piece + 1]), turned)
            line[:, first // 8 : schema.n_bytes(stop)] = turned


def _lines_from_peaks(
    bench: Bench, store: Store, files: Sequence[str], peaks: Path | None, crew: Crew
) -> None:
    """Make shards of lines as the build does."""
    reason = None
    if peaks is None:
        reason = "the same labels by window are lost too; pass --peaks"
    elif not bench.is_whole(schema.EXPERIMENT):
        reason = "the experiments are lost"
    elif not (bench.is_whole(schema.START) and bench.is_whole(schema.CHROM)):
        reason = "the places of the windows are lost"
    if reason or peaks is None:
        for file in files:
            bench.reasons[file] = reason or ""
        return
    pieces = [int(file.split("/")[-2]) for file in files]
    runs = raster(bench, store, peaks, pieces, crew)
    kept = kept_of(bench, store)
    kept.write_rank(int(kept.chromosomes[-1].end))
    bench.prepare(_LINES)
    for file, piece in zip(files, pieces, strict=True):
        write_lines(bench.folder, runs, piece, store.n_windows)
        bench.put(file, (bench.folder / "store" / file).read_bytes(), "the peaks")


def _rows_from_lines(bench: Bench, store: Store) -> None:
    """Make shards of rows: seen from the lines, windows are to experiments what they are to windows."""
    stored, prepared = store.array(_LINES), bench.prepare(_ROWS)
    step = (prepared.shards or prepared.chunks)[0]
    block = block_of_windows(prepared.shape[1])
    blocks: dict[int, list[str]] = {}
    for file in bench.faults_of(_ROWS):
        blocks.setdefault(int(file.split("/")[-2]) * step // block, []).append(file)
    for files in blocks.values():
        # a chunk of lines spans many shards of rows: it is read once for all of them
        spans = [_span_of(file, step, store.n_windows) for file in files]
        first = min(begin for begin, _ in spans) // 8 * 8
        end = max(behind for _, behind in spans)
        columns = np.asarray(stored[:, first // 8 : schema.n_bytes(end)])
        for file, (begin, behind) in zip(files, spans, strict=True):
            low = begin // 8 * 8
            rows = np.zeros((behind - low, prepared.shape[1]), np.uint8)
            part = columns[:, (low - first) // 8 : schema.n_bytes(behind) - first // 8]
            turn_rows(np.ascontiguousarray(part), rows)
            prepared[begin:behind] = rows[begin - low :]
            bench.put(file, (bench.folder / "store" / file).read_bytes(), "labels by experiment")


def _span_of(file: str, step: int, n_windows: int) -> tuple[int, int]:
    """Give the first window of a shard of rows and the one behind it."""
    begin = int(file.split("/")[-2]) * step
    return begin, min(begin + step, n_windows)
