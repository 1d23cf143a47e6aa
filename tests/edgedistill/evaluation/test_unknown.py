"""Coverage by simulation, and the area under the curve by counting pairs."""

import numpy as np
import pytest

from edgedistill.evaluation.unknown import auroc, images_for, unknown_threshold

DRAWS = 2000


@pytest.mark.parametrize("coverage", [0.8, 0.95])
@pytest.mark.parametrize("images", [30, 99])
def test_known_images_are_kept_with_the_stated_coverage(coverage, images):
    """The true coverage of each draw is known, of a uniform score; its mean is at least the stated one, not by far."""
    draw = np.random.default_rng(images)
    kept = [1 - unknown_threshold(draw.random(images), coverage) for _ in range(DRAWS)]
    error = np.std(kept, ddof=1) / np.sqrt(DRAWS)
    assert np.mean(kept) > coverage - 4 * error
    assert np.mean(kept) < coverage + 1 / (images + 1) + 4 * error


def test_tied_scores_are_kept_more_often():
    draw, values = np.random.default_rng(2), np.array([0.0, 1.0, 2.0])
    kept = [(draw.choice(values, 3000) >= unknown_threshold(draw.choice(values, 50), 0.8)).mean() for _ in range(300)]
    assert np.mean(kept) >= 0.8


def test_by_hand():
    assert unknown_threshold(np.arange(19.0), 0.95) == 0.0  # floor(0.05 * 20) = 1: the smallest
    assert unknown_threshold(np.arange(18.0), 0.95) is None
    assert unknown_threshold(np.arange(39.0)[::-1], 0.95) == 1.0
    assert unknown_threshold(np.full(40, -np.inf), 0.9) is None
    assert [images_for(coverage) for coverage in (0.5, 0.9, 0.95, 0.99)] == [1, 9, 19, 99]
    assert all(unknown_threshold(np.arange(float(images_for(c))), c) is not None for c in (0.5, 0.9, 0.95, 0.99))


def test_auroc_counts_pairs_ties_half():
    draw = np.random.default_rng(1)
    known, others = draw.integers(0, 6, 40), draw.integers(0, 4, 30)
    pairs = [(a > b) + (a == b) / 2 for a in known for b in others]
    assert auroc(known, others) == pytest.approx(np.mean(pairs))
    assert auroc(np.array([2.0]), np.array([1.0])) == 1.0
