"""Judges of the choice of a mode: sizes counted by hand, memory and devices as the tests say they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mfdstore.errors import ConfigError, StoreError
from mfdstore.loader import Loader, RamData
from mfdstore.loader import modes as modes_module
from mfdstore.loader.modes import choose_mode, open_content
from mfdstore.loader.on_device import DeviceData
from mfdstore.loader.stream import StreamData
from mfdstore.store import Store

FLANK = 1000
# one byte a base and a flank between, 2 label bytes and 8 of its place a window
NEEDED = 900 + 400 + 2000 + 4 * FLANK + 300 * 10


@pytest.mark.parametrize(
    ("memory", "available", "mode"),
    [
        (NEEDED, None, "ram"),
        (NEEDED - 1, None, "stream"),
        (None, None, "ram"),
        (None, int(NEEDED / 0.6) + 2, "ram"),
        (None, int(NEEDED / 0.6) - 2, "stream"),
        (NEEDED - 1, 1 << 40, "stream"),
    ],
)
def test_choose_mode__by_size_and_memory(
    store: Any, monkeypatch: pytest.MonkeyPatch, memory: int | None, available: int | None, mode: str
) -> None:
    monkeypatch.setattr(modes_module, "available_memory", lambda: available)
    assert choose_mode(store, memory=memory, flank=FLANK) == mode
    assert choose_mode(store, memory=memory, flank=FLANK, device="cpu") == mode


@pytest.mark.parametrize(
    ("free", "mode"), [(int(NEEDED / 0.4) + 3, "device"), (int(NEEDED / 0.4) - 3, "ram")]
)
def test_choose_mode__holds_on_a_device_what_leaves_it_room(
    store: Any, monkeypatch: pytest.MonkeyPatch, free: int, mode: str
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 1 << 40))
    assert choose_mode(store, device="cuda:1", flank=FLANK) == mode
    # what is too large for RAM cannot pass through it
    assert choose_mode(store, device="cuda:1", memory=100, flank=FLANK) == "stream"


def test_open_content__opens_what_was_chosen(store: Any) -> None:
    options: dict[str, Any] = {"positions": 100}
    assert isinstance(open_content(store, **options), RamData)
    assert isinstance(open_content(store, memory=100, **options), StreamData)
    assert isinstance(open_content(store, "stream", **options), StreamData)
    assert isinstance(open_content(store, "device", device="cpu", **options), DeviceData)
    shared = open_content(store, "ram", shared=True, **options)
    np.testing.assert_array_equal(shared.codes, RamData(store).codes)  # type: ignore[attr-defined]


def test_open_content__refuses_what_it_cannot_open(store: Any) -> None:
    with pytest.raises(ConfigError, match="mode: found 'disk'; expected one of auto, ram, stream, device"):
        open_content(store, "disk", positions=100)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the device that holds the store"):
        open_content(store, "device", positions=100)


def test_loader__is_of_the_mode_it_is_given(store: Any, tmp_path: Path) -> None:
    loader = Loader(Store(store.path), batch_size=8, positions=100, mode="stream", shuffle=True)
    assert isinstance(loader.data, StreamData)
    assert loader.shuffle == "blocks"
    with pytest.raises(ConfigError, match="cannot be read window by window"):
        Loader(store, batch_size=8, positions=100, mode="stream", shuffle="full")
    with pytest.raises(ConfigError, match="shuffle: found 'some'"):
        Loader(store, batch_size=8, positions=100, shuffle="some")  # type: ignore[arg-type]


def test_device__gives_what_ram_gives_by_torch_alone(store: Any) -> None:
    options: dict[str, Any] = {
        "batch_size": 32,
        "positions": 200,
        "strand": "random",
        "max_shift": 5,
        "shuffle": True,
    }
    ram, device = Loader(store, **options), Loader(store, mode="device", device="cpu", **options)
    for left, right in zip(ram, device, strict=True):
        assert torch.equal(left.codes, right.codes)
        assert torch.equal(left.label_bits, right.label_bits)
        assert torch.equal(left.window, right.window)
    assert device.data.nbytes == NEEDED + 4 * (8192 - FLANK) - 300 * 8  # type: ignore[attr-defined]


@pytest.mark.parametrize("memory", [0, -5])
def test_open_content__refuses_no_memory(store: Any, memory: int) -> None:
    with pytest.raises(ConfigError, match=f"memory: found {memory} bytes"):
        open_content(store, positions=100, memory=memory)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize(("device", "message"), [("cuda", "does not find here"), ("gpu", "found 'gpu'")])
def test_open_content__refuses_a_device_that_is_not_there(store: Any, device: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_content(store, positions=100, device=device)


@pytest.mark.parametrize("mode", ["ram", "device"])
def test_open_content__holds_no_more_than_it_may(store: Any, mode: Any) -> None:
    with pytest.raises(StoreError, match=r"no more than the 1,000 bytes of `memory`"):
        open_content(store, mode, positions=100, memory=1000, device="cpu")


@pytest.mark.parametrize("options", [{"max_shift": 1 << 29}, {"positions": 1 << 31}])
def test_loader__refuses_windows_of_millions_of_bases(store: Any, options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="windows that reach at most 1,048,576 bp"):
        Loader(store, batch_size=8, mode="stream", **options)
