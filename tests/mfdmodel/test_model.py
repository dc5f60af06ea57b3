"""The sequence model: logits as a sum over subspaces, the three kinds, and where the bias starts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mfdmodel.config import ModelConfig
from mfdmodel.config_reading import load_config, override
from mfdmodel.model import ALL, SequenceModel, build_model, log_odds
from mfdstore.dinucleotides import encode_bases, one_hot, reverse_complement
from mfdstore.metadata import Factor, FactorTable

TARGETS = ("CTCF", "H3K27ac", "CTCF", "MYC")


def objects(values: list[object]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


FACTORS = FactorTable(
    ("E0", "E1", "E2", "E3"),
    (
        Factor("target", "category", "biological", objects(list(TARGETS))),
        Factor("biosample", "category", "biological", objects(["liver", "heart", "liver", None])),
        Factor("assay", "category", "technical", objects(["ChIP", "ChIP", "ChIP", "CUT&RUN"])),
    ),
)
FREQUENCY = np.array([0.01, 0.2, 0.03, 0.5])
OPTIONS = {"model.trunk.channels": 16, "model.trunk.latent": None, "model.head.biological_share": 0.5}


def model_of(kind: str, seed: int = 0) -> SequenceModel:
    config = override(load_config("small"), OPTIONS | {"model.kind": kind}).model
    torch.manual_seed(seed)
    return build_model(config, factors=FACTORS, positive_fraction=FREQUENCY)


def sequences(n: int, n_positions: int = 1152) -> np.ndarray:
    rng = np.random.default_rng(0)
    bases = np.frombuffer(b"ACGT", np.uint8)[rng.integers(0, 4, (n, n_positions + 1))]
    return np.stack([encode_bases(row) for row in bases])


def windows(codes: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(one_hot(codes)))


def test_logits__are_features_times_weights_summed_over_roles_plus_bias() -> None:
    model = model_of("mfd").eval()
    x = windows(sequences(3))
    latent = model.latent(x)
    assert model.roles == ("biological", "technical")
    assert model.widths == {"biological": 16, "technical": 16}
    by_role = model.logits_by_role(latent)
    expected = model.bias.detach().numpy().copy()[None]
    for role in model.roles:
        s, w = latent[role].detach().numpy(), model.weights[role]().detach().numpy()
        added = np.einsum("wf,ef->we", s, w)
        np.testing.assert_allclose(by_role[role].detach().numpy(), added, rtol=1e-4, atol=1e-5)
        expected = expected + added
    np.testing.assert_allclose(model(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_direct_feature__moves_the_logits_of_its_value_alone() -> None:
    model = model_of("mfd").eval()
    assert model.direct_features == {
        "biological": ("target=CTCF", "target=H3K27ac", "target=MYC"),
        "technical": ("assay=CUT&RUN", "assay=ChIP"),
    }
    latent = model.latent(windows(sequences(2)))
    moved = {role: features.clone() for role, features in latent.items()}
    moved["biological"][:, 0] += 2.5
    difference = model.logits(moved) - model.logits(latent)
    expected = torch.tensor([2.5 * (target == "CTCF") for target in TARGETS]).expand(2, 4)
    torch.testing.assert_close(difference, expected, atol=1e-4, rtol=0)


def test_biological_metadata__cannot_reach_the_technical_features() -> None:
    model = model_of("mfd")
    latent = {
        role: features.detach().requires_grad_()
        for role, features in model.latent(windows(sequences(2))).items()
    }
    model.logits_by_role(latent)["biological"].sum().backward()
    assert latent["biological"].grad is not None
    assert latent["technical"].grad is None


def test_equal_metadata__differs_by_the_bias_only() -> None:
    model = model_of("mfd").eval()
    logits = model(windows(sequences(5)))
    difference = logits[:, 0] - logits[:, 2]
    torch.testing.assert_close(difference, (model.bias[0] - model.bias[2]).expand(5), atol=1e-5, rtol=1e-5)


def test_bias__starts_at_the_log_odds() -> None:
    for kind in ("mfd", "linear_head", "dinucleotides"):
        start = torch.sigmoid(model_of(kind).bias)
        np.testing.assert_allclose(start.detach().numpy(), FREQUENCY, rtol=1e-5)


def test_log_odds__are_finite_at_zero_and_one() -> None:
    odds = log_odds(np.array([0.0, 1.0, 0.5]))
    assert torch.isfinite(odds).all()
    assert odds[0] == pytest.approx(-odds[1].item(), rel=1e-3)
    assert odds[2] == 0


def test_kinds__share_the_trunk_and_differ_in_the_head() -> None:
    free, mfd = model_of("linear_head"), model_of("mfd")
    trunk = sum(p.numel() for p in mfd.features.parameters())
    assert sum(p.numel() for p in free.parameters()) == trunk + 32 * 4 + 4
    assert free.roles == (ALL,)
    assert free.codings == {}
    assert sorted(mfd.codings) == ["assay", "biosample", "target"]
    for ours, theirs in zip(
        mfd.features.state_dict().values(), free.features.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_dinucleotides__see_frequencies_only() -> None:
    model = model_of("dinucleotides")
    codes = sequences(6)
    counts = np.stack([np.bincount(row, minlength=16) for row in codes]) / codes.shape[1]
    expected = (counts - counts.mean(0)) / counts.std(0)
    # the norm's epsilon is not small beside the variance of a frequency
    np.testing.assert_allclose(
        model.latent(windows(codes))[ALL].detach().numpy(),
        expected * counts.std(0) / np.sqrt(counts.var(0) + 1e-5),
        atol=1e-3,
    )
    shuffled = np.random.default_rng(1).permuted(codes, axis=1)
    model.eval()
    torch.testing.assert_close(model(windows(codes)), model(windows(shuffled)))


def test_other_strand__is_read_through_the_codes() -> None:
    model = model_of("mfd").eval()
    text = "ACGT" * 300
    codes = encode_bases(text[:1153].encode())
    complement = text[:1153][::-1].translate(str.maketrans("ACGT", "TGCA"))
    ours = windows(reverse_complement(codes)[None])
    torch.testing.assert_close(model(ours), model(windows(encode_bases(complement.encode())[None])))
    assert not torch.allclose(model(ours), model(windows(codes[None])))


def test_blank__is_read_as_nothing() -> None:
    x = windows(np.full((1, 1152), 16, np.uint8))
    assert not x.any()
    for kind in ("mfd", "linear_head", "dinucleotides"):
        assert torch.isfinite(model_of(kind).eval()(x)).all()


def test_seed__decides_the_model() -> None:
    first, again, other = model_of("mfd"), model_of("mfd"), model_of("mfd", seed=1)
    pairs = zip(first.state_dict().values(), again.state_dict().values(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
    assert not torch.equal(first.features.stem[0].weight, other.features.stem[0].weight)


def test_every_parameter__is_trained() -> None:
    for kind in ("mfd", "linear_head", "dinucleotides"):
        model = model_of(kind)
        model(windows(sequences(4))).square().sum().backward()
        untouched = [name for name, value in model.named_parameters() if value.grad is None]
        assert untouched == []


def test_fractions_of_another_number__are_an_error() -> None:
    with pytest.raises(ValueError, match="for 4 experiments"):
        build_model(ModelConfig(kind="dinucleotides"), factors=FACTORS, positive_fraction=np.array([0.5]))


def test_signal_to_noise__scales_an_experiment() -> None:
    config = override(load_config("small"), OPTIONS | {"model.head.signal_to_noise": True}).model
    torch.manual_seed(0)
    model = build_model(config, factors=FACTORS, positive_fraction=FREQUENCY).eval()
    plain = model_of("mfd").eval()
    x = windows(sequences(2))
    torch.testing.assert_close(model(x), plain(x))  # it starts at 1
    with torch.no_grad():
        model.log_signal[1] = np.log(3.0)
    expected = plain(x) - plain.bias
    expected[:, 1] *= 3
    torch.testing.assert_close(model(x) - model.bias, expected, rtol=1e-4, atol=1e-4)
