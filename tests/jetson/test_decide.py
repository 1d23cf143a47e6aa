"""From logits to an answer: by hand, from the manifest, and through `classify`."""

import io
import json
import os

import numpy as np
import pytest

from bundles import SPEC, expected_logits, make_bundle, pretend_verified, sign
from edgedistill_device.decision_spec import PLAIN, Decision, decision_of
from edgedistill_device.decode import read_image
from edgedistill_device.engine.runners import open_runner
from edgedistill_device.errors import ManifestError
from edgedistill_device.inference.classify import Asked, classify
from edgedistill_device.inference.decide import answer, best_of
from edgedistill_device.inference.progress import Progress
from edgedistill_device.manifest import read_manifest
from edgedistill_device.preprocess import view

CLASSES = ("a", "b", "c")


def logits_of(*probabilities):
    return np.log(np.array(probabilities, np.float32))


def test_a_temperature_takes_the_root_of_the_odds():
    top = answer(logits_of(0.8, 0.2), ("a", "b"), 2, PLAIN._replace(temperature=2.0))["top"]
    assert top[0]["probability"] / top[1]["probability"] == pytest.approx(2.0)  # of 4
    assert [row["class"] for row in top] == ["a", "b"]


def test_without_thresholds_nothing_is_said_but_the_classes():
    assert sorted(answer(logits_of(0.5, 0.3, 0.2), CLASSES, 1)) == ["top"]


@pytest.mark.parametrize(
    ("probabilities", "thresholds", "expected"),
    [
        ((0.5, 0.3, 0.2), (("b", 0.25),), ("b", "threshold")),
        ((0.5, 0.3, 0.2), (("b", 0.35),), ("a", "probability")),
        ((0.3, 0.5, 0.2), (("b", 0.6),), ("a", "probability")),  # the likeliest has not reached its own
        ((0.2, 0.4, 0.4), (("c", 0.3), ("b", 0.3)), ("c", "threshold")),  # the first named wins
        ((0.2, 0.4, 0.4), (("c", 0.5), ("b", 0.3)), ("b", "threshold")),
    ],
)
def test_the_rule_by_hand(probabilities, thresholds, expected):
    said = answer(logits_of(*probabilities), CLASSES, 3, Decision(1.0, thresholds, None))
    assert (said["class"], said["decided_by"]) == expected
    assert [row["class"] for row in said["top"]][0] == CLASSES[int(np.argmax(probabilities))]


@pytest.mark.parametrize(
    ("logits", "thresholds", "expected"),
    [
        ((1.0, 0.0, 0.0), (), ("unknown", "unknown")),
        ((2.0, 0.0, 0.0), (), ("a", "probability")),  # at the limit it is kept
        ((1.0, 0.9, 0.0), (("b", 0.2),), ("b", "threshold")),  # a promise comes before
        ((1.0, 0.9, 0.0), (("b", 0.9),), ("unknown", "unknown")),
    ],
)
def test_what_is_refused_by_its_largest_logit(logits, thresholds, expected):
    said = answer(np.array(logits, np.float32), CLASSES, 1, Decision(5.0, thresholds, 2.0))
    assert (said["class"], said["decided_by"]) == expected


def test_what_is_drawn_is_the_answer_with_its_own_probability():
    top = [{"class": "a", "probability": 0.7}, {"class": "b", "probability": 0.2}]
    assert best_of({"top": top}) == ("a", 0.7)
    assert best_of({"top": top, "class": "b", "decided_by": "threshold"}) == ("b", 0.2)
    assert best_of({"top": top[:1], "class": "b", "decided_by": "threshold"}) == ("b", None)
    assert best_of({"top": top, "class": "unknown", "decided_by": "unknown"}) == ("unknown", None)


def test_a_threshold_is_reached_by_the_probability_itself():
    exact = answer(logits_of(0.7, 0.3), ("a", "b"), 2)["top"][1]["probability"]
    assert answer(logits_of(0.7, 0.3), ("a", "b"), 2, Decision(1.0, (("b", exact),), None))["class"] == "b"


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path / "bundle")


def decided(bundle, row):
    sign(bundle, provenance={"decisions": {"fp32": row}})
    return decision_of(read_manifest(bundle), "fp32")


def test_a_bundle_of_before_answers_with_the_plain_softmax(bundle):
    assert decision_of(read_manifest(bundle), "int8") == PLAIN


def test_each_precision_has_its_own(bundle):
    row = {"temperature": 2, "thresholds": [["green", 0.2]], "unknown_below": -3}
    assert decided(bundle, row) == Decision(2.0, (("green", 0.2),), -3)
    with pytest.raises(ManifestError, match="decisions for fp16 are"):
        decision_of(read_manifest(bundle), "fp16")


@pytest.mark.parametrize(
    "row",
    [
        "text",
        {},
        {"temperature": 1.0},
        {"temperature": 0, "thresholds": [], "unknown_below": None},
        {"temperature": True, "thresholds": [], "unknown_below": None},
        {"temperature": 1.0, "thresholds": [], "unknown_below": None, "more": 1},
        {"temperature": 1.0, "thresholds": [["blue", 0.2]], "unknown_below": None},
        {"temperature": 1.0, "thresholds": [["red", "0.2"]], "unknown_below": None},
        {"temperature": 1.0, "thresholds": [["red"]], "unknown_below": None},
        {"temperature": 1.0, "thresholds": [["red", 0.5], ["green", 0.5]], "unknown_below": None},
        {"temperature": 1.0, "thresholds": [], "unknown_below": True},
        {"temperature": 1.0, "thresholds": []},
    ],
)
def test_what_edgedistill_does_not_write_is_refused(bundle, row):
    with pytest.raises(ManifestError, match="decisions for fp32 are"):
        decided(bundle, row)


def test_classify_answers_by_the_bundle(bundle):
    images = os.path.join(bundle, "golden", "images")
    decision = decided(bundle, {"temperature": 3.0, "thresholds": [["green", 0.4]], "unknown_below": None})
    pretend_verified(bundle)
    manifest, out = read_manifest(bundle), io.StringIO()
    with open_runner("onnxruntime", bundle, manifest) as runner:
        asked = Asked(top=1, decision=decision_of(manifest, runner.executed))
        classify([images], manifest, runner, asked, Progress(), out)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    for line, name in zip(lines, sorted(os.listdir(images))):
        shifted = np.exp(expected_logits(view(read_image(os.path.join(images, name)), SPEC)) / 3.0)
        red, green = shifted / shifted.sum()
        assert line["top"][0]["probability"] == pytest.approx(max(red, green), abs=1e-4)
        assert (line["class"], line["decided_by"]) == (
            ("green", "threshold") if green >= decision.thresholds[0][1] else ("red", "probability")
        )
    assert {line["class"] for line in lines} == {"red", "green"}
