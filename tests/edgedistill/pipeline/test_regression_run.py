"""A run whose student answers with figures, from a table of drawn images to the board, each stage looked at."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

import edgedistill
from edgedistill.cli.main import main
from edgedistill.config.loading import load_recipe
from edgedistill.config.task import REGRESSION
from edgedistill.errors import RecipeError, StudentError
from edgedistill.pipeline.gates import student_beats_chance
from edgedistill_device.manifest import read_manifest
from end_to_end import RECIPE, SOURCES, made_once
from report_schemas import schema_validator
from run_records import prepared_of, record_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # a whole run, on a computer that may be busy

VALUES = """
task = "regression"
values = [{ column = "radius", unit = "mm", low = 0.0, high = 60.0 }, { column = "grey" }]
"""


def make(folder):
    """90 discs: their radius in mm, 2 mm a pixel, and how bright they are."""
    rng = np.random.default_rng(1)
    lines = ["path,radius,grey"]
    (folder / "images").mkdir()
    for number in range(90):
        radius, grey = int(rng.integers(5, 22)), int(rng.integers(60, 250))
        image = rng.integers(0, 40, (48, 48, 3), dtype=np.uint8)
        cv2.circle(image, (24, 24), radius, (grey, grey, grey), -1)
        assert cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        lines.append(f"{number}.png,{2 * radius},{grey / 255:.4f}")
    (folder / "images" / "t.csv").write_text("\n".join(lines) + "\n")
    recipe = RECIPE.replace('train = "images"', 'train = "images/t.csv"' + VALUES)
    recipe = recipe.replace("temperature = 2.0\n", "").replace(
        "feature_weight = 0.1", "feature_weight = 0.1\nseeds = 2"
    )
    recipe = recipe.replace("calibration_images = 16", "calibration_images = 16\nmax_int8_drop_points = 200")
    (folder / "r.toml").write_text(recipe)
    edgedistill.run(str(folder / "r.toml"), run_dir=folder / "runs" / "r", quiet=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return made_once(tmp_path_factory, "regression", make)


@pytest.fixture(scope="module")
def run(project):
    return project / "runs" / "r"


def record(run, stage):
    return record_of(run, stage, REGRESSION)


@pytest.fixture(scope="module")
def images(project, run):
    return prepared_of(run, load_recipe(project / "r.toml"))


def answers(outputs, images):
    mean, std = (np.array([getattr(value, key) for value in images.values]) for key in ("mean", "std"))
    return np.clip(outputs * std + mean, [0, -np.inf], [60, np.inf])


def test_the_figures_of_every_network_are_those_of_its_outputs(run, images):
    outputs, evaluated = np.load(run / "evaluate" / "test_logits.npz"), record(run, "evaluate")
    targets = images.targets("test")
    assert targets.shape == (evaluated.images, 2)
    for name in ("teacher", "baseline", "student"):
        errors = np.abs(answers(outputs[name], images) - targets).mean(axis=0)
        for value, error in zip(("radius", "grey"), errors, strict=True):
            assert evaluated.network(name).figure("mae", value).value == pytest.approx(error, rel=1e-5)
    means = np.abs(np.array([value.mean for value in images.values]) - targets).mean(axis=0)
    assert evaluated.constant.figure("mae", "radius").value == pytest.approx(means[0])
    gain = evaluated.gain.by_output[0]
    other, own = (np.abs(answers(outputs[name], images) - targets)[:, 0] for name in ("baseline", "student"))
    assert gain.value == pytest.approx((other - own).mean(), abs=1e-6)
    assert [row.seed for row in evaluated.seeds] == [0, 1]


def test_the_history_is_of_the_figures(run):
    teacher = record(run, "teacher")
    assert teacher.validation.metric("r2") == pytest.approx(teacher.history[-1].eval_r2)
    assert teacher.history[-1].eval_loss < teacher.history[0].eval_loss


def test_int8_is_told_in_the_unit(run, images):
    outputs, step = np.load(run / "quantize" / "test_logits.npz"), record(run, "quantize").ladder["int8"]
    targets = images.targets("test")
    errors = {name: np.abs(answers(outputs[name], images) - targets).mean(axis=0) for name in ("float", "int8")}
    for number, change in enumerate(step.changes):
        assert change.value == pytest.approx(errors["int8"][number] - errors["float"][number], abs=1e-6)
    assert [change.unit for change in step.changes] == ["mm", ""]
    stds = np.array([value.std for value in images.values])
    assert step.drop_points == pytest.approx(100 * ((errors["int8"] - errors["float"]) / stds).mean(), abs=1e-4)
    assert record(run, "quantize").int8_gate.curve[0].float_layers == 0


def test_the_board_s_answers_are_those_of_this_computer(run, images):
    bundle = run / "bundle" / "bundle"
    manifest = read_manifest(bundle, compiled=True)
    assert (manifest.task, manifest.classes) == ("regression", ("radius", "grey"))
    assert manifest.values == images.values
    assert "decisions" not in manifest.provenance
    golden = bundle / "golden"
    assert np.array(json.loads((golden / "labels.json").read_text())).shape == (6, 2)
    here = edgedistill.predict(bundle, golden / "images")
    expected = answers(np.load(golden / "logits.npy"), images)
    for row, figures in zip(here, expected, strict=True):
        assert [one["value"] for one in row["values"]] == pytest.approx(figures.tolist(), abs=1e-6)
        assert [one["unit"] for one in row["values"]] == ["mm", ""]
    python = os.environ.get("EDGEDISTILL_PYTHON36", sys.executable)
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    for words in (["verify"], ["classify", str(golden / "images")]):
        done = subprocess.run(
            [
                python,
                "-m",
                "edgedistill_device",
                words[0],
                "--backend",
                "onnxruntime",
                "--bundle",
                str(bundle),
                *words[1:],
            ],
            capture_output=True,
            text=True,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()[:-1]]
    for line, row in zip(said, here, strict=True):
        assert [one["value"] for one in line["values"]] == pytest.approx(
            [one["value"] for one in row["values"]], rel=1e-2, abs=0.05
        )


def test_the_card_and_the_report_tell_the_errors(run):
    evaluated = record(run, "evaluate")
    error = evaluated.student.figure("mae", "radius")
    card = (run / "bundle" / "bundle" / "MODEL_CARD.md").read_text()
    assert f"| student (this one) | `radius` | {error.value:.4g} mm |" in card
    page = (run / "report" / "report.html").read_text()
    text = " ".join(_Text.of(page).split())
    assert f"Mean absolute error of radius {error.value:.4g} mm" in text
    assert "Error by range" not in text.partition("The student's error by the true value")[0]
    for row in evaluated.student.ranges:
        assert f"{row.low:.4g} to {row.high:.4g}" in text
    assert "top-1" not in text
    assert not re.search(r'(?:src|href)="http', page)
    report = json.loads((run / "report" / "report.json").read_text())
    assert (report["task"], report["version"]) == ("regression", 2)
    schema_validator("output_report.schema.json").validate(report)


class _Text(HTMLParser):
    @classmethod
    def of(cls, page):
        parser = cls()
        parser.parts, parser.inside = [], True
        parser.feed(page)
        return " ".join(parser.parts)

    def handle_starttag(self, tag, attributes):
        self.inside = tag not in ("script", "style")

    def handle_endtag(self, tag):
        self.inside = True

    def handle_data(self, data):
        if self.inside:
            self.parts.append(data)


def test_the_same_command_keeps_everything_and_prints_the_errors(project, run, capsys):
    before = {path: path.stat().st_mtime_ns for path in run.glob("*/*.json")}
    assert main(["run", str(project / "r.toml"), "--run-dir", str(run), "-q"]) == 0
    said = capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in run.glob("*/*.json")}
    for words in ("mean absolute error", "radius", "mm", "training mean", "R2"):
        assert words in said
    assert main(["report", str(run)]) == 0


def test_predict_prints_figures_as_table_csv_and_json(run, images, capsys):
    shown = [str(images.table.paths[int(row)]) for row in images.rows("test")[:2]]
    assert main(["predict", str(run), *shown]) == 0
    assert capsys.readouterr().out.count(" mm, grey ") == 2
    assert main(["predict", str(run), *shown, "--csv"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "path,name_1,value_1,unit_1,name_2,value_2,unit_2,reason"
    assert len(lines) == 2
    assert main(["predict", str(run), *shown, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    student = np.load(run / "evaluate" / "test_logits.npz")["student"][:2]
    found = [[one["value"] for one in row["values"]] for row in rows]
    np.testing.assert_allclose(found, answers(student, images), atol=1e-3)


def test_a_student_no_better_than_the_mean_is_not_bundled(project, run):
    recipe, evaluated = load_recipe(project / "r.toml", ["deploy.allow_below_chance=false"]), record(run, "evaluate")
    useless = evaluated.model_copy(update={"student": evaluated.constant, "over_constant": _no_gain(evaluated)})
    with pytest.raises(
        StudentError, match="not usable: on .* test images its R2 is .*always answering the training mean"
    ):
        student_beats_chance(recipe, useless)
    better = evaluated.over_constant.model_copy(update={"points": 5.0})
    figures = [
        one.model_copy(update={"value": 0.5}) if (one.name, one.output) == ("r2", None) else one
        for one in evaluated.student.figures
    ]
    good = evaluated.student.model_copy(update={"figures": figures})
    student_beats_chance(recipe, evaluated.model_copy(update={"student": good, "over_constant": better}))


def _no_gain(evaluated):
    return evaluated.over_constant.model_copy(update={"points": 0.0})


def test_what_compares_classes_says_so(project, run, capsys):
    assert main(["compare", str(run)]) == 1
    assert "is a run of regression, whose figures compare cannot set beside top-1" in capsys.readouterr().err
    with pytest.raises(RecipeError, match="a sweep compares how many images are right"):
        edgedistill.sweep(str(project / "r.toml"), over={"distill.kd_weight": [0.3, 0.6]}, run_dir=run)
