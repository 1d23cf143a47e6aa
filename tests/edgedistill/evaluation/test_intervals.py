"""Do 95 % intervals hold the truth in 95 % of experiments?"""

import numpy as np
import pytest
import scipy.stats

from edgedistill.evaluation.classification import wilson_interval
from edgedistill.evaluation.intervals import balanced_interval, mean_recall_interval, over_seeds, paired_interval
from edgedistill.quantization.accuracy import step_of
from edgedistill.records.evaluation import EvaluationRecord
from edgedistill.reporting.gain import gain_of
from record_factories import record_with


@pytest.mark.parametrize(
    ("first_only", "second_only", "images"), [(0.06, 0.04, 335), (0.10, 0.02, 120), (0.01, 0.01, 60)]
)
def test_paired_interval_covers(first_only, second_only, images, rng):
    draws = rng.multinomial(images, [first_only, second_only, 1 - first_only - second_only], 4000)
    intervals = [paired_interval(int(b), int(c), images) for b, c, _ in draws]
    held = [low <= first_only - second_only <= high for low, high in intervals]
    assert 0.94 <= np.mean(held) <= 1.0


def test_paired_interval_against_the_formula_written_out():
    """b = 22, c = 14, n = 335, by hand: p = 23/337, q = 15/337."""
    low, high = paired_interval(22, 14, 335)
    middle, half = 8 / 337, 1.959964 * np.sqrt((38 / 337 - (8 / 337) ** 2) / 337)
    assert (low, high) == pytest.approx((middle - half, middle + half))


def test_networks_that_never_differ_are_not_certainly_equal():
    low, high = paired_interval(0, 0, 50)
    assert low < 0 < high
    assert high == pytest.approx(-low)


def test_interval_turns_with_the_order():
    assert paired_interval(30, 10, 200) == pytest.approx([-x for x in paired_interval(10, 30, 200)[::-1]])


