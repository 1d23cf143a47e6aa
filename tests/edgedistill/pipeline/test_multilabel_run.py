"""A run whose student answers with any number of labels, from a table of drawn images to the board."""

import json
import os
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

import edgedistill
from edgedistill.cli.main import main
from edgedistill.config.loading import load_recipe
from edgedistill.config.task import MULTILABEL
from edgedistill.errors import RecipeError, StudentError
from edgedistill.pipeline.gates import student_beats_chance
from edgedistill_device.manifest import read_manifest
from end_to_end import RECIPE, SOURCES, made_once
from report_schemas import schema_validator
from run_records import prepared_of, record_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # a whole run, on a computer that may be busy
LABELS = ["cross", "disc", "square"]
DRAWN = {
    "disc": lambda image, x, y: cv2.circle(image, (12 + x, 12 + y), 8, (40, 40, 240), -1),
    "square": lambda image, x, y: cv2.rectangle(image, (27 + x, 4 + y), (42 + x, 19 + y), (40, 240, 40), -1),
    "cross": lambda image, x, y: cv2.drawMarker(image, (24 + x, 36 + y), (240, 40, 40), cv2.MARKER_CROSS, 20, 5),
}


DATA = """train = "images/t.csv"
unlabelled = "images/pool"
task = "multilabel"
label_column = "shapes"
balance = "loss"
"""


