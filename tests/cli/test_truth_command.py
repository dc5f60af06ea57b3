"""`mfdmodel truth` from end to end, on a store whose bins are their own truth."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.mfdmodel_app import app
from mfdmodel.train.fit import train
from mfdstore.store import Store
from tests.planted import tiny_config, write_planted_store

runner = CliRunner(env={"COLUMNS": "160"})


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_planted_store(tmp_path_factory.mktemp("planted") / "planted.zarr")


@pytest.fixture(scope="module")
def run(planted: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    held_out = (planted.experiments[3],)
    train(tiny_config(epochs=1, held_out=held_out), store=planted, run=folder, device="cpu", threads=1)
    return folder


@pytest.fixture(scope="module")
def truth(planted: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("truth")
    columns = [planted.labels_of(index) for index in (0, 2, 4)]
    bins = ["chrom\tstart\tbiological:target:CTCF\tbiological:target:MAX\ttechnical:year:older"]
    sites = ["chrom\tstart\tend\trole\tfactor\tname\tactive\tbiosamples"]
    for row, (chrom, start) in enumerate(zip(planted.windows.chrom, planted.windows.start, strict=True)):
        name = planted.chroms[chrom]
        bins.append(f"{name}\t{start}\t" + "\t".join(str(int(column[row])) for column in columns))
        for target, column, shift in (("CTCF", columns[0], 4), ("MAX", columns[1], 66)):
            if column[row]:
                place = f"{start + shift}\t{start + shift + 40}"
                sites.append(f"{name}\t{place}\tbiological\ttarget\t{target}\t1\tHepG2;K562")
    (folder / "bins.tsv.gz").write_bytes(gzip.compress("\n".join(bins).encode()))
    (folder / "sites.tsv").write_text("\n".join(sites) + "\n")
    return folder


def call(*arguments: object) -> tuple[int, str, str]:
    result = runner.invoke(app, ["truth", *map(str, arguments), "--device", "cpu", "--threads", "1"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_truth__prints_tables_and_the_same_as_json(run: Path, truth: Path) -> None:
    few = ("--draws", 10, "--windows", 3)
    code, out, _ = call(run, "--truth", truth, *few)
    assert code == 0
    assert "biological: target" in out
    assert "1 unseen experiments" in out
    assert "nan" not in out
    assert "No intervals: the windows lie in 1 stretch of 20 kb, too few to draw from; at least 10" in out
    code, text, _ = call(run, "--truth", truth, *few, "--json")
    assert code == 0
    content = json.loads(text)
    assert content == json.loads((run / "evaluation" / "truth.json").read_text())
    told = next(one for one in content["recovery"] if one["factor"] == "target" and one["value"] is None)
    assert re.search(rf"biological: target.*{told['auroc']['biological']['value']:.3f}", out)
    assert [one["n_windows"] for one in content["overlap"]] == [3, 3, 6]


def test_truth__says_in_a_line_what_is_wrong(run: Path, truth: Path, tmp_path: Path) -> None:
    before = (run / "evaluation").exists() and sorted((run / "evaluation").iterdir())
    for arguments, said in (
        ((run, "--truth", tmp_path), "bins.tsv.gz"),
        ((tmp_path, "--truth", truth), "model.json"),
        ((run, "--truth", truth, "--width", 50), "--width: found 50"),
        ((run, "--truth", truth, "--store", tmp_path / "none.zarr"), "none.zarr"),
    ):
        code, _, err = call(*arguments)
        assert code == 1
        assert said in err
        assert len(err.strip().splitlines()) == 1
    assert ((run / "evaluation").exists() and sorted((run / "evaluation").iterdir())) == before
