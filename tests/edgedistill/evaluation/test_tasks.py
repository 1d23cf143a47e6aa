"""Each task measures and reads its own outputs: against figures computed another way."""

import numpy as np
import pytest

from edgedistill.config.task import CLASSIFICATION, EMBEDDING
from edgedistill.evaluation.tasks import answer_of, drop_of, evaluator_of

CLASSES = ["a", "b", "c"]
LOGITS = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.5, 0.2], [0.25, 0.25, 0.5]]))
LABELS = np.array([0, 2, 0, 1])


def test_a_classifier_is_validated_by_cross_entropy():
    found = evaluator_of(CLASSIFICATION).validation(LOGITS, LABELS, CLASSES)
    assert found.loss == pytest.approx(-np.log([0.7, 0.8, 0.3, 0.25]).mean())
    # Three bins of 1/15: 0.7 and 0.8, both right, and 0.5 twice, both wrong.
    assert found.calibration_error == pytest.approx((0.3 + 0.2 + 2 * 0.5) / 4)
    assert (found.images, found.top1_fraction) == (4, 0.5)


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


def test_a_task_that_does_not_deploy_has_no_drop_and_no_answer():
    with pytest.raises(ValueError, match="task 'embedding' gives no drop"):
        drop_of(EMBEDDING, LOGITS, LOGITS, LABELS, CLASSES)
    with pytest.raises(ValueError, match="task 'embedding' gives no answer"):
        answer_of(EMBEDDING, LOGITS[0], CLASSES, 1)
