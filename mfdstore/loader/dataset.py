"""A store as the datasets that ``torch.utils.data.DataLoader`` takes, for code that is built around one.

A `Loader` needs no workers and is faster by itself. With workers, give the DataLoader
``multiprocessing_context="spawn"`` or ``"forkserver"``: a fork of a process that has read refuses to read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from operator import index
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from mfdstore.errors import ConfigError
from mfdstore.loader.batch import Batch
from mfdstore.loader.content import Content
from mfdstore.loader.epoch import Strand
from mfdstore.loader.loader import Loader
from mfdstore.loader.modes import Mode, open_content
from mfdstore.loader.on_device import DeviceData
from mfdstore.loader.processes import check_process
from mfdstore.loader.sampling import choose_sampling
from mfdstore.loader.samplings import Tickets
from mfdstore.schema import DEFAULT_POSITIONS, Split

if TYPE_CHECKING:
    from mfdstore.store import Store

Item = tuple[Tensor, Tensor, int]


class WindowDataset(Dataset[Item]):
    """Windows by number: for samplers, collate functions and code of one's own.

    An item is codes, labels and row of one window: codes uint8, shape ``(position,)``, and packed labels uint8, shape
    ``(label_byte,)``; with `dtype` channels, shape ``(dinucleotide, position)``, and labels, shape ``(experiment,)``.
    A DataLoader asks for all items of a batch at once, which are cut together.

    Parameters
    ----------
    store
        To be read.
    split, rows
        Windows that are numbered, in this order; all where neither is given.
    positions, strand, max_shift, seed
        As of `Loader`; what is drawn for a window changes with `set_epoch`.
    dtype
        To expand to; `None` to leave it to the device (`Batch`).
    data, mode, memory
        As of `Loader`, but for ``device``: items are the host's. Workers open the content anew: in RAM one copy
        serves all of them.

    Raises
    ------
    ConfigError
        As of `Loader`, or if the content is on a device; on reading, if this is a fork of the process that made it.
    """

    def __init__(
        self,
        store: Store,
        *,
        split: Split | None = None,
        rows: NDArray[np.int64] | None = None,
        positions: int = DEFAULT_POSITIONS,
        strand: Strand = "forward",
        max_shift: int = 0,
        seed: int = 0,
        dtype: torch.dtype | None = None,
        data: Content | None = None,
        mode: Mode = "auto",
        memory: int | None = None,
    ) -> None:
        self._store = store
        # an item's draws go by its number alone, whatever else is asked for with it
        self._tickets = choose_sampling(store, split, rows, None).tickets(seed=0, epoch=0)
        self._positions, self._strand, self._max_shift, self._seed = positions, strand, max_shift, seed
        self._dtype = dtype
        self._data = data or open_content(
            store, mode, positions=positions, max_shift=max_shift, memory=memory
        )
        if isinstance(self._data, DeviceData):
            raise ConfigError(
                "mode",
                found="content on a device",
                expected="the host's memory or a stream: items are collated there",
                remedy="Take a Loader for mode device.",
            )
        self._epoch = 0
        self._process = os.getpid()
        self._loader(self._tickets[:1])  # refuses what no item could be read with

    def _loader(self, tickets: NDArray[np.int64]) -> Loader:
        """Make what cuts some items; all of them, whatever processes there are: the sampler dealt them."""
        return Loader(
            self._store,
            sampling=Tickets(self._store, tickets),
            batch_size=len(tickets),
            positions=self._positions,
            strand=self._strand,
            max_shift=self._max_shift,
            seed=self._seed,
            rank=0,
            world_size=1,
            threads=0,
            data=self._data,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._process = os.getpid()

    def set_epoch(self, epoch: int) -> None:
        """Choose what is drawn for each window; before the workers of an epoch are begun."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._tickets)

    def __getitem__(self, number: int) -> Item:
        (item,) = self.__getitems__([number])
        return item

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        check_process(self._process)
        loader = self._loader(self._tickets[[index(number) for number in indices]])
        loader.set_epoch(self._epoch)
        (batch,) = loader
        codes, labels = batch.codes, batch.label_bits
        if self._dtype is not None:
            codes, labels = batch.one_hot(self._dtype), batch.labels(self._store.n_experiments, self._dtype)
        return list(zip(codes, labels, batch.window.tolist(), strict=True))


class BatchDataset(IterableDataset[Batch]):
    """Whole batches of a loader: ``DataLoader(BatchDataset(loader), batch_size=None)``.

    Worker w of n in process r of m reads the share of process ``n r + w`` of ``n m``, so that all together read every
    window once, each batch by one worker.

    Parameters
    ----------
    loader
        That makes the batches, without a rank of its own. Set its epoch before each epoch where there are workers:
        they begin with a copy of it.
    """

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that comes next."""
        self.loader.set_epoch(epoch)

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        if worker is not None:
            self.loader.be_one_of(worker.id, worker.num_workers)
        return iter(self.loader)
