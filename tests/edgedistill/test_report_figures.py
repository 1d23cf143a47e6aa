"""A run learns something, and every number of its report.json follows from the run's files."""

import csv
import json
import os
import re
import shutil
import tomllib

import cv2
import numpy as np
import onnx
import pytest

from end_to_end import draw, edgedistill
from oracle_statistics import accuracy_of
from report_oracle import Run, numbers_of, report_of, served

pytestmark = pytest.mark.slow

RECIPE = """
[data]
train = "images"
image_px = 32
crop_fraction = 1.0
metric = "balanced_accuracy_fraction"

[augment]
crop_scale_min = 0.8
transforms = [{ name = "HorizontalFlip", p = 0.5 }]

[teacher]
model = "test_resnet"
weights = "scratch"
epochs = 8
batch_size = 16
peak_lr = 1e-2

[student]
model = "mobilenetv3_small_050"
weights = "scratch"

[distill]
temperature = 2.0
kd_weight = 0.8
feature_weight = 0.1
epochs = 5
batch_size = 16
views = 2
seeds = 2
peak_lr = 1e-2

[quantize]
calibration_images = 16
threshold = "percentile"
percentile = 99.0
max_int8_drop_points = 40

[target]
precision = "int8"
fps = 30
memory_mib = 900
min_retention_fraction = 0.5

[deploy]
golden_images = 6
bench_runs = 20

[cost]
currency = "EUR"
cloud_price_per_hour = 0.5
board_price = 150
board_months = 36
board_power_w = 10
power_price_per_kwh = 0.3

[run]
precision = "fp32"
threads = 1
"""

