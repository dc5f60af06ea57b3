"""Configurations: what ships with the package, what is refused, and how that is said."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from mfdmodel.config import RunConfig
from mfdmodel.config_reading import PRESETS, load_config, override, parse_config, validate_config
from mfdstore.errors import ConfigError
from mfdstore.schema import ROLES

SMALL = load_config("small").model_dump(mode="json")


def changed(path: str, value: Any) -> dict[str, Any]:
    """Set one option of the small preset, by its path."""
    content = copy.deepcopy(SMALL)
    *parents, last = path.split(".")
    section = content
    for parent in parents:
        section = section[parent]
    section[last] = value
    return content


@pytest.mark.parametrize("preset", PRESETS)
def test_presets__load_and_survive_yaml_and_json(preset: str) -> None:
    config = load_config(preset)
    content = config.model_dump(mode="json")
    assert parse_config(yaml.safe_dump(content), where="copy") == config
    assert validate_config(json.loads(json.dumps(content)), where="copy") == config


def test_paper__is_the_published_network() -> None:
    config = load_config("paper")
    assert (config.data.positions, config.data.max_shift) == (1152, 3)
    trunk = config.model.trunk
    assert (trunk.channels, trunk.n_latent, trunk.dilated_blocks, trunk.channel_multiple) == (768, 1536, 2, 1)
    assert trunk.norm_gain == 1
    penalty = config.model.penalty
    assert (penalty.lambda_indep, penalty.layers, penalty.width, penalty.steps) == (0.001, 3, 1024, 1)
    head = config.model.head
    assert head is not None
    assert [(head.subspaces[role].direct, head.subspaces[role].out_dim) for role in ROLES] == [
        (("target",), 256),
        (("assay",), 128),
    ]


def test_config__is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_config("small").training.seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("modell", {}, "unknown key modell; expected only data, model, training"),
        ("model.trunk.chanels", 8, "unknown key model.trunk.chanels"),
        ("model.trunk.chanels", 8, "did you mean channels?"),
        ("model.head.factors.organ.mapp", "none", "did you mean map?"),
        ("model.head.subspaces.technical.interactt", [], "did you mean interact?"),
        ("model.head.factors.orgam", {}, "describes orgam, which no subspace lists"),
        ("model.head.subspaces.biologcal", {"interact": ["a"]}, "expected 'biological' or 'technical'"),
        ("model.head.subspaces", {"technical": {"interact": ["assay"]}}, "subspaces lacks biological"),
        ("model.head.subspaces.technical.interact", [], "at least 1 item"),
        ("model.head.subspaces.technical.interact", ["assay", "assay"], "names a factor twice"),
        ("model.head.factors.organ", {"map": "embed"}, "map embed needs a width"),
        ("model.head.factors.organ", {"map": "none", "width": 3}, "map none has no width"),
        ("model.head.factors.organ", {"map": "cubic"}, "model.head.factors.organ.map = 'cubic'"),
        ("model.head.biological_share", 1.0, "less than 1"),
        ("model.head", None, "kind mfd needs a head"),
        ("model.kind", "mdf", "model.kind = 'mdf'; expected 'mfd', 'linear_head' or 'dinucleotides'"),
        ("model.trunk.channels", "many", "model.trunk.channels = 'many'"),
        ("model.trunk.stem_kernel", 4, "stem_kernel must be odd"),
        ("model.trunk.crop", "atuo", "model.trunk.crop = 'atuo'"),
        ("model.trunk", 7, "model.trunk = 7"),
        ("model.penalty.lambda_indep", -1, "greater than or equal to 0"),
        ("data.positions", 127, "data.positions = 127 does not fit model.trunk"),
        (
            "model.trunk.crop",
            5,
            "windows of 640 positions leave 5 behind 7 poolings, too few for a crop of 5",
        ),
        ("model.trunk.tower_stages", 11, "leave 0 behind 12 poolings"),
        ("training.lr", "nan", "finite"),
        ("training.epochs", 2.5, "fractional part"),
    ],
)
def test_fault__is_named_with_its_path_and_what_could_stand_there(path: str, value: Any, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate_config(changed(path, value), where="mine.yaml")
    assert caught.value.where == "mine.yaml"
    assert said in str(caught.value)


def test_windows__need_only_reach_through_the_network_that_is_there() -> None:
    assert validate_config(changed("data.positions", 128), where="mine.yaml").data.positions == 128
    assert validate_config(changed("model.trunk.crop", 2), where="mine.yaml").model.trunk.crop == 2
    short = {"data": {"positions": 32}, "model": {"kind": "dinucleotides"}}
    assert validate_config(short, where="mine.yaml").data.positions == 32


def test_faults_beyond_the_first__are_listed() -> None:
    content = changed("training.epochs", 0)
    content["data"]["max_shift"] = -1
    with pytest.raises(ConfigError, match=r"data\.max_shift.* Also at fault: training\.epochs\.$"):
        validate_config(content, where="mine.yaml")


def test_missing_section__is_named() -> None:
    with pytest.raises(ConfigError, match="found no model"):
        validate_config({}, where="mine.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an empty file"),
        ("- a\n- b\n", "no mapping but ['a', 'b']"),
        ("7\n", "no mapping but 7"),
        ("data: &a [*a]\n", "a value that holds itself"),
        ("a: " + "[" * 5000, "nested too deep"),
        ("\tdata: 1\n", "line 1: found character"),
        ("data:\n  positions: [\n", "line 3"),
        ("data: {}\nmodel: {}\ndata: {}\n", "line 3: found the key data a second time"),
        ("data:\n  positions: 5\n  positions: 6\n", "line 3: found the key positions a second time"),
    ],
)
def test_text_that_is_no_configuration__is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_unreadable_file__is_named_and_a_preset_suggested(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean small"):
        load_config("smal")
    with pytest.raises(ConfigError, match="no readable file"):
        load_config(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="no UTF-8 text"):
        load_config(binary)


def test_file__states_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model: {kind: linear_head}\ntraining: {lr: 1e-4}\n", "utf-8")
    config = load_config(path)
    assert config.training.lr == 1e-4  # YAML 1.1 reads 1e-4 as text
    assert config.model.trunk.channels == 768
    assert config == RunConfig.model_validate({"model": {"kind": "linear_head"}, "training": {"lr": 1e-4}})


def test_override__sets_by_path_and_checks_again() -> None:
    config = override(load_config("small"), {"model.penalty.lambda_indep": 0.1, "training.seed": 7})
    assert (config.model.penalty.lambda_indep, config.training.seed) == (0.1, 7)
    assert config.model.trunk == load_config("small").model.trunk
    with pytest.raises(ConfigError, match="did you mean penalty"):
        override(config, {"model.penlty.width": 3})
    with pytest.raises(ConfigError, match="did you mean width"):
        override(config, {"model.penalty.widht": 3})
    with pytest.raises(ConfigError, match="greater than or equal to 1"):
        override(config, {"training.epochs": 0})
