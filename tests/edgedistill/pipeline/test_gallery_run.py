"""A run whose student gives embeddings, from drawn images to the board, where a class comes that nothing trained on."""

import json
import os
import re
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

import edgedistill
from edgedistill.cli.main import main
from edgedistill.config.loading import load_recipe
from edgedistill.config.task import EMBEDDING
from edgedistill.errors import BundleError, RunFolderError
from edgedistill.pipeline.runner import run_stages
from edgedistill.progress.reporter import Talk
from edgedistill.reporting.comparison import comparison_of
from edgedistill.reporting.formats import typeset
from edgedistill_device.inference.gallery import digest_of, read_gallery
from edgedistill_device.manifest import read_manifest
from end_to_end import RECIPE, SOURCES, made_once
from run_records import record_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]  # a whole run, on a computer that may be busy


def drawn(kind, rng):
    """A shape on noise: the classes of the run, and `frame`, which it never sees."""
    image = rng.integers(0, 60, (48, 48, 3), dtype=np.uint8)
    middle = tuple(int(value) for value in rng.integers(20, 28, 2))
    size, colour = int(rng.integers(9, 15)), tuple(int(value) for value in rng.integers(150, 255, 3))
    if kind == "disc":
        cv2.circle(image, middle, size, colour, -1)
    elif kind == "cross":
        cv2.line(image, (middle[0] - size, middle[1]), (middle[0] + size, middle[1]), colour, 3)
        cv2.line(image, (middle[0], middle[1] - size), (middle[0], middle[1] + size), colour, 3)
    elif kind == "stripes":
        image[::4] = colour
    else:
        cv2.rectangle(image, (3, 3), (44, 44), colour, 3)
    return image


