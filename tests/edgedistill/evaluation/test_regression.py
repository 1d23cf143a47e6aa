"""Errors of figures: against plain loops, and intervals against what they promise over many draws."""

import math

import numpy as np
import pytest

from edgedistill.config.task import REGRESSION
from edgedistill.core.ranges import FEWEST, RANGES, ranges_of
from edgedistill.evaluation.bootstrap import draws_of, interval_of
from edgedistill.evaluation.regression import value_gain, value_measures, value_validation
from edgedistill.evaluation.tasks import answer_of, drop_of
from edgedistill_device.value_spec import Value

WIDTH = Value("width", "mm", 20.0, 4.0, 0.0, 30.0)
SHARE = Value("share", "", 0.5, 0.2, None, None)


@pytest.fixture
def drawn():
    rng = np.random.default_rng(7)
    targets = np.stack([rng.uniform(5, 29, 60), rng.normal(0.5, 0.2, 60)], axis=1)
    outputs = (targets - [20.0, 0.5]) / [4.0, 0.2] + rng.normal(0, 0.4, (60, 2))
    return outputs, targets


def test_every_figure_is_that_of_a_loop_over_the_images(drawn):
    outputs, targets = drawn
    measured = value_measures(outputs, targets, (WIDTH, SHARE))
    for number, value in enumerate((WIDTH, SHARE)):
        answers = [row[number] * value.std + value.mean for row in outputs]
        if value.low is not None:
            answers = [min(max(answer, value.low), value.high) for answer in answers]
        truths = [row[number] for row in targets]
        errors = [answer - truth for answer, truth in zip(answers, truths, strict=True)]
        mean = math.fsum(truths) / 60
        expected = {
            "mae": math.fsum(map(abs, errors)) / 60,
            "rmse": math.sqrt(math.fsum(e * e for e in errors) / 60),
            "bias": math.fsum(errors) / 60,
            "r2": 1 - math.fsum(e * e for e in errors) / math.fsum((t - mean) ** 2 for t in truths),
        }
        for name, figure in expected.items():
            found = measured.figure(name, value.name)
            assert found.value == pytest.approx(figure)
            assert found.interval[0] < figure < found.interval[1]
            assert found.unit == ("" if name == "r2" else value.unit)
    parts = [measured.figure("mae", value.name).value / value.std for value in (WIDTH, SHARE)]
    assert measured.metric("mae") == pytest.approx(sum(parts) / 2)
    assert measured.metric("r2") == pytest.approx(
        (measured.figure("r2", "width").value + measured.figure("r2", "share").value) / 2
    )
    alone = value_measures(outputs[:, :1], targets[:, :1], (WIDTH,))
    of_value, over_all = alone.figure("mae", "width"), alone.figure("mae", None)
    assert over_all.interval == pytest.approx([end / WIDTH.std for end in of_value.interval])
    assert alone.figure("r2", None).interval == pytest.approx(alone.figure("r2", "width").interval)
    assert [over_all.unit, alone.figure("r2", None).unit] == ["sd", ""]
    loss = value_validation(outputs, targets, (WIDTH, SHARE)).loss
    assert loss == pytest.approx(
        sum((measured.figure("rmse", value.name).value / value.std) ** 2 for value in (WIDTH, SHARE)) / 2
    )


def test_intervals_are_those_of_the_figures_over_images_drawn_again(drawn):
    outputs, targets = drawn
    of_width, of_share = ([figures_of(outputs, targets, rows, k) for rows in drawn_again(60)] for k in (0, 1))
    measured = value_measures(outputs, targets, (WIDTH, SHARE))
    for value, found in ((WIDTH, of_width), (SHARE, of_share)):
        for name in ("mae", "rmse", "bias", "r2"):
            expected = interval_of(np.array([figures[name] for figures in found]), 60)
            assert measured.figure(name, value.name).interval == pytest.approx(expected), name
    mae = [(width["mae"] / 4.0 + share["mae"] / 0.2) / 2 for width, share in zip(of_width, of_share, strict=True)]
    r2 = [(width["r2"] + share["r2"]) / 2 for width, share in zip(of_width, of_share, strict=True)]
    assert measured.figure("mae", None).interval == pytest.approx(interval_of(np.array(mae), 60))
    assert measured.figure("r2", None).interval == pytest.approx(interval_of(np.array(r2), 60))


def drawn_again(images):
    """Numbers of images as the bootstrap draws them, one that is drawn twice twice."""
    return [np.repeat(np.arange(images), counts.astype(int)) for counts in draws_of(images)]


def figures_of(outputs, targets, rows, k):
    """Of the images `rows`, as scikit-learn's functions give them."""
    value = (WIDTH, SHARE)[k]
    low, high = -np.inf if value.low is None else value.low, np.inf if value.high is None else value.high
    answer = np.clip(outputs[rows, k] * value.std + value.mean, low, high)
    truth = targets[rows, k]
    error = answer - truth
    return {
        "mae": np.abs(error).mean(),
        "rmse": np.sqrt((error**2).mean()),
        "bias": error.mean(),
        "r2": 1 - (error**2).sum() / ((truth - truth.mean()) ** 2).sum(),
    }


