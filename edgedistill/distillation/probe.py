"""A teacher for the price of a few forward passes: a logistic head on the features of a frozen network.

Source: Kornblith, Shlens and Le 2019, arXiv:1805.08974, section 3 (logistic regression on the features of
ImageNet networks, L2 chosen by validation); Kumar et al. 2022, arXiv:2202.10054 (fine-tuning that starts
from such a head distorts the features less).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import nn

from edgedistill.errors import TeacherError
from edgedistill.models.build import head_names, outputs, single_head, without_values
from edgedistill.progress.task import Work
from edgedistill.training.batches import TrainingSet, normalised, sent
from edgedistill_device.label_sets import label_probabilities
from edgedistill_device.preprocess_spec import Preprocess

# L2 on features of mean 0 and mean square 1: the weakest nearly fits every image, the strongest nearly none.
STRENGTHS = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
# A strength is chosen to within a factor of three: its loss need not be known to more digits than this.
_ROUGH, _FINE = 1e-5, 1e-8
_BATCH = 64  # images in a forward pass


@dataclass(frozen=True)
class LogisticHead:
    """logits = features @ weight.T + bias.

    Attributes:
        weight: (C, F) float64.
        bias: (C,) float64.
        l2: strength that was chosen, on features of mean 0 and mean square 1.
        scores: strength -> mean log loss on views of the folds that were left out, nats.
    """

    weight: np.ndarray
    bias: np.ndarray
    l2: float
    scores: dict[float, float]

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(N, C) float64 of (N, F)."""
        return features @ self.weight.T + self.bias


def head_from_features(
    features: np.ndarray,
    labels: np.ndarray,
    folds: np.ndarray,
    image_weights: np.ndarray,
    classes: int,
    positive_weights: np.ndarray | None = None,
) -> LogisticHead:
    """Fit a head; its strength of L2 is the one with the least loss on the folds that were left out.

    Args:
        features: (V, N, F) of V views of each image.
        labels: (N,) int; of several labels an image (N, C) float, 1 or 0 each. The loss is then the sum of C binary
            ones, so that each label has the head that it would have alone.
        folds: (N,) int; images of one fold are left out together.
        image_weights: (N,) in the loss; their mean is 1.
        classes: C.
        positive_weights: (C,) of each label where it is there, of several labels an image; None: 1 each.
    """
    views, _, width = features.shape
    flat = features.reshape(-1, width)
    # One scale for all: a feature that is nearly constant here may be large in an image of another kind,
    # and divided by its own deviation it would decide alone.
    mean, scale = flat.mean(axis=0, dtype=np.float64), max(float(np.sqrt(flat.var(axis=0).mean())), 1e-12)
    inputs = ((flat - mean) / scale).astype(np.float32)
    if labels.ndim == 2:
        problem: _Problem = _LabelSets(inputs, np.tile(labels, (views, 1)), classes, positive_weights)
    else:
        problem = _Problem(inputs, np.tile(labels, views), classes)
    weights, fold_of = np.tile(image_weights, views), np.tile(folds, views)
    starts = {fold: problem.start for fold in np.unique(folds) if (folds != fold).any()}
    scores: dict[float, float] = {}
    for l2 in STRENGTHS:
        scores[l2] = 0.0
        for fold in starts:  # each solution is near that of the strength before
            starts[fold] = problem.minimum(starts[fold], weights * (fold_of != fold), l2, _ROUGH)
            scores[l2] += problem.loss(starts[fold], weights * (fold_of == fold)) / float(weights.sum())
        if min(list(scores.values())[-2:]) > min(scores.values()):  # weaker ones only get worse
            break
    best = min(scores, key=scores.__getitem__)
    solution = problem.minimum(problem.start, weights, best, _FINE)
    weight = solution[:-classes].reshape(classes, width) / scale
    return LogisticHead(weight, solution[-classes:] - weight @ mean, best, scores)