def make(folder):
    rng = np.random.default_rng(0)
    for kind, count in (("disc", 40), ("cross", 40), ("stripes", 40), ("frame", 30)):
        place = folder / ("new" if kind == "frame" else "images") / kind
        place.mkdir(parents=True)
        for number in range(count):
            assert cv2.imwrite(str(place / f"{kind}_{number}.png"), drawn(kind, rng))
    recipe = RECIPE.replace(
        'weights = "scratch"\n\n[distill]', 'weights = "scratch"\noutput = "embedding"\n\n[distill]'
    )
    recipe = recipe.replace("feature_weight = 0.1", "feature_weight = 1.0\nseeds = 2")
    recipe = recipe.replace("calibration_images = 16", "calibration_images = 16\nmax_int8_drop_points = 60")
    (folder / "r.toml").write_text(recipe + "\n[decide]\nunknown_coverage = 0.9\n")
    edgedistill.run(str(folder / "r.toml"), run_dir=folder / "runs" / "r", quiet=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return made_once(tmp_path_factory, "gallery", make)


@pytest.fixture(scope="module")
def run(project):
    return project / "runs" / "r"


def record(run, stage):
    return record_of(run, stage, EMBEDDING)


def units(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_int8_is_told_in_recall_and_cosine(run):
    stored, labels = (
        np.load(run / "quantize" / "test_logits.npz"),
        np.load(run / "evaluate" / "test_logits.npz")["labels"],
    )
    step, enrolled = record(run, "quantize").ladder["int8"], units(stored["float"].astype(np.float64))
    right = {}
    for name in ("float", "int8"):
        cosines = units(stored[name].astype(np.float64)) @ enrolled.T
        np.fill_diagonal(cosines, -np.inf)
        right[name] = float((labels[cosines.argmax(axis=1)] == labels).mean())
    assert step.top1_fraction == pytest.approx(right["int8"])
    assert step.drop_points == pytest.approx(100 * (right["float"] - right["int8"]))
    alike = (units(stored["int8"].astype(np.float64)) * enrolled).sum(axis=1)
    assert (step.mean_cosine, step.lowest_cosine) == (
        pytest.approx(alike.mean(), abs=1e-5),
        pytest.approx(alike.min(), abs=1e-5),
    )
    assert "points of recall at 1" in step.change
    assert f"mean cosine with float {alike.mean():.4f}" in step.change
    assert record(run, "quantize").int8_gate.passed


def test_the_gallery_holds_the_training_images_of_the_float_network(run):
    made, manifest = record(run, "decide"), read_manifest(run / "bundle" / "bundle", compiled=True)
    gallery = read_gallery(str(run / "bundle" / "bundle" / "gallery.npz"), digest_of(manifest))
    assert gallery.classes == ("cross", "disc", "stripes")
    assert len(gallery.labels) == made.images > 60
    assert manifest.provenance["embedding_width"] == made.width == gallery.embeddings.shape[1] > 3
    lowest = record(run, "quantize").ladder["int8"].lowest_cosine
    assert manifest.provenance["min_cosine"]["int8"] == pytest.approx(min(0.995, 1 - 4 * (1 - lowest)), abs=1e-4)
    assert set(gallery.made_by) == {"fp32, workstation"}
    for name, label in zip(gallery.names, gallery.labels, strict=True):
        assert name.startswith(gallery.classes[label])
    assert np.linalg.norm(gallery.embeddings, axis=1) == pytest.approx(1, abs=1e-5)
    stored, labels = (
        np.load(run / "quantize" / "test_logits.npz"),
        np.load(run / "evaluate" / "test_logits.npz")["labels"],
    )
    cosines = units(stored["int8"]) @ gallery.embeddings.T
    figures = made.by_precision["int8"]
    assert figures.right_fraction == pytest.approx((gallery.labels[cosines.argmax(axis=1)] == labels).mean())
    assert figures.kept == (cosines.max(axis=1) >= figures.unknown_below).sum()
    assert gallery.unknown_below == {name: one.unknown_below for name, one in made.by_precision.items()}


def test_the_report_says_what_the_student_answers_with(run):
    report, page = record(run, "report"), (run / "report" / "report.html").read_text()
    evaluated = record(run, "evaluate")
    assert report.nearest.neighbours == 5
    assert report.nearest.recall_at_1["student"] == evaluated.student.recall_at_1
    assert typeset(report.nearest.gallery.sentence) in page.replace("&#39;", "'").replace("\N{NO-BREAK SPACE}%", " %")
    assert report.decisions is report.look_closer is None
    assert [row.seed for row in evaluated.seeds] == [0, 1]
    assert "recall at 1</th>" in page
    assert 'id="nearest"' in page
    anchors = set(re.findall(r'<li><a href="#([a-z]+)"', page))
    assert anchors <= set(re.findall(r' id="([a-z-]+)"', page))
    card = (run / "bundle" / "bundle" / "MODEL_CARD.md").read_text()
    assert "recall at 1 among the test images" in card
    assert "It names one of its classes for every image" not in card
    with pytest.raises(RunFolderError, match="answers with the nearest enrolled image"):
        comparison_of([run])


def board(bundle, *words):
    """The board's code as a process; its lines as JSON."""
    python = os.environ.get("EDGEDISTILL_PYTHON36", sys.executable)
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    done = subprocess.run(
        [python, "-m", "edgedistill_device", words[0], "--backend", "onnxruntime", "--bundle", str(bundle), *words[1:]],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_the_board_takes_a_class_that_was_never_trained_on(run, project, tmp_path):
    bundle, new = tmp_path / "bundle", sorted((project / "new" / "frame").iterdir())
    shutil.copytree(run / "bundle" / "bundle", bundle, ignore=shutil.ignore_patterns("__pycache__"))
    verified = board(bundle, "verify")[-1]
    assert verified["lowest_cosine"] > 0.9999
    assert verified["recall_at_1_images"] == 6
    assert board(bundle, "health")[-1]["classified"] == 6
    images = bundle / "golden" / "images"
    here = edgedistill.predict(bundle, images)
    there = board(bundle, "classify", str(images))[:-1]
    for mine, theirs in zip(here, there, strict=True):
        assert [one["class"] for one in mine["top"]] == [one["class"] for one in theirs["top"]][:3]
        assert mine["top"][0]["cosine"] == pytest.approx(theirs["top"][0]["cosine"], abs=1e-4)
        assert mine["decided_by"] == theirs["decided_by"]
    added = board(bundle, "gallery", "add", "frame", *map(str, new[:10]))[-1]
    assert added["classes"]["frame"] == added["added"] == 10
    answers = board(bundle, "classify", *map(str, new[10:]))[:-1]
    recall = np.mean([answer["top"][0]["class"] == "frame" for answer in answers])
    assert recall > 0.6, "chance is a quarter"
    assert board(bundle, "gallery", "remove", "frame")[-1]["classes"] == {
        name: count for name, count in added["classes"].items() if name != "frame"
    }


def test_predict_asks_the_gallery_of_the_run_and_of_its_bundle(run, project, capsys):
    rows = edgedistill.predict(run, project / "images" / "disc")
    assert {key for row in rows for key in row} == {"path", "top", "class", "decided_by", "reason"}
    assert edgedistill.predict(run / "bundle" / "bundle", project / "images" / "disc") == rows
    assert main(["predict", str(run), str(project / "images" / "disc" / "disc_0.png")]) == 0
    assert "disc_0.png" in capsys.readouterr().out
    assert main(["predict", str(run), str(project / "images" / "disc" / "disc_0.png"), "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == (
        "path,class,decided_by,class_1,cosine_1,class_2,cosine_2,class_3,cosine_3,reason"
    )


def test_a_gallery_of_another_export_is_refused(run, project, tmp_path):
    copy = tmp_path / "run"
    for name in ("export", "decide"):
        shutil.copytree(run / name, copy / name)
    shutil.copyfile(run / "export" / "teacher.onnx", copy / "export" / "student.onnx")
    with pytest.raises(BundleError, match="made with another network"):
        edgedistill.predict(copy, project / "images" / "disc")


def test_a_gallery_of_few_images_of_each_class(run, project, tmp_path):
    """The other stages are as they were; the bundle's gallery has as many images of each class."""
    shutil.copytree(run, tmp_path / "run")
    recipe = load_recipe(project / "r.toml", ["decide.enrol_per_class=7"])
    path = run_stages(recipe, tmp_path / "run", Talk(quiet=True), only="decide")
    made = json.loads(path.read_text())
    assert (made["images"], made["left_out_images"]) == (21, record(run, "decide").images - 21)
    gallery = read_gallery(str(path.parent / "gallery.npz"), made["network"])
    assert np.bincount(gallery.labels).tolist() == [7, 7, 7]