def make(folder):
    """130 pictures with any of three shapes, a tenth of them with none."""
    rng = np.random.default_rng(2)
    lines = ["path,shapes"]
    (folder / "images").mkdir()
    for number in range(130):
        image = rng.integers(0, 120, (48, 48, 3), dtype=np.uint8)
        there = [name for name in DRAWN if rng.random() < 0.45]
        for name in there:
            DRAWN[name](image, *map(int, rng.integers(-4, 5, 2)))
        assert cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        lines.append(f"{number}.png,{'|'.join(there)}")
    (folder / "images" / "t.csv").write_text("\n".join(lines) + "\n")
    (folder / "images" / "pool").mkdir()
    for number in range(12):
        assert cv2.imwrite(
            str(folder / "images" / "pool" / f"{number}.png"), rng.integers(0, 255, (48, 48, 3), dtype=np.uint8)
        )
    recipe = RECIPE.replace('train = "images"', DATA)
    recipe = recipe.replace("epochs = 4", "epochs = 5\npeak_lr = 1e-2\nmixup_alpha = 0.2\nmix_fraction = 0.2")
    recipe = recipe.replace("calibration_images = 16", "calibration_images = 16\nmax_int8_drop_points = 20")
    recipe += "[decide]\nrecall = { disc = 0.6 }\n"
    (folder / "r.toml").write_text(recipe)
    edgedistill.run(str(folder / "r.toml"), run_dir=folder / "runs" / "r", quiet=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return made_once(tmp_path_factory, "multilabel", make)


@pytest.fixture(scope="module")
def run(project):
    return project / "runs" / "r"


def record(run, stage):
    return record_of(run, stage, MULTILABEL)


@pytest.fixture(scope="module")
def images(project, run):
    return prepared_of(run, load_recipe(project / "r.toml"))


def one_precision(scores, own):
    """Average precision, an image after another; no two scores are equal here."""
    ranked = [bool(own[i]) for i in sorted(range(len(scores)), key=lambda i: -scores[i])]
    return np.mean([sum(ranked[: place + 1]) / (place + 1) for place, right in enumerate(ranked) if right])


def test_an_image_without_labels_is_none_of_the_pool(images):
    table = images.table
    assert images.classes == LABELS
    bare = ~table.figures.any(axis=1) & (table.splits != "unlabelled")
    assert bare.sum() > 5
    assert (table.labels[bare] == 3).all()
    assert np.isnan(table.figures[table.splits == "unlabelled"]).all()
    assert (table.labels[table.splits == "unlabelled"] == -1).all()
    for split in ("train", "val", "test"):
        assert images.targets(split).sum(axis=0).all(), "every split has every label"


def test_the_figures_of_every_network_are_those_of_its_outputs(run, images):
    outputs, evaluated = np.load(run / "evaluate" / "test_logits.npz"), record(run, "evaluate")
    targets = images.targets("test")
    for name in ("teacher", "baseline", "student"):
        found = [one_precision(outputs[name][:, k], targets[:, k]) for k in range(3)]
        measured = evaluated.network(name)
        assert [measured.figure("ap", label).value for label in LABELS] == pytest.approx(found)
        assert measured.metric("map") == pytest.approx(np.mean(found))
        low, high = measured.figure("map").interval
        assert low <= measured.metric("map") <= high
    assert evaluated.constant.metric("map") == pytest.approx(targets.mean(axis=0).mean())
    assert evaluated.gain.points == pytest.approx(
        100 * (evaluated.student.metric("map") - evaluated.baseline.metric("map"))
    )
    assert evaluated.student.metric("map") > evaluated.constant.metric("map") + 0.2, "it learns shapes"


def test_the_history_is_of_the_figures(run):
    teacher = record(run, "teacher")
    assert teacher.validation.metric("map") == pytest.approx(teacher.history[-1].eval_map)
    assert set(teacher.class_weights) == set(LABELS)


def test_int8_is_told_in_points_of_mean_average_precision(run, images):
    outputs, step = np.load(run / "quantize" / "test_logits.npz"), record(run, "quantize").ladder["int8"]
    targets = images.targets("test")
    whole = {
        name: np.mean([one_precision(outputs[name][:, k], targets[:, k]) for k in range(3)])
        for name in ("float", "int8")
    }
    assert step.drop_points == pytest.approx(100 * (whole["float"] - whole["int8"]))
    assert "mean average precision" in step.change


def test_each_label_has_a_threshold_at_each_precision(run, images):
    decided, manifest = record(run, "decide"), read_manifest(run / "bundle" / "bundle", compiled=True)
    assert manifest.task == "multilabel"
    for precision, decision in decided.board.items():
        assert [name for name, _ in decision.thresholds] == LABELS
        assert manifest.provenance["decisions"][precision] == decision.to_json()
    (point,) = decided.figures.points
    assert (point.class_name, point.promise) == ("disc", "recall")
    outputs = np.load(run / "quantize" / "test_logits.npz")["int8" if decided.figures.precision == "int8" else "onnx"]
    chosen = dict(decided.board[decided.figures.precision].thresholds)
    for row in decided.figures.classes:
        number = LABELS.index(row.class_name)
        answered = 1 / (1 + np.exp(-outputs[:, number].astype(float))) >= chosen[row.class_name]
        own = images.targets("test")[:, number] == 1
        assert (row.images, row.answers) == (own.sum(), answered.sum())
        assert row.recall == pytest.approx((answered & own).sum() / own.sum())


def test_the_board_s_answers_are_those_of_this_computer(run):
    bundle = run / "bundle" / "bundle"
    golden = bundle / "golden"
    thresholds = dict(record(run, "decide").board["fp32"].thresholds)
    assert np.array(json.loads((golden / "labels.json").read_text())).shape == (6, 3)
    here = edgedistill.predict(bundle, golden / "images")
    for row, logits in zip(here, np.load(golden / "logits.npy"), strict=True):
        chances = dict(zip(LABELS, 1 / (1 + np.exp(-logits.astype(float))), strict=True))
        said = {one["label"]: one["probability"] for one in row["labels"]}
        assert set(said) == {name for name, chance in chances.items() if chance >= thresholds[name]}
        assert all(said[name] == pytest.approx(chances[name], abs=1e-4) for name in said)
        assert list(said.values()) == sorted(said.values(), reverse=True)
    python = os.environ.get("EDGEDISTILL_PYTHON36", sys.executable)
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
            env={**os.environ, "PYTHONPATH": SOURCES},
        )
        assert done.returncode == 0, done.stderr
        if words[0] == "verify":
            verified = json.loads(done.stdout.splitlines()[-1])
            assert verified["labels_agreement_fraction"] == 1
            assert "top1_fraction" not in verified
    said = [json.loads(line) for line in done.stdout.splitlines()[:-1]]
    for line, row in zip(said, here, strict=True):
        assert [one["label"] for one in line["labels"]] == [one["label"] for one in row["labels"]]


