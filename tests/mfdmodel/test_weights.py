"""Weights from factors: which factor makes which, what is left out, and what cannot be made."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mfdmodel.config import FactorConfig, HeadConfig
from mfdmodel.factors import FactorCoding
from mfdmodel.weights import (
    FreeWeights,
    SubspaceWeights,
    intermediate_map,
    metadata_weights,
    subspace_widths,
    unknown_values,
)
from mfdstore.errors import ConfigError
from mfdstore.metadata import Factor, FactorTable
from mfdstore.schema import ROLES


def category(name: str, values: list[str | None]) -> Factor:
    array = np.empty(len(values), object)
    array[:] = values
    return Factor(name, "category", "biological", array)


TARGETS = ["CTCF", "H3K27ac", "CTCF", None, "CTCF"]
FACTORS = FactorTable(
    ("E0", "E1", "E2", "E3", "E4"),
    (
        category("target", TARGETS),
        category("biosample", ["liver", "liver", "liver", "heart", "liver"]),
        Factor("age", "number", "biological", np.array([1.0, 2.0, 1.0, np.nan, 1.0])),
        category("assay", ["ChIP-seq"] * 5),
        category("lab", ["a", "b", "a", "a", "b"]),
        category("platform", [None] * 5),
        Factor("year", "number", "technical", np.full(5, 2016.0)),
    ),
)


def head(**changes: Any) -> HeadConfig:
    subspaces = {
        "biological": {"direct": ["target"], "interact": ["biosample", "age"], "out_dim": 4},
        "technical": {"direct": ["assay"], "interact": ["assay", "lab"], "out_dim": 4},
    }
    for role, change in changes.pop("subspaces", {}).items():
        subspaces[role] |= change
    return HeadConfig.model_validate({"subspaces": subspaces} | changes)


def build(
    config: HeadConfig, n_latent: int = 24
) -> tuple[dict[str, SubspaceWeights], dict[str, FactorCoding]]:
    torch.manual_seed(0)
    modules, codings = metadata_weights(config, FACTORS, n_latent, fitted=np.ones(5, np.bool_))
    return dict(modules), codings


def test_weights__are_the_direct_columns_and_then_what_the_perceptron_makes() -> None:
    modules, codings = build(head())
    assert list(modules) == list(ROLES)
    weights = modules["biological"]()
    assert weights.shape == (5, 12)
    expected = [[float(target == value) for value in ("CTCF", "H3K27ac")] for target in TARGETS]
    assert weights[:, :2].tolist() == expected
    x = torch.from_numpy(
        np.concatenate([codings[name].encode(FACTORS[name]) for name in ("biosample", "age")], 1)
    )
    for index in (0, 2, 4):
        layer = modules["biological"].mapping[index]
        assert layer.weight.shape[0] == (8, 8, 10)[index // 2]
        x = x @ layer.weight.T + layer.bias
        x = torch.relu(x) if index < 4 else x
    torch.testing.assert_close(weights[:, 2:], x)


def test_equal_metadata__has_equal_weights() -> None:
    modules, _ = build(head())
    together = torch.cat([modules[role]() for role in ROLES], 1)
    assert torch.equal(together[0], together[2])
    assert not torch.equal(together[0], together[4]), "another lab"
    assert torch.equal(modules["biological"]()[0], modules["biological"]()[4])


def test_direct_features__are_named_by_their_value() -> None:
    modules, _ = build(head())
    assert modules["biological"].feature_names == ("target=CTCF", "target=H3K27ac")
    assert modules["technical"].feature_names == ("assay=ChIP-seq",)
    mapped, _ = build(head(factors={"target": {"map": "linear", "width": 3}}))
    assert mapped["biological"].feature_names == ("target:0", "target:1", "target:2")


def test_weights__can_be_made_for_experiments_the_model_does_not_know() -> None:
    modules, codings = build(head())
    part = modules["biological"]
    coded: dict[str, Tensor] = {}
    new = FACTORS.take(np.array([3, 0]))
    for name in part.names:
        coded[name] = torch.from_numpy(codings[name].encode(new[name]))
    torch.testing.assert_close(part(coded), part()[[3, 0]])


@pytest.mark.parametrize(
    ("config", "width", "n_parameters"),
    [
        (FactorConfig(), 4, 0),
        (FactorConfig(map="rescale"), 4, 1),
        (FactorConfig(map="rescale_columns"), 4, 4),
        (FactorConfig(map="linear", width=3), 3, 4 * 3 + 3),
        (FactorConfig(map="embed", width=3), 3, (4 * 6 + 6) + (6 * 6 + 6) + (6 * 3 + 3)),
    ],
)
def test_intermediate_map__has_the_width_and_parameters_of_its_kind(
    config: FactorConfig, width: int, n_parameters: int
) -> None:
    module, n_columns = intermediate_map(config, 4)
    assert n_columns == width
    assert module(torch.eye(4)).shape == (4, width)
    assert sum(p.numel() for p in module.parameters()) == n_parameters


def test_rescale__starts_as_identity_and_scales_columns() -> None:
    module, _ = intermediate_map(FactorConfig(map="rescale_columns"), 2)
    x = torch.tensor([[1.0, 1.0]])
    assert module(x).tolist() == [[1.0, 1.0]]
    with torch.no_grad():
        module.scale.copy_(torch.tensor([2.0, -3.0]))
    assert module(x).tolist() == [[2.0, -3.0]]


def test_share__cuts_the_latent() -> None:
    assert subspace_widths(10, head(biological_share=0.7)) == {"biological": 7, "technical": 3}
    assert subspace_widths(10, head(biological_width=9)) == {"biological": 9, "technical": 1}
    modules, _ = build(head(biological_share=0.75))
    assert [modules[role]().shape[1] for role in ROLES] == [18, 6]
    with pytest.raises(ConfigError, match="at least one feature in each"):
        subspace_widths(10, head(biological_share=0.01))
    with pytest.raises(ConfigError, match=r"biological_width: found 10, which makes 10 of 10"):
        subspace_widths(10, head(biological_width=10))


def test_absent_factor__is_an_error_that_lists_what_there_is() -> None:
    config = head(subspaces={"biological": {"interact": ["biosample", "organ"]}})
    with pytest.raises(ConfigError, match="factor organ, which the store lacks") as caught:
        build(config)
    assert "target, biosample, age, assay, lab, platform, year" in str(caught.value)


def test_optional_unknown_and_constant_factors__are_left_out_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = head(
        subspaces={
            "biological": {"interact": ["biosample", "organ"]},
            "technical": {
                "direct": ["assay", "platform", "year"],
                "interact": ["assay", "platform", "lab", "year"],
            },
        },
        factors={"organ": {"optional": True}},
    )
    with caplog.at_level(logging.INFO, logger="mfdmodel"):
        modules, codings = build(config)
    assert modules["biological"].interact == ("biosample",)
    # a constant value keeps its feature, a constant number would be a weight of zero
    assert modules["technical"].direct == ("assay",)
    assert modules["technical"]()[:, 0].tolist() == [1.0] * 5
    assert modules["technical"].interact == ("lab",)
    assert sorted(codings) == ["assay", "biosample", "lab", "target"]
    for said in (
        "organ (interact) is left out: not in the store",
        "platform (direct) is left out: no value is known",
        "assay (interact) is left out: the same for all experiments",
        "year (direct) is left out: the same for all experiments",
    ):
        assert said in caplog.text


def test_nothing_that_varies__is_an_error() -> None:
    with pytest.raises(ConfigError, match="no factor that differs between experiments among assay, year"):
        build(head(subspaces={"technical": {"interact": ["assay", "year"]}}))


def test_more_direct_features_than_the_subspace_is_wide__is_an_error() -> None:
    assert build(head(), n_latent=6)[0]["biological"]().shape == (5, 3)
    with pytest.raises(ConfigError, match="2 direct features"):
        build(head(), n_latent=4)


def test_factor_name__may_hold_dots_and_words_that_modules_use() -> None:
    table = FactorTable(
        ("A", "B"), (category("Biosample.term.name", ["x", "y"]), category("type", ["u", "v"]))
    )
    config = HeadConfig.model_validate(
        {
            "subspaces": {
                "biological": {"direct": ["type"], "interact": ["Biosample.term.name"]},
                "technical": {"interact": ["type"]},
            }
        }
    )
    modules, _ = metadata_weights(config, table, 8, fitted=np.ones(2, np.bool_))
    assert modules["biological"]()[:, :2].tolist() == [[1, 0], [0, 1]]


def test_weights__read_nothing_of_a_value_that_no_trained_experiment_has() -> None:
    """E1 alone has H3K27ac, and the age 2: left out of the fit, it is an experiment of which neither is known."""
    fitted = np.array([True, False, True, True, True])
    config = head()
    modules, codings = metadata_weights(config, FACTORS, 24, fitted=fitted)
    assert codings["target"].values == ("CTCF",)
    assert "age" not in codings
    assert modules["biological"].feature_names == ("target=CTCF",)
    assert modules["biological"].interact == ("biosample",)  # the ages known differ no more
    missing = FactorTable(
        FACTORS.experiments, (category("target", ["CTCF", None, "CTCF", None, "CTCF"]), *FACTORS.factors[1:])
    )
    torch.manual_seed(3)
    found, _ = metadata_weights(config, FACTORS, 24, fitted=fitted)
    torch.manual_seed(3)
    expected, _ = metadata_weights(config, missing, 24, fitted=fitted)
    for role in ROLES:
        assert torch.equal(found[role](), expected[role]())
    unknown = unknown_values(config, FACTORS, ~fitted)
    assert unknown == [{}, {"target": ("H3K27ac",)}, {}, {}, {}]


def test_free_weights__are_one_parameter() -> None:
    weights = FreeWeights(3, 7)
    assert weights() is weights.weight
    assert weights.weight.shape == (3, 7)
    assert weights.weight.abs().max() <= 7**-0.5
