"""Judges of what an epoch is: sets of windows over processes, resumed runs, padded ends, trainers that others wrote."""

from __future__ import annotations

import itertools
import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader

from mfdstore.errors import ConfigError
from mfdstore.loader import Batch, BatchDataset, Loader, RamData, WindowDataset
from mfdstore.loader import loader as loader_module
from mfdstore.loader.on_device import DeviceData
from mfdstore.loader.stream import StreamData

Options = dict[str, Any]


@pytest.fixture(scope="module")
def data(store: Any) -> RamData:
    return RamData(store)


# stopped and resumed


@given(
    shuffle=st.sampled_from(["none", "full", "blocks"]),
    legs=st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 4), st.integers(1, 25)), min_size=1, max_size=3
    ),
    last=st.tuples(st.integers(1, 4), st.integers(1, 25)),
)
def test_state__each_window_once_over_any_numbers_of_processes(
    store: Any, data: RamData, shuffle: Any, legs: list[tuple[int, int, int]], last: tuple[int, int]
) -> None:
    options: Options = {
        "positions": 10,
        "shuffle": shuffle,
        "block": 16,
        "pool": 64,
        "threads": 0,
        "data": data,
        "split": "train",
    }
    seen: Counter[int] = Counter()
    state: Any = None
    for world_size, n_batches, batch_size in legs:
        states = []
        for rank in range(world_size):
            loader = Loader(store, batch_size=batch_size, rank=rank, world_size=world_size, **options)
            if state is not None:
                loader.load_state_dict(state)
            iterator = iter(loader)
            # processes of a run step together: they stop where the first of them would run out
            whole = min(n_batches, 100 // (world_size * batch_size) - len(legs))
            for batch in itertools.islice(iterator, max(0, whole)):
                seen.update(batch.window.tolist())
            states.append(json.dumps(loader.state_dict()))
        assert len(set(states)) == 1
        state = json.loads(states[0])
        if state["epoch"] == 1:
            break  # that was all of it, and the state is that of the next epoch's start
    world_size, batch_size = last
    for rank in range(world_size if state["epoch"] == 0 else 0):
        loader = Loader(store, batch_size=batch_size, rank=rank, world_size=world_size, **options)
        loader.load_state_dict(state)
        for batch in loader:
            seen.update(batch.window.tolist())
    assert seen == dict.fromkeys(range(100), 1)


def test_state__of_a_whole_epoch_begins_the_next(store: Any, data: RamData) -> None:
    loader = Loader(store, batch_size=64, positions=10, shuffle=True, data=data)
    first, second = list(loader), loader.state_dict()
    again = Loader(store, batch_size=64, positions=10, shuffle=True, data=data)
    again.load_state_dict(second)
    for left, right in zip(loader, again, strict=True):
        assert torch.equal(left.window, right.window)
    assert not torch.equal(first[0].window, left.window)


@pytest.mark.parametrize("change", [{"seed": 1}, {"shuffle": "blocks"}, {"split": "train"}])
def test_state__of_another_order_is_refused(store: Any, data: RamData, change: Options) -> None:
    options: Options = {"batch_size": 8, "positions": 10, "shuffle": "full", "data": data}
    state = Loader(store, **options).state_dict()
    with pytest.raises(ConfigError, match=r"state of the loader: found one of (seed|shuffle|windows)"):
        Loader(store, **options | change).load_state_dict(state)


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("left"),
        lambda state: state.update(left=[[0, 10_000]]),
        lambda state: state.update(version=7),
        lambda state: state.update(epoch="two"),
        lambda state: state.clear(),
    ],
)
def test_state__that_cannot_be_read_is_refused(store: Any, data: RamData, damage: Any) -> None:
    loader = Loader(store, batch_size=8, positions=10, data=data)
    state = loader.state_dict()
    damage(state)
    with pytest.raises(ConfigError, match="one that cannot be read"):
        loader.load_state_dict(state)


# ends


