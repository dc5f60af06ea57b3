"""Trained models on disk: what they are as JSON, their numbers as safetensors.

The description is written once, when a run begins; the numbers are replaced whenever an epoch is the best so
far, and carry the digest of the description that they belong to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mfdmodel.checkpoint.states import (
    CHECKPOINT_VERSION,
    FORMAT,
    check_version,
    damaged,
    read_json,
    read_tensors,
    write_json,
    write_tensors,
)
from mfdmodel.config import RunConfig
from mfdmodel.config_reading import validate_config
from mfdmodel.model import SequenceModel, build_model
from mfdmodel.weights import SubspaceWeights
from mfdstore.errors import ConfigError, MfdError, RunError
from mfdstore.metadata import Factor, FactorTable

MODEL_DESCRIPTION: Final = Path("model", "model.json")
MODEL_WEIGHTS: Final = Path("model", "model.safetensors")
"""Within the folder of a run."""


@dataclass(frozen=True)
class Description:
    """What a trained model is, beside its numbers: enough to build it again without its store.

    Parameters
    ----------
    config
        Of the run.
    factors
        Of the experiments that are the model's outputs, in their order.
    store_path, store_digest
        Where the model was trained, and what was there.
    genome
        Of that store.
    bin_size
        Of that store, in bp.
    codings_of
        The experiments that factors' codings were fitted on: those ``trained``, or, by earlier versions, ``all``, those
        held out of the losses among them.
    """

    config: RunConfig
    factors: FactorTable
    store_path: str
    store_digest: str
    genome: str
    bin_size: int
    codings_of: Literal["trained", "all"] = "trained"

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """True for the experiments that no loss saw, shape ``(experiment,)``."""
        names = set(self.config.training.held_out)
        return np.array([name in names for name in self.factors.experiments], np.bool_)

    def build(self, positive_fraction: NDArray[np.float64]) -> SequenceModel:
        """Build the model untrained, by `build_model`."""
        return build_model(
            self.config.model,
            factors=self.factors,
            positive_fraction=positive_fraction,
            held_out=self.held_out if self.codings_of == "trained" else None,
        )


@dataclass(frozen=True)
class TrainedModel:
    """The best model of a run.

    Parameters
    ----------
    model
        In evaluation mode, on the CPU.
    description
        What it is.
    epoch
        After which it was taken, counted from 0.
    valid_loss
        Its cross entropy on the validation split.
    """

    model: SequenceModel
    description: Description
    epoch: int
    valid_loss: float


def write_description(run: Path, description: Description, model: SequenceModel) -> None:
    """Write what a run's model is; once, before its first numbers.

    Parameters
    ----------
    run
        Folder of the run.
    description
        To be written.
    model
        Built from it; the codings of its factors are recorded.
    """
    write_json(
        run / MODEL_DESCRIPTION,
        {
            "format": FORMAT,
            "version": CHECKPOINT_VERSION,
            "written_by": {"mfd": version("mfd"), "torch": str(torch.__version__)},
            "store": {
                "path": description.store_path,
                "digest": description.store_digest,
                "genome": description.genome,
                "bin_size": description.bin_size,
            },
            "config": description.config.model_dump(mode="json"),
            "codings_of": description.codings_of,
            "codings": {name: coding.to_json() for name, coding in model.codings.items()},
            "experiments": list(description.factors.experiments),
            "factors": [_encode_factor(factor) for factor in description.factors],
        },
    )


def write_model(run: Path, model: SequenceModel, *, epoch: int, valid_loss: float) -> None:
    """Write a model's numbers, in place of those of an earlier epoch."""
    header = {"epoch": epoch, "valid_loss": valid_loss, "description": description_digest(run)}
    tensors = {
        name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in model.state_dict().items()
    }
    write_tensors(run / MODEL_WEIGHTS, tensors, header)


def read_description(run: Path) -> Description:
    """Read what a run's model is.

    Raises
    ------
    RunError
        If the run has none, or it is damaged or newer than this package.
    """
    path = run / MODEL_DESCRIPTION
    content = read_json(path)
    check_version(path, content.get("format"), content.get("version"))
    try:
        store = content["store"]
        return Description(
            config=validate_config(content["config"], where=str(path)),
            factors=FactorTable(
                tuple(content["experiments"]), tuple(_decode_factor(item) for item in content["factors"])
            ),
            store_path=str(store["path"]),
            store_digest=str(store["digest"]),
            genome=str(store["genome"]),
            bin_size=int(store["bin_size"]),
            codings_of="trained" if content.get("codings_of") == "trained" else "all",
        )
    except (KeyError, TypeError, ValueError, ConfigError) as error:
        raise damaged(path, f"a description that cannot be read ({error!r})") from error


def load_model(run: Path) -> TrainedModel:
    """Build a run's model and give it the numbers of its best epoch.

    Values of held-out experiments that training did not know are coded as missing, also in runs of earlier versions,
    which drew numbers for them and never trained those.

    Raises
    ------
    RunError
        If the run has no model yet, or its files are damaged, foreign, newer, or not of one run.
    """
    description = read_description(run)
    path = run / MODEL_WEIGHTS
    header, tensors = read_tensors(path)
    if header.get("description") != description_digest(run):
        raise RunError(
            path,
            found="numbers of another model",
            expected=f"those of {run / MODEL_DESCRIPTION}",
            remedy="Both files belong together: restore the folder from a copy, or train again.",
        )
    n_experiments = len(description.factors)
    try:
        with torch.random.fork_rng(devices=[]):  # the numbers drawn here are replaced at once
            model = description.build(np.full(n_experiments, 0.5))
        model.load_state_dict(tensors)
        epoch, valid_loss = int(header["epoch"]), float(header["valid_loss"])
    except (RuntimeError, KeyError, TypeError, ValueError, MfdError) as error:
        raise damaged(path, f"numbers that do not fit the model ({error})") from error
    trained = torch.from_numpy(~description.held_out)
    for part in model.weights.values():
        if isinstance(part, SubspaceWeights):
            part.code_untrained_as_missing(trained)
    return TrainedModel(model.eval(), description, epoch, valid_loss)


def description_digest(run: Path) -> str:
    """Compute what ties a run's other files to its description."""
    return hashlib.sha256((run / MODEL_DESCRIPTION).read_bytes()).hexdigest()


def _encode_factor(factor: Factor) -> dict[str, Any]:
    values: list[Any]
    if factor.kind == "number":
        values = [
            None if missing else float(value)
            for value, missing in zip(factor.values, factor.missing, strict=True)
        ]
    elif factor.kind == "date":
        values = [
            None if missing else str(value)
            for value, missing in zip(factor.values, factor.missing, strict=True)
        ]
    else:
        values = [list(value) if isinstance(value, tuple) else value for value in factor.values]
    return {
        "name": factor.name,
        "kind": factor.kind,
        "role": factor.role,
        "unit": factor.unit,
        "values": values,
    }


def _decode_factor(content: Mapping[str, Any]) -> Factor:
    kind, items = content["kind"], content["values"]
    values: NDArray[Any]
    if kind == "number":
        values = np.array([np.nan if item is None else item for item in items], np.float64)
    elif kind == "date":
        values = np.array(["NaT" if item is None else item for item in items], "datetime64[D]")
    else:
        values = np.empty(len(items), object)
        values[:] = [tuple(item) if isinstance(item, list) else item for item in items]
    return Factor(content["name"], kind, content["role"], values, content["unit"])
