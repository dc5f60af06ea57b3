"""Inner loops compiled by numba: without the GIL, once a machine rather than once a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def compiled(kernel: Kernel) -> Kernel:
    """Compile a function at its first call, and keep what was compiled beside the module.

    Compiling takes longer than the work on a small store. What is kept is told apart by the versions of the source
    and of numba and by the kind of processor; where no folder can hold it, it is compiled in each process anew.
    A constant of another module is no part of that, so such a function may use none.
    """
    try:
        return cast(Kernel, numba.njit(nogil=True, cache=True)(kernel))
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return cast(Kernel, numba.njit(nogil=True)(kernel))
