"""A teacher for the price of a few forward passes: a logistic head on the features of a frozen network.

Source: Kornblith, Shlens and Le 2019, arXiv:1805.08974, section 3 (logistic regression on the features of
ImageNet networks, L2 chosen by validation); Kumar et al. 2022, arXiv:2202.10054 (fine-tuning that starts
from such a head distorts the features less).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import nn

from edgedistill.distill.batches import TrainingSet, normalised
from edgedistill.errors import TeacherError
from edgedistill.models.build import head_names, outputs
from edgedistill.work import Work
from jetson.preprocess import Preprocess

# L2 on features of mean 0 and mean square 1: the weakest nearly fits every image, the strongest nearly none.
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
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
    features: np.ndarray, labels: np.ndarray, folds: np.ndarray, image_weights: np.ndarray, classes: int
) -> LogisticHead:
    """Fit a head; its strength of L2 is the one with the least loss on the folds that were left out.

    Args:
        features: (V, N, F) of V views of each image.
        labels: (N,) int.
        folds: (N,) int; images of one fold are left out together.
        image_weights: (N,) in the loss; their mean is 1.
        classes: C.
    """
    scores = dict.fromkeys(STRENGTHS, 0.0)
    for fold in np.unique(folds):
        kept, left_out = folds != fold, folds == fold
        if not kept.any():
            continue
        fitted = _fitted(features[:, kept], labels[kept], image_weights[kept], classes, STRENGTHS, _ROUGH)
        for l2, (weight, bias) in fitted.items():
            for view in features[:, left_out]:
                losses = _log_losses(view @ weight.T + bias, labels[left_out])
                scores[l2] += float(losses @ image_weights[left_out]) / (len(labels) * len(features))
    best = min(scores, key=scores.__getitem__)
    weight, bias = _fitted(features, labels, image_weights, classes, (best,), _FINE)[best]
    return LogisticHead(weight, bias, best, scores)


def features_of(
    model: nn.Module, spec: Preprocess, images: TrainingSet, frames: Iterable[np.ndarray], views: int,
    device: torch.device, show: Work,
) -> np.ndarray:  # fmt: skip
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

    def pooled(batch: torch.Tensor) -> np.ndarray:
        with torch.no_grad():
            features = outputs(model, normalised(batch.to(device), spec))[1].float().cpu().numpy()
        show(show.done + len(batch))
        return features

    found = [np.concatenate([pooled(torch.from_numpy(piece).permute(0, 3, 1, 2)) for piece in frames])]
    for view in range(views):
        places = np.array_split(np.arange(len(images)), -(-len(images) // _BATCH))
        found.append(np.concatenate([pooled(images.batch(piece, np.full(len(piece), view)).images)
                                     for piece in places]))  # fmt: skip
    return np.stack(found)


def put_head(model: nn.Module, name: str, head: LogisticHead) -> None:
    """Give the network `name` this head.

    Raises:
        TeacherError: it has not one linear layer at its end.
    """
    names = head_names(name)
    layer = model.get_submodule(names[0])
    weight, bias = getattr(layer, "weight", None), getattr(layer, "bias", None)
    if len(names) > 1 or bias is None or weight is None or weight.numel() != head.weight.size:
        raise TeacherError(
            f"teacher.mode = 'probe' needs a network with one linear layer at its end, {name} has "
            f"{', '.join(names)} ({type(layer).__name__}); set teacher.mode = 'finetune'"
        )
    with torch.no_grad():
        weight.copy_(torch.from_numpy(head.weight).reshape(weight.shape))
        bias.copy_(torch.from_numpy(head.bias))


def _fitted(
    features: np.ndarray, labels: np.ndarray, image_weights: np.ndarray, classes: int,
    strengths: Sequence[float], tolerance: float,
) -> dict[float, tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Strength -> (weight, bias), for features as they are: the standardisation is multiplied in."""
    views, images, width = features.shape
    flat = features.reshape(views * images, width).astype(np.float64)
    # One scale for all: a feature that is nearly constant here may be large in an image of another kind,
    # and divided by its own deviation it would decide alone.
    mean, scale = flat.mean(axis=0), max(float(np.sqrt(flat.var(axis=0).mean())), 1e-12)
    standardised = (flat - mean) / scale
    tiled, weights = np.tile(labels, views), np.tile(image_weights, views) / (views * images)
    start, heads = np.zeros(classes * (width + 1)), {}
    for l2 in sorted(strengths, reverse=True):  # each solution is near the next
        start = minimize(_loss_and_gradient, start, (standardised, tiled, weights, l2, classes), jac=True,
                         method="L-BFGS-B", options={"ftol": tolerance}).x  # fmt: skip
        weight = start[: classes * width].reshape(classes, width) / scale
        heads[l2] = weight, start[classes * width :] - weight @ mean
    return heads


def _loss_and_gradient(
    values: np.ndarray, features: np.ndarray, labels: np.ndarray, weights: np.ndarray, l2: float, classes: int
) -> tuple[float, np.ndarray]:
    """Weighted log loss + l2 / 2 |weight|^2, nats; the bias is not held back."""
    width = features.shape[1]
    weight, bias = values[: classes * width].reshape(classes, width), values[classes * width :]
    logits = features @ weight.T + bias
    loss = weights @ _log_losses(logits, labels) + 0.5 * l2 * (weight**2).sum()
    errors = np.exp(logits - logits.max(axis=1, keepdims=True))
    errors /= errors.sum(axis=1, keepdims=True)
    errors[np.arange(len(labels)), labels] -= 1
    errors *= weights[:, None]
    return loss, np.concatenate([(errors.T @ features + l2 * weight).ravel(), errors.sum(axis=0)])


def _log_losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(N,) nats."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]
