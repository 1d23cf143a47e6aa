"""Whole training steps against numpy: losses, their weights, gradients, schedule, weight decay.

Nothing of torch is in the oracle: its gradient is a central difference of the loss in float64, and AdamW is
written out from the paper (Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2).
"""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from edgedistill.config.loading import recipe_from_table
from edgedistill.config.training import TrainingConfig
from edgedistill.distillation.feature_objective import feature_lesson
from edgedistill.distillation.objectives import label_term, logit_terms
from edgedistill.progress.reporter import Talk
from edgedistill.training.batches import Order, TrainingSet
from edgedistill.training.fit import Lesson
from edgedistill.training.loop import Training
from edgedistill.training.mixing import Mixing
from edgedistill_device.preprocess_spec import Preprocess

SIDE, CELLS, CLASSES, HIDDEN, TEACHER_WIDTH = 32, 4, 4, 5, 3  # CELLS: of a side, their means go in
IMAGES, BATCH, EPOCHS = 12, 6, 4
STEPS = EPOCHS * IMAGES // BATCH
PEAK_LR, WEIGHT_DECAY, WARMUP = 0.02, 0.3, 0.3
MEAN, STD = (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
CLASS_WEIGHTS = np.array([0.5, 1.0, 2.5, 0.7], np.float32).astype(np.float64)
NOT_DECAYED = {"position", "gain", "body.bias", "head.bias", "projector.bias"}
CPU = torch.device("cpu")


class Net(nn.Module):
    """Two layers; `gain` is a vector as in a norm, `position` a matrix that the network names."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.position = nn.Parameter(torch.randn(1, HIDDEN))
        self.gain = nn.Parameter(1 + 0.3 * torch.randn(HIDDEN))
        self.body = nn.Linear(3 * CELLS * CELLS, HIDDEN)
        self.head = nn.Linear(HIDDEN, CLASSES)

    def no_weight_decay(self):
        return {"position"}

    def outputs(self, images):
        cells = nn.functional.adaptive_avg_pool2d(images, CELLS)
        features = torch.tanh(self.body(cells.flatten(1)) * self.gain + self.position)
        return self.head(features), features


class View:
    def __call__(self, image, seed):
        return image

    def describe(self):
        return {}


class Cache:
    """What a teacher said: a table of image and view."""

    feature_width = TEACHER_WIDTH

    def __init__(self):
        rng = np.random.default_rng(4)
        self.said = 2 * rng.normal(size=(IMAGES, EPOCHS, CLASSES))
        self.pooled = 3 + rng.normal(size=(IMAGES, EPOCHS, TEACHER_WIDTH))

    def logits(self, batch):
        return torch.tensor(self.said[batch.positions, batch.views], dtype=torch.float32)

    @property
    def mean_feature(self):
        return torch.tensor(self.pooled.mean(axis=(0, 1)), dtype=torch.float32)

    def features(self, batch):
        return torch.tensor(self.pooled[batch.positions, batch.views], dtype=torch.float32)


@dataclass
class Seen:
    """One batch of the oracle: means of normalised pixels, labels, what was mixed in, what the teacher said."""

    cells: np.ndarray
    labels: np.ndarray
    partners: np.ndarray
    shares: np.ndarray
    teacher: np.ndarray
    pooled: np.ndarray

    @property
    def weights(self):
        """Of each image, by its labels; an unlabelled one weighs the mean, 1."""
        own, other = (np.where(labels < 0, 1.0, CLASS_WEIGHTS[labels]) for labels in (self.labels, self.partners))
        return self.shares * own + (1 - self.shares) * other

    @property
    def main(self):
        main = np.where(self.shares >= 0.5, self.labels, self.partners)
        return np.where(main < 0, self.teacher.argmax(1), main)


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def divergence(p, q):
    return (p * np.log(p / q)).sum(axis=1)


def kd_of(logits, seen, settings):
    t = settings["temperature"]
    return float((seen.weights * t * t * divergence(softmax(seen.teacher / t), softmax(logits / t))).mean())


def dkd_of(logits, seen, settings):
    t, own = settings["temperature"], np.eye(CLASSES, dtype=bool)[seen.main]
    p, q = softmax(seen.teacher / t), softmax(logits / t)
    (p_own, p_rest), (q_own, q_rest) = ((x[own][:, None], x[~own].reshape(len(x), -1)) for x in (p, q))
    target = divergence(np.hstack([p_own, 1 - p_own]), np.hstack([q_own, 1 - q_own]))
    others = divergence(p_rest / (1 - p_own), q_rest / (1 - q_own))
    return float((seen.weights * t * t * (target + settings["dkd_beta"] * others)).mean())


def label_of(logits, seen, smoothing):
    """Cross-entropy of smoothed targets times the label's weight, mixed by share, per share of a labelled image."""
    log_p, total, known = np.log(softmax(logits)), 0.0, 0.0
    for labels, shares in ((seen.labels, seen.shares), (seen.partners, 1 - seen.shares)):
        parts = np.where(labels < 0, 0.0, shares)
        targets = (1 - smoothing) * np.eye(CLASSES)[labels] + smoothing / CLASSES
        total -= (parts * CLASS_WEIGHTS[labels] * (targets * log_p).sum(axis=1)).sum()
        known += parts.sum()
    return total / max(known, 1.0)


def pooled_of(features, weights, seen):
    """Squared distance of the two unit vectors; the teacher's is less the mean of all."""
    projected = features @ weights["projector.weight"].T + weights["projector.bias"]
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (projected, seen.pooled)]
    return float(((unit[0] - unit[1]) ** 2).sum(axis=1).mean())