class _Problem:
    """Weighted log loss + l2 / 2 |weight|^2 of logits = features @ weight.T + bias; the bias is not held back.

    Values are the (C, F) weight, flat, and the (C,) bias behind it.
    """

    def __init__(self, features: np.ndarray, labels: np.ndarray, classes: int):
        self._features = torch.from_numpy(features)  # whose products keep to run.threads
        self._labels, self._classes = labels, classes
        self.start = np.zeros(classes * (features.shape[1] + 1))

    def loss(self, values: np.ndarray, weights: np.ndarray) -> float:
        """Sum over the images, nats."""
        return float(weights @ self._log_losses(self._logits(values)))

    def minimum(self, start: np.ndarray, weights: np.ndarray, l2: float, tolerance: float) -> np.ndarray:
        """The values at the minimum of the mean loss; images of weight 0 have no say."""
        fitted = minimize(
            self._loss_and_gradient,
            start,
            (weights / weights.sum(), l2),
            jac=True,
            method="L-BFGS-B",
            options={"ftol": tolerance},
        )
        return fitted.x

    def _loss_and_gradient(self, values: np.ndarray, weights: np.ndarray, l2: float) -> tuple[float, np.ndarray]:
        logits, weight = self._logits(values), values[: -self._classes]
        loss = weights @ self._log_losses(logits) + 0.5 * l2 * (weight @ weight)
        errors = self._slopes(logits) * weights[:, None]
        slope = (torch.from_numpy(errors.T.astype(np.float32)) @ self._features).numpy().ravel() + l2 * weight
        return loss, np.concatenate([slope, errors.sum(axis=0)])

    def _logits(self, values: np.ndarray) -> np.ndarray:
        """(N, C) float64."""
        weight = values[: -self._classes].reshape(self._classes, -1).astype(np.float32)
        return (self._features @ torch.from_numpy(weight).T).numpy().astype(np.float64) + values[-self._classes :]

    def _log_losses(self, logits: np.ndarray) -> np.ndarray:
        """(N,) nats."""
        shifted = logits - logits.max(axis=1, keepdims=True)
        return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(shifted)), self._labels]

    def _slopes(self, logits: np.ndarray) -> np.ndarray:
        """(N, C) of the log losses by the logits."""
        errors = np.exp(logits - logits.max(axis=1, keepdims=True))
        errors /= errors.sum(axis=1, keepdims=True)
        errors[np.arange(len(errors)), self._labels] -= 1
        return errors


class _LabelSets(_Problem):
    """The same of several labels an image: the sum of binary log losses."""

    def __init__(self, features: np.ndarray, labels: np.ndarray, classes: int, positive_weights: np.ndarray | None):
        super().__init__(features, labels, classes)
        self._there = labels * (np.ones(classes) if positive_weights is None else positive_weights)

    def _log_losses(self, logits: np.ndarray) -> np.ndarray:
        losses = self._there * np.logaddexp(0, -logits) + (1 - self._labels) * np.logaddexp(0, logits)
        return losses.sum(axis=1)

    def _slopes(self, logits: np.ndarray) -> np.ndarray:
        yes = label_probabilities(logits)
        return (1 - self._labels) * yes - self._there * (1 - yes)


def features_of(
    model: nn.Module,
    spec: Preprocess,
    images: TrainingSet,
    frames: Iterable[np.ndarray],
    views: int,
    device: torch.device,
    show: Work,
) -> np.ndarray:
    """Pooled features of a frozen network over every training image.

    Args:
        model: in eval mode, on `device`.
        images: N images and their stream of views.
        frames: uint8 pieces (n, H, W, 3) of the same images, framed as on the board.
        views: of each image, beside its frame.
        show: told of every image.

    Returns:
        (1 + views, N, F) float32: the frames first.
    """

    def pooled(batch: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features = outputs(model, normalised(sent(batch, device), spec))[1].float()
        show(show.done + len(batch))
        return features

    by_view = [torch.cat([pooled(torch.from_numpy(piece).permute(0, 3, 1, 2)) for piece in frames]).cpu().numpy()]
    for view in range(views):
        places = np.array_split(np.arange(len(images)), -(-len(images) // _BATCH))
        batches = (images.batch(piece, np.full(len(piece), view)).images for piece in places)
        by_view.append(torch.cat([pooled(batch) for batch in batches]).cpu().numpy())
    return np.stack(by_view)


def put_head(model: nn.Module, name: str, head: LogisticHead) -> None:
    """Give the network `name` this head.

    Raises:
        TeacherError: it has not one linear layer at its end.
    """
    layer = _last_layer(model, name)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(head.weight).reshape(layer.weight.shape))
        layer.bias.copy_(torch.from_numpy(head.bias))


def refuse_without_linear_head(name: str) -> None:
    """Before any image is read.

    Raises:
        TeacherError: as `put_head`.
    """
    _last_layer(without_values(name), name)


def _last_layer(model: nn.Module, name: str) -> Any:
    """The layer that turns the features that `outputs` gives into logits."""
    names = head_names(name)
    layer: Any = model.get_submodule(names[0])
    is_last = hasattr(model, "outputs") or single_head(model) is layer
    if not is_last or len(names) > 1 or not isinstance(layer, nn.Linear | nn.Conv2d) or layer.bias is None:
        raise TeacherError(
            f"teacher.mode = 'probe' needs a network with one linear layer between its features and its logits, {name} "
            f"ends otherwise ({', '.join(names)}); set teacher.mode = 'finetune'"
        )
    return layer
