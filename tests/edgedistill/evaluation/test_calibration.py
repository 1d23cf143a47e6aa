"""The fitted temperature against a grid search and against logits whose temperature is known."""

import numpy as np
import pytest

from edgedistill.evaluation.calibration import LEAST, MOST, fitted_temperature


def drawn(images, classes, seed, temperature=1.0):
    """Logits of a network that is `temperature` times too sure, and labels drawn from its true probabilities."""
    draw = np.random.default_rng(seed)
    true = draw.normal(0, 2, (images, classes))
    shares = np.exp(true) / np.exp(true).sum(1, keepdims=True)
    labels = (draw.random((images, 1)) > shares.cumsum(1)).sum(1)
    return (true * temperature).astype(np.float32), labels


def loss_by_hand(logits, labels, temperature):
    total = 0.0
    for row, label in zip(logits.astype(float) / temperature, labels, strict=True):
        total -= row[label] - np.logaddexp.reduce(row)
    return total / len(labels)


def test_no_temperature_of_a_fine_grid_is_better():
    logits, labels = drawn(300, 4, 1, 2.5)
    fitted = fitted_temperature(logits, labels)
    best = min(np.exp(np.linspace(np.log(LEAST), np.log(MOST), 400)), key=lambda t: loss_by_hand(logits, labels, t))
    assert loss_by_hand(logits, labels, fitted) <= loss_by_hand(logits, labels, best)
    assert fitted == pytest.approx(best, rel=0.02)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_that_the_logits_were_made_with_is_found(temperature):
    """Over 20 draws of 500 images the mean is within four of its standard errors."""
    found = np.log([fitted_temperature(*drawn(500, 5, seed, temperature)) for seed in range(20)])
    assert abs(found.mean() - np.log(temperature)) < 4 * found.std(ddof=1) / np.sqrt(20)


def test_images_that_determine_no_temperature_give_none():
    logits = np.array([[3.0, 0.0], [0.0, 2.0]])
    assert fitted_temperature(logits, np.array([0, 1])) is None  # all right: the surer, the better
    assert fitted_temperature(logits, np.array([1, 0])) is None  # all wrong: the less sure, the better
    assert fitted_temperature(np.full((2, 2), np.nan), np.array([0, 1])) is None


def test_a_row_that_is_no_number_has_no_part():
    logits, labels = drawn(200, 3, 2, 2.0)
    with_nan = np.concatenate([logits, [[np.nan, 0.0, 1.0]]])
    assert fitted_temperature(with_nan, np.append(labels, 0)) == fitted_temperature(logits, labels)