def forward(weights, cells):
    hidden = cells @ weights["body.weight"].T + weights["body.bias"]
    features = np.tanh(hidden * weights["gain"] + weights["position"])
    return features @ weights["head.weight"].T + weights["head.bias"], features


def terms_of(weights, seen, settings):
    """Term -> value and the weight that the recipe gives it at its end."""
    logits, features = forward(weights, seen.cells)
    if "smoothing" in settings:
        return {"label": (label_of(logits, seen, settings["smoothing"]), 1.0)}
    soft = {"kd": kd_of, "dkd": dkd_of}[settings["loss"]](logits, seen, settings)
    return {
        "kd": (soft, settings["kd_weight"]),
        "label": (label_of(logits, seen, 0.0), 1 - settings["kd_weight"]),
        "feature": (pooled_of(features, weights, seen), settings["feature_weight"]),
    }


def loss_of(weights, seen, settings, step):
    total = 0.0
    for name, (value, weight) in terms_of(weights, seen, settings).items():
        warm = settings.get("feature_warmup_fraction", 0) * STEPS if name == "feature" else 0
        total += weight * value * (min(1.0, (step + 1) / warm) if warm else 1.0)
    return total


def gradient_of(weights, seen, settings, step, h=1e-5):
    gradient = {name: np.zeros_like(values) for name, values in weights.items()}
    for name, values in weights.items():
        for place in np.ndindex(values.shape):
            kept, ends = values[place], []
            for offset in (h, -h):
                values[place] = kept + offset
                ends.append(loss_of(weights, seen, settings, step))
            values[place] = kept
            gradient[name][place] = (ends[0] - ends[1]) / (2 * h)
    return gradient


def rate_of(step):
    """A line up over the first WARMUP of the steps, then half a cosine down to 0."""
    rising = round(WARMUP * STEPS)
    if step < rising:
        return PEAK_LR * (step + 1) / rising
    return PEAK_LR * math.cos(math.pi / 2 * (step - rising) / (STEPS - rising)) ** 2


class AdamW:
    def __init__(self):
        self.mean, self.square, self.count = {}, {}, 0

    def step(self, weights, gradient, rate):
        self.count += 1
        for name, g in gradient.items():
            self.mean[name] = 0.9 * self.mean.get(name, 0) + 0.1 * g
            self.square[name] = 0.999 * self.square.get(name, 0) + 0.001 * g * g
            mean = self.mean[name] / (1 - 0.9**self.count)
            square = self.square[name] / (1 - 0.999**self.count)
            if name not in NOT_DECAYED:
                weights[name] -= rate * WEIGHT_DECAY * weights[name]
            weights[name] -= rate * mean / (np.sqrt(square) + 1e-8)


