"""The trunk compiled by torch: fewer passes over its activations, the same numbers but for rounding."""

from __future__ import annotations

import os
import platform
import shutil

from mfdmodel.config import TrainingConfig
from mfdmodel.model import SequenceModel
from mfdstore.errors import ConfigError

_COMPILERS = ("g++", "clang++", "c++")


def compile_trunk(model: SequenceModel, config: TrainingConfig) -> None:
    """Have the trunk compiled at its first step, where the configuration asks for it; names of weights stay.

    Raises
    ------
    ConfigError
        If this machine has no compiler that torch could call.
    """
    if not config.compile:
        return
    named = os.environ.get("CXX")
    wanted = (named,) if named else _COMPILERS
    if platform.system() == "Windows" or not any(shutil.which(name) for name in wanted):
        raise ConfigError(
            "training.compile",
            found=f"no compiler of C++ here ({', '.join(wanted)})",
            expected="one that torch can call",
            remedy="Install one, name it in CXX, or train without training.compile.",
        )
    # of many sizes of batch only the last one of an epoch differs: not worth a second compiling
    model.features.compile(dynamic=False)
