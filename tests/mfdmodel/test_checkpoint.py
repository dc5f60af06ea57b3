"""States and models on disk: read back as they were, whole or not at all, and nothing foreign."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from mfdmodel.checkpoint.models import (
    MODEL_DESCRIPTION,
    MODEL_WEIGHTS,
    Description,
    load_model,
    read_description,
    write_description,
    write_model,
)
from mfdmodel.checkpoint.states import (
    CHECKPOINT_VERSION,
    read_json,
    read_state,
    write_atomically,
    write_json,
    write_state,
)
from mfdmodel.config_reading import override
from mfdmodel.model import SequenceModel, build_model
from mfdstore.errors import RunError
from tests.planted import HOSTILE, planted_factors, tiny_config

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
nested = st.recursive(
    plain
    | st.sampled_from([torch.zeros(0), torch.arange(6).view(2, 3), torch.tensor(2.5, dtype=torch.bfloat16)]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(0, 5), inner, max_size=3)
    ),
    max_leaves=8,
)


def same(first: Any, second: Any) -> bool:
    if type(first) is not type(second):
        return False
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


@given(content=st.dictionaries(st.text(max_size=3), nested, max_size=3))
def test_state__reads_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("state") / "a.safetensors"
    write_state(path, content)
    assert same(read_state(path), content)


def test_state__keeps_an_optimiser_and_infinite_numbers(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([parameter], amsgrad=True)
    parameter.sum().backward()
    optimizer.step()
    write_state(tmp_path / "a", {"optimizer": optimizer.state_dict(), "best": math.inf})
    state = read_state(tmp_path / "a")
    other = torch.optim.Adam([torch.nn.Parameter(torch.zeros(3))], amsgrad=True)
    other.load_state_dict(state["optimizer"])
    assert same(other.state_dict()["state"], optimizer.state_dict()["state"])
    assert state["best"] == math.inf


def test_state__keeps_tensors_that_share_memory(tmp_path: Path) -> None:
    whole = torch.arange(10.0)
    write_state(tmp_path / "a", {"whole": whole, "part": whole[2:5], "turned": whole.view(2, 5).T})
    state = read_state(tmp_path / "a")
    assert torch.equal(state["part"], whole[2:5])
    assert torch.equal(state["turned"], whole.view(2, 5).T)


def test_state__refuses_objects(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"state\.a\.b: PosixPath"):
        write_state(tmp_path / "a", {"a": {"b": Path("x")}})
    assert list(tmp_path.iterdir()) == []


def test_write_atomically__keeps_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def write(beside: Path) -> None:
        beside.write_text("half")
        raise OSError("disk full")

    with pytest.raises(RunError, match="disk full"):
        write_atomically(path, write)
    assert read_json(path) == {"old": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("mode", [0o755, 0o700, 0o750])
def test_write__lets_those_read_who_may_read_the_folder(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    write_state(tmp_path / "state", {"a": torch.zeros(1)})
    write_json(tmp_path / "a.json", {})
    for name in ("state", "a.json"):
        assert (tmp_path / name).stat().st_mode & 0o777 == mode & 0o666


def test_write__explains_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "a", Path("/proc/nope/run/a"), tmp_path / "folder"):
        with pytest.raises(RunError, match="cannot be written"):
            write_json(path, {})
        with pytest.raises(RunError, match="cannot be written"):
            write_state(path, {"a": torch.zeros(1)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_read_state__explains_what_it_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(RunError, match="no such file"):
        read_state(path)
    write_state(path, {"a": torch.arange(1000)})
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:20], b"", b"PK\x03\x04 a pickle", b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(RunError, match="damaged"):
            read_state(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(RunError, match="no file of mfdmodel"):
        read_state(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"version": CHECKPOINT_VERSION + 1}, "newer"),
        ({"version": "one"}, "damaged"),
        ({"tree": None}, "damaged"),
        ({"tree": {"tensor": "000007"}}, "damaged"),
        ({"tree": {"function": "eval"}}, "damaged"),
        ({"tree": [1]}, "damaged"),
    ],
)
def test_read_state__refuses_headers_that_make_no_sense(
    tmp_path: Path, header: dict[str, Any], message: str
) -> None:
    def save(content: str) -> None:
        save_file({"000000": torch.zeros(1)}, tmp_path / "a", metadata={"mfdmodel": content})

    whole = {"format": "mfdmodel", "version": CHECKPOINT_VERSION, "tree": {"items": []}}
    save(json.dumps(whole))
    assert read_state(tmp_path / "a") == {}
    save(json.dumps(whole | header))
    with pytest.raises(RunError, match=message):
        read_state(tmp_path / "a")
    for content in ("{", "7", '["format"]'):
        save(content)
        with pytest.raises(RunError, match="header that cannot be read"):
            read_state(tmp_path / "a")


def test_write_state__writes_the_same_bytes_in_each_process(tmp_path: Path) -> None:
    program = (
        "import sys, torch; from pathlib import Path; from mfdmodel.checkpoint.states import write_state\n"
        "write_state(Path(sys.argv[1]), {'a': torch.arange(3), 'b': [1, {'c': torch.zeros(2)}], 'd': 'x'})"
    )
    files = [tmp_path / name for name in "abc"]
    for file in files:
        subprocess.run([sys.executable, "-c", program, str(file)], check=True)
    assert len({file.read_bytes() for file in files}) == 1


def make_run(run: Path, kind: str = "mfd", seed: int = 0) -> SequenceModel:
    config = override(tiny_config(), {"model.kind": kind})
    torch.manual_seed(seed)
    model = build_model(config.model, factors=planted_factors(), positive_fraction=np.full(6, 0.1)).eval()
    description = Description(config, planted_factors(), "/data/some.zarr", "ab" * 32, "hg38", 128)
    write_description(run, description, model)
    write_model(run, model, epoch=4, valid_loss=0.25)
    return model


@pytest.mark.parametrize("kind", ["mfd", "linear_head", "dinucleotides"])
def test_load_model__gives_the_same_model_without_its_store(tmp_path: Path, kind: str) -> None:
    model = make_run(tmp_path, kind)
    state = torch.get_rng_state()
    trained = load_model(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)
    assert not trained.model.training
    assert (trained.epoch, trained.valid_loss) == (4, 0.25)
    x = torch.rand(3, 16, 192)
    with torch.no_grad():
        assert torch.equal(trained.model(x), model(x))


@pytest.mark.parametrize("codings_of", ["trained", "all"])
def test_load_model__knows_nothing_of_values_that_only_held_out_experiments_have(
    tmp_path: Path, codings_of: str
) -> None:
    """Also in runs of earlier versions, whose codings had columns for them that were never trained."""
    config = override(tiny_config(), {"training.held_out": ["ENCFF005XYZ"]})
    stored = (config, planted_factors(), "/data/some.zarr", "ab" * 32, "hg38", 128)
    description = Description(*stored, codings_of=codings_of)  # type: ignore[arg-type]
    model = description.build(np.full(6, 0.1))
    write_description(tmp_path, description, model)
    if codings_of == "all":
        content = json.loads((tmp_path / MODEL_DESCRIPTION).read_text())
        del content["codings_of"]
        (tmp_path / MODEL_DESCRIPTION).write_text(json.dumps(content))
    write_model(tmp_path, model, epoch=0, valid_loss=0.25)
    trained = load_model(tmp_path)
    assert trained.description.codings_of == codings_of
    features = trained.model.direct_features["biological"]
    assert (f"target={HOSTILE}" in features) == (codings_of == "all")
    weights = trained.model.weights["biological"]().detach()
    assert weights[5, : len(features)].tolist() == [0] * len(features)
    assert torch.equal(weights[0], model.weights["biological"]()[0])


def test_read_description__keeps_every_kind_of_factor_and_what_is_missing(tmp_path: Path) -> None:
    make_run(tmp_path)
    description = read_description(tmp_path)
    assert description.config == tiny_config()
    assert (description.genome, description.bin_size, description.store_digest) == ("hg38", 128, "ab" * 32)
    for mine, other in zip(description.factors, planted_factors(), strict=True):
        assert (mine.name, mine.kind, mine.role, mine.unit) == (
            other.name,
            other.kind,
            other.role,
            other.unit,
        )
        assert mine.values.dtype == other.values.dtype
        np.testing.assert_array_equal(mine.missing, other.missing)
        for value, expected in zip(mine.values[~mine.missing], other.values[~other.missing], strict=True):
            assert value == expected


def test_load_model__refuses_the_numbers_of_another_run(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", "linear_head")
    shutil.copy(tmp_path / "b" / MODEL_WEIGHTS, tmp_path / "a" / MODEL_WEIGHTS)
    with pytest.raises(RunError, match="another model"):
        load_model(tmp_path / "a")


def test_load_model__refuses_numbers_that_do_not_fit(tmp_path: Path) -> None:
    make_run(tmp_path)
    path = tmp_path / MODEL_WEIGHTS
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    tensors = load_file(path)
    tensors["bias"] = torch.zeros(7)
    save_file(tensors, path, metadata=header)
    with pytest.raises(RunError, match="do not fit"):
        load_model(tmp_path)
    del tensors["bias"]
    save_file(tensors, path, metadata=header)
    with pytest.raises(RunError, match="do not fit"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content | {"version": CHECKPOINT_VERSION + 1}, "newer"),
        (lambda content: content | {"format": "other"}, "no file of mfdmodel"),
        (lambda content: {name: value for name, value in content.items() if name != "factors"}, "damaged"),
        (lambda content: content | {"config": {"model": {"kind": "mfd"}, "extra": 1}}, "damaged"),
        (lambda content: content | {"store": None}, "damaged"),
        (lambda content: content | {"experiments": ["one"]}, "damaged"),
    ],
)
def test_read_description__explains_what_it_cannot_read(tmp_path: Path, change: Any, message: str) -> None:
    make_run(tmp_path)
    path = tmp_path / MODEL_DESCRIPTION
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(RunError, match=message):
        read_description(tmp_path)


def test_load_model__of_no_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no such file"):
        load_model(tmp_path)
    make_run(tmp_path)
    (tmp_path / MODEL_WEIGHTS).unlink()
    with pytest.raises(RunError, match="no such file"):
        load_model(tmp_path)


def test_read_json__refuses_other_shapes(tmp_path: Path) -> None:
    for content in ("[1]", "{", "\x00"):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(RunError, match="damaged"):
            read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_bytes(b"\xff\xfe")
    with pytest.raises(RunError, match="damaged"):
        read_json(tmp_path / "a.json")