@given(world_size=st.integers(1, 7), batch_size=st.integers(1, 60), shuffle=st.booleans())
def test_pad__gives_all_processes_equally_many_full_batches(
    store: Any, data: RamData, world_size: int, batch_size: int, shuffle: bool
) -> None:
    seen: Counter[int] = Counter()
    lengths = set()
    for rank in range(world_size):
        loader = Loader(
            store,
            split="test",
            batch_size=batch_size,
            positions=10,
            pad=True,
            shuffle=shuffle,
            rank=rank,
            world_size=world_size,
            threads=0,
            data=data,
        )
        batches = list(loader)
        lengths.add(len(batches))
        assert len(loader) == len(batches)
        for batch in batches:
            assert len(batch) == batch_size
            assert batch.codes[~batch.mask].eq(16).all()
            assert not batch.label_bits[~batch.mask].any()
            seen.update(batch.window[batch.mask].tolist())
    assert len(lengths) == 1
    assert seen == dict.fromkeys(range(200, 300), 1)


def test_pad_and_drop_last__exclude_each_other(store: Any, data: RamData) -> None:
    with pytest.raises(ConfigError, match="drop_last, pad: found both"):
        Loader(store, batch_size=8, drop_last=True, pad=True, data=data)


# views


@pytest.mark.parametrize("kind", ["ram", "stream", "device"])
def test_views__are_the_windows_as_from_a_string(store: Any, data: RamData, kind: str) -> None:
    content = {
        "ram": lambda: data,
        "stream": lambda: StreamData(store),
        "device": lambda: DeviceData(store, "cpu"),
    }
    loader = Loader(store, split="valid", batch_size=30, positions=100, data=content[kind]())
    seen = []
    for views in loader.views(("forward", "reverse"), shifts=(-2, 0, 5)):
        assert len(views) == 6
        for view, (reverse, shift) in zip(views, itertools.product((False, True), (-2, 0, 5)), strict=True):
            for row, codes in zip(view.window.tolist(), view.codes.tolist(), strict=True):
                assert codes == store.expected(row, positions=100, shift=shift, reverse=reverse)
        seen += views[0].window.tolist()
    assert seen == list(range(100, 200))


@pytest.mark.parametrize(("strands", "shifts"), [((), (0,)), (("both",), (0,)), (("forward",), ())])
def test_views__refuses_what_is_no_view(store: Any, data: RamData, strands: Any, shifts: Any) -> None:
    with pytest.raises(ConfigError, match="views: found strands"):
        Loader(store, batch_size=8, data=data).views(strands, shifts)
    with pytest.raises(ConfigError, match="flank"):
        Loader(store, batch_size=8, data=data).views(shifts=(9000,))


def test_state__takes_numbers_of_numpy(store: Any, data: RamData) -> None:
    loader = Loader(store, batch_size=8, positions=10, seed=np.int64(3), shuffle=True, data=data)  # type: ignore[arg-type]
    loader.set_epoch(np.int64(2))  # type: ignore[arg-type]
    loader.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    again = Loader(store, batch_size=8, positions=10, seed=3, shuffle=True, data=data)
    again.set_epoch(2)
    assert torch.equal(next(iter(loader)).window, next(iter(again)).window)