def test_the_interval_of_a_gain_is_that_of_images_drawn_again(drawn):
    outputs, targets = drawn
    other = outputs + np.random.default_rng(3).normal(0, 0.4, outputs.shape)
    gain = value_gain(outputs, other, targets, (WIDTH, SHARE))
    larger = [
        [figures_of(one, targets, rows, k)["mae"] for one in (other, outputs) for k in (0, 1)]
        for rows in drawn_again(60)
    ]
    width, share = ([row[k] - row[2 + k] for row in larger] for k in (0, 1))
    for found, expected in zip(gain.by_output, (width, share), strict=True):
        assert found.interval == pytest.approx(interval_of(np.array(expected), 60))
    points = 100 * (np.array(width) / 4.0 + np.array(share) / 0.2) / 2
    assert gain.interval_points == pytest.approx(interval_of(points, 60))


def test_the_ranges_part_the_images_and_hold_their_errors(drawn):
    outputs, targets = drawn
    rows = [row for row in value_measures(outputs, targets, (WIDTH, SHARE)).ranges if row.output == "share"]
    answers = outputs[:, 1] * 0.2 + 0.5
    assert sum(row.images for row in rows) == 60
    for row in rows:
        inside = (targets[:, 1] >= row.low) & (targets[:, 1] <= row.high)
        assert inside.sum() == row.images
        assert row.mae == pytest.approx(np.abs(answers - targets[:, 1])[inside].mean())
        assert row.bias == pytest.approx((answers - targets[:, 1])[inside].mean())


def test_equal_numbers_are_in_one_range_and_few_numbers_in_fewer():
    labels, bounds = ranges_of(np.array([0.0] * 50 + [0.5] * 30 + [1.0] * 20))
    assert bounds == [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)]
    assert np.bincount(labels).tolist() == [50, 30, 20]
    labels, bounds = ranges_of(np.arange(2.0 * FEWEST))
    assert (len(bounds), np.bincount(labels).min()) == (2, FEWEST)
    assert ranges_of(np.arange(3.0)) == (pytest.approx(np.zeros(3)), [(0.0, 2.0)])
    assert len(ranges_of(np.arange(500.0))[1]) == RANGES


def test_the_interval_holds_the_true_error_as_often_as_it_says():
    """|N(0, 1)| has the mean sqrt(2 / pi); 95 % of 200 intervals on 150 images each should hold it."""
    rng, held = np.random.default_rng(3), 0
    unit = Value("x", "", 0.0, 1.0, None, None)
    for _ in range(200):
        targets = rng.normal(0, 3, (150, 1))
        figure = value_measures(targets + rng.normal(0, 1, (150, 1)), targets, (unit,)).figure("mae", "x")
        held += figure.interval[0] <= math.sqrt(2 / math.pi) <= figure.interval[1]
    assert 180 <= held <= 199  # 190 wanted; 3 standard deviations are 9


def test_a_gain_is_paired_and_in_the_unit(drawn):
    outputs, targets = drawn
    worse = outputs + np.sign(outputs * [4.0, 0.2] + [20.0, 0.5] - targets) * [0.25, 0.0]  # 1 mm more error, always
    gain = value_gain(outputs, worse, targets, (Value("width", "mm", 20.0, 4.0, None, None), SHARE))
    width, share = gain.by_output
    assert (width.value, width.unit) == (pytest.approx(1.0), "mm")
    assert width.interval == pytest.approx([1.0, 1.0])  # the same for every image: nothing to draw
    assert share.value == 0
    assert gain.points == pytest.approx(100 * (1 / 4.0) / 2)
    assert gain.interval_points == pytest.approx([gain.points] * 2), "in standard deviations too"
    assert gain.shown
    assert not value_gain(outputs, outputs, targets, (WIDTH, SHARE)).shown


def test_outputs_that_are_no_numbers_count_as_the_mean():
    targets = np.array([[18.0], [21.0], [26.0]])
    bad, mean = np.array([[np.nan], [np.inf], [-np.inf]]), np.zeros((3, 1))
    assert value_measures(bad, targets, (WIDTH,)) == value_measures(mean, targets, (WIDTH,))
    assert value_measures(mean, targets, (WIDTH,)).figure("mae", "width").value == pytest.approx(3.0)


def test_equal_truths_have_an_r2_of_nought_or_one():
    targets = np.full((9, 1), 21.0)
    assert value_measures(np.full((9, 1), 0.25), targets, (WIDTH,)).metric("r2") == 1
    assert value_measures(np.full((9, 1), 0.5), targets, (WIDTH,)).metric("r2") == 0


def test_the_loss_of_a_precision_is_its_further_error():
    targets = np.array([[18.0], [22.0], [24.0], [16.0]])
    reference, coarse = (targets - 20) / 4, (targets - 20) / 4 + 0.125  # half a millimetre too much
    drop = drop_of(REGRESSION, coarse, reference, targets, ["width"], (WIDTH,))
    assert drop.changes[0].value == pytest.approx(0.5)
    assert drop.points == pytest.approx(12.5)  # of 4 mm
    assert (drop.agreement_fraction, drop.standard_error_points) == (None, None)


def test_the_answer_is_in_the_unit_and_within_its_range():
    said = answer_of(REGRESSION, np.array([0.5, -4.0]), ["width", "share"], 5, values=(WIDTH, SHARE))
    assert said == {
        "values": [
            {"name": "width", "value": 22.0, "unit": "mm"},
            {"name": "share", "value": pytest.approx(-0.3), "unit": ""},
        ]
    }
    assert answer_of(REGRESSION, np.array([9.0]), ["width"], 5, values=(WIDTH,))["values"][0]["value"] == 30.0


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="no labelled images"):
        value_measures(np.zeros((0, 1)), np.zeros((0, 1)), (WIDTH,))