# Numbers of report.json that cannot be made again from the files, and why.
LEFT = (
    (r"version", "of the format"),
    (
        r"devices?\.\d?\.?(samples_ms|samples_start_s|trace|layer_times\.layers\.\d+\.median_ms|layer_times\.runs)\b.*",
        "raw measurements; what follows from them is made again",
    ),
    (
        r"devices?(\.\d)?\.(fps\.pipelined|memory\.(process_|available_(before|least)).*|power\.samples)",
        "read once on this machine",
    ),
    (r"speedup\.(teacher|student)_p50_ms", "timed once; their ratio is made again"),
    (r"proof\.max_(abs|relative)_difference", "rounding noise of two runtimes; held to its size below"),
    (r"accuracy_ladder\.onnx\.(sqnr_db|max_relative_logit_difference)", "the same noise"),
    (r"accuracy_ladder\.float\.max_relative_logit_difference", "the same noise, against itself"),
    (r"accuracy_ladder\.fp16\.(sqnr_db|max_relative_logit_difference)", "rounding noise; held to its size below"),
    (
        r"(gain\.interval_points|student_interval)\.\d",
        "of balanced accuracies: its coverage is counted in report/test_uncertainty.py",
    ),
    (r"histories\.\w+\.\d+\.(train_loss|terms\.\w+|eval_.*)", "of weights that are gone; held together below"),
    (r"predicted\..*", "held to published measurements in tests/edgedistill/predict"),
    (
        r"data\.(near_duplicate_groups|images_in_groups|unreadable_count|copies_left_out\.\w+|torn_groups)",
        "a scan's, in tests/edgedistill/data",
    ),
    (r"decisions\..*", "made again in tests/edgedistill/pipeline/test_decide_stage.py"),
    (r"look_closer\..*", "made again in tests/edgedistill/reporting/test_look_closer_page.py"),
    (r"provenance\.recipe\..*", "the recipe with its defaults; those that it sets are compared below"),
    (r"artifact\..*", "of the file itself: seconds, bytes and time of the page beside it"),
)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A folder with images/, r.toml and runs/r, of networks that have learnt."""
    folder, rng = tmp_path_factory.mktemp("learned"), np.random.default_rng(5)
    for kind, count in (("disc", 130), ("square", 70), ("stripes", 70)):
        (folder / "images" / kind).mkdir(parents=True)
        for number in range(count):
            path = folder / "images" / kind / f"{number:03d}.png"
            assert cv2.imwrite(str(path), draw(kind, rng, 40)[:, :, ::-1])
    (folder / "r.toml").write_text(RECIPE)
    edgedistill("run", "r.toml", cwd=folder, timeout=600)
    return folder


@pytest.fixture(scope="module")
def report(learned):
    return json.loads((learned / "runs/r/report/report.json").read_text())


@pytest.fixture(scope="module")
def run(learned):
    return Run(learned / "runs/r", tomllib.loads(RECIPE))


@pytest.fixture(scope="module")
def again(run):
    """report.json made again."""
    return report_of(run)


def test_teacher_baseline_and_student_have_learnt(again):
    """By the second evaluation of the saved weights; one class in three is chance."""
    balanced = {name: again[name]["balanced_accuracy_fraction"] for name in ("teacher", "baseline", "student")}
    assert balanced["teacher"] > 0.9
    assert min(balanced.values()) > 0.45


def test_with_permuted_test_labels_all_three_are_at_chance(learned, tmp_path):
    shutil.copytree(learned / "runs/r", tmp_path / "r")
    table = tmp_path / "r/data/images.csv"
    kept = table.stat()
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    test = [row for row in rows if row["split"] == "test"]
    labels = np.random.default_rng(1).permutation([row["label"] for row in test])
    for row, label in zip(test, labels, strict=True):
        row["label"] = label
    ending = "\r\n" if b"\r\n" in table.read_bytes() else "\n"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator=ending)
        writer.writeheader()
        writer.writerows(rows)
    os.utime(table, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # its size is what it was
    shutil.rmtree(tmp_path / "r/evaluate")
    let_through = ("--set", "deploy.allow_below_chance=true")
    said = edgedistill("evaluate", learned / "r.toml", "--run-dir", tmp_path / "r", *let_through, cwd=learned).stderr
    assert "] distill: up to date" in said
    found = json.loads((tmp_path / "r/evaluate/evaluate.json").read_text())
    for name in ("teacher", "baseline", "student"):
        assert abs(found[name]["balanced_accuracy_fraction"] - 1 / 3) < 0.15, name


def test_every_number_of_the_report_is_what_a_second_look_gives(report, again):
    said, made = dict(numbers_of(report)), dict(numbers_of(again))
    assert set(made) - set(said) == set(), "made again, but not in report.json"
    used, left = set(), []
    for path, value in said.items():
        reason = next((n for n, (pattern, _) in enumerate(LEFT) if re.fullmatch(pattern, path)), None)
        if path in made and not (reason is not None and "noise" in LEFT[reason][1]):
            # int8 is as ONNX Runtime computes it, float to the rounding of two layouts in memory
            assert value == pytest.approx(made[path], rel=2e-3, abs=1e-5), path
        elif reason is None:
            left.append(path)
        else:
            used.add(reason)
    assert left == [], "neither made again nor in the list"
    assert used == set(range(len(LEFT))), "a line of the list that nothing needs"


def test_fp16_is_as_far_from_float_as_a_second_look_gives(report, again):
    """A sum in another order may round to FP16's next number, and on 42 images that moves the noise by some 2 dB."""
    stored, computed = (figures["accuracy_ladder"]["fp16"] for figures in (report, again))
    assert stored["sqnr_db"] == pytest.approx(computed["sqnr_db"], abs=4)
    assert stored["max_relative_logit_difference"] == pytest.approx(computed["max_relative_logit_difference"], rel=0.6)
    assert stored["sqnr_db"] > 40


def test_what_cannot_be_made_again_holds_together(report):
    assert report["proof"]["max_relative_difference"] < 1e-5
    assert report["accuracy_ladder"]["onnx"]["max_relative_logit_difference"] < 1e-5
    low, high = report["gain"]["interval_points"]
    assert low < report["gain"]["points"] < high
    assert report["device"] == {
        key: value
        for key, value in report["devices"][0].items()
        if key not in ("samples_ms", "samples_start_s", "trace")
    }
    for row in report["histories"]["student"][1:]:  # the feature's weight has risen
        parts = {"kd": 0.8, "label": 0.2, "feature": 0.1}
        total = sum(weight * row["terms"][name] for name, weight in parts.items())
        assert row["train_loss"] == pytest.approx(total, rel=1e-5)
    for name in ("teacher", "baseline"):
        assert all(row["terms"] == {"label": row["train_loss"]} for row in report["histories"][name])
    recipe = report["provenance"]["recipe"]
    for section, values in tomllib.loads(RECIPE).items():
        for key, value in values.items():
            assert key == "train" or recipe[section][key] == value, (section, key)


