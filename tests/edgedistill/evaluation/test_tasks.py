"""Each task measures and reads its own outputs: against figures computed another way."""

import numpy as np
import pytest

from edgedistill.config.task import CLASSIFICATION, EMBEDDING, MULTILABEL, REGRESSION
from edgedistill.evaluation import galleries
from edgedistill.evaluation.galleries import enrolled, nearest, nearest_figures
from edgedistill.evaluation.tasks import answer_of, drop_of, evaluator_of
from edgedistill_device.value_spec import Value

CLASSES = ["a", "b", "c"]
LOGITS = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.5, 0.2], [0.25, 0.25, 0.5]]))
LABELS = np.array([0, 2, 0, 1])
LABELS_OF = {
    "classification": lambda rng: rng.integers(0, 3, 60),
    "embedding": lambda rng: rng.integers(0, 3, 60),
    "regression": lambda rng: rng.normal(4, 2, (60, 3)),
    "multilabel": lambda rng: rng.integers(0, 2, (60, 3)),
}


def test_a_classifier_is_validated_by_cross_entropy():
    found = evaluator_of(CLASSIFICATION).validation(LOGITS, LABELS, CLASSES)
    assert found.loss == pytest.approx(-np.log([0.7, 0.8, 0.3, 0.25]).mean())
    # Three bins of 1/15: 0.7 and 0.8, both right, and 0.5 twice, both wrong.
    assert found.calibration_error == pytest.approx((0.3 + 0.2 + 2 * 0.5) / 4)
    assert (found.images, found.top1_fraction) == (4, 0.5)


@pytest.mark.parametrize("task", [CLASSIFICATION, EMBEDDING, REGRESSION, MULTILABEL], ids=lambda task: task.name)
def test_an_epoch_is_told_the_figures_of_the_validation(rng, task):
    outputs = rng.normal(size=(60, 3))
    targets = LABELS_OF[task.name](rng)
    evaluator = evaluator_of(task, [Value(name, "mm", 4.0, 2.0, None, None) for name in CLASSES])
    figures = evaluator.validation(outputs, targets, CLASSES)
    expected = {"loss": figures.loss, **{name: figures.metric(name) for name in task.metrics}}
    assert evaluator.epoch(outputs, targets, CLASSES) == pytest.approx(expected)


def test_an_embedding_is_validated_by_its_nearest_other_image():
    angles = np.radians([0, 10, 25, 90, 100, 22])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array([[1], [5], [2], [1], [3], [1]])
    found = evaluator_of(EMBEDDING).validation(embeddings, np.array([0, 0, 0, 1, 1, 2]), CLASSES)
    assert found.loss is None
    assert "calibration_error" not in found.given()
    assert found.confusion == [[2, 0, 1], [0, 2, 0], [1, 0, 0]]  # the third meets the last, which is alone
    assert found.top1_fraction == pytest.approx(4 / 6)


def test_a_drop_is_counted_in_the_primary_figure():
    worse = LOGITS.copy()
    worse[0] = worse[0][::-1]  # right before
    drop = drop_of(CLASSIFICATION, worse, LOGITS, LABELS, CLASSES)
    figures = evaluator_of(CLASSIFICATION).measures(LOGITS, LABELS, CLASSES)
    assert drop.points == 25 == 100 * (figures.metric(CLASSIFICATION.primary) - 0.25)
    assert drop.agreement_fraction == 0.75
    assert drop.standard_error_points == pytest.approx(100 * np.sqrt((0.25 - 0.0625) / 4))
    low, high = drop.interval_points
    assert low < 25 < high


def test_the_answer_of_a_classifier_is_its_likeliest_classes():
    assert answer_of(CLASSIFICATION, LOGITS[1], CLASSES, 1) == {
        "top": [{"class": "c", "probability": pytest.approx(0.8)}]
    }
    assert [row["class"] for row in answer_of(CLASSIFICATION, LOGITS[2], CLASSES, 5)["top"]] == ["b", "a", "c"]


def _right(outputs, reference, labels):
    """Recall at 1 written another way: a loop over pairs; images alone in their class are not asked."""
    hits = []
    for i, mine in enumerate(outputs):
        if list(labels).count(labels[i]) < 2:
            continue
        others = [j for j in range(len(labels)) if j != i]
        cosine = [
            float(np.dot(mine, reference[j]) / np.linalg.norm(mine) / np.linalg.norm(reference[j])) for j in others
        ]
        hits.append(labels[others[int(np.argmax(cosine))]] == labels[i])
    return np.array(hits)


def test_the_drop_of_an_embedding_is_in_recall_among_float_s_embeddings():
    rng = np.random.default_rng(3)
    labels = np.array([0] * 10 + [1] * 10 + [2])
    reference = np.eye(3)[labels] + rng.normal(size=(21, 3)) * 0.3
    outputs = reference + rng.normal(size=(21, 3)) * 0.6
    drop = drop_of(EMBEDDING, outputs, reference, labels, CLASSES)
    own, other = _right(reference, reference, labels), _right(outputs, reference, labels)
    assert drop.points == pytest.approx(100 * (own.mean() - other.mean())) != 0
    assert len(own) == 20
    low, high = drop.interval_points
    assert low < drop.points < high
    broken = np.where(np.arange(21)[:, None] == 3, np.nan, outputs)
    assert np.isfinite(drop_of(EMBEDDING, broken, reference, labels, CLASSES).points)


@pytest.mark.parametrize("at_once", [1 << 22, 6], ids=["at once", "in chunks"])
def test_the_answer_of_an_embedding_is_that_of_the_gallery(at_once, monkeypatch):
    monkeypatch.setattr(galleries, "_ROWS_AT_ONCE", at_once)
    gallery = enrolled(np.eye(3), np.array([2, 0, 0]), CLASSES, ["x", "y", "z"], "n", "fp32, workstation")
    assert gallery.classes == ("a", "c")
    said = answer_of(EMBEDDING, np.array([1.0, 0.2, 0.1]), CLASSES, 1, gallery)
    assert (said["class"], said["top"][0]["nearest"]) == ("c", "x")
    cosines, labels = nearest(gallery, np.array([[1.0, 0.2, 0.1], [0.0, 0.0, 2.0], [np.inf, 0, 0]]), CLASSES)
    assert labels[:2].tolist() == [2, 0]
    assert cosines[1:].tolist() == [1.0, -np.inf]
    figures = nearest_figures(gallery, np.eye(3), np.array([2, 0, 1]), CLASSES, 0.5)
    assert (figures.right_fraction, figures.kept, figures.kept_right) == (pytest.approx(2 / 3), 3, 2)
