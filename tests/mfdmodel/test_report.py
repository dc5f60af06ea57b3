"""The report: one page that loads nothing, escapes everything, and says what the run's files say."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from mfdmodel.analyses.independence.result import write_independence
from mfdmodel.analyses.truth.probes import ProbeScore
from mfdmodel.config_reading import override
from mfdmodel.evaluate.run import evaluate_run
from mfdmodel.evaluate.scores import ExperimentScore
from mfdmodel.report.content import read_run
from mfdmodel.report.figures import (
    draw_comparison,
    draw_dependence,
    draw_independence,
    draw_label_shares,
    draw_losses,
    draw_probes,
    draw_scores_by_group,
)
from mfdmodel.report.page import render_page
from mfdmodel.report.write import write_report
from mfdmodel.train.fit import train
from mfdmodel.train.keeper import EpochRecord
from mfdstore.errors import ConfigError, RunError, SourceError
from mfdstore.store import Store
from tests.mfdmodel.independence.outcomes import outcome
from tests.planted import HOSTILE, tiny_config, write_planted_store

VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that what opens is closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_self_contained(html: str) -> None:
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "embed", "img", "image", "base", "form"} & set(
        page.tags
    )
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "srcset", "action", "data", "poster", "background"):
            pytest.fail(f"{tag} {name}={value}")
        if name.endswith("href"):
            assert value.startswith("#"), (tag, value)
    assert "@import" not in html
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", html))


@pytest.fixture(scope="module")
def runs(planted: Store, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three evaluated runs, by kind."""
    folder = tmp_path_factory.mktemp("runs")
    for kind in ("mfd", "linear_head", "dinucleotides"):
        config = override(tiny_config(), {"model.kind": kind})
        train(config, store=planted, run=folder / kind, device="cpu", threads=1)
        evaluate_run(folder / kind, device="cpu", threads=1)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def truth(planted: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a simulation would have written of the planted store."""
    folder = tmp_path_factory.mktemp("truth")
    columns = [planted.labels_of(index) for index in (0, 2, 4, 5)]
    lines = [
        "chrom\tstart\tbiological:target:CTCF\tbiological:target:MAX\ttechnical:lab:<b>south</b>\ttechnical:lab:never"
    ]
    for row, (chrom, start) in enumerate(zip(planted.windows.chrom, planted.windows.start, strict=True)):
        flags = "\t".join(str(int(column[row])) for column in columns)
        lines.append(f"{planted.chroms[chrom]}\t{start}\t{flags}")
    (folder / "bins.tsv.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return folder


@pytest.fixture(scope="module")
def page(runs: dict[str, Path], truth: Path) -> str:
    """A page with everything on it."""
    path = write_report(
        runs["mfd"],
        compare=[runs["linear_head"], runs["dinucleotides"]],
        truth=truth,
        device="cpu",
        threads=1,
    )
    assert path == runs["mfd"] / "report.html"
    return path.read_text("utf-8")


def test_report__is_whole_and_loads_nothing(page: str) -> None:
    assert_self_contained(page)
    figures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(figures) == 7
    for figure in figures:
        ElementTree.fromstring(figure)


def test_report__shows_hostile_metadata_as_it_is(page: str) -> None:
    assert "<script" not in page
    assert "<b>south" not in page
    text = Page(page).text
    assert HOSTILE in text
    assert "<b>south</b>" in text


def test_report__holds_no_control_characters(runs: dict[str, Path]) -> None:
    content = replace(read_run(runs["mfd"]), name="run\x00\x07\x1b[31m <b>\x9f")
    page = render_page(content)
    assert not set(page) & {chr(code) for code in (*range(32), *range(127, 160))} - {"\n", "\t"}
    assert "run\ufffd\ufffd\ufffd[31m <b>\ufffd" in Page(page).text


def test_report__names_the_store_without_its_folder(page: str, planted: Store) -> None:
    assert planted.path.name in page
    assert str(planted.path.resolve().parent) not in page


def test_report__chance_is_that_of_the_experiments_scored(page: str, runs: dict[str, Path]) -> None:
    evaluation = json.loads((runs["mfd"] / "evaluation" / "test.json").read_text())
    scored = [one["n_positive"] for one in evaluation["experiments"] if one["average_precision"] is not None]
    assert len(scored) < len(evaluation["experiments"])
    assert f"chance: {np.mean(scored) / evaluation['n_windows']:.3f}" in Page(page).text


def test_report__says_what_the_files_say(page: str, runs: dict[str, Path]) -> None:
    text = Page(page).text
    for path in runs.values():
        evaluation = json.loads((path / "evaluation" / "test.json").read_text())
        assert f"{evaluation['overall']['auroc']:.3f}" in text
        assert path.name in text
    for split in json.loads((runs["mfd"] / "run.json").read_text())["labels"].values():
        assert f"{sum(split['n_positive']):,}" in text
    assert "lambda_indep: 0.0001" in text
    assert all(f"ENCFF{index:03d}XYZ" in text for index in range(6))


def test_report__tells_of_batches_that_several_processes_joined(
    page: str, runs: dict[str, Path], tmp_path: Path
) -> None:
    assert "batches of 50, seed" in Page(page).text
    run = shutil.copytree(runs["mfd"], tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    assert record["processes"] == 1
    (run / "run.json").write_text(json.dumps(record | {"processes": 3}))
    assert "batches of 150 (3 processes of 50), seed" in Page(render_page(read_run(run))).text
    (run / "run.json").write_text(json.dumps(record | {"processes": 0}))
    with pytest.raises(RunError, match=r"run\.json.*0 processes"):
        read_run(run)


def test_report__tells_what_the_features_know(page: str, runs: dict[str, Path]) -> None:
    probes = json.loads((runs["mfd"] / "evaluation" / "truth.json").read_text())["probes"]
    assert [(probe["role"], probe["value"]) for probe in probes] == [
        ("biological", "CTCF"),
        ("biological", "MAX"),
        ("technical", "<b>south</b>"),
        ("technical", "never"),
    ]
    assert probes[3]["auroc"]["biological"] is None
    mean = np.mean([probe["auroc"]["biological"] for probe in probes[:2]])
    assert f"mean AUROC {mean:.3f} from biological" in " ".join(Page(page).text.split())


def test_report__stands_alone_without_comparison_and_truth(runs: dict[str, Path]) -> None:
    html = write_report(runs["dinucleotides"]).read_text("utf-8")
    assert_self_contained(html)
    text = Page(html).text
    assert "side by side" not in text
    assert "planted truth" not in text
    assert "price of dependence" not in text


def test_report__numbers_runs_of_the_same_name(runs: dict[str, Path]) -> None:
    content = read_run(runs["mfd"])
    text = Page(render_page(content, others=[content])).text
    assert "AUROC, mfd (1)" in text
    assert "AUROC, mfd (2)" in text


def test_report__is_the_same_twice(runs: dict[str, Path]) -> None:
    content = read_run(runs["mfd"])
    assert render_page(content) == render_page(content)


def test_report__asks_for_an_evaluation_first(planted: Store, tmp_path: Path, runs: dict[str, Path]) -> None:
    with pytest.raises(RunError, match="no such file"):
        write_report(tmp_path / "nowhere")
    train(tiny_config(epochs=1), store=planted, run=tmp_path / "run", device="cpu", threads=1)
    with pytest.raises(RunError, match=r"mfdmodel evaluate .* --split test"):
        write_report(tmp_path / "run")
    with pytest.raises(RunError, match="mfdmodel evaluate"):
        write_report(runs["mfd"], compare=[tmp_path / "run"])
    assert not (tmp_path / "run" / "report.html").exists()


def test_report__compares_scores_of_one_store_only(tmp_path: Path, runs: dict[str, Path]) -> None:
    store = write_planted_store(tmp_path / "other.zarr", seed=1)
    train(tiny_config(epochs=1), store=store, run=tmp_path / "run", device="cpu", threads=1)
    evaluate_run(tmp_path / "run", device="cpu", threads=1)
    with pytest.raises(RunError, match=store.digest[:12]):
        write_report(runs["mfd"], compare=[tmp_path / "run"])


def test_report__refuses_scores_of_an_epoch_before_the_best(planted: Store, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(tiny_config(), store=planted, run=run, device="cpu", threads=1, max_minutes=0)
    evaluate_run(run, device="cpu", threads=1)
    write_report(run)
    (run / "report.html").unlink()
    result = train(None, store=planted, run=run, device="cpu", threads=1, resume=True)
    assert result.best_epoch == 1
    with pytest.raises(RunError, match=r"of epoch 1;.*of epoch 2.*mfdmodel evaluate .* --split test"):
        write_report(run)
    assert not (run / "report.html").exists()
    evaluate_run(run, device="cpu", threads=1)
    write_report(run)


def test_report__says_which_store_was_scored(planted: Store, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(tiny_config(epochs=1), store=planted, run=run, device="cpu", threads=1)
    evaluate_run(run, device="cpu", threads=1)
    assert "another store" not in Page(write_report(run).read_text("utf-8")).text
    other = write_planted_store(tmp_path / "other.zarr", seed=1)
    evaluate_run(run, store=other.path, device="cpu", threads=1)
    text = " ".join(Page(write_report(run).read_text("utf-8")).text.split())
    assert f"of another store than that of the training (digest {other.digest[:12]})" in text
    assert f"digest of the store scored{other.digest}" in text
    assert f"digest of its content{planted.digest}" in text


def test_report__names_the_penalty_by_its_terms(runs: dict[str, Path]) -> None:
    content = read_run(runs["mfd"])
    assert "mean squared correlation" in Page(render_page(content)).text
    terms = override(content.description.config, {"model.penalty.terms": {"l1": 1.0, "discriminator": 2.0}})
    other = replace(content, name="other", description=replace(content.description, config=terms))
    text = Page(render_page(other)).text
    assert "squared correlation" not in text
    assert f"dependence penalty (2 discriminator + l1) {-content.best.l_indep:.3f}" in text
    both = Page(render_page(content, others=[other])).text
    assert "Not drawn, as their penalty has other terms: other." in both


def test_report__probes_nothing_on_training_windows(runs: dict[str, Path], truth: Path) -> None:
    evaluate_run(runs["mfd"], split="train", device="cpu", threads=1)
    before = (runs["mfd"] / "evaluation" / "truth.json").exists()
    with pytest.raises(ConfigError, match="found train, whose windows probes are fitted on"):
        write_report(runs["mfd"], truth=truth, split="train", device="cpu")
    assert (runs["mfd"] / "evaluation" / "truth.json").exists() == before


def test_report__refuses_the_truth_of_other_sources(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        write_report(runs["mfd"], truth=tmp_path, device="cpu")


def test_read_run__explains_damage(runs: dict[str, Path], planted: Store, tmp_path: Path) -> None:
    train(tiny_config(epochs=1), store=planted, run=tmp_path / "run", device="cpu", threads=1)
    evaluate_run(tmp_path / "run", device="cpu", threads=1)
    curves, record = tmp_path / "run" / "logs" / "metrics.csv", tmp_path / "run" / "run.json"
    whole = curves.read_text()
    curves.write_text(whole.replace("valid_loss", "loss"))
    with pytest.raises(RunError, match="learning curves"):
        read_run(tmp_path / "run")
    curves.unlink()
    with pytest.raises(RunError, match="no whole epoch"):
        read_run(tmp_path / "run")
    curves.write_text(whole)
    record.write_text(json.dumps(json.loads(record.read_text()) | {"labels": 3}))
    with pytest.raises(RunError, match="label counts"):
        read_run(tmp_path / "run")


@pytest.mark.parametrize(
    "path",
    [
        ("n_parameters",),
        ("n_parameters", "model"),
        ("n_parameters", "predictors"),
        ("device",),
        ("python",),
        ("torch_threads",),
        ("versions",),
        ("labels",),
        ("labels", "train"),
        ("labels", "valid", "n_positive"),
    ],
    ids=".".join,
)
def test_read_run__explains_a_record_that_lacks_something(
    runs: dict[str, Path], tmp_path: Path, path: tuple[str, ...]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs["mfd"], run)
    record = json.loads((run / "run.json").read_text())
    node = record
    for key in path[:-1]:
        node = node[key]
    del node[path[-1]]
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match=r"run\.json"):
        write_report(run)


def record(epoch: int, l_indep: float | None) -> EpochRecord:
    return EpochRecord(epoch, 0.5 / (epoch + 1), 0.6 / (epoch + 1), l_indep, 0.001, 10.0, 100.0)


def texts(svg: str | None) -> str:
    assert svg is not None
    return " ".join(ElementTree.fromstring(svg).itertext())


def test_figures__name_what_they_show() -> None:
    nan = float("nan")
    scores = [
        ExperimentScore("E0", {"target": HOSTILE, "assay": None}, 3, 0.9, 0.1),
        ExperimentScore("E1", {"target": "CTCF", "assay": "x" * 99}, 3, 0.8, 0.1),
        ExperimentScore("E2", {"target": None, "assay": None}, 0, nan, nan),
    ]
    by_group = texts(draw_scores_by_group(scores, rows="target", colours="assay"))
    assert "CTCF  (1)" in by_group
    assert "(missing)" in by_group
    assert "x" * 40 not in by_group
    comparison = texts(draw_comparison(("first", scores), ("second", scores[:1])))
    assert "higher in 0 of 1 experiments" in comparison
    curves = {"first": [record(0, -3.0), record(1, -1.0)], "base": [record(0, None)]}
    assert "validation, base" in texts(draw_losses(curves))
    assert "mean squared correlation" in texts(draw_dependence(curves, {"first": 24, "base": 24}))
    other = texts(draw_dependence(curves, {"first": 1, "base": 1}, title="dependence penalty (l1)"))
    assert "dependence penalty (l1)" in other
    assert "squared" not in other
    probe = ProbeScore("technical", "lab", "$x$", 3, 3, {"biological": 0.5, "technical": 0.9})
    assert "technical: lab $x$" in texts(draw_probes([probe]))
    assert "experiments" in texts(draw_label_shares(np.array([0.1, 0.2])))


def test_scores_by_group__keep_the_worst_and_say_what_is_left_out() -> None:
    scores = [
        ExperimentScore(f"E{index}", {"target": f"T{index:03d}"}, 3, 0.5 + 0.004 * index, 0.1)
        for index in range(100)
    ]
    scores += [ExperimentScore(f"F{index}", {"target": "largest"}, 3, 0.99, 0.1) for index in range(3)]
    text = texts(draw_scores_by_group(scores, rows="target", colours=None))
    assert text.count("  (1)") == 59
    assert "T000  (1)" in text
    assert "T058  (1)" in text
    assert "largest  (3)" in text
    assert "the 60 values of most experiments; 41 others are not drawn" in text
    assert "not drawn" not in texts(draw_scores_by_group(scores[:60], rows="target", colours=None))


def test_figures__hold_names_of_any_script_and_no_control_characters() -> None:
    # a warning about a missing glyph would fail here
    name = "\u8f6c\u5f55\x07\x00\ufffe\tfactor\ud800"
    scores = [ExperimentScore("E0", {"target": name}, 3, 0.9, 0.1)]
    assert "\u8f6c\u5f55 factor  (1)" in texts(draw_scores_by_group(scores, rows="target", colours="target"))


def test_losses__of_more_runs_than_colours_tell_them_apart() -> None:
    curves = {f"run {index}": [record(0, -1.0), record(1, -1.0)] for index in range(8)}
    for svg in (draw_losses(curves), draw_dependence(curves, dict.fromkeys(curves, 4))):
        assert svg is not None
        styles = re.findall(r"style=\"fill: none; (stroke-dasharray[^\"]*)?(stroke: #[^\"]*)\"", svg)
        lines = {style for style in styles if "stroke-width: 2" in style[1] or "stroke-width: 2" in style[0]}
        assert len(lines) == 8
    assert texts(draw_losses(curves)).count("training") == 1


def test_figures__of_nothing_are_none() -> None:
    nan = float("nan")
    none = [ExperimentScore("E0", {}, 0, nan, nan)]
    assert draw_scores_by_group(none, rows="target", colours=None) is None
    assert draw_comparison(("a", none), ("b", none)) is None
    assert draw_dependence({"a": [record(0, None)]}, {"a": 1}) is None
    assert draw_probes([ProbeScore("technical", "lab", "a", 0, 0, {"all": nan})]) is None


def test_report__shows_the_independence_where_it_was_measured(runs: dict[str, Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(runs["mfd"], tmp_path / "run"))
    content = read_run(run)
    assert "Independence of the subspaces" not in render_page(content)
    write_independence(run, outcome(epoch=content.best.epoch, value=HOSTILE))
    html = write_report(run).read_text("utf-8")
    assert_self_contained(html)
    text = Page(html).text
    assert "Independence of the subspaces" in text
    assert "0.300 (0.280 to 0.320)" in text
    assert "70.0 (60.0 to 80.0)" in text
    assert "1 of 4 measures" in text
    assert "not linear" in text
    assert f"target={HOSTILE}: +1.00" in text
    assert "3: -0.25" in text
    quiet = render_page(content, measured=outcome(nonlinear=0.0))
    assert "no dependence was seen" in quiet
    write_independence(run, outcome(epoch=content.best.epoch + 1))
    with pytest.raises(RunError, match="mfdmodel independence"):
        write_report(run)


def test_report__marks_what_was_held_out_of_the_loss(
    runs: dict[str, Path], planted: Store, tmp_path: Path
) -> None:
    run, held_out = tmp_path / "partial", ["ENCFF001XYZ", "ENCFF004XYZ"]
    train(tiny_config(epochs=1, held_out=held_out), store=planted, run=run, device="cpu", threads=1)
    evaluate_run(run, device="cpu", threads=1)
    written = json.loads((run / "evaluation" / "test.json").read_text())
    assert [one["experiment"] for one in written["experiments"] if one["held_out"]] == held_out
    auroc = {one["experiment"]: one["auroc"] for one in written["experiments"]}
    trained = [value for name, value in auroc.items() if name not in held_out and value is not None]
    assert written["overall"]["auroc"] == pytest.approx(np.mean(trained))
    assert written["held_out"]["overall"]["auroc"] == pytest.approx(np.mean([auroc[k] for k in held_out]))
    html = write_report(run, compare=[runs["mfd"]]).read_text("utf-8")
    assert_self_contained(html)
    text = " ".join(Page(html).text.split())
    assert "with 4 experiments (2 more were held out of the loss)" in text
    assert f"mean AUROC, held out{written['held_out']['overall']['auroc']:.3f}2 of 2 experiments" in text
    assert "3 of 4 experiments trained on scored" in text
    assert "held out of the loss were 2 in partial." in text
    assert "(ENCFF001XYZ, ENCFF004XYZ) have means of their own" in text
    assert text.count("XYZ (held out)") == 2
    assert "Rings were held out" in text
    content = read_run(run)
    scored = [one for one in content.evaluation.experiments if not (one.held_out or np.isnan(one.auroc))]
    chance = np.mean([one.n_positive for one in scored]) / written["n_windows"]
    assert f"chance: {chance:.3f}" in text
    assert "held out" not in Page(render_page(read_run(runs["mfd"]))).text
    # as an earlier version wrote it, when all experiments were in the means
    for one in written["experiments"]:
        del one["held_out"]
    del written["held_out"]
    (run / "evaluation" / "test.json").write_text(json.dumps(written))
    with pytest.raises(RunError, match=r"of 0 experiments held out.*mfdmodel evaluate"):
        read_run(run)


def test_figures__draw_held_out_experiments_as_rings_and_do_not_count_them() -> None:
    scores = [
        ExperimentScore("E0", {"target": "A"}, 3, 0.9, 0.1),
        ExperimentScore("E1", {"target": "A"}, 3, 0.8, 0.1, held_out=True),
        ExperimentScore("E2", {"target": "B"}, 3, 0.7, 0.1, held_out=True),
    ]
    drawn = draw_scores_by_group(scores, rows="target", colours=None)
    assert drawn is not None
    assert "held out of the loss" in texts(drawn)
    assert "held out" not in texts(draw_scores_by_group(scores[:1], rows="target", colours=None))
    low = [replace(one, auroc=0.5, held_out=False) for one in scores]
    compared = draw_comparison(("first", scores), ("second", low))
    assert "higher in 1 of 1 experiments" in texts(compared)
    for svg, n_rings in ((drawn, 3), (compared or "", 2)):  # one in the legend
        assert len(re.findall(r'<use [^>]*style="fill: #ffffff', svg)) == n_rings


def test_independence__is_drawn_where_it_has_numbers() -> None:
    measures = outcome().found.measures
    drawn = texts(draw_independence(measures))
    assert "a straight line predicts" in drawn
    assert "canonical" not in drawn
    assert draw_independence(measures[3:]) is None