def test_the_sentences_hold_the_same_figures(report, again):
    gain, cost = again["gain"], again["running_cost"]
    low, high = report["gain"]["interval_points"]
    assert f"{low:+.1f} to {high:+.1f} points" in report["gain"]["sentence"]
    low, high = gain["over_seeds"]["interval_points"]
    assert f"{low:+.1f} to {high:+.1f} points" in report["gain"]["over_seeds"]["sentence"]
    assert f"{cost['saving_per_month']:,.2f} EUR a month" in report["running_cost"]["sentence"]
    rows = {row["what"]: (row["limit"], row["found"], row["outcome"]) for row in report["verdict"]["rows"]}
    kept, lost = again["retention_fraction"], again["int8_gate"]["curve"][0]["drop_points"]
    assert rows == {
        "retention": ("at least 50.0 %", f"{100 * kept:.1f} %", "met" if kept >= 0.5 else "missed"),
        "top-1 lost by INT8": ("at most 40 points", f"{lost:.2f} points", "met"),
        "FPS from the image file": ("at least 30 FPS", None, "not measured"),
        "memory of process and GPU driver": ("at most 900 MiB", None, "not measured"),
    }


def test_the_bundle_s_tolerance_and_budgets_and_the_ranges(run, again):
    """`quantize.threshold` = percentile: 1 % of what the calibration images give lies above each range."""
    manifest = json.loads((run.folder / "bundle/bundle/manifest.json").read_text())
    int8 = again["accuracy_ladder"]["int8"]["max_relative_logit_difference"]
    assert manifest["tolerance"] == {"fp32": 1e-3, "fp16": 0.03, "int8": pytest.approx(max(0.03, 2 * int8), abs=2e-3)}
    assert manifest["latency_budget_ms"] == pytest.approx(1000 / 30)
    assert manifest["memory_budget_mib"] == 900
    assert manifest["provenance"]["power_mode"] == "MAXN"  # of the target's [hardware], which the FPS are for
    assert manifest["provenance"]["test"]["top1_fraction"] == pytest.approx(again["student"]["top1_fraction"])
    chosen = json.loads((run.folder / "quantize/calibration_images.json").read_text())["images"]
    numbers = {row["sha256"]: n for n, row in enumerate(run.of("train"))}
    inputs = run.inputs("train", run.exported("student"))[[numbers[row["sha256"]] for row in chosen]]
    model = onnx.load(run.exported("student"))
    inner = next(node.output[0] for node in model.graph.node if node.op_type == "Conv")
    model.graph.output.append(onnx.helper.make_tensor_value_info(inner, onnx.TensorProto.FLOAT, None))
    amax = json.loads((run.folder / "quantize/amax.json").read_text())
    assert amax["image"] == pytest.approx(np.percentile(np.abs(inputs), 99.0), rel=0.02)
    first = served(model.SerializeToString(), inputs, [inner])
    hard_swish = first * np.clip(
        first / 6 + 0.5, 0, 1
    )  # all that reads it: below -3 nothing, from 3 on the value itself
    assert amax[inner] == pytest.approx(max(3.0, np.percentile(np.abs(hard_swish), 99.0)), rel=0.02)


def test_an_accuracy_by_hand():
    """Of the second look itself: two classes, three images, one wrong."""
    found = accuracy_of(np.array([[1, 0], [1, 0], [0, 1.0]]), np.array([0, 1, 1]), ["a", "b"])
    assert found["confusion"] == [[1, 0], [1, 1]]
    assert found["top1_fraction"] == pytest.approx(2 / 3)
    assert found["balanced_accuracy_fraction"] == 0.75
