"""A bundle that answers with figures: what its manifest must say, and what the board says of an image."""

import io
import json
import os

import numpy as np
import pytest

from bundles import expected_logits, make_bundle, pretend_verified, sign
from edgedistill_device.__main__ import main
from edgedistill_device.engine.runners import open_runner
from edgedistill_device.engine.verify import compare
from edgedistill_device.errors import BackendError, ManifestError
from edgedistill_device.inference.answers import line_of, shown_of
from edgedistill_device.inference.classify import Asked, classify
from edgedistill_device.inference.progress import Progress
from edgedistill_device.inference.values import in_units, values_answer
from edgedistill_device.manifest import read_manifest
from edgedistill_device.value_spec import Value

WIDTH = Value("width", "mm", 20.0, 4.0, 0.0, 22.0)
SHARE = Value("share", "", 0.5, 0.25, None, None)


@pytest.fixture
def bundle(tmp_path):
    """The tiny bundle, its two outputs read as a width and a share."""
    folder = make_bundle(tmp_path / "bundle")
    sign(folder, task="regression", classes=("width", "share"), values=(WIDTH, SHARE))
    return pretend_verified(folder)


def test_the_manifest_gives_the_values_back(bundle):
    manifest = read_manifest(bundle)
    assert (manifest.task, manifest.values) == ("regression", (WIDTH, SHARE))


def test_a_bundle_of_classes_has_no_such_key(tmp_path):
    folder = make_bundle(tmp_path / "classes")
    with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as file:
        assert not {"values", "task"} & set(json.load(file))


@pytest.mark.parametrize(
    "changes",
    [
        {"values": ()},
        {"values": (WIDTH,)},
        {"values": (SHARE, WIDTH)},
        {"values": (WIDTH, SHARE._replace(std=0.0))},
        {"values": (WIDTH, SHARE._replace(mean="0.5"))},
        {"values": (WIDTH, SHARE._replace(low=True))},
        {"task": "classification"},
    ],
)
def test_values_that_are_not_ours_are_refused(bundle, changes):
    with pytest.raises(ManifestError) as error:
        sign(bundle, **dict({"task": "regression", "classes": ("width", "share"), "values": (WIDTH, SHARE)}, **changes))
    assert "values are " in str(error.value)


def test_outputs_become_figures_within_their_range():
    found = in_units([[0.25, -2.0], [1.0, 0.0], [-9.0, 9.0]], (WIDTH, SHARE))
    assert found.tolist() == [[21.0, 0.0], [22.0, 0.5], [0.0, 2.75]]
    assert np.isnan(in_units([[np.nan, 0.0]], (WIDTH, SHARE))[0, 0])
    with pytest.raises(BackendError, match="NaN or infinity"):
        values_answer([np.nan, 0.0], (WIDTH, SHARE))


def test_classify_prints_the_figures_of_each_image(bundle):
    manifest, out, progress = read_manifest(bundle), io.StringIO(), Progress()
    images = os.path.join(bundle, "golden", "images")
    with open_runner("onnxruntime", bundle, manifest, verified=True) as runner:
        classify([images], manifest, runner, Asked(), progress, out)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    inputs = np.load(os.path.join(bundle, "golden", "inputs.npy"))
    assert len(lines) == len(inputs) == 4
    for line, image in zip(lines, inputs):
        width, share = expected_logits(image)
        found = {row["name"]: (row["value"], row["unit"]) for row in line["values"]}
        assert set(line) == {"path", "values"}
        assert found["width"] == (pytest.approx(min(22.0, max(0.0, 20 + 4 * width)), abs=1e-3), "mm")
        assert found["share"] == (pytest.approx(0.5 + 0.25 * share, abs=1e-4), "")


def test_what_is_drawn_and_counted():
    said = values_answer([0.25, 1.0], (WIDTH, SHARE))
    assert line_of(said) == "width 21 mm, share 0.75"
    assert shown_of(said) is said["values"]
    classes = {"top": [{"class": "red", "probability": 0.987}]}
    assert line_of(classes) == "red 99%"


def test_verify_tells_the_largest_difference_in_the_unit(bundle):
    golden = os.path.join(bundle, "golden", "logits.npy")
    logits = np.load(golden)
    logits[2, 0] += 0.001  # 4 mm a standard deviation
    np.save(golden, logits)
    sign(bundle, task="regression", classes=("width", "share"), values=(WIDTH, SHARE), tolerance={"fp32": 0.1})
    manifest = read_manifest(bundle)
    with open_runner("onnxruntime", bundle, manifest) as runner:
        result = compare(bundle, manifest, runner)
    assert "top1_fraction" not in result
    assert result["max_differences"]["width"] == pytest.approx(0.004, rel=0.01)
    assert result["max_differences"]["share"] < 1e-5


def test_frames_is_refused_in_a_line(bundle, capsys):
    assert main(["frames", "--backend", "onnxruntime", "--bundle", bundle]) == 1
    assert "this bundle answers with figures: its pictures stay whole" in capsys.readouterr().err
