"""The losses of figures and the ridge head: against the formula written out, and against least squares on more rows."""

from functools import partial

import numpy as np
import pytest
import torch

from edgedistill.distillation.probe import STRENGTHS
from edgedistill.distillation.value_losses import target_term, value_losses
from edgedistill.distillation.value_probe import ridge_from_features
from edgedistill.training.batches import Batch
from edgedistill.training.loop import Outputs

OUTPUTS = [[0.0, 2.0], [1.5, -1.0], [0.2, 0.4]]
TARGETS = [[0.5, -1.0], [1.5, 1.0], [0.0, 0.0]]

MSE = partial(value_losses, loss="mse")


def formula(output, target, loss):
    error = abs(output - target)
    return 0.5 * error**2 if loss == "mse" or error <= 1 else error - 0.5


@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_a_loss_is_its_formula(loss):
    found = value_losses(torch.tensor(OUTPUTS), torch.tensor(TARGETS), loss)
    expected = [
        sum(formula(o, t, loss) for o, t in zip(outputs, targets, strict=True)) / 2
        for outputs, targets in zip(OUTPUTS, TARGETS, strict=True)
    ]
    assert found.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("loss", ["mse", "huber"])
def test_an_image_without_figures_gives_neither_loss_nor_gradient(loss):
    outputs = torch.tensor(OUTPUTS, requires_grad=True)
    targets = torch.tensor(TARGETS)
    targets[1, 0] = torch.nan
    losses = value_losses(outputs, targets, loss)
    losses.sum().backward()
    assert losses[1] == 0
    assert outputs.grad[1].abs().sum() == 0
    assert outputs.grad[0].abs().sum() > 0


def batch(targets):
    count = len(targets)
    zeros, none = torch.zeros(count, dtype=torch.int64), torch.zeros(count, 3, 1, 1)
    return Batch(none, zeros, zeros, zeros, zeros, torch.ones(count), torch.tensor(targets))


def test_the_label_term_is_the_mean_over_the_images_with_figures():
    outputs = Outputs(torch.tensor(OUTPUTS), torch.zeros(3, 1))
    targets = [TARGETS[0], [float("nan")] * 2, TARGETS[2]]
    found = target_term(1.0, MSE).value(outputs, batch(targets))
    expected = np.mean([0.5 * np.mean((np.array(OUTPUTS[i]) - TARGETS[i]) ** 2) for i in (0, 2)])
    assert found.item() == pytest.approx(expected)
    assert target_term(1.0, MSE).value(outputs, batch([[float("nan")] * 2] * 3)).item() == 0


def test_what_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"outputs are \(1, 2\), targets \(1, 1\)"):
        value_losses(torch.zeros(1, 2), torch.zeros(1, 1), "mse")
    plain = batch(TARGETS)
    with pytest.raises(ValueError, match="this batch has no figures"):
        target_term(1.0, MSE).value(
            Outputs(torch.tensor(OUTPUTS), torch.zeros(3, 1)), Batch(*[getattr(plain, f) for f in _FIELDS])
        )


_FIELDS = ("images", "labels", "positions", "views", "partners", "shares")


def test_the_ridge_head_is_least_squares_with_the_penalty_as_further_rows():
    rng = np.random.default_rng(0)
    features = rng.normal(3, 2, (2, 40, 5)) + np.arange(5)
    weights = rng.uniform(0.5, 1.5, 40)
    targets = features.mean(axis=0)[:, :2] @ np.array([[0.5, -1], [0.2, 0.3]]) + rng.normal(0, 0.1, (40, 2))
    head = ridge_from_features(features, targets, np.arange(40) % 3, weights / weights.mean())
    flat = features.reshape(-1, 5)
    scale = np.sqrt(flat.var(axis=0).mean())
    root = np.sqrt(np.tile(weights, 2) / (2 * weights.sum()))[:, None]
    rows = root * np.hstack([(flat - flat.mean(axis=0)) / scale, np.ones((80, 1))])
    penalty = np.hstack([np.sqrt(head.l2) * np.eye(5), np.zeros((5, 1))])
    solved = np.linalg.lstsq(
        np.vstack([rows, penalty]), np.vstack([root * np.tile(targets, (2, 1)), np.zeros((5, 2))]), rcond=None
    )[0]
    expected = (flat - flat.mean(axis=0)) / scale @ solved[:5] + solved[5]
    np.testing.assert_allclose(head.logits(flat), expected, atol=1e-8)


def test_scores_are_the_weighted_errors_on_each_fold_by_a_head_without_it():
    rng = np.random.default_rng(2)
    features, folds, weights = rng.normal(1, 2, (2, 30, 4)), np.arange(30) % 3, rng.uniform(0.2, 3, 30)
    weights /= weights.mean()
    targets = features.mean(axis=0)[:, :2] + rng.normal(size=(30, 2))
    head = ridge_from_features(features, targets, folds, weights)
    flat = features.reshape(-1, 4)
    scaled = (flat - flat.mean(axis=0)) / np.sqrt(flat.var(axis=0).mean())
    rows = np.hstack([scaled, np.ones((60, 1))])
    wanted, weighs, fold_of = np.tile(targets, (2, 1)), np.tile(weights, 2), np.tile(folds, 2)
    assert list(head.scores) == list(STRENGTHS)
    for l2, score in head.scores.items():
        errors = 0.0
        for fold in range(3):
            root = np.sqrt(weighs * (fold_of != fold) / weighs[fold_of != fold].sum())[:, None]
            penalty = np.hstack([np.sqrt(l2) * np.eye(4), np.zeros((4, 1))])
            solved = np.linalg.lstsq(
                np.vstack([root * rows, penalty]), np.vstack([root * wanted, np.zeros((4, 2))]), rcond=None
            )[0]
            gaps = (rows @ solved - wanted) ** 2
            errors += sum(weighs[i] * gaps[i].sum() / 2 / 2 for i in np.flatnonzero(fold_of == fold))
        assert score == pytest.approx(errors / weighs.sum())


def test_images_of_one_fold_choose_nothing_and_get_the_strongest_penalty():
    rng = np.random.default_rng(3)
    features = rng.normal(size=(1, 8, 3))
    head = ridge_from_features(features, features[0, :, :1], np.zeros(8, int), np.ones(8))
    assert head.l2 == max(STRENGTHS)
    assert 0 < np.abs(head.weight).max() < 0.1


def test_the_strength_is_the_one_with_the_least_error_on_what_was_left_out():
    rng = np.random.default_rng(1)
    features, folds = rng.normal(size=(1, 60, 30)), np.arange(60) % 3
    noise = rng.normal(size=(60, 1))  # nothing to learn: strong penalties err least
    assert ridge_from_features(features, noise, folds, np.ones(60)).l2 >= 3
    exact = features[0, :, :1] * 2  # no noise: the weakest does
    head = ridge_from_features(features, exact, folds, np.ones(60))
    assert head.l2 == min(head.scores) == min(head.scores, key=head.scores.get)
    assert head.weight.shape == (1, 30)
