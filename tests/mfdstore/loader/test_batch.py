"""Judges of the expansion: loops over single codes and labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mfdstore.loader import Batch, Loader
from mfdstore.loader.expansion import expand_bits_by_torch, expand_codes_by_torch


@pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.uint8, torch.bool, torch.int64],
)
def test_one_hot__sets_the_channel_of_the_pair_and_none_for_blank(store: Any, dtype: torch.dtype) -> None:
    batch = next(iter(Loader(store, batch_size=20, positions=200)))
    one_hot = batch.one_hot(dtype)
    assert one_hot.dtype == dtype
    assert one_hot.shape == (20, 16, 200)
    expected = torch.zeros(20, 17, 200)
    for i, row in enumerate(batch.codes.tolist()):
        for j, code in enumerate(row):
            expected[i, code, j] = 1
    assert expected[:, 16].any()
    assert torch.equal(one_hot.double(), expected[:, :16].double())


@pytest.mark.parametrize("n_experiments", [1, 7, 8, 9, 148])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool])
def test_labels__unpacks_the_first_experiment_from_the_high_bit(
    new_store: Any, n_experiments: int, dtype: torch.dtype
) -> None:
    store = new_store({"chr1": 2000}, n_experiments=n_experiments)
    batch = next(iter(Loader(store, batch_size=32, positions=10, shuffle=True)))
    labels = batch.labels(n_experiments, dtype)
    assert labels.dtype == dtype
    np.testing.assert_array_equal(labels.to(torch.bool).numpy(), store.label[batch.window.numpy()])


def test_expansion__by_torch_is_that_of_the_kernels(store: Any) -> None:
    batch: Batch = next(iter(Loader(store, batch_size=32, positions=100, strand="reverse")))
    one_hot = expand_codes_by_torch(batch.codes, torch.full((32, 16, 100), 7, dtype=torch.bfloat16))
    assert torch.equal(one_hot, batch.one_hot(torch.bfloat16))
    labels = expand_bits_by_torch(batch.label_bits, torch.full((32, 11), 7.0))
    assert torch.equal(labels, batch.labels(11))


def test_expansion__fills_memory_that_is_given(store: Any) -> None:
    batch = next(iter(Loader(store, batch_size=8, positions=50)))
    one_hot, labels = torch.full((8, 16, 50), 9.0), torch.full((8, 11), 9.0)
    assert batch.one_hot(out=one_hot) is one_hot
    assert batch.labels(11, out=labels) is labels
    assert torch.equal(one_hot, batch.one_hot())
    assert torch.equal(labels, batch.labels(11))


@pytest.mark.parametrize(
    "out",
    [torch.empty(8, 16, 51), torch.empty(8, 16, 50, dtype=torch.float64), torch.empty(8, 50, 16).mT],
    ids=["shape", "dtype", "layout"],
)
def test_one_hot__refuses_memory_that_does_not_fit(store: Any, out: Tensor) -> None:
    batch = next(iter(Loader(store, batch_size=8, positions=50)))
    with pytest.raises(ValueError, match=r"it must be \(8, 16, 50\) torch.float32"):
        batch.one_hot(out=out)


def test_labels__refuses_another_number_of_experiments(store: Any) -> None:
    batch = next(iter(Loader(store, batch_size=8, positions=50)))
    with pytest.raises(ValueError, match="2 label bytes are not those of 17 experiments"):
        batch.labels(17)


def test_batch__moves_as_a_whole(store: Any) -> None:
    batch = next(iter(Loader(store, batch_size=8, positions=50)))
    moved = batch.to(torch.device("meta"))
    assert len(moved) == 8
    assert {tensor.device.type for tensor in (moved.codes, moved.label_bits, moved.window)} == {"meta"}


def test_loader__pins_memory_where_there_is_a_device_to_copy_from_it(store: Any) -> None:
    plain = next(iter(Loader(store, batch_size=8, positions=50)))
    batch = next(iter(Loader(store, batch_size=8, positions=50, pin_memory=True)))
    assert batch.codes.is_pinned() == batch.label_bits.is_pinned() == torch.cuda.is_available()
    assert torch.equal(batch.codes, plain.codes)
