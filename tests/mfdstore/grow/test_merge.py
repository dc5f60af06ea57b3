"""Stores put together are what a build of all sources would be, or what numpy makes of their arrays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as tries
from hypothesis import strategies as st

from mfdstore.errors import ConfigError, MfdError, StoreError
from mfdstore.grow.choice import Choice
from mfdstore.grow.merge import merge_stores
from mfdstore.grow.subset import subset_store
from mfdstore.metadata import Factor, FactorTable
from mfdstore.store import Store
from mfdstore.verify import verify_store
from mfdstore.writer import StoreWriter
from tests.mfdstore.conftest import Little
from tests.mfdstore.grow.parts import bins_of, build_part, check_sound, differing_arrays, files_of, labels_of
from tests.worlds import ACCESSIONS, World

FIRST, SECOND = ACCESSIONS[:6], ACCESSIONS[6:]


def _parts(world: World, folder: Path, **changes: object) -> list[Path]:
    return [
        build_part(world, folder / str(index), names, **changes)[0]  # type: ignore[arg-type]
        for index, names in enumerate((FIRST, SECOND))
    ]


# ---- experiments side by side


@pytest.mark.parametrize(("least", "windows"), [(0, "intersection"), (0, "union"), (1, "union")])
def test_merge__where_all_labels_are_known_it_is_a_build_of_all(
    little: Little, tmp_path: Path, least: int, windows: str
) -> None:
    parts = _parts(little.world, tmp_path, min_experiments=least)
    built, sources = build_part(little.world, tmp_path / "all", ACCESSIONS, min_experiments=least)
    done = merge_stores(parts, tmp_path / "x.zarr", windows=windows)  # type: ignore[arg-type]
    assert done.digest == Store(built).digest
    assert done.complete
    mine, theirs = Store(done.path).provenance, Store(built).provenance
    assert {key: mine[key] for key in ("peaks", "fasta", "blacklist")} == {
        key: theirs[key] for key in ("peaks", "fasta", "blacklist")
    }
    assert mine["settings"]["min_experiments"] == least
    check_sound(done.path, sources)


def test_merge__keeps_the_windows_that_all_hold(little: Little, tmp_path: Path) -> None:
    parts = _parts(little.world, tmp_path)
    before = [files_of(part) for part in parts]
    done = merge_stores(parts, tmp_path / "x.zarr")
    assert [files_of(part) for part in parts] == before
    both = [one for one in bins_of(parts[0]) if one in bins_of(parts[1])]
    assert bins_of(done.path) == both
    rows = [little.expected.bins.index(one) for one in both]
    np.testing.assert_array_equal(labels_of(done.path), little.expected.labels[rows])
    assert list(Store(done.path).experiments) == ACCESSIONS
    assert (done.min_experiments, done.complete) == (2, False)
    for number, part in enumerate(parts, start=1):
        n = len(bins_of(part)) - len(both)
        assert done.counts[f"windows_left_out_of_store_{number}"] == n
        assert any(f"{n:,} of {len(bins_of(part)):,} windows of {part}" in note for note in done.notes) == (
            n > 0
        )
    assert done.notes
    noted = Store(done.path).provenance
    assert [parent["digest"] for parent in noted["parents"]] == [Store(part).digest for part in parts]
    assert noted["asked"] == {"windows": "intersection", "splits": "agree"}
    check_sound(done.path, little.sources)


def test_merge__factors_are_those_of_a_build_of_all(little: Little, tmp_path: Path) -> None:
    done = merge_stores(_parts(little.world, tmp_path), tmp_path / "x.zarr")
    merged, whole = Store(done.path).factors, little.store.factors
    assert merged.names == whole.names
    for factor in whole:
        assert replace(merged[factor.name], values=factor.values) == factor
        np.testing.assert_array_equal(merged[factor.name].missing, factor.missing)
        known = ~factor.missing
        np.testing.assert_array_equal(merged[factor.name].values[known], factor.values[known])


def test_merge__refuses_labels_that_are_not_known(little: Little, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError,
        match="windows of the other stores on chr1 that it lacks; expected labels of its experiments in them, but they "
        "are not known: it leaves out bins that fewer than 2 of its experiments label",
    ):
        merge_stores(_parts(little.world, tmp_path), tmp_path / "x.zarr", windows="union")
    assert not list(tmp_path.glob("*x.zarr*"))


def test_merge__union_takes_only_absences_that_tell(little: Little, tmp_path: Path) -> None:
    def refused(parts: list[Path], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            merge_stores(parts, tmp_path / "x.zarr", windows="union")

    first, second = _parts(little.world, tmp_path, min_experiments=1)
    cut = subset_store(first, tmp_path / "cut.zarr", Choice(regions=("chr1", "chr9", "chr8:0-600"))).path
    refused(
        [cut, second],
        "on chr8 that it lacks.*bins are lacking in it for other reasons .windows were chosen by",
    )
    one = subset_store(first, tmp_path / "one.zarr", Choice(chroms=("chr1", "chr8"))).path
    refused([one, second], "on chr9 that it lacks.*it does not hold chr9")
    bare = _parts(little.world, tmp_path / "bare", blacklist=False, min_experiments=1)[1]
    refused([first, bare], "the stores were built with different blacklists")
    # a store that holds all that the others do need not say anything of absences
    whole = build_part(little.world, tmp_path / "whole", SECOND, min_experiments=0)[0]
    done = merge_stores([first, whole], tmp_path / "y.zarr", windows="union")
    assert bins_of(done.path) == bins_of(whole)
    assert (done.min_experiments, done.complete) == (0, True)
    check_sound(done.path, little.sources)


def test_merge__of_different_blacklists_keeps_what_passes_both(little: Little, tmp_path: Path) -> None:
    first = _parts(little.world, tmp_path)[0]
    bare = _parts(little.world, tmp_path / "bare", blacklist=False)[1]
    done = merge_stores([bare, first], tmp_path / "x.zarr")
    assert set(bins_of(done.path)) == set(bins_of(first)) & set(bins_of(bare))
    assert Store(done.path).provenance["blacklist"] == Store(first).provenance["blacklist"]
    check_sound(done.path, little.sources)


# ---- windows one after another


def test_merge__of_chromosomes_is_a_build_of_all(little: Little, tmp_path: Path) -> None:
    blocks = {"blocks": (0.5, 0.25, 0.25), "gap": 0}
    chroms = ("chr1", "chr8", "chr9")
    parts = [
        build_part(little.world, tmp_path / chrom, ACCESSIONS, chroms=(chrom,), **blocks)[0]
        for chrom in chroms
    ]
    built, sources = build_part(little.world, tmp_path / "all", ACCESSIONS, chroms=chroms, **blocks)
    done = merge_stores(parts, tmp_path / "x.zarr")
    assert done.digest == Store(built).digest
    assert (done.complete, done.notes) == (True, ())
    assert Store(done.path).provenance["settings"] == Store(built).provenance["settings"]
    check_sound(done.path, sources)
    # in another order only the chromosomes stand in another order
    turned = merge_stores(parts[::-1], tmp_path / "y.zarr")
    assert Store(turned.path).chroms == chroms[::-1]
    assert sorted(bins_of(turned.path)) == sorted(bins_of(built))
    check_sound(turned.path, sources)
    again = merge_stores([done.path, turned.path], tmp_path / "z.zarr")
    assert again.digest == done.digest


def test_merge__of_splits_and_regions_gives_the_whole(little: Little, tmp_path: Path) -> None:
    cuts = [
        Choice(splits=("valid", "test")),
        Choice(regions=("chr1:0-3000",)),
        Choice(regions=("chr1:2,000-5,157",)),
    ]
    parts = [subset_store(little.path, tmp_path / f"{i}.zarr", cut).path for i, cut in enumerate(cuts)]
    done = merge_stores([parts[1], parts[0], parts[2]], tmp_path / "x.zarr")
    assert differing_arrays(done.path, little.path) == ["sequence/chrUn_1"]
    assert done.min_experiments == 2
    check_sound(done.path, little.sources)


@st.composite
def cuts(draw: st.DrawFn) -> tuple[list[str], list[str], int]:
    """Draw two lists of experiments that hold all of them, some in both, and a base to cut a chromosome at."""
    sides = draw(st.lists(st.sampled_from([1, 2, 3]), min_size=len(ACCESSIONS), max_size=len(ACCESSIONS)))
    sides[0], sides[-1] = 1, 2
    first, second = (
        [name for name, side in zip(ACCESSIONS, sides, strict=True) if side & bit] for bit in (1, 2)
    )
    return first, second, draw(st.integers(1, 39)) * 128


@tries(max_examples=6)
@given(cut=cuts())
def test_merge__of_parts_gives_the_whole_and_parts_of_it_the_parts(
    little: Little, tmp_path_factory: pytest.TempPathFactory, cut: tuple[list[str], list[str], int]
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    first, second, base = cut
    left, right = (
        subset_store(little.path, folder / f"{name}.zarr", Choice(experiments=tuple(names))).path
        for name, names in (("left", first), ("right", second))
    )
    # one side in two pieces along a chromosome
    pieces = [
        subset_store(left, folder / f"{name}.zarr", Choice(regions=regions)).path
        for name, regions in (("a", (f"chr1:0-{base}",)), ("b", (f"chr1:{base}-5157", "chr8", "chr9")))
        if any(chrom != "chr1" or (start < base) == (name == "a") for chrom, start in little.expected.bins)
        and (name == "b" or any(start < base for _, start in little.expected.bins))
    ]
    done = merge_stores([*pieces, right], folder / "x.zarr")
    assert bins_of(done.path) == little.expected.bins
    names = Store(done.path).experiments
    columns = [ACCESSIONS.index(name) for name in names]
    assert sorted(columns) == list(range(len(ACCESSIONS)))
    np.testing.assert_array_equal(labels_of(done.path), little.expected.labels[:, columns])
    assert verify_store(done.path).sound
    back = subset_store(done.path, folder / "back.zarr", Choice(experiments=tuple(first)))
    assert differing_arrays(back.path, left) == []


# ---- the same experiment in several stores


def test_merge__an_experiment_in_both_is_one(little: Little, tmp_path: Path) -> None:
    parts = [
        subset_store(little.path, tmp_path / f"{i}.zarr", Choice(experiments=tuple(names))).path
        for i, names in enumerate((ACCESSIONS[:7], ACCESSIONS[5:]))
    ]
    done = merge_stores(parts, tmp_path / "x.zarr")
    assert differing_arrays(done.path, little.path) == ["sequence/chrUn_1"]
    assert len(Store(done.path).provenance["peaks"]) == len(ACCESSIONS)


def test_merge__refuses_another_file_of_an_experiment(little: Little, tmp_path: Path) -> None:
    world = World()
    world.peaks["ENCFF003AAA"]["chr1"].append((0, 5))
    other = build_part(world, tmp_path / "b", ACCESSIONS)[0]
    with pytest.raises(
        ConfigError, match=r"found experiment ENCFF003AAA from a file of md5 \w+, in .*little\.zarr"
    ):
        merge_stores([little.path, other], tmp_path / "x.zarr")


def _write(
    path: Path,
    factors: FactorTable,
    *,
    labels: list[list[int]],
    splits: list[int] | None = None,
    starts: list[int] | None = None,
    genome: str = "planted",
    bin_size: int = 128,
    min_overlap: int = 64,
    codes: int = 3,
    chrom: str = "chr1",
) -> Path:
    """Write a store by hand: one chromosome of twenty bins of 128 bp, of one letter."""
    writer = StoreWriter(path, factors, [chrom], [2560])
    writer.write_codes(chrom, np.full(2560, codes, np.uint8))
    bits = np.packbits(np.array(labels, bool), axis=1)
    at = np.array(starts or range(len(labels)), np.int32) * bin_size
    writer.append_windows(chrom, at, np.array(splits or [0] * len(labels), np.int8), bits)
    writer.close(
        {
            "genome": genome,
            "bin_size": bin_size,
            "min_overlap": min_overlap,
            "min_experiments": 0,
            "provenance": {},
        }
    )
    return path


def _texts(name: str, *values: object, role: str | None = "biological") -> Factor:
    held = np.empty(len(values), object)
    held[:] = values
    return Factor(name, "category", role, held)  # type: ignore[arg-type]


def _numbers(name: str, *values: float, unit: str = "", role: str | None = "biological") -> Factor:
    return Factor(name, "number", role, np.array(values, float), unit)  # type: ignore[arg-type]


A = FactorTable(
    ("a", "b"), (_texts("target", "CTCF", None), _numbers("age", 3, np.nan), _texts("lab", "x", "y"))
)
B = FactorTable(
    ("b", "c"), (_texts("target", "MAX", "YY1"), _texts("organ", None, "lung"), _texts("lab", "y", None))
)


def test_merge__knows_a_value_from_any_store(tmp_path: Path) -> None:
    first = _write(tmp_path / "a", A, labels=[[1, 0], [0, 1]])
    second = _write(tmp_path / "b", B, labels=[[0, 1], [1, 0]])
    done = merge_stores([first, second], tmp_path / "x.zarr")
    factors = Store(done.path).factors
    assert factors.experiments == ("a", "b", "c")
    assert factors.names == ("target", "organ", "age", "lab")
    assert list(factors["target"].values) == ["CTCF", "MAX", "YY1"]
    assert list(factors["organ"].values) == [None, None, "lung"]
    assert list(factors["lab"].values) == ["x", "y", None]
    np.testing.assert_array_equal(factors["age"].values, [3, np.nan, np.nan])
    np.testing.assert_array_equal(labels_of(done.path), [[1, 0, 1], [0, 1, 0]])
    assert verify_store(done.path).sound
    assert not done.complete


def _changed(name: str, factor: Factor) -> FactorTable:
    return FactorTable(B.experiments, tuple(factor if one.name == name else one for one in B))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [[1, 1], [1, 0]]}, "found another label of experiment b at chr1:0 than in the stores before it"),
        ({"factors": _changed("target", _numbers("target", 1, 2))}, "target of kind number; expected kind category"),
        ({"factors": _changed("organ", _numbers("age", 1, 2, unit="week"))}, "age of unit week; expected unit none"),
        ({"factors": _changed("lab", _texts("lab", "y", "z", role="technical"))}, "factor lab of role technical"),
        ({"factors": _changed("lab", _texts("lab", "z", "z"))}, "found lab 'z' of experiment b; expected 'y', as in"),
        ({"splits": [0, 2]}, "1 windows on chr1 of another split than in .*a, such as chr1:128, test here"),
        ({"starts": [7, 9]}, "found no window that all hold"),
        ({"genome": "hg38"}, "found genome hg38; expected genome planted"),
        ({"bin_size": 64}, "found bins of 64 bp; expected bins of 128 bp"),
        ({"min_overlap": 3}, "found an overlap of 3 bp; expected an overlap of 64 bp"),
        ({"codes": 2}, "found another sequence of chr1"),
        ({"chrom": "chr2"}, "found no window that all hold"),
    ],
)  # fmt: skip
def test_merge__refuses_stores_that_contradict_or_do_not_fit(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    first = _write(tmp_path / "a", A, labels=[[1, 0], [0, 1]])
    told: dict[str, object] = {"factors": B, "labels": [[0, 1], [1, 0]]} | change
    second = _write(tmp_path / "b", **told)  # type: ignore[arg-type]
    with pytest.raises(MfdError, match=message) as caught:
        merge_stores([first, second], tmp_path / "x.zarr")
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_merge__of_a_column_that_is_missing_for_all_takes_the_others_kind(tmp_path: Path) -> None:
    first = _write(tmp_path / "a", A, labels=[[1, 0]])
    second = _write(tmp_path / "b", _changed("organ", _texts("age", None, None)), labels=[[0, 1]])
    done = merge_stores([second, first], tmp_path / "x.zarr")
    assert Store(done.path).factors["age"].kind == "number"


def test_merge__takes_the_split_of_the_first_if_asked(tmp_path: Path) -> None:
    first = _write(tmp_path / "a", A, labels=[[1, 0], [0, 1]], splits=[1, 0])
    second = _write(tmp_path / "b", B, labels=[[0, 1], [1, 0]], splits=[0, 2])
    done = merge_stores([first, second], tmp_path / "x.zarr", splits="first")
    assert list(Store(done.path).windows.split) == [1, 0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path, out: merge_stores([path], out), "found 1; expected two or more"),
        (lambda path, out: merge_stores([path, path], out, windows="all"), "--windows: found 'all'; expected inter"),
        (lambda path, out: merge_stores([path, path], out, splits="last"), "--splits: found 'last'"),
        (lambda path, out: merge_stores([path, path], path), "found something there already"),
        (lambda path, out: merge_stores([path, path], path / "x"), "within the store"),
        (lambda path, out: merge_stores([path, out], out), "found no directory"),
    ],
)  # fmt: skip
def test_merge__wants_stores_and_a_free_name(
    little: Little, tmp_path: Path, call: Callable[[Path, Path], object], message: str
) -> None:
    with pytest.raises(MfdError, match=message):
        call(little.path, tmp_path / "x.zarr")
    assert list(tmp_path.iterdir()) == []


def test_merge__of_windows_that_are_no_bins_is_refused(tmp_path: Path) -> None:
    first = _write(tmp_path / "a", A, labels=[[1, 0], [0, 1]])
    second = _write(tmp_path / "b", B, labels=[[0, 1], [1, 0]], starts=[3, 40])
    with pytest.raises(
        StoreError, match="windows that are not ascending bins, each once and within its chromosome"
    ):
        merge_stores([first, second], tmp_path / "x.zarr")


_KILLED = """
    import os, signal, sys
    from pathlib import Path
    from mfdstore.grow.merge import merge_stores

    def die(what, done, total):
        if what == "labels by window":
            os.kill(os.getpid(), signal.SIGKILL)

    merge_stores([Path(sys.argv[1])] * 2, Path(sys.argv[2]), on_progress=die)
"""


def test_merge__killed_leaves_nothing_under_the_name(little: Little, tmp_path: Path) -> None:
    out = tmp_path / "x.zarr"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_KILLED), str(little.path), str(out)],
        env=environment,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert not out.exists()
    assert merge_stores([little.path] * 2, out).digest == little.report.digest
    assert [path.name for path in tmp_path.iterdir()] == ["x.zarr"]
