"""Our network with the authors' parameters gives the authors' numbers.

The parameters and numbers are read from the real data. The names in them are the authors'; the map from those
names to ours is written down here and nowhere else.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from mfdmodel.config import RunConfig
from mfdmodel.config_reading import validate_config
from mfdmodel.model import SequenceModel, build_model
from mfdmodel.penalties.adversaries import Predictors, independence
from mfdmodel.penalties.correlation import sum_squared_correlation
from mfdstore.dinucleotides import encode_bases, one_hot, reverse_complement
from mfdstore.metadata import Factor, FactorTable

pytestmark = pytest.mark.real

RELATIVE = 1e-4

FACTORS = {  # theirs: ours, kind, role
    "proc_target": ("target", "category", "biological"),
    "Biosample_term_name": ("biosample", "category", "biological"),
    "Biosample_organ_slims": ("organ", "multi_category", "biological"),
    "proc_age_bin": ("age", "number", "biological"),
    "proc_Assay_lvl1": ("assay", "category", "technical"),
    "Library_lab": ("lab", "category", "technical"),
    "Experiment_date_released": ("date_released", "date", "technical"),
}
MAPS = {None: "none", "linear": "linear", "rescale_indep": "rescale_columns", "embed": "embed"}
SUBSPACES = {"biological": "biological", "technical": "technical"}
THEIR_ORDER = ("technical", "biological")  # of the halves of their latent


def close(ours: Tensor | np.ndarray, theirs: np.ndarray) -> None:
    """Compare with a tolerance relative to the largest number of the array."""
    ours = ours.detach().numpy() if isinstance(ours, Tensor) else ours
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=RELATIVE, atol=RELATIVE * np.abs(theirs).max())


@pytest.fixture(scope="module")
def folder(real_data: Path) -> Path:
    return real_data / "golden"


@pytest.fixture(scope="module")
def golden(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "authors_network.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def outputs(golden: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix("out/"): value for name, value in golden.items() if name.startswith("out/")}


@pytest.fixture(scope="module")
def state(golden: dict[str, np.ndarray]) -> dict[str, Tensor]:
    return {
        name.removeprefix("state/"): torch.as_tensor(value)
        for name, value in golden.items()
        if name.startswith("state/")
    }


@pytest.fixture(scope="module")
def factors(folder: Path) -> FactorTable:
    with (folder / "authors_network_metadata.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    columns = []
    for theirs, (name, kind, role) in FACTORS.items():
        cells = [row[theirs] for row in rows]
        values: np.ndarray
        if kind == "number":
            values = np.array(cells, np.float64)
        elif kind == "date":
            values = np.array(cells, "datetime64[D]")
        else:
            values = np.empty(len(cells), object)
            values[:] = [tuple(cell.split(",")) for cell in cells] if kind == "multi_category" else cells
        columns.append(Factor(name, kind, role, values))
    return FactorTable(tuple(row["File_accession"] for row in rows), tuple(columns))


@pytest.fixture(scope="module")
def config(folder: Path) -> RunConfig:
    mapping = yaml.safe_load((folder / "authors_network_mapping.yaml").read_text("utf-8"))
    described = {
        ours: {"map": MAPS[mapping[theirs]["intermediate"]], "width": mapping[theirs].get("intermediate_dim")}
        for theirs, (ours, _, _) in FACTORS.items()
    }
    subspaces = {}
    for role in THEIR_ORDER:
        group = mapping[f"{role}_features"]
        subspaces[role] = {
            key: [FACTORS[name][0] for name in group[key]["variables"]] for key in ("direct", "interact")
        } | {"out_dim": group["interact"]["out_dim"]}
    return validate_config(
        {
            "model": {
                "trunk": {"channels": 24, "dilated_blocks": 2, "crop": 4},
                "head": {"subspaces": subspaces, "factors": described},
            }
        },
        where="golden",
    )


def block(ours: str, theirs: str) -> dict[str, str]:
    """Map a convolution block: batch norm at 0 and convolution at 2 on both sides."""
    norm = ("weight", "bias", "running_mean", "running_var")
    return {f"{ours}.0.{part}": f"{theirs}.conv1d_block.0.{part}" for part in norm} | {
        f"{ours}.2.weight": f"{theirs}.conv1d_block.2.weight"
    }


def names_of_trunk() -> dict[str, str]:
    names = {f"stem.0.{part}": f"stem.0.{part}" for part in ("weight", "bias")}
    names |= block("stem.1.chain.0", "stem.1")
    for stage in range(6):
        names |= block(f"tower.{stage}.0", f"tower.tower.{stage}.0")
        names |= block(f"tower.{stage}.1.chain.0", f"tower.tower.{stage}.1")
    for index in range(2):
        for half in range(2):
            names |= block(
                f"dilated.{index}.chain.{half}",
                f"dilated_residual_block.dilatedresidualblock.{index}.conv1d_block_{half + 1}",
            )
    names |= block("pointwise", "pointwise")
    return names | {
        f"norm.{part}": f"bn_features.{part}" for part in ("weight", "bias", "running_mean", "running_var")
    }


def load(model: SequenceModel, state: dict[str, Tensor]) -> None:
    """Put their parameters in our model, where the biological half of the latent is first, not last."""
    order = torch.cat([torch.arange(24, 48), torch.arange(24)])
    renamed = {f"features.{ours}": state[theirs] for ours, theirs in names_of_trunk().items()}
    for name, value in renamed.items():
        if value.dim() == 3:  # their windows are lines, ours images of height 1
            renamed[name] = value.unsqueeze(2)
    for name in ("pointwise.2.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"):
        renamed[f"features.{name}"] = renamed[f"features.{name}"][order]
    for role in SUBSPACES:
        theirs = f"metadata_embedding.embedding_{role}"
        names = model.weights[role].names
        for their_factor, (our_factor, _, _) in FACTORS.items():
            if our_factor not in names:
                continue
            index = names.index(our_factor)
            column = f"{theirs}.column_embeddings.{their_factor}"
            renamed[f"weights.{role}.coded_{index}"] = state[f"{column}.var_vals"]
            for name, value in state.items():
                if name.startswith(f"{column}.embedding."):
                    part = name.removeprefix(f"{column}.embedding.")
                    renamed[f"weights.{role}.maps.{index}.{'scale' if part == 'weights' else part}"] = value
        for layer in (0, 2, 4):
            for part in ("weight", "bias"):
                renamed[f"weights.{role}.mapping.{layer}.{part}"] = state[
                    f"{theirs}.mapping_interact.{layer}.{part}"
                ]
    renamed["bias"] = state["bias"]
    missing, unexpected = model.load_state_dict(renamed, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)


@contextmanager
def undone_running_statistics(model: SequenceModel, x: Tensor) -> Iterator[None]:
    """Take back one update of the running statistics by the batch `x`.

    Their state was saved behind the pass in training mode, which moved every running statistic once
    (`num_batches_tracked` is 1), and their evaluation outputs were computed before it. With momentum 0.1:
    after = 0.9 before + 0.1 batch.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    handles = []

    def record(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        rows = inputs[0].transpose(0, 1).flatten(1)
        batch[module] = rows.mean(1), rows.var(1)

    batch: dict[nn.Module, tuple[Tensor, Tensor]] = {}
    saved = {module: (module.running_mean.clone(), module.running_var.clone()) for module in norms}
    handles = [module.register_forward_pre_hook(record) for module in norms]
    model.train()
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    model.eval()
    for module in norms:
        for index, buffer in enumerate((module.running_mean, module.running_var)):
            buffer.copy_((saved[module][index] - 0.1 * batch[module][index]) / 0.9)
    yield
    for module in norms:
        module.running_mean.copy_(saved[module][0])
        module.running_var.copy_(saved[module][1])


@pytest.fixture
def model(config: RunConfig, factors: FactorTable, state: dict[str, Tensor]) -> SequenceModel:
    ours = build_model(config.model, factors=factors, positive_fraction=np.full(len(factors), 0.5))
    load(ours, state)
    return ours


@pytest.fixture
def predictors(model: SequenceModel, state: dict[str, Tensor]) -> Predictors:
    ours = Predictors(model.widths, width=20, layers=3)
    renamed = {}
    for role, theirs in (("biological", "predictor_bio"), ("technical", "predictor_tech")):
        renamed |= {
            f"by_target.{role}.{name.removeprefix(theirs + '.')}": value
            for name, value in state.items()
            if name.startswith(f"{theirs}.")
        }
    ours.load_state_dict(renamed)
    return ours.eval()


def inputs(codes: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(one_hot(codes)))


def test_codes__are_those_of_the_authors(outputs: dict[str, np.ndarray]) -> None:
    codes = np.stack([encode_bases(text.encode()) for text in outputs["sequences"]])
    np.testing.assert_array_equal(codes, outputs["codes"])
    np.testing.assert_array_equal(reverse_complement(codes), outputs["codes_rc"])
    assert (codes[-1] == 16).any(), "the last sequence holds a run of N"


def test_codings__are_those_of_the_authors(
    config: RunConfig, factors: FactorTable, state: dict[str, Tensor]
) -> None:
    ours = build_model(config.model, factors=factors, positive_fraction=np.full(len(factors), 0.5))
    for their_factor, (our_factor, _, role) in FACTORS.items():
        part = ours.weights[role]
        coded = getattr(part, f"coded_{part.names.index(our_factor)}")
        theirs = state[f"metadata_embedding.embedding_{role}.column_embeddings.{their_factor}.var_vals"]
        close(coded, theirs.numpy())


def test_network__gives_the_authors_numbers(model: SequenceModel, outputs: dict[str, np.ndarray]) -> None:
    forward, backward = inputs(outputs["codes"]), inputs(outputs["codes_rc"])
    with undone_running_statistics(model, forward), torch.no_grad():
        latent = model.latent(forward)
        by_role = model.logits_by_role(latent)
        for role in SUBSPACES:
            close(latent[role], outputs[f"features_{role}"])
            close(model.weights[role](), outputs[f"weights_{role}"])
            close(by_role[role], outputs[f"logits_{role}"])
        close(model(forward), outputs["logits"])
        close(torch.sigmoid(model(forward)), outputs["predictions"])
        close(torch.sigmoid(model(backward)), outputs["predictions_rc"])


def test_network__gives_the_authors_numbers_in_training_mode(
    model: SequenceModel, outputs: dict[str, np.ndarray], state: dict[str, Tensor]
) -> None:
    x = inputs(outputs["codes"])
    with undone_running_statistics(model, x), torch.no_grad():
        model.train()
        close(torch.sigmoid(model(x)), outputs["train_mode_predictions"])
        # one update by that batch leads from the statistics before to those that were saved
        for ours, theirs in names_of_trunk().items():
            if "running" in ours and not ours.startswith("norm"):
                close(model.state_dict()[f"features.{ours}"], state[theirs].numpy())


def test_predictor__gives_the_authors_numbers(predictors: Predictors, outputs: dict[str, np.ndarray]) -> None:
    latent = {role: torch.from_numpy(outputs[f"features_{role}"]) for role in SUBSPACES}
    predictions = predictors(latent)
    close(predictions["biological"], outputs["predictor_bio_output"])


def test_sum_of_squared_correlations__is_that_of_the_authors(outputs: dict[str, np.ndarray]) -> None:
    features = torch.from_numpy(outputs["features_biological"])
    predicted = torch.from_numpy(outputs["predictor_bio_output"])
    theirs = outputs["sum_squared_correlation"]
    close(sum_squared_correlation(features, predicted, sample_deviation=True), theirs)
    # theirs is Pearson's but for a factor that vanishes with the size of the batch
    close(sum_squared_correlation(features, predicted), theirs * (6 / 5) ** 2)
    close(-independence({"biological": features}, {"biological": predicted}), theirs * (6 / 5) ** 2)