def batch_of(images, positions, view, cache):
    """Mixed by hand; which views are mixed with which is test_mixing's."""
    seen = []
    for position in positions:
        pixels, label = images.pixels[position].astype(np.float64), int(images.labels[position])
        partner, share = label, 1.0
        plan = images.mixing.plan(images.seed(position, view), IMAGES, SIDE)
        if plan is not None:
            other, partner, share = images.pixels[plan.partner], int(images.labels[plan.partner]), plan.share
            if plan.box is None:
                pixels = np.rint(share * pixels + (1 - share) * other)
            else:
                top, left, bottom, right = plan.box
                pixels[top:bottom, left:right] = other[top:bottom, left:right]
        normal = (pixels / 255 - np.array(MEAN)) / np.array(STD)
        seen.append((normal.transpose(2, 0, 1), label, partner, share))
    pixels, labels, partners, shares = (np.array(column) for column in zip(*seen, strict=True))
    cells = pixels.reshape(len(pixels), 3, CELLS, SIDE // CELLS, CELLS, SIDE // CELLS).mean(axis=(3, 5))
    return Seen(
        cells.reshape(len(cells), -1),
        labels,
        partners,
        shares,
        cache.said[positions, view],
        cache.pooled[positions, view] - cache.pooled.mean(axis=(0, 1)),
    )


def float64(net, projector):
    found = {**net.state_dict(), **{f"projector.{name}": value for name, value in projector.state_dict().items()}}
    return {name: value.detach().double().numpy().copy() for name, value in found.items()}


def lesson_of(settings, images, cache, net):
    weights = torch.tensor(CLASS_WEIGHTS, dtype=torch.float32)
    if "smoothing" in settings:
        return Lesson(images, {"label": label_term(weights, 1.0, CPU, settings["smoothing"])})
    recipe = recipe_from_table(
        {"data": {"train": "x", "image_px": SIDE}, "student": {"model": "squeezenet1_1"}, "distill": settings},
        "made up",
    )
    terms = logit_terms(recipe.distill, cache, weights, CPU)
    return feature_lesson(recipe, images, terms, cache, None, net, 7, CPU, print)


CASES = {
    "kd": {"loss": "kd", "temperature": 3.0, "kd_weight": 0.7, "feature_weight": 0.4, "feature_warmup_fraction": 0.5},
    "dkd of mixed images, one without a label": {
        "loss": "dkd",
        "temperature": 2.0,
        "kd_weight": 0.35,
        "dkd_beta": 3.5,
        "feature_weight": 0.2,
        "feature_warmup_fraction": 0.0,
    },
    "a teacher's smoothed labels": {"smoothing": 0.2},
}


@pytest.mark.parametrize("case", CASES)
def test_eight_steps_are_those_of_numpy(case, monkeypatch):
    settings, mixed = CASES[case], "mixed" in case
    rng = np.random.default_rng(0)
    labels = np.arange(IMAGES) % CLASSES
    labels[5] = -1 if mixed else labels[5]
    cells = rng.integers(0, 256, (IMAGES, CELLS, CELLS, 3), dtype=np.uint8)
    pixels = cells.repeat(SIDE // CELLS, axis=1).repeat(SIDE // CELLS, axis=2)
    images = TrainingSet(
        pixels,
        np.arange(IMAGES),
        labels,
        [f"{number:064x}" for number in range(IMAGES)],
        View(),
        Mixing(0.4, 1.0, 0.8) if mixed else Mixing(),
    )
    cache, net, order = Cache(), Net(), Order(IMAGES, BATCH, seed=0)
    lesson = lesson_of(settings, images, cache, net)
    projector = lesson.extra or nn.Identity()
    weights, optimizer = float64(net, projector), AdamW()
    taken, rates = [], []

    class Noted(torch.optim.AdamW):
        """The real one; it tells the rates that it steps with."""

        def step(self, *args, **kwargs):
            rates.append({group["lr"] for group in self.param_groups})
            super().step(*args, **kwargs)
            taken.append(float64(net, projector))

    monkeypatch.setattr(torch.optim, "AdamW", Noted)
    training = Training(
        net,
        Preprocess(SIDE, SIDE, "area", MEAN, STD),
        images,
        order,
        lesson.terms,
        TrainingConfig(
            epochs=EPOCHS, batch_size=BATCH, peak_lr=PEAK_LR, weight_decay=WEIGHT_DECAY, warmup_fraction=WARMUP
        ),
        lambda net: {"eval_top1_fraction": 0.5, "eval_balanced_accuracy_fraction": 0.5},
        CPU,
        extra=projector,
    )
    history = training.run(Talk(quiet=True), "net")

    rows, shares = [], []
    for step, (positions, views) in enumerate(order.steps(0, STEPS)):
        seen = batch_of(images, positions, views[0], cache)
        shares += list(seen.shares)
        rows.append({name: value for name, (value, _) in terms_of(weights, seen, settings).items()})
        rows[-1]["loss"] = loss_of(weights, seen, settings, step)
        optimizer.step(weights, gradient_of(weights, seen, settings, step), rate_of(step))
        assert list(rates[step]) == [pytest.approx(rate_of(step), rel=1e-12)]
        for name, values in weights.items():
            assert np.abs(taken[step][name] - values).max() < 1e-3 * PEAK_LR, (step, name)
    assert bool(min(shares) < 0.5) is mixed, "an image whose partner is its main label"
    for epoch, row in enumerate(history):
        first, last = 2 * epoch, 2 * epoch + 1
        assert rates[last] == {row.lr}, "the history tells the rate that the optimizer had"
        means = {name: (rows[first][name] + rows[last][name]) / 2 for name in rows[0]}
        assert {"loss": row.train_loss, **row.terms} == pytest.approx(means, rel=1e-4)
