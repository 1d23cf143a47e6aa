"""A bundle that answers with any number of labels: what its manifest must say, and what the board says of an image."""

import io
import json
import os

import numpy as np
import pytest

from bundles import expected_logits, make_bundle, pretend_verified, sign
from edgedistill_device.__main__ import main
from edgedistill_device.decision_spec import decision_of
from edgedistill_device.engine.runners import open_runner
from edgedistill_device.engine.verify import compare, golden_labels
from edgedistill_device.errors import BackendError, ManifestError
from edgedistill_device.inference.answers import answer_key, line_of, shown_of
from edgedistill_device.inference.classify import Asked, classify
from edgedistill_device.inference.progress import Progress
from edgedistill_device.label_sets import label_probabilities, labels_answer, reached
from edgedistill_device.manifest import read_manifest

CLASSES = ("rust", "dent")


def decisions(*thresholds):
    row = {"temperature": 1.0, "thresholds": [list(pair) for pair in thresholds], "unknown_below": None}
    return {"decisions": {"fp32": row}}


@pytest.fixture
def bundle(tmp_path):
    """The tiny bundle, its two outputs read as two labels."""
    folder = make_bundle(tmp_path / "bundle")
    provenance = decisions(("rust", 0.6), ("dent", 0.3))
    labels = [[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
    with open(os.path.join(folder, "golden", "labels.json"), "w") as file:
        json.dump(labels, file)
    sign(folder, task="multilabel", classes=CLASSES, provenance=provenance)
    return pretend_verified(folder)


def test_a_probability_is_the_sigmoid_of_its_own_output():
    assert label_probabilities([0.0, np.log(3), -np.log(3)]).tolist() == pytest.approx([0.5, 0.75, 0.25])
    with np.errstate(all="raise", under="ignore"):
        assert label_probabilities(np.array([1e30, -1e30], np.float32)).tolist() == [1.0, 0.0]
    assert np.isnan(label_probabilities([np.nan])).all()


def test_each_label_is_answered_from_its_own_threshold_on():
    logits = np.array([np.log(1.5), np.log(0.5)])  # 0.6 and 1/3
    assert reached(logits, CLASSES, (("dent", 0.3), ("rust", 0.7))).tolist() == [False, True]
    assert reached(np.stack([logits, -logits]), CLASSES, ()).tolist() == [[True, False], [False, True]], "0.5 without"
    said = labels_answer([1.0, 2.0], CLASSES, ())
    assert [row["label"] for row in said["labels"]] == ["dent", "rust"]
    assert labels_answer([-1.0, -2.0], CLASSES, ()) == {"labels": []}
    with pytest.raises(BackendError, match="NaN or infinity"):
        labels_answer([np.nan, 0.0], CLASSES, ())


def test_classify_prints_the_labels_of_each_image(bundle):
    manifest, out, progress = read_manifest(bundle), io.StringIO(), Progress()
    images = os.path.join(bundle, "golden", "images")
    with open_runner("onnxruntime", bundle, manifest, verified=True) as runner:
        asked = Asked(decision=decision_of(manifest, runner.executed))
        classify([images], manifest, runner, asked, progress, out)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    inputs = np.load(os.path.join(bundle, "golden", "inputs.npy"))
    assert len(lines) == len(inputs) == 4
    for line, image in zip(lines, inputs):
        rust, dent = (1 / (1 + np.exp(-float(logit))) for logit in expected_logits(image))
        chances = (("rust", rust, 0.6), ("dent", dent, 0.3))
        expected = {name: chance for name, chance, threshold in chances if chance >= threshold}
        assert set(line) == {"path", "labels"}
        assert {row["label"]: row["probability"] for row in line["labels"]} == pytest.approx(expected, abs=1e-4)


def test_what_is_drawn_and_counted():
    said = labels_answer([np.log(3), 2.0], CLASSES, ())
    assert line_of(said) == "dent 88%, rust 75%"
    assert line_of({"labels": []}) == "no label"
    assert shown_of(said) is said["labels"]
    assert [answer_key(task) for task in ("multilabel", "regression", "classification")] == ["labels", "values", "top"]


def test_verify_tells_how_many_images_keep_their_labels(bundle):
    manifest = read_manifest(bundle)
    logits = np.load(os.path.join(bundle, "golden", "logits.npy"))
    labels = golden_labels(bundle)
    with open_runner("onnxruntime", bundle, manifest) as runner:
        result = compare(bundle, manifest, runner)
    assert result["labels_agreement_fraction"] == 1
    answered = 1 / (1 + np.exp(-logits.astype(float))) >= [0.6, 0.3]
    assert result["exact_match_fraction"] == (answered == (labels == 1)).all(axis=1).mean()
    assert "top1_fraction" not in result


@pytest.mark.parametrize(
    "thresholds",
    [
        [("rust", 0.6)],
        [],
        [("rust", 0.6), ("rust", 0.3)],
        [("rust", 0.6), ("rot", 0.3)],
        [("rust", 0.6), ("dent", "x")],
    ],
)
def test_every_label_has_a_threshold(bundle, thresholds):
    sign(bundle, task="multilabel", classes=CLASSES, provenance=decisions(*thresholds))
    with pytest.raises(ManifestError, match="which edgedistill does not write"):
        decision_of(read_manifest(bundle), "fp32")


def test_a_bundle_without_thresholds_neither_answers_nor_is_verified(bundle):
    sign(bundle, task="multilabel", classes=CLASSES, provenance={})
    manifest = read_manifest(bundle)
    with pytest.raises(ManifestError, match="decisions for fp32 are None"):
        decision_of(manifest, "fp32")
    with open_runner("onnxruntime", bundle, manifest) as runner, pytest.raises(ManifestError, match="are None"):
        compare(bundle, manifest, runner)


def test_frames_is_refused_in_a_line(bundle, capsys):
    assert main(["frames", "--backend", "onnxruntime", "--bundle", bundle]) == 1
    assert "this bundle answers with several labels: its pictures stay whole" in capsys.readouterr().err
