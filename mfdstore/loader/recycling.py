"""Memory for pieces, used again when no tensor looks at it any more.

To ask the system for some ten MB takes it as long to clear them as to fill them with windows.
"""

from __future__ import annotations

import threading
import weakref
from typing import Final

import numpy as np
from numpy.typing import NDArray

_KEPT: Final = 8
"""Buffers that wait for use, at most: as many as pieces are under way."""


class Recycler:
    """Gives arrays, and takes their memory back when they are gone.

    A tensor made of an array by ``torch.from_numpy`` holds it until the last tensor of the same storage is gone, and an
    array made of a tensor holds the tensor: so memory comes back only when nobody can see it.
    """

    def __init__(self) -> None:
        self._free: list[NDArray[np.uint8]] = []
        # a buffer may come back amid `take`, by a garbage collection in the same thread
        self._lock = threading.RLock()

    def take(self, shape: tuple[int, int]) -> NDArray[np.uint8]:
        """Give an array whose content is whatever it was."""
        size = shape[0] * shape[1]
        with self._lock:
            fitting = [index for index, buffer in enumerate(self._free) if len(buffer) >= size]
            best = min(fitting, key=lambda index: len(self._free[index]), default=None)
            if best is not None and len(self._free[best]) > 2 * size:
                best = None
            buffer = np.empty(size, np.uint8) if best is None else self._free.pop(best)
        array = buffer[:size].reshape(shape)
        weakref.finalize(array, self._give_back, buffer).atexit = False
        return array

    def _give_back(self, buffer: NDArray[np.uint8]) -> None:
        with self._lock:
            self._free.append(buffer)
            if len(self._free) > _KEPT:
                self._free.pop(0)
