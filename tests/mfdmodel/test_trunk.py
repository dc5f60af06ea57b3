"""The trunk: its widths, its reach, and the positions it keeps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mfdmodel.config import TrunkConfig, derived_crop
from mfdmodel.layers import CodeConvolution
from mfdmodel.trunk import Trunk, dilations, tower_channels


def windows(n: int, n_positions: int, seed: int = 0) -> torch.Tensor:
    codes = np.random.default_rng(seed).integers(0, 16, (n, n_positions))
    return torch.from_numpy(np.eye(16, dtype=np.float32)[codes]).transpose(1, 2)


def test_paper__has_the_published_number_of_parameters() -> None:
    trunk = Trunk(TrunkConfig(channels=768))
    n_head = 1536 * 2106 + 2106  # a linear head of 2106 outputs
    assert sum(p.numel() for p in trunk.parameters()) + n_head == pytest.approx(21.08e6, abs=0.01e6)


def test_tower_channels__are_geometric() -> None:
    widths = tower_channels(768, 6)
    assert widths == (384, 431, 483, 543, 609, 684, 768)
    ratios = np.array(widths[1:]) / np.array(widths[:-1])
    np.testing.assert_allclose(ratios, 2 ** (1 / 6), rtol=0.005)


@pytest.mark.parametrize("multiple", [1, 8, 16])
def test_tower_channels__never_fall_and_are_multiples_between_the_ends(multiple: int) -> None:
    widths = tower_channels(128, 6, multiple)
    assert (widths[0], widths[-1]) == (64, 128)
    assert list(widths) == sorted(widths)
    assert all(width % multiple == 0 for width in widths)


def test_dilations__grow_by_half() -> None:
    assert dilations(11) == (2, 3, 4, 6, 10, 15, 22, 34, 51, 76, 115)


@pytest.mark.parametrize(("n_positions", "crop", "left"), [(1152, 4, 1), (2176, 8, 1), (1024, 3, 2)])
def test_derived_crop__leaves_the_middle(n_positions: int, crop: int, left: int) -> None:
    n_pooled = n_positions // 2**7
    assert derived_crop(n_pooled) == crop
    assert n_pooled - 2 * crop == left


@pytest.mark.parametrize("pooling", ["average", "max"])
def test_what_is_left__is_pooled(pooling: str) -> None:
    x = windows(4, 384)
    torch.manual_seed(0)
    trunk = Trunk(TrunkConfig(channels=8, dilated_blocks=0, crop=0, pooling=pooling)).eval()  # type: ignore[arg-type]
    seen = {}
    trunk.pointwise.register_forward_hook(lambda _m, _i, output: seen.update(pointwise=output))
    latent = trunk(x)
    left = seen["pointwise"][:, :, 0]
    assert left.shape == (4, 16, 3)
    expected = left.mean(-1) if pooling == "average" else left.amax(-1)
    scale = torch.rsqrt(trunk.norm.running_var + trunk.norm.eps)
    torch.testing.assert_close(latent, (expected - trunk.norm.running_mean) * scale)


def test_given_crop__is_the_derived_one_where_they_are_equal() -> None:
    x = windows(2, 1152)
    latent = {}
    for crop in ("auto", 4, 0):
        torch.manual_seed(0)
        latent[crop] = Trunk(TrunkConfig(channels=8, crop=crop)).eval()(x)  # type: ignore[arg-type]
    torch.testing.assert_close(latent[4], latent["auto"])
    assert not torch.equal(latent[0], latent["auto"])


def test_latent__reads_the_whole_window_through_dilated_blocks_and_its_middle_alone_without() -> None:
    x = windows(1, 1152)
    moved = x.clone()
    moved[..., :100] = moved[..., :100].flip(1)
    for blocks, reaches in ((0, False), (2, True)):
        torch.manual_seed(0)
        trunk = Trunk(TrunkConfig(channels=8, dilated_blocks=blocks)).eval()
        assert torch.equal(trunk(x), trunk(moved)) != reaches


def test_latent__is_normalised_over_the_batch_in_training() -> None:
    trunk = Trunk(TrunkConfig(channels=8, latent=10))
    latent = trunk(windows(64, 1152))
    assert latent.shape == (64, 10)
    torch.testing.assert_close(latent.mean(0), torch.zeros(10), atol=1e-4, rtol=0)
    assert latent.std(0).max() < 1.1


def test_window_that_is_too_short__is_an_error() -> None:
    with pytest.raises(ValueError, match="windows of 100 positions leave 0 behind 7 poolings"):
        Trunk(TrunkConfig(channels=8))(windows(2, 100))
    with pytest.raises(ValueError, match="too few for a crop of 5 a side"):
        Trunk(TrunkConfig(channels=8, crop=5))(windows(2, 1152))


def test_norm_gain__is_where_the_spread_of_the_latent_starts() -> None:
    x = windows(64, 1152)
    latents = {}
    for gain in (1.0, 0.2):
        torch.manual_seed(0)
        latents[gain] = Trunk(TrunkConfig(channels=8, norm_gain=gain))(x)
    torch.testing.assert_close(latents[0.2], 0.2 * latents[1.0])


@pytest.mark.parametrize("kernel", [1, 3, 15])
def test_code_convolution__of_codes_is_that_of_channels(kernel: int) -> None:
    codes = torch.from_numpy(np.random.default_rng(1).integers(0, 17, (5, 40)).astype(np.uint8))
    one_hot = torch.from_numpy(np.eye(17, dtype=np.float32)[codes][..., :16]).transpose(1, 2)
    layer = CodeConvolution(16, 7, kernel=kernel)
    # by torch's own convolution of one dimension
    expected = torch.nn.functional.conv1d(
        one_hot, layer.weight.squeeze(2), layer.bias, padding=kernel // 2
    ).unsqueeze(2)
    expected.square().sum().backward()
    wanted = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    got = layer(codes)
    got.square().sum().backward()
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    for parameter, gradient in zip(layer.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-4)
    assert got.is_contiguous(memory_format=torch.channels_last)


def test_trunk__takes_codes_for_channels() -> None:
    trunk = Trunk(TrunkConfig(channels=24, dilated_blocks=2, latent=16)).eval()
    codes = torch.from_numpy(np.random.default_rng(2).integers(0, 17, (3, 640)).astype(np.uint8))
    one_hot = torch.from_numpy(np.eye(17, dtype=np.float32)[codes][..., :16]).transpose(1, 2)
    torch.testing.assert_close(trunk(codes), trunk(one_hot), rtol=1e-4, atol=1e-5)
