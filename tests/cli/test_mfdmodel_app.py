"""The command `mfdmodel` from end to end, and what it says when something is wrong."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import get_args

import pytest
import yaml
from typer.testing import CliRunner

from cli.mfdmodel_app import app
from cli.model_options import EvaluatedSplit, Kind, Preset
from mfdmodel.config import ModelKind
from mfdmodel.config_reading import PRESETS
from mfdstore.schema import SPLITS
from mfdstore.store import Store
from tests.planted import tiny_config, write_planted_store

runner = CliRunner()


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_planted_store(tmp_path_factory.mktemp("planted") / "planted.zarr")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny_config().model_dump(mode="json")))
    return path


def call(*arguments: object) -> tuple[int, str, str]:
    result = runner.invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_mfdmodel__trains_evaluates_and_reports(planted: Store, config: Path, tmp_path: Path) -> None:
    run, base = tmp_path / "run", tmp_path / "base"
    options = ("--store", planted.path, "--config", config, "--device", "cpu", "--threads", 1)
    code, out, err = call("train", *options, "--out", run)
    assert code == 0
    assert "2 epochs: all epochs are done" in out
    assert [line.split()[:2] for line in err.splitlines()] == [["epoch", "1"], ["epoch", "2"]]
    code, out, _ = call(
        "train",
        *options,
        "--out",
        base,
        "--model",
        "linear_head",
        "--epochs",
        1,
        "--seed",
        5,
    )
    assert code == 0
    written = json.loads((base / "model" / "model.json").read_text())["config"]
    assert written["model"]["kind"] == "linear_head"
    assert (written["training"]["epochs"], written["training"]["seed"]) == (1, 5)

    code, out, _ = call("evaluate", run, "--device", "cpu", "--json")
    assert code == 0
    assert json.loads(out) == json.loads((run / "evaluation" / "test.json").read_text())
    code, out, _ = call("evaluate", base, "--device", "cpu")
    assert code == 0
    assert "[red]" in out  # a target's name is no markup
    code, out, _ = call("report", run, "--compare", base)
    assert code == 0
    assert out.strip() == f"Wrote {run / 'report.html'}"
    assert "Models side by side" in (run / "report.html").read_text("utf-8")

    code, out, _ = call("train", "--store", planted.path, "--out", run, "--resume", "--device", "cpu")
    assert code == 0
    assert "2 epochs" in out
    code, _, err = call("train", *options, "--out", run, "--resume", "--seed", 9)
    assert code == 1
    assert "training.seed = 0" in err


def test_evaluate__names_what_was_held_out_of_the_loss(
    planted: Store, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    options = ("--store", planted.path, "--config", config, "--device", "cpu", "--threads", 1)
    code, _, _ = call("train", *options, "--out", run, "--epochs", 1, "--hold-out-experiments", "target=MAX")
    assert code == 0
    code, out, _ = call("evaluate", run, "--device", "cpu")
    assert code == 0
    written = json.loads((run / "evaluation" / "test.json").read_text())
    rows = [line.replace("│", " ").split() for line in out.splitlines()]
    trained, held_out = (
        [row[2:] for row in rows if row[:2] == title.split()] for title in ("trained on", "held out")
    )
    for (found,), part in ((trained, written), (held_out, written["held_out"])):
        means = part["overall"]
        assert found[:2] == [str(means["n_experiments"]), str(means["n_scored"])]
        assert found[2:] == [f"{means[name]:.3f}" for name in ("auroc", "average_precision")]
    by_name = {one["experiment"]: one for one in written["experiments"]}
    for name in ("ENCFF002XYZ", "ENCFF003XYZ"):
        assert [name, f"{by_name[name]['auroc']:.3f}"] in [row[:2] for row in rows]
    assert "ENCFF001XYZ" not in out
    monkeypatch.setattr("cli.run_commands._MOST_NAMED", 1)
    _, out, _ = call("evaluate", run, "--device", "cpu")
    assert "ENCFF003XYZ" not in out
    assert "and 1 more" in out


def test_train__refuses_in_one_line_and_leaves_nothing(planted: Store, config: Path, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        code, out, err = call("train", "--out", tmp_path / "run", "--device", "cpu", *arguments)
        assert code == 1
        assert out == ""
        assert err.startswith("Error: ")
        assert err.count("\n") == 1
        assert not (tmp_path / "run").exists()
        return err

    assert "nowhere.zarr" in refused("--store", tmp_path / "nowhere.zarr", "--config", config)
    bad = tmp_path / "bad.yaml"
    bad.write_text(config.read_text().replace("batch_size", "bach_size"))
    assert "batch_size?" in refused("--store", planted.path, "--config", bad)
    bad.write_text(config.read_text().replace("positions: 192", "positions: 32"))
    assert "data.positions = 32" in refused("--store", planted.path, "--config", bad)
    assert "nowhere.yaml" in refused("--store", planted.path, "--config", tmp_path / "nowhere.yaml")
    assert "lambda_indep" in refused("--store", planted.path, "--config", config, "--lambda-indep", -1)
    assert "tpu" in refused("--store", planted.path, "--config", config, "--device", "tpu")


def test_train__holds_out_what_queries_mean(planted: Store, config: Path, tmp_path: Path) -> None:
    options = ("--store", planted.path, "--config", config, "--device", "cpu", "--epochs", 1, "--threads", 1)
    queries = (
        "--hold-out-experiments",
        "target=CTCF & biosample=K562",
        "--hold-out-experiments",
        "ENCFF004XYZ",
    )
    code, _, _ = call("train", *options, "--out", tmp_path / "run", *queries, "--precision", "bfloat16")
    assert code == 0
    training = json.loads((tmp_path / "run" / "model" / "model.json").read_text())["config"]["training"]
    assert training["held_out"] == ["ENCFF001XYZ", "ENCFF004XYZ"]
    assert training["precision"] == "bfloat16"
    code, out, _ = call("impute", tmp_path / "run", "--device", "cpu")
    assert code == 0
    assert "2 experiments held out, 151 windows" in out
    assert "same target, labels" in out
    code, out, _ = call("impute", tmp_path / "run", "--device", "cpu", "--json")
    assert code == 0
    assert [one["experiment"] for one in json.loads(out)["experiments"]] == ["ENCFF001XYZ", "ENCFF004XYZ"]
    for query, message in (
        ("target=CTFC", "--hold-out-experiments: found no experiment with target 'CTFC'"),
        ("ENCFF9", "found 'ENCFF9'"),
        ("target=", "FACTOR=VALUE"),
        ("target=CTCF & biosample=liver", "no experiment with biosample 'liver'"),
    ):
        code, _, err = call("train", *options, "--out", tmp_path / "no", "--hold-out-experiments", query)
        assert code == 1
        assert message in err
        assert not (tmp_path / "no").exists()


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_train__names_the_package_a_logger_needs(planted: Store, config: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--store", planted.path, "--config", config, "--device", "cpu", "--out", run)
    code, _, err = call("train", *options, "--logger", "wandb")
    assert code == 1
    assert "wandb, which is not installed" in err
    assert not run.exists()


def test_train__refuses_an_existing_run(planted: Store, config: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("mine")
    code, _, err = call("train", "--store", planted.path, "--config", config, "--out", tmp_path / "run")
    assert code == 1
    assert "a name that is not taken" in err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["thesis.txt"]


def test_train__resumed_with_options_changes_the_runs_own_configuration_alone(
    planted: Store, config: Path, tmp_path: Path
) -> None:
    options = ("--store", planted.path, "--device", "cpu", "--threads", 1, "--out", tmp_path / "run")
    (tmp_path / "run").mkdir()
    assert call("train", *options, "--config", config, "--epochs", 1, "--resume")[0] == 0
    assert call("train", *options, "--resume")[0] == 0
    assert call("train", *options, "--resume", "--seed", tiny_config().training.seed)[0] == 0
    code, _, err = call("train", *options, "--resume", "--seed", 77)
    assert code == 1
    assert "expected training.seed = 77, as asked for" in err
    code, _, err = call("train", *options, "--resume", "--preset", "small")
    assert code == 1
    assert "data.positions = 640, as asked for" in err


def test_train__a_path_that_cannot_be_used_is_named(planted: Store, config: Path, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 300)
    for arguments in (
        ("train", "--store", long, "--out", tmp_path / "run"),
        ("train", "--store", planted.path, "--config", config, "--out", long),
        ("evaluate", long),
    ):
        code, _, err = call(*arguments)
        assert code == 1
        assert "xxx" in err
        assert "File name too long" in err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--preset", "huge"],
        ["--config", "a", "--preset", "small"],
        ["--epochs", "0"],
        ["--model", "linear_head", "--lambda-indep", "0.5"],
    ],
)
def test_train__usage_errors_exit_with_2(planted: Store, tmp_path: Path, arguments: list[str]) -> None:
    code, _, _ = call("train", "--store", planted.path, "--out", tmp_path / "run", *arguments)
    assert code == 2
    assert not (tmp_path / "run").exists()


def test_evaluate_and_report__explain_a_folder_that_is_no_run(tmp_path: Path) -> None:
    for command in ("evaluate", "report"):
        code, out, err = call(command, tmp_path)
        assert (code, out) == (1, "")
        assert "model.json" in err


def test_help__names_the_commands_and_imports_nothing_heavy() -> None:
    program = (
        "import sys\nfrom cli.mfdmodel_app import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'lightning', 'sklearn', 'matplotlib', 'zarr', 'numpy'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))"
    )
    for arguments in (["--help"], ["train", "--help"], ["evaluate", "--help"], ["report", "--help"], []):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
        )
        assert "HEAVY []" in done.stdout, arguments
        assert "Usage" in done.stdout + done.stderr
    result = runner.invoke(app, ["--help"])
    assert all(command in result.stdout for command in ("train", "evaluate", "report"))


def test_version__is_that_of_the_package() -> None:
    code, out, _ = call("--version")
    assert code == 0
    assert out.startswith("mfdmodel 0.")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [(signal.SIGINT, 130, "Interrupted."), (signal.SIGTERM, 143, "resumed from its last whole epoch")],
)
def test_train__ended_by_a_signal_says_so_and_can_be_resumed(
    planted: Store, config: Path, tmp_path: Path, sent: signal.Signals, code: int, said: str
) -> None:
    run = tmp_path / "run"
    command = [
        *(
            sys.executable,
            "-m",
            "cli.mfdmodel_app",
            "train",
            "--store",
            str(planted.path),
            "--config",
            str(config),
        ),
        *("--out", str(run), "--epochs", "400", "--device", "cpu", "--threads", "1"),
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ,
    )
    deadline = time.monotonic() + 120
    while not (run / "logs" / "metrics.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert err.rstrip().endswith(said)
    assert "Traceback" not in err
    assert "Warning:" not in err
    done, out, _ = call(
        "train", "--store", planted.path, "--out", run, "--resume", "--max-minutes", 0, "--device", "cpu"
    )
    assert done == 0
    assert "the time is up" in out


def test_choices__are_those_of_the_configuration() -> None:
    assert tuple(Preset) == PRESETS
    assert tuple(Kind) == get_args(ModelKind)
    assert set(EvaluatedSplit) == set(SPLITS) - {"gap"}


def test_sweep__fits_80_columns_and_names_the_run_that_failed(
    planted: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    config = tmp_path / "terms.yaml"
    content = tiny_config(epochs=1).model_dump(mode="json")
    content["model"]["penalty"]["terms"] = {"l1": 1.0, "frobenius": 0.5}
    config.write_text(yaml.safe_dump(content))
    folder = tmp_path / "sweep"
    options = (
        "--store",
        planted.path,
        "--config",
        config,
        "--out",
        folder,
        "--device",
        "cpu",
        "--threads",
        1,
    )
    prices = ("--lambda-indep", "0,0.0002", "--seed", "0,1")
    code, out, _ = call("sweep", *options, *prices)
    assert code == 0
    assert "…" not in out
    assert all(len(line) <= 80 for line in out.splitlines() if "│" in line or "┃" in line)
    words = out.split()
    assert all(
        word in words for word in ("biological", "technical", "combined", "penalty", "lambda", "0.0002")
    )
    assert "squared" not in out
    assert "dependence penalty (0.5 frobenius + l1)" in " ".join(words)
    header = (folder / "sweep.tsv").read_text().splitlines()[0].split("\t")
    assert "squared_correlations" not in header
    assert "penalty" in header

    broken = folder / "lambda0_seed0"
    state = broken / "checkpoints" / "last.safetensors"
    state.write_bytes(state.read_bytes()[:500])
    (broken / "evaluation" / "sweep.json").write_text("{")
    (folder / "sweep.png").unlink()
    code, out, err = call("sweep", *options, *prices)
    assert code == 1
    assert "Wrote" in out
    assert (folder / "sweep.png").exists()
    lines = [line for line in err.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert "1 of 4 runs without numbers: lambda0_seed0" in lines[0]
    assert f"delete {broken}" in err
    assert (folder / "sweep.tsv").read_text().count("\n") == 5


def test_impute__at_80_columns_cuts_no_accession_and_says_why_there_are_no_intervals(
    planted: Store, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run = tmp_path / "run"
    options = ("--store", planted.path, "--config", config, "--device", "cpu", "--epochs", 1, "--threads", 1)
    code, _, err = call(
        "train", *options, "--out", run, "--hold-out-experiments", "target=CTCF,MAX & lab=north"
    )
    assert code == 0
    assert "squared correlations" in err  # the term is the correlation
    code, out, _ = call("impute", run, "--device", "cpu")
    assert code == 0
    assert "…" not in out
    assert all(accession in out.split() for accession in ("ENCFF000XYZ", "ENCFF002XYZ"))
    unknown = [
        line
        for line in out.splitlines()
        if line.startswith("Unknown to training, and missing to the model: ")
    ]
    assert [line.split(" of ")[-1] for line in unknown] == ["ENCFF000XYZ", "ENCFF002XYZ"]
    assert "No intervals: the windows lie in 1 stretch of 100 kb, too few to draw from; at least 10" in out
    assert all(len(line) <= 80 for line in out.splitlines() if "│" in line or "┃" in line)


def test_train__names_the_penalty_by_its_terms(planted: Store, tmp_path: Path) -> None:
    config = tmp_path / "terms.yaml"
    content = tiny_config(epochs=1).model_dump(mode="json")
    content["model"]["penalty"]["terms"] = {"discriminator": 1.0}
    config.write_text(yaml.safe_dump(content))
    options = ("--store", planted.path, "--config", config, "--device", "cpu", "--threads", 1)
    code, _, err = call("train", *options, "--out", tmp_path / "run")
    assert code == 0
    assert "dependence penalty (discriminator) " in err
    assert "squared" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["impute", "run", "--seed", "-1"],
        ["impute", "run", "--threads", "99999999999"],
        ["impute", "run", "--threads", "0"],
        ["embed", "run", "--seed", "-1"],
        ["embed", "run", "--seed", "4294967296"],
        ["independence", "run", "--seed", "-1"],
        ["independence", "run", "--windows", "-1"],
        ["truth", "run", "--truth", "t", "--draws", "1"],
        ["truth", "run", "--truth", "t", "--windows", "-1"],
        ["truth", "run", "--truth", "t", "--split", "train"],
        ["train", "--store", "s", "--out", "run", "--threads", "-1"],
        ["sweep", "--store", "s", "--out", "run", "--threads", "-1"],
    ],
    ids=" ".join,
)
def test_numbers__out_of_range_are_usage_errors(arguments: list[str]) -> None:
    code, _, err = call(*arguments)
    assert code == 2
    assert "Invalid value" in err


def test_report__refuses_to_score_probes_on_training_windows(tmp_path: Path) -> None:
    code, _, err = call("report", tmp_path, "--split", "train", "--truth", tmp_path)
    assert code == 1
    assert err.startswith("Error: --split: found train, whose windows probes are fitted on")
    assert err.count("\n") == 1