def test_loader__takes_its_rank_where_it_is_read(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = Loader(store, batch_size=8, positions=10, mode="stream")
    sent = pickle.dumps(loader)  # before the processes know of each other, as spawned ones are
    monkeypatch.setattr("mfdstore.loader.loader.rank_here", lambda: (1, 2))
    assert next(iter(pickle.loads(sent))).window[0] == 150  # noqa: S301 - made here
    # a worker of a process that has a rank knows of no other processes
    sent = pickle.dumps(loader)
    monkeypatch.setattr("mfdstore.loader.loader.rank_here", lambda: None)
    assert next(iter(pickle.loads(sent))).window[0] == 150  # noqa: S301 - made here


# driven by others


class Recorder(lightning.LightningModule):
    """Learns nothing, and notes which windows it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[list[int]] = []

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        self.seen.append(batch.window.tolist())
        return self.layer(torch.ones(1, 1)).sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def make_trainer(folder: Path, *, max_epochs: int, max_steps: int = -1) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="cpu",
        max_epochs=max_epochs,
        max_steps=max_steps,
        logger=False,
        callbacks=[ModelCheckpoint(folder, every_n_train_steps=7, save_top_k=-1)],
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.mark.filterwarnings("ignore")
def test_lightning__goes_on_amid_an_epoch_where_it_stopped(store: Any, data: RamData, tmp_path: Path) -> None:
    options: Options = {"batch_size": 30, "positions": 10, "shuffle": True, "data": data}
    whole, stopped, resumed = Recorder(), Recorder(), Recorder()
    make_trainer(tmp_path / "a", max_epochs=3).fit(whole, Loader(store, **options))
    assert len(whole.seen) == 30
    assert all(
        sorted(itertools.chain.from_iterable(whole.seen[first : first + 10])) == list(range(300))
        for first in (0, 10, 20)
    )
    make_trainer(tmp_path / "b", max_epochs=3, max_steps=14).fit(stopped, Loader(store, **options))
    (last,) = (tmp_path / "b").glob("*step=14.ckpt")
    make_trainer(tmp_path / "c", max_epochs=3).fit(resumed, Loader(store, **options), ckpt_path=last)
    assert stopped.seen + resumed.seen == whole.seen


@pytest.mark.parametrize("n_workers", [0, 2])
def test_batch_dataset__gives_each_window_once(store: Any, n_workers: int) -> None:
    loader = Loader(store, batch_size=16, positions=10, shuffle=True, threads=1, mode="stream", block=32)
    dataset = BatchDataset(loader)
    context = "forkserver" if n_workers else None
    batches = DataLoader(dataset, batch_size=None, num_workers=n_workers, multiprocessing_context=context)
    for epoch in range(2 if n_workers == 0 else 1):
        dataset.set_epoch(epoch)
        rows = list(itertools.chain.from_iterable(batch.window.tolist() for batch in batches))
        assert sorted(rows) == list(range(300))


@pytest.mark.parametrize("n_workers", [0, 1])
def test_window_dataset__is_what_samplers_and_collate_functions_expect(store: Any, n_workers: int) -> None:
    dataset = WindowDataset(store, split="valid", positions=60, dtype=torch.float32, strand="reverse")
    assert len(dataset) == 100
    batches = DataLoader(
        dataset,
        batch_size=40,
        num_workers=n_workers,
        multiprocessing_context="spawn" if n_workers else None,
    )
    seen = []
    for one_hot, labels, rows in batches:
        assert one_hot.shape == (len(rows), 16, 60)
        np.testing.assert_array_equal(labels.numpy().astype(bool), store.label[rows.numpy()])
        seen += rows.tolist()
    assert seen == list(range(100, 200))
    codes = WindowDataset(store, split="valid", positions=60, strand="reverse")[3][0]
    assert codes.tolist() == store.expected(103, positions=60, shift=0, reverse=True)


@pytest.mark.parametrize("kind", ["ram", "stream"])
def test_window_dataset__draws_for_an_item_whatever_comes_with_it(store: Any, kind: Any) -> None:
    rows = np.array([7, 250, 7, 31, 7])
    dataset = WindowDataset(store, rows=rows, positions=60, strand="random", max_shift=9, seed=3, mode=kind)
    alone = [dataset[index][0].tolist() for index in range(5)]
    assert len({tuple(codes) for codes in (alone[0], alone[2], alone[4])}) > 1
    together = dataset.__getitems__([4, 0, 4, 2, 3])
    assert [codes.tolist() for codes, _, _ in together] == [alone[index] for index in (4, 0, 4, 2, 3)]
    assert [row for _, _, row in together] == [7, 7, 7, 7, 31]
    (whole,) = Loader(store, rows=rows, batch_size=5, positions=60, strand="random", max_shift=9, seed=3)
    assert whole.codes.tolist() == alone


def test_window_dataset__is_of_the_hosts_memory(store: Any) -> None:
    with pytest.raises(ConfigError, match="found content on a device"):
        WindowDataset(store, data=DeviceData(store, "cpu"))


def test_window_dataset__reads_all_that_a_sampler_dealt(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where processes train together the sampler divides the windows: the dataset must not do so again."""
    monkeypatch.setattr(loader_module, "rank_here", lambda: (1, 2))
    dataset = WindowDataset(store, split="train", positions=60)
    assert [row for _, _, row in dataset.__getitems__([5, 6, 7])] == [5, 6, 7]
    assert dataset[3][2] == 3


@pytest.mark.parametrize("options", [{"positions": 0}, {"strand": "x"}, {"max_shift": -1}])
def test_window_dataset__refuses_at_once_what_no_item_is_read_with(store: Any, options: Any) -> None:
    with pytest.raises(ConfigError):
        WindowDataset(store, **options)
    with pytest.raises(TypeError):
        WindowDataset(store, positions=60)[1.7]  # type: ignore[index]


@pytest.mark.parametrize("kind", ["none", "blocks", "full"])
def test_state__is_the_same_in_processes_with_more_batches_and_fewer(store: Any, kind: Any) -> None:
    """9 windows for two processes, 4 a batch: one has two batches, the other one."""
    got, states = [], []
    for rank in range(2):
        loader = Loader(
            store,
            rows=np.arange(9),
            batch_size=4,
            positions=10,
            shuffle=kind,
            rank=rank,
            world_size=2,
            block=16,
        )
        got += next(iter(loader)).window.tolist()
        states.append(loader.state_dict())
    assert states[0] == states[1]
    for rank in range(2):
        loader = Loader(
            store,
            rows=np.arange(9),
            batch_size=4,
            positions=10,
            shuffle=kind,
            rank=rank,
            world_size=2,
            block=16,
        )
        loader.load_state_dict(states[0])
        for batch in loader:
            got += batch.window.tolist()
        assert loader.state_dict()["epoch"] == 1
    assert sorted(got) == list(range(9))


def test_batch_dataset__refuses_workers_that_get_no_batch(store: Any) -> None:
    loader = Loader(store, batch_size=100, positions=10, drop_last=True)
    with pytest.raises(ConfigError, match="100 windows a batch, 4 processes"):
        loader.be_one_of(0, 4)


def test_loader__takes_integers_of_numpy_whatever_their_width(store: Any) -> None:
    options = {"batch_size": np.uint8(64), "positions": np.uint16(60), "max_shift": np.int8(3), "pad": True}
    narrow = {"block": np.int8(64), "pool": np.int16(128), "seed": np.uint64(5), "shuffle": "blocks"}
    loader = Loader(store, **options, **narrow)
    plain = Loader(
        store,
        batch_size=64,
        positions=60,
        max_shift=3,
        pad=True,
        block=64,
        pool=128,
        seed=5,
        shuffle="blocks",
    )
    for one, other in zip(loader, plain, strict=True):
        assert torch.equal(one.codes, other.codes)
        assert torch.equal(one.window, other.window)
    assert json.loads(json.dumps(loader.state_dict())) == plain.state_dict()


def test_empty_batch__expands_to_nothing(store: Any) -> None:
    (batch,) = Loader(store, rows=np.arange(4), batch_size=4, positions=60)
    nothing = Batch(*(part[:0] for part in (batch.codes, batch.label_bits, batch.window)))
    assert nothing.one_hot().shape == (0, 16, 60)
    assert nothing.labels(store.n_experiments, torch.bfloat16).shape == (0, store.n_experiments)
    with pytest.raises(ValueError, match="complex128 is no type"):
        batch.one_hot(torch.complex128)
