"""Which images are chosen: against lists that are sorted in Python, image by image."""

import math

import numpy as np
import pytest

from edgedistill.evaluation.look_closer import doubtful, softmax, suspect_labels, worst


@pytest.fixture
def answers(rng):
    """Probabilities and labels of 80 images of 5 classes."""
    return softmax(2 * rng.normal(size=(80, 5))), rng.integers(0, 5, 80)


def test_a_softmax_with_a_temperature(rng):
    logits = rng.normal(size=(7, 3)).astype(np.float32)
    for row, found in zip(logits.tolist(), softmax(logits, 1.7), strict=True):
        powers = [math.exp(value / 1.7) for value in row]
        assert found.tolist() == pytest.approx([power / sum(powers) for power in powers])
    assert softmax(np.array([[np.inf, 0], [1e30, 0]])).tolist() == [[0, 0], [1, 0]]


def test_the_worst_are_wrong_and_give_their_label_the_least(answers):
    probabilities, labels = answers
    wrong = [
        (p[label], i)
        for i, (p, label) in enumerate(zip(probabilities.tolist(), labels, strict=True))
        if max(p) != p[label]
    ]
    assert worst(probabilities, labels, 6).tolist() == [i for _, i in sorted(wrong)[:6]]
    assert worst(np.eye(3), np.arange(3), 6).tolist() == []


def test_the_most_doubtful_have_two_classes_side_by_side(answers):
    probabilities, _ = answers
    margins = [sorted(p)[-1] - sorted(p)[-2] for p in probabilities.tolist()]
    assert doubtful(probabilities, 6).tolist() == sorted(range(80), key=margins.__getitem__)[:6]


def test_suspect_is_a_label_that_is_contradicted_with_more_than_the_usual_certainty(answers):
    probabilities, labels = answers
    usual = {}
    for named in range(5):
        own = [p[named] for p, label in zip(probabilities.tolist(), labels, strict=True) if label == named]
        usual[named] = sum(own) / len(own)
    expected = []
    for i, (p, label) in enumerate(zip(probabilities.tolist(), labels, strict=True)):
        named = p.index(max(p))
        if named != label and p[named] >= usual[named]:
            expected.append((p[label] - p[named], i))
    assert len(expected) > 10
    assert suspect_labels(probabilities, labels).tolist() == [i for _, i in sorted(expected)]


def test_swapped_labels_are_found_by_a_network_that_is_usually_right(rng):
    true = np.arange(400) % 4
    probabilities = softmax(3 * np.eye(4)[true] + 0.3 * rng.normal(size=(400, 4)))
    labels, swapped = true.copy(), rng.choice(400, 12, replace=False)
    labels[swapped] = (labels[swapped] + 1) % 4
    found = set(suspect_labels(probabilities, labels).tolist())
    assert found <= set(swapped.tolist())
    assert len(found) >= 4


def test_a_class_that_no_label_names_is_no_ground_for_suspicion():
    assert suspect_labels(np.array([[0.2, 0.8], [0.9, 0.1]]), np.array([0, 0])).tolist() == []