SPREAD = np.linspace(0.5, 1.0, 200)  # recalls of 200 classes
EXPERIMENTS = {  # images of each class; shares that only the first, only the second has right
    "three images in each of 200 classes": ([3] * 200, 0.15, 0.05),
    "one image in each of 200 classes": ([1] * 200, 0.15, 0.05),
    "some classes of one image": ([1] * 50 + [20] * 50, 0.15, 0.05),
    "five classes of three": ([3] * 5, 0.2, 0.05),
    "two classes of ten": ([10] * 2, 0.2, 0.05),
    "three unequal classes": ([80, 25, 40], np.array([0.1, 0.05, 0.08]), np.array([0.03, 0.2, 0.08])),
    "a long tail": (np.maximum(1, 90 * np.arange(1, 101.0) ** -0.7).astype(int), 0.2, 0.05),
    "eight large classes": ([100] * 8, 0.95, 0.02),
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_interval_of_balanced_accuracy_covers_and_holds_its_point(name, rng):
    images, first, second = EXPERIMENTS[name]
    first, second = (np.broadcast_to(share, len(images)) for share in (first, second))
    only_first = rng.binomial(images, first, (2000, len(images)))
    only_second = rng.binomial(images - only_first, second / (1 - np.minimum(first, 1 - 1e-9)) * (second > 0))
    held = 0
    for b, c in zip(only_first, only_second, strict=True):
        low, high = balanced_interval(np.stack([b, c, images], axis=1).tolist())
        held += low <= (first - second).mean() <= high
        assert low <= ((b - c) / images).mean() + 1e-12
        assert high >= ((b - c) / images).mean() - 1e-12
    assert 0.93 <= held / 2000 <= 0.97


NETWORKS = {  # images of each class; recalls. With few images a count more or less is some percent of the coverage.
    "three images in each of 200 classes": ([3] * 200, 0.7),
    "recalls that differ, 200 x 3": ([3] * 200, SPREAD),
    "nearly all right, 200 x 3": ([3] * 200, 0.98),
    "a long tail": (np.maximum(1, 90 * np.arange(1, 101.0) ** -0.7).astype(int), 0.8),
    "eight large classes": ([100] * 8, 0.95),
    "two large ones that differ": ([1000] * 2, np.array([0.3, 0.99])),
    "the quickstart's": ([108, 227], np.array([0.48, 0.85])),
    "a rare class": ([20, 200], np.array([0.6, 0.98])),
    "six of a good network": ([50] * 6, 0.99),
    "two of a good network": ([100] * 2, 0.99),
    "three small ones of a good network": ([20] * 3, 0.98),
    "half of the images": ([20] * 2, 0.5),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_interval_of_one_network_covers_and_holds_its_point(name, rng):
    images, recalls = NETWORKS[name]
    recalls = np.broadcast_to(recalls, len(images))
    held = 0
    for hits in rng.binomial(images, recalls, (2000, len(images))):
        low, high = mean_recall_interval(hits, images)
        held += low <= recalls.mean() <= high
        assert 0 <= low <= (hits / images).mean() <= high <= 1
    assert 0.93 <= held / 2000 <= 0.98


def test_the_interval_of_classes_with_equal_recalls_is_nearly_that_of_their_images():
    low, high = mean_recall_interval([180, 180], [200, 200])
    assert (low, high) == pytest.approx(wilson_interval(360, 400), abs=2e-3)
    assert mean_recall_interval([180, 0], [200, 0]) == wilson_interval(180, 200)
    with pytest.raises(ValueError, match="no class has images"):
        mean_recall_interval([0], [0])


@pytest.mark.parametrize("hits", [0, 20])
def test_none_and_all_are_not_certain_of_one_network(hits):
    low, high = mean_recall_interval([hits, hits], [20, 20])
    assert high - low > 0.05
    assert low <= hits / 20 <= high


@pytest.mark.parametrize("row", [[3, 0, 3], [0, 0, 3], [0, 3, 3], [1, 0, 1], [0, 0, 1]])
@pytest.mark.parametrize("classes", [1, 2, 7, 200])
def test_all_right_and_all_wrong_are_not_certain(row, classes):
    low, high = balanced_interval([row] * classes)
    point = (row[0] - row[1]) / row[2]
    assert -1 <= low <= point <= high <= 1
    assert high - low > 1e-3


@pytest.mark.parametrize("images", [[20, 10], [20, 10, 4], [1, 2, 40, 8, 3], [20, 10, 4] * 5], ids=len)
def test_the_interval_of_balanced_accuracy_against_the_formula_written_out(images, rng):
    """Each class leans on all of them by five images in total, and by one at most."""
    rows = [(*sorted(rng.integers(0, count // 2 + 1, 2).tolist(), reverse=True), count) for count in images]
    classes, total = len(rows), sum(images)
    leaning = 1 if classes < 5 else 5 / classes
    pooled = [(sum(row[side] for row in rows) + 1) / (total + 2) for side in (0, 1)]
    middle, variances = 0.0, []
    for first, second, count in rows:
        one, other = (
            (only + leaning * rate) / (count + leaning) for only, rate in zip((first, second), pooled, strict=True)
        )
        undone = 1 - count / (count + leaning) ** 2
        variances.append((one + other - (one - other) ** 2) / undone / (count + 2 / classes))
        middle += (first - second) / (count + 2 / classes) / classes
    freedom = sum(variances) ** 2 / sum(v**2 / count for v, count in zip(variances, images, strict=True))
    half = scipy.stats.t.ppf(0.975, freedom) * sum(variances) ** 0.5 / classes
    point = sum((first - second) / count for first, second, count in rows) / classes
    expected = (max(-1, min(point, middle - half)), min(1, max(point, middle + half)))
    assert balanced_interval([list(row) for row in rows]) == pytest.approx(expected)


def test_one_class_is_the_paired_interval_itself():
    assert balanced_interval([[22, 14, 335]]) == pytest.approx(paired_interval(22, 14, 335))


def test_balanced_interval_leaves_out_a_class_without_images():
    assert balanced_interval([[3, 1, 20], [0, 0, 0]]) == balanced_interval([[3, 1, 20]])
    with pytest.raises(ValueError, match="no class has images"):
        balanced_interval([[0, 0, 0]])


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_equal_methods_are_rarely_called_different(seeds, rng):
    """5 % is what 95 % allows, half of them gains; the luck that both share is no evidence."""
    luck = rng.normal(0.8, 0.05, (4000, seeds))
    runs = luck[:, None] + rng.normal(0, 0.02, (4000, 2, seeds))
    found = [over_seeds(*run.tolist()) for run in runs]
    held = [low <= 0 <= high for low, high in (one["interval_points"] for one in found)]
    assert 0.93 <= np.mean(held) <= 0.97
    assert 0.015 <= np.mean([one["shown"] for one in found]) <= 0.035
    for one in found:
        low, high = one["interval_points"]
        word = "no gain shown" if low <= 0 <= high else "a gain" if low > 0 else "a loss"
        assert one["sentence"].startswith(f"{word} over"), "however little it is"
        assert one["shown"] == (low > 0)


def test_two_seeds_with_the_same_gain_to_the_image_are_no_proof(rng):
    """On 30 test images two trainings often differ by the same count; that is not a spread of zero."""
    hits = rng.binomial(30, 0.8, (4000, 2, 2)) / 30
    shown = [over_seeds(*run.tolist(), 100 / 30)["shown"] for run in hits]
    assert np.mean(shown) <= 0.04
    equal = over_seeds([0.8, 0.8], [0.8 + 1 / 30] * 2, 100 / 30)
    assert not equal["shown"]
    assert equal["interval_points"][0] < 0


def test_the_sentence_over_seeds_says_the_interval():
    found = over_seeds([0.80, 0.81, 0.82], [0.90, 0.92, 0.91])
    low, high = found["interval_points"]
    assert (low, high) == pytest.approx((10 - 4.302653 / 3**0.5, 10 + 4.302653 / 3**0.5))
    assert f"{low:+.1f} to {high:+.1f} points" in found["sentence"]
    assert found["sentence"].startswith("a gain over 3 seeds")
    worse = over_seeds([0.90, 0.92, 0.91], [0.80, 0.81, 0.82])
    assert worse["sentence"].startswith("a loss over 3 seeds")
    assert not worse["shown"]


def test_the_gain_takes_rounding_to_whole_images_into_account():
    """Two seeds, each better by one of 20 images: in top-1 and in balanced accuracy."""
    scores = {"top1_fraction": 0.8, "balanced_accuracy_fraction": 0.8}
    better = {name: value + 0.05 for name, value in scores.items()}
    evaluated = {
        "student": better,
        "baseline": scores,
        "images": 20,
        "student_only_correct": 1,
        "baseline_only_correct": 0,
        "only_correct_by_class": [[1, 0, 10], [0, 0, 10]],
        "mcnemar_p": 1.0,
        "seeds": [{"seed": 0, "baseline": scores, "student": better}] * 2,
    }
    for metric in scores:
        found = gain_of(record_with(EvaluationRecord, evaluated), metric).over_seeds
        assert found.interval_points == pytest.approx([5 - 12.7062 * 5 / 24**0.5, 5 + 12.7062 * 5 / 24**0.5], abs=1e-3)


def test_points_of_top1_stand_beside_those_of_the_recipe_s_metric():
    evaluated = {
        "student": {"top1_fraction": 0.9, "balanced_accuracy_fraction": 0.7},
        "baseline": {"top1_fraction": 0.8, "balanced_accuracy_fraction": 0.75},
        "images": 20,
        "student_only_correct": 3,
        "baseline_only_correct": 1,
        "only_correct_by_class": [[2, 0, 10], [1, 1, 10]],
    }
    evaluated["seeds"] = [{"seed": 0, **{name: evaluated[name] for name in ("student", "baseline")}}]
    found = gain_of(record_with(EvaluationRecord, evaluated), "balanced_accuracy_fraction")
    assert (found.points, found.top1_points) == pytest.approx((-5.0, 10.0))


def test_a_precision_that_loses_nothing_on_few_images_may_lose_some(rng):
    logits, labels = rng.normal(size=(20, 3)), rng.integers(0, 3, 20)
    step = step_of(logits, logits, labels, ["a", "b", "c"])
    low, high = step.drop_interval_points
    assert step.drop_points == step.drop_standard_error_points == 0
    assert low == pytest.approx(-high)
    assert high > 5
