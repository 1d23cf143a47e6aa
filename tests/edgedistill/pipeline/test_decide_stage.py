"""Stage `decide` in a whole run: which images, which files, and what bundle, `predict` and report have of it."""

import json
import math
import shutil
import tomllib

import numpy as np
import pytest

import fp16_oracle
from edgedistill.api.predictions import predict
from edgedistill.cli.predict import text_from_rows
from end_to_end import edgedistill
from oracle_statistics import softmax
from report_oracle import Run

pytestmark = pytest.mark.slow


def json_of(run, stage):
    return json.loads((run / stage / f"{stage}.json").read_text(encoding="utf-8"))


def loss(logits, labels, temperature=1.0):
    return np.mean([-math.log(softmax(row / temperature)[label]) for row, label in zip(logits, labels, strict=True)])


def calibration_error(logits, labels, temperature):
    """Bin by bin."""
    shares = np.array([softmax(row / temperature) for row in logits.astype(float)])
    confidence, hit, total = shares.max(1), shares.argmax(1) == labels, 0.0
    for low in range(15):
        inside = (confidence >= low / 15) & (confidence < (low + 1) / 15 if low < 14 else True)
        if inside.any():
            total += inside.mean() * abs(hit[inside].mean() - confidence[inside].mean())
    return total


@pytest.fixture(scope="module")
def run(finished_run):
    folder = finished_run / "runs" / "r"
    return Run(folder, tomllib.loads((finished_run / "r.toml").read_text(encoding="utf-8")))


def test_each_precision_has_the_temperature_of_its_own_file_on_validation_images(run):
    board, labels = json_of(run.folder, "decide")["board"], run.labels("val")
    logits = {
        "fp32": run.onnx_logits("export/student.onnx", "val"),
        "fp16": fp16_oracle.logits_of(
            run.folder / "quantize/student_fp16.onnx", run.inputs("val", run.exported("student"))
        ),
        "int8": run.onnx_logits("quantize/student_int8.onnx", "val"),
    }
    for name, found in logits.items():
        fitted = board[name]["temperature"]
        if fitted == 1.0:  # these few images may determine none
            continue
        least = min(
            loss(found.astype(float), labels, t) for t in np.exp(np.linspace(math.log(0.05), math.log(20), 600))
        )
        assert loss(found.astype(float), labels, fitted) <= least + 1e-5, name


def test_bundle_and_report_hold_what_was_fitted(run):
    decided = json_of(run.folder, "decide")
    manifest = json.loads((run.folder / "bundle/bundle/manifest.json").read_text(encoding="utf-8"))
    assert manifest["provenance"]["decisions"] == decided["board"]
    report, executed = json_of(run.folder, "report"), json_of(run.folder, "quantize")["executed"]
    assert report["decisions"] == decided["figures"]
    assert report["decisions"]["precision"] == executed == "fp16"
    logits = np.load(run.folder / "quantize/test_logits.npz")["fp16"]
    calibration, labels = report["decisions"]["calibration"], run.labels("test")
    assert calibration["temperature"] == decided["board"]["fp16"]["temperature"]
    for word, temperature in (("before", 1.0), ("after", calibration["temperature"])):
        assert calibration[f"calibration_error_{word}"] == pytest.approx(calibration_error(logits, labels, temperature))
        assert calibration[f"loss_{word}"] == pytest.approx(loss(logits.astype(float), labels, temperature))
    assert (calibration["validation_images"], calibration["test_images"]) == (len(run.labels("val")), len(labels))


def test_predict_divides_by_the_temperature_of_float(run):
    row = run.of("test")[0]
    (logits,) = run.onnx_logits("export/student.onnx", "test")[:1]
    temperature = json_of(run.folder, "decide")["board"]["fp32"]["temperature"]
    expected = softmax(logits.astype(float) / temperature).max()
    for source in (run.folder, run.folder / "bundle/bundle"):
        (said,) = predict(source, row["path"], top=1)
        assert said["top"][0]["probability"] == pytest.approx(expected, abs=1e-5)
        assert "class" not in said


def test_a_run_answers_by_its_promises_and_a_wrong_class_stops_it_first(run, finished_run, tmp_path):
    shutil.copytree(run.folder, tmp_path / "r")
    words = ["decide", finished_run / "r.toml", "--run-dir", tmp_path / "r", "--set"]
    refused = edgedistill(*words, "decide.recall={ disk = 0.5 }", cwd=tmp_path, check=False)
    assert refused.returncode == 1
    assert "decide.recall names 'disk', which is no class; did you mean 'disc'?" in refused.stderr.splitlines()[-1]
    others = tmp_path / "others"
    shutil.copytree(finished_run / "images" / "stripes", others)
    asked = [
        "decide.recall={ disc = 0.2 }",
        "--set",
        "decide.unknown_coverage=0.5",
        "--set",
        f"decide.unknown={others}",
    ]
    edgedistill(*words, *asked, cwd=tmp_path)
    decided = json_of(tmp_path / "r", "decide")
    (point,), unknown = decided["figures"]["points"], decided["figures"]["unknown"]
    assert point["validation"]["images"] == (run.labels("val") == run.classes.index("disc")).sum()
    assert unknown["others"]["images"] == len(list(others.iterdir()))
    largest = np.sort(run.onnx_logits("export/student.onnx", "val").max(axis=1))
    refused = (len(largest) + 1) // 2  # of half the known ones, validation images and one more
    assert decided["board"]["fp32"]["unknown_below"] == pytest.approx(float(largest[refused - 1]), abs=1e-5)
    said = predict(tmp_path / "r", [others], top=3)
    assert {row["decided_by"] for row in said} <= {"threshold", "unknown", "probability"}
    for row in said:
        if row["decided_by"] == "threshold":
            assert row["class"] == "disc"
    rows = text_from_rows([said[0], {"path": "x", "top": [], "reason": "r", "class": None, "decided_by": None}])
    assert rows[0].split()[1:3] == [said[0]["class"], said[0]["decided_by"]]
    assert rows[1].split() == ["x", "not", "classified"]
