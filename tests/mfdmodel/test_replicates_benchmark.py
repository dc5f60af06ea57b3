"""The program of pairs of laboratories: which runs it takes for seeds of one model, and what its page says of seeds."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mfdmodel.checkpoint.models import Description
from mfdmodel.config_reading import override
from mfdstore.errors import ConfigError
from tests.mfdmodel.test_replicates import planted as planted_pairs
from tests.mfdmodel.test_replicates import score
from tests.planted import planted_factors, tiny_config

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "replicates.py"


@pytest.fixture(scope="module")
def program() -> ModuleType:
    sys.path.insert(0, str(PROGRAM.parent))
    try:
        spec = importlib.util.spec_from_file_location("replicates_program", PROGRAM)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(PROGRAM.parent))
    return module


def described(changes: dict[str, object], *, digest: str = "d" * 64, **training: object) -> Description:
    config = override(tiny_config(**training), changes)
    return Description(config, planted_factors(), "store.zarr", digest, "planted", 128)


def test_runs__are_of_one_model_if_they_differ_in_the_seed_alone(program: ModuleType) -> None:
    runs = {
        Path("a"): described({}, seed=0),
        Path("b"): described({}, seed=1),
        Path("longer"): described({}, seed=2, epochs=9),
        Path("held"): described({}, seed=3, held_out=["ENCFF001XYZ"]),
        Path("elsewhere"): described({}, digest="e" * 64, seed=4),
        Path("free"): described({"model.kind": "linear_head"}, seed=0),
        Path("dear"): described({"model.penalty.lambda_indep": 0.5}, seed=0),
    }
    names = program.name_models(runs)
    assert names[Path("a")] == names[Path("b")]
    assert len(set(names.values())) == 6
    assert "training.epochs = 9" in names[Path("longer")]
    assert "training.epochs = 2" in names[Path("a")]
    assert "ENCFF001XYZ" in names[Path("held")]
    assert "store = eeeeeeeeeeee" in names[Path("elsewhere")]
    many = [f"ENCFF{index:03d}AAA" for index in range(50)]
    long = program.name_models(
        {Path(str(n)): described({}, seed=n, held_out=many[: 49 + n]) for n in range(2)}
    )
    assert len(set(long.values())) == 2
    assert all(len(name) < 120 for name in long.values())
    assert names[Path("free")] == "linear_head"
    assert names[Path("dear")] == "mfd, λ = 0.5"


def test_runs__of_one_model_and_seed_are_refused(program: ModuleType) -> None:
    with pytest.raises(ConfigError, match=r"found a and b, one model .* with the same seed 3"):
        program.name_models({Path("a"): described({}, seed=3), Path("b"): described({}, seed=3)})
    options = argparse.Namespace(run=[Path("a"), Path("a")], probes=False)
    with pytest.raises(ConfigError, match="named twice"):
        program.report(options)


def test_probes__are_not_scored_on_training_windows(program: ModuleType) -> None:
    options = argparse.Namespace(run=[Path("a")], probes=True, split="train")
    with pytest.raises(ConfigError, match="found train, whose windows probes are fitted on"):
        program.report(options)


def test_page__gives_the_spread_over_seeds_beside_the_intervals(program: ModuleType) -> None:
    runs = []
    for seed in (0, 1, 2):
        parts, labels, factors, blocks = planted_pairs(1.0, seed, n=1500)
        scores = score(parts, labels, factors, blocks, n_draws=20)
        runs.append(program.RunScores(f"run{seed}", "mfd", seed, 0.5, scores))
    means = [
        np.mean([one.values["transfer"][0] for one in run.parts["biological"]]) for run in runs
    ]  # one pair a target
    lines = program.tables({"mfd": runs})
    (row,) = [
        line for line in lines if line.startswith(f"| {sys.modules['replicates_tables'].SAID['transfer']} |")
    ]
    assert f"seeds {min(means):.3f} to {max(means):.3f}" in row.split(" | ")[1]
    gaps = [
        np.mean([one.values["transfer"][0] for one in run.parts["biological"]])
        - np.mean([one.values["transfer"][0] for one in run.parts["combined"]])
        for run in runs
    ]
    at = next(index for index, line in enumerate(lines) if line.startswith("| biological less combined |"))
    assert lines[at].split(" | ")[5] == "seeds"
    row = next(line for line in lines[at:] if line.startswith("| transfer"))
    assert row.split(" | ")[5] == f"{min(gaps):.3f} to {max(gaps):.3f}"
    single = program.tables({"mfd": runs[:1]})
    assert all("nan" not in line for line in single)
    assert any("seeds -" in line for line in single)
