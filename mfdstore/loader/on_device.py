"""A store held in the memory of a device, where windows are cut as well; the host sends places alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mfdstore.errors import ConfigError
from mfdstore.loader.content import DEFAULT_FLANK, Cut, Piece
from mfdstore.loader.ram import RamData
from mfdstore.loader.stats import Meter

if TYPE_CHECKING:
    from mfdstore.store import Store

_WINDOWS_A_PIECE: Final = 16_384
_LAST_CODE: Final = 15


class DeviceData:
    """Codes and packed labels on a device: about 7.4 GB for a human genome and 16 million windows of 2106 experiments.

    Parameters
    ----------
    store
        To be read, through the host's memory.
    device
        That holds it; the CPU does the same by the same operations.
    flank
        How far a window may reach from the centre of its bin, in bp.
    data
        The store's content in RAM where it is there already.

    Raises
    ------
    StoreError
        If the store does not fit in the host's memory, or is damaged.
    """

    windows_a_piece = _WINDOWS_A_PIECE
    pieces_ahead = 2
    cutters: int | None = 1
    leave = False

    def __init__(
        self,
        store: Store,
        device: torch.device | str,
        *,
        flank: int = DEFAULT_FLANK,
        data: RamData | None = None,
    ) -> None:
        data = data or RamData(store, flank=flank)
        self.device = torch.device(device)
        self.flank = data.flank
        self.digest = data.digest
        self._centre = data.centre
        self._codes = torch.from_numpy(data.codes).to(self.device)
        self._bits = torch.from_numpy(data.label_bits).to(self.device)

    def __reduce__(self) -> NoReturn:
        """Refuse to go to another process.

        Raises
        ------
        ConfigError
            Always.
        """
        raise ConfigError(
            "mode",
            found="device, with worker processes",
            expected="batches that are cut by the process that uses them: the device does what workers would",
            remedy="Set num_workers=0.",
        )

    @property
    def nbytes(self) -> int:
        """Memory held on the device, in bytes."""
        return self._codes.nbytes + self._bits.nbytes

    @contextmanager
    def open(self, threads: int, meter: Meter, stop: threading.Event) -> Iterator[Callable[[Piece], Cut]]:
        """Give what cuts pieces; a GPU works on while the caller goes on."""
        lock = threading.Lock()

        def cut(piece: Piece) -> Cut:
            with meter.timing("gather"), lock:
                return self._cut(piece)

        yield cut

    def _cut(self, piece: Piece) -> Cut:
        first = self._centre[piece.rows] + piece.shift - piece.positions // 2
        sent = torch.from_numpy(np.stack([first, piece.rows, piece.reverse]))
        if self.device.type == "cuda":
            sent = sent.pin_memory()
        first_there, rows, reverse = sent.to(self.device, non_blocking=True)
        codes = cut_windows_by_torch(self._codes, first_there, reverse.bool(), piece.positions)
        return codes, self._bits[rows]

    def label_rows(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Give packed labels of some windows on the host, shape ``(window, label_byte)``."""
        return self._bits[torch.from_numpy(rows).to(self.device)].cpu().numpy()


def cut_windows_by_torch(codes: Tensor, first: Tensor, reverse: Tensor, positions: int) -> Tensor:
    """Do what `kernels.cut_windows` does, on any device.

    Parameters
    ----------
    codes
        Of the forward strand, uint8, shape ``(base,)``.
    first
        First position that each window reads, int64, shape ``(window,)``.
    reverse
        Whether it is read from the other strand, shape ``(window,)``.
    positions
        Of a window.

    Returns
    -------
    uint8, shape ``(window, position)``.
    """
    # a view of all windows there are, of which only those asked for are copied: no index for each position
    windows = codes.as_strided((len(codes) - positions + 1, positions), (1, 1))[first]
    swapped = ((windows & 3) << 2) | (windows >> 2)
    complement = torch.where(windows > _LAST_CODE, windows, _LAST_CODE - swapped)
    return torch.where(reverse[:, None], complement.flip(1), windows)