def test_the_card_and_the_report_tell_the_figures(run):
    evaluated = record(run, "evaluate")
    whole = f"{evaluated.student.metric('map'):.3f}"
    card = (run / "bundle" / "bundle" / "MODEL_CARD.md").read_text()
    assert f"| student (this one) | {whole} |" in card
    assert "A recall of 0.6" in card
    page = (run / "report" / "report.html").read_text()
    text = " ".join(re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL).split())
    assert f"Mean average precision {whole}" in text
    assert "Precision, recall and F1 of each label" in text
    assert "top-1" not in text
    assert "most likely class" not in text
    assert not re.search(r'(?:src|href)="http', page)
    report = json.loads((run / "report" / "report.json").read_text())
    assert (report["task"], report["version"]) == ("multilabel", 2)
    schema_validator("output_report.schema.json").validate(report)
    assert report["data"]["labels_per_image"] == pytest.approx(1.3, abs=0.4)


def test_the_same_command_keeps_everything_and_prints_the_figures(project, run, capsys):
    before = {path: path.stat().st_mtime_ns for path in run.glob("*/*.json")}
    assert main(["run", str(project / "r.toml"), "--run-dir", str(run), "-q"]) == 0
    said = capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in run.glob("*/*.json")}
    for words in ("mean average precision", "F1 macro", "frequencies", "weakest", "12 without, which the student"):
        assert words in " ".join(said.split())
    assert main(["report", str(run)]) == 0


def test_predict_prints_labels_as_table_csv_and_json(run, images, tmp_path, capsys):
    shown = [str(images.table.paths[int(row)]) for row in images.rows("test")[:4]]
    assert main(["predict", str(run), *shown, "--annotate", str(tmp_path / "drawn")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert len(list((tmp_path / "drawn").rglob("*.*"))) == 4, "an image without labels is answered too"
    assert main(["predict", str(run), *shown, "--csv"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "path,labels,probabilities,reason"
    assert len(lines) == 4
    assert main(["predict", str(run), *shown, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    thresholds = dict(record(run, "decide").board["fp32"].thresholds)
    student = np.load(run / "evaluate" / "test_logits.npz")["student"][:4]
    expected = [
        {name for name, x in zip(LABELS, row, strict=True) if 1 / (1 + np.exp(-float(x))) >= thresholds[name]}
        for row in student
    ]
    assert [{one["label"] for one in row["labels"]} for row in rows] == expected
    teacher = edgedistill.predict(run, shown, model="teacher")
    assert all(one["probability"] >= 0.5 for row in teacher for one in row["labels"])


def test_what_compares_classes_says_so(project, run, capsys):
    assert main(["compare", str(run)]) == 1
    assert "is a run of multilabel, whose figures compare cannot set beside top-1" in capsys.readouterr().err
    assert main(["predict", str(run), str(project / "images" / "pool"), "--explain", str(project / "heat")]) == 2
    assert "this network answers with several labels; leave it out" in capsys.readouterr().err
    with pytest.raises(RecipeError, match="a sweep compares how many images are right"):
        edgedistill.sweep(str(project / "r.toml"), over={"distill.kd_weight": [0.3, 0.6]}, run_dir=run)


def test_a_student_no_better_than_the_frequencies_is_not_bundled(project, run):
    recipe, evaluated = load_recipe(project / "r.toml", ["deploy.allow_below_chance=false"]), record(run, "evaluate")
    student_beats_chance(recipe, evaluated)
    nothing = evaluated.over_constant.model_copy(update={"points": 0.0})
    with pytest.raises(
        StudentError, match=r"not usable: on \d+ test images its mean average precision is .*frequencies"
    ):
        student_beats_chance(recipe, evaluated.model_copy(update={"over_constant": nothing}))
