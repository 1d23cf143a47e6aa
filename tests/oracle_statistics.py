"""Statistics of logits and labels by scipy or written out, for the second look at report.json."""

import math

import numpy as np
import scipy.stats
import torch


def wilson(hits, images):
    found = scipy.stats.binomtest(int(hits), images).proportion_ci(method="wilson")
    return [float(found.low), float(found.high)]


def only_right(first, second, labels):
    """Images that only the first, and only the second network has right."""
    one, other = (np.array([row.argmax() for row in logits]) == labels for logits in (first, second))
    return int(sum(one & ~other)), int(sum(other & ~one))


def paired_points(first_only, second_only, images):
    """Bonett and Price 2012: two images are added, one for each network."""
    a, b, n = first_only + 1, second_only + 1, images + 2
    half = scipy.stats.norm.ppf(0.975) * math.sqrt(((a + b) / n - ((a - b) / n) ** 2) / n)
    return [100 * ((a - b) / n - half), 100 * ((a - b) / n + half)]


def accuracy_of(logits, labels, classes):
    counts = [[0] * len(classes) for _ in classes]
    for row, label in zip(logits, labels, strict=True):
        counts[label][int(row.argmax())] += 1
    recalls = [row[n] / sum(row) for n, row in enumerate(counts)]
    hits = sum(row[n] for n, row in enumerate(counts))
    return {
        "top1_fraction": hits / len(labels),
        "top1_interval": wilson(hits, len(labels)),
        "balanced_accuracy_fraction": sum(recalls) / len(recalls),
        "per_class_recall": dict(zip(classes, recalls, strict=True)),
        "confusion": counts,
    }


def macs_of(model, side):
    """Multiply-adds of one image, counted as the convolutions and linear layers of the PyTorch network run."""
    total = []

    def convolution(layer, _, output):
        total.append(output.numel() * layer.weight[0].numel())

    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
            layer.register_forward_hook(convolution)
    with torch.no_grad():
        model(torch.zeros(1, 3, side, side))
    return sum(total)


def step_of(found, reference, labels, classes):
    kept = ("top1_fraction", "top1_interval", "balanced_accuracy_fraction")
    first, second = only_right(reference, found, labels)
    accuracy = accuracy_of(found, labels, classes)
    noise = np.square(reference.astype(np.float64) - found).sum()
    n, (b, c) = len(labels), (first / len(labels), second / len(labels))
    return {
        **{key: accuracy[key] for key in kept},
        "drop_points": 100 * (first - second) / n,
        "drop_standard_error_points": 100 * math.sqrt((b + c - (b - c) ** 2) / n),
        "drop_interval_points": paired_points(first, second, n),
        "agreement_fraction": float(np.mean([a.argmax() == b.argmax() for a, b in zip(found, reference, strict=True)])),
        "sqnr_db": 10 * math.log10(np.square(reference, dtype=np.float64).sum() / noise) if noise else None,
        "max_relative_logit_difference": float(np.abs(found - reference).max() / np.abs(reference).max()),
    }


def softmax(row):
    powers = np.exp(row.astype(np.float64) - row.max())
    return powers / powers.sum()


def disagreement_of(first, second, labels, rows):
    shown = []
    for n, (a, b) in enumerate(zip(first, second, strict=True)):
        if a.argmax() != b.argmax():
            shown.append((min(softmax(a).max(), softmax(b).max()), n))
    shown.sort(key=lambda one: -one[0])
    right = [(a.argmax() == label, b.argmax() == label) for a, b, label in zip(first, second, labels, strict=True)]
    alike = [a.argmax() == b.argmax() for a, b in zip(first, second, strict=True)]
    return {
        "images": len(labels),
        "apart": len(shown),
        "both_right": right.count((True, True)),
        "first_only_right": right.count((True, False)),
        "second_only_right": right.count((False, True)),
        "both_wrong_alike": sum(same and not any(pair) for same, pair in zip(alike, right, strict=True)),
        "both_wrong_apart": sum(not same and not any(pair) for same, pair in zip(alike, right, strict=True)),
        "shown": [
            {
                "position": n,
                "first": {"probability": softmax(first[n]).max()},
                "second": {"probability": softmax(second[n]).max()},
            }
            for _, n in shown[:12]
        ],
    }
