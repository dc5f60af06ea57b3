"""What a training has read, against a set of bases; scoring them elsewhere is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfdmodel.checkpoint.seen import check_unseen, read_seen, seen_spans, write_seen
from mfdmodel.checkpoint.states import write_state
from mfdmodel.config import DataConfig
from mfdmodel.evaluate.run import evaluate_run
from mfdmodel.train.fit import train
from mfdstore.errors import RunError
from mfdstore.schema import SPLITS
from mfdstore.store import Store
from mfdstore.windows import WindowTable
from tests.planted import tiny_config, write_planted_store

BIN = 8
CHROMS = ("chr1", "chr2")

rows = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 60), st.sampled_from(SPLITS)),
    max_size=12,
    unique_by=lambda r: r[:2],
)


def a_store(content: list[tuple[int, int, str]]) -> Store:
    content = sorted(content)
    table = WindowTable(
        CHROMS,
        np.array([chrom for chrom, _, _ in content], np.int16),
        np.array([BIN * number for _, number, _ in content], np.int32),
        np.array([SPLITS.index(split) for _, _, split in content], np.int8),  # type: ignore[arg-type]
        BIN,
    )
    return cast("Store", SimpleNamespace(windows=table, path=Path("other.zarr")))


def bases_read(
    content: list[tuple[int, int, str]], splits: dict[str, int], positions: int
) -> set[tuple[int, int]]:
    """Every base, one by one: a window of P positions round the middle of its bin has P + 1."""
    return {
        (chrom, base)
        for chrom, number, split in content
        if split in splits
        for shift in range(-splits[split], splits[split] + 1)
        for base in range(
            number * BIN + BIN // 2 - positions // 2 + shift,
            number * BIN + BIN // 2 - positions // 2 + positions + 1 + shift,
        )
    }


@given(trained=rows, scored=rows, positions=st.integers(1, 30), shift=st.integers(0, 9))
def test_check_unseen__refuses_just_when_a_base_was_read(
    tmp_path_factory: pytest.TempPathFactory,
    trained: list[Any],
    scored: list[Any],
    positions: int,
    shift: int,
) -> None:
    run = tmp_path_factory.getbasetemp() / "seen"
    write_seen(run, seen_spans(a_store(trained), DataConfig(positions=positions, max_shift=shift)))
    spans = read_seen(run)
    known = bases_read(trained, {"train": shift, "valid": 0}, positions)
    assert known == {
        (CHROMS.index(chrom), base)
        for chrom, pairs in spans.items()
        for a, b in pairs
        for base in range(a, b)
    }
    for pairs in spans.values():
        assert (pairs[1:, 0] > pairs[:-1, 1]).all()
    if known & bases_read(scored, {"test": 0}, positions):
        with pytest.raises(RunError, match=r"other\.zarr: found \d+ windows of split test on chr"):
            check_unseen(run, a_store(scored), split="test", positions=positions)
    else:
        check_unseen(run, a_store(scored), split="test", positions=positions)


def test_read_seen__explains_damage(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"seen\.safetensors"):
        read_seen(tmp_path)
    for content in ({}, {"spans": 3}, {"spans": {"chr1": 3}}):
        write_state(tmp_path / "model" / "seen.safetensors", cast("Any", content))
        with pytest.raises(RunError, match="damaged"):
            read_seen(tmp_path)


def test_evaluate_run__refuses_windows_of_another_store_that_were_trained_on(
    planted: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny_config(epochs=1), store=planted, run=tmp_path / "run", device="cpu", threads=1)
    turned = write_planted_store(tmp_path / "turned.zarr", splits=("test", "valid", "train"))
    with pytest.raises(RunError, match=r"split test on chr1 .* was trained on, the first at chr1:0"):
        evaluate_run(tmp_path / "run", store=turned.path, device="cpu", threads=1)
    assert not (tmp_path / "run" / "evaluation").exists()
    monkeypatch.setattr("tests.planted.GENOME_ATTRIBUTE", "another")
    foreign = write_planted_store(tmp_path / "foreign.zarr")
    with pytest.raises(RunError, match="of the genome another; expected planted"):
        evaluate_run(tmp_path / "run", store=foreign.path, device="cpu", threads=1)
