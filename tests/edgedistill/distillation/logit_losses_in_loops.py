"""The logit losses in loops over Python floats, and what their tests draw."""

import math
import statistics

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st

from edgedistill.distillation.losses import LOGIT_LOSSES, dist_loss, dkd_loss, kd_loss, mse_loss, wttm_loss


def labels_for(logits):
    return torch.arange(len(logits)) % logits.shape[1]


# Each loss at one ordinary setting, as a function of (student, teacher) alone.
LOSSES = {
    "kd": lambda s, t: kd_loss(s, t, 2.0),
    "dkd": lambda s, t: dkd_loss(s, t, labels_for(s), 2.0),
    "dist": lambda s, t: dist_loss(s, t, 2.0),
    "wttm": lambda s, t: wttm_loss(s, t, 0.4),
    "mse": mse_loss,
}
NEW = [name for name in LOGIT_LOSSES if name != "kd"]


def probabilities(row, temperature=1.0):
    weights = [math.exp(logit / temperature) for logit in row]
    return [weight / math.fsum(weights) for weight in weights]


def kl(p, q):
    return math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def dkd_oracle(student, teacher, labels, temperature, alpha, beta):
    total = 0.0
    for s_row, t_row, label in zip(student, teacher, labels, strict=True):
        p, q = probabilities(t_row, temperature), probabilities(s_row, temperature)
        p_rest, q_rest = p[:label] + p[label + 1 :], q[:label] + q[label + 1 :]
        p_sum, q_sum = math.fsum(p_rest), math.fsum(q_rest)
        tckd = kl([p[label], p_sum], [q[label], q_sum])
        nckd = kl([a / p_sum for a in p_rest], [a / q_sum for a in q_rest])
        total += temperature**2 * (alpha * tckd + beta * nckd)
    return total / len(student)


def correlation(a, b):
    if max(a) - min(a) < 1e-12 or max(b) - min(b) < 1e-12:
        return 0.0
    return np.corrcoef(a, b)[0, 1]


def dist_oracle(student, teacher, temperature, inter, intra):
    q = [probabilities(row, temperature) for row in student]
    p = [probabilities(row, temperature) for row in teacher]
    rows = [1 - correlation(a, b) for a, b in zip(q, p, strict=True)]
    columns = [1 - correlation(a, b) for a, b in zip(zip(*q, strict=True), zip(*p, strict=True), strict=True)]
    return temperature**2 * (inter * statistics.fmean(rows) + intra * statistics.fmean(columns))


def wttm_oracle(student, teacher, power):
    total = 0.0
    for s_row, t_row in zip(student, teacher, strict=True):
        powers = [a**power for a in probabilities(t_row)]
        weight = math.fsum(powers)
        total += weight * kl([a / weight for a in powers], probabilities(s_row))
    return total / len(student)


def drawn(seed, images, classes):
    """Student and teacher as lists of rows, and a label per image."""
    rng = np.random.default_rng(seed)
    student, teacher = rng.normal(scale=2.0, size=(2, images, classes)).tolist()
    return student, teacher, rng.integers(classes, size=images).tolist()


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def logits_of(probabilities, temperature=1.0):
    return temperature * torch.log(double(probabilities))


anything = settings(max_examples=60, deadline=None, derandomize=True, database=None)
seeds = st.integers(0, 2**32 - 1)
temperatures = st.floats(0.5, 10.0)
weights = st.floats(0.0, 8.0)
