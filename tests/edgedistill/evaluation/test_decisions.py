"""Temperature and thresholds together, by simulation: what is promised is true of a large population in most draws."""

import numpy as np
import pytest

from edgedistill.config.decide import DecideConfig
from edgedistill.evaluation.decisions import calibration_figures, class_figures, fit, operating_points, unknown_figures
from edgedistill.records.decision import DecisionFigures
from edgedistill.stages.decide import lines_from_figures
from record_factories import record_with
from test_operating_points import least_likely

CLASSES = ["good", "crack", "dent"]
DRAWS = 120


def network(images, seed):
    """(N, 3) logits of a network that is 2.2 times too sure, and labels: 60 % good, 25 % crack, 15 % dent."""
    draw = np.random.default_rng(seed)
    labels = draw.choice(3, images, p=[0.6, 0.25, 0.15])
    logits = draw.normal(0, 1.2, (images, 3))
    logits[np.arange(images), labels] += 2.5
    logits[:, 1] += 0.5 * (labels == 2)  # a dent looks like a crack
    return (2.2 * logits).astype(np.float32), labels


def softmax(logits):
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def answers(logits, decision):
    """The rule, written for all images at once."""
    probabilities = softmax(logits.astype(float) / decision.temperature)
    held = [CLASSES.index(name) for name, _ in decision.thresholds]
    others = probabilities.copy()
    others[:, held] = -1
    found = others.argmax(1)
    for name, threshold in reversed(decision.thresholds):
        found[probabilities[:, CLASSES.index(name)] >= threshold] = CLASSES.index(name)
    return found


def test_two_recalls_are_both_kept_and_in_their_order():
    population, truth = network(200_000, 99)
    wanted, kept = DecideConfig(recall={"dent": 0.85, "crack": 0.6}, confidence=0.9), {"dent": 0, "crack": 0}
    both = 0
    for seed in range(DRAWS):
        decision = fit(*network(400, seed), CLASSES, wanted).decision
        found, promised = answers(population, decision), dict(decision.thresholds)
        both += list(promised) == ["dent", "crack"]
        for name, asked in wanted.recall.items():
            number = CLASSES.index(name)
            kept[name] += name not in promised or (found[truth == number] == number).mean() >= asked
    assert both > DRAWS / 2
    assert min(kept.values()) >= least_likely(DRAWS, 0.9)


def test_images_that_the_first_class_takes_are_missed_by_the_second():
    """Half of the cracks look like every dent, so that the threshold of dents takes them."""
    kinds = {"good": ((5.0, 0.0, 0.0), 60), "dent": ((0.0, 3.0, 2.9), 60), "crack": ((0.0, 4.0, 0.0), 30)}
    rows = [(logits, name) for name, (logits, images) in kinds.items() for _ in range(images)]
    rows += [(kinds["dent"][0], "crack")] * 30
    logits, labels = np.array([row for row, _ in rows]), np.array([CLASSES.index(name) for _, name in rows])
    fitted = fit(logits, labels, CLASSES, DecideConfig(recall={"dent": 0.9, "crack": 0.9}))
    assert fitted.choices["dent"].hits == 60
    assert fitted.choices["crack"].threshold is None
    assert (fitted.choices["crack"].hits, fitted.choices["crack"].images) == (30, 60)
    other_order = fit(logits, labels, CLASSES, DecideConfig(recall={"crack": 0.9, "dent": 0.9}))
    assert [choice.threshold is None for choice in other_order.choices.values()] == [False, True]


def test_a_precision_is_kept_where_it_is_promised():
    population, truth = network(200_000, 98)
    wanted, kept, set_ = DecideConfig(precision={"crack": 0.75}, confidence=0.9), 0, 0
    for seed in range(DRAWS):
        decision = fit(*network(800, seed), CLASSES, wanted).decision
        set_ += bool(decision.thresholds)
        kept += not decision.thresholds or (truth[answers(population, decision) == 1] == 1).mean() >= 0.75
    assert kept >= least_likely(DRAWS, 0.9)
    assert set_ > DRAWS / 4


def test_test_figures_are_counts_of_the_rule():
    wanted = DecideConfig(recall={"dent": 0.9})
    fitted = fit(*network(500, 1), CLASSES, wanted)
    logits, labels = network(600, 2)
    (point,) = operating_points(logits, labels, CLASSES, fitted, wanted)
    for figures, found in (
        (point.by_threshold, answers(logits, fitted.decision)),
        (point.by_probability, logits.argmax(1)),
    ):
        said, own = found == 2, labels == 2
        assert (figures.right, figures.images, figures.answers) == ((said & own).sum(), own.sum(), said.sum())
        assert figures.recall == pytest.approx((said & own).sum() / own.sum())
        assert figures.precision == pytest.approx((said & own).sum() / said.sum())
    assert point.curve[-1] == pytest.approx([1.0, (labels == 2).mean()])
    scores = softmax(logits.astype(float) / fitted.decision.temperature)[:, 2]
    for recall, precision in point.curve[:-1:17]:
        threshold = np.sort(scores[labels == 2])[::-1][round(recall * (labels == 2).sum()) - 1]
        assert (labels[scores >= threshold] == 2).mean() >= precision - 1e-9


@pytest.mark.parametrize("known", [["miss_cost"], ["false_alarm_cost"], ["miss_cost", "false_alarm_cost"], []])
def test_the_price_is_of_what_is_priced(known):
    prices = {"miss_cost": {"dent": 30.0}, "false_alarm_cost": {"dent": 2.0}}
    wanted = DecideConfig(recall={"dent": 0.9}, **{name: prices[name] for name in known})
    fitted = fit(*network(300, 1), CLASSES, wanted)
    logits, labels = network(150, 2)
    cost = operating_points(logits, labels, CLASSES, fitted, wanted)[0].cost
    assert (cost is None) == (not known)
    if known:
        miss, alarm = 30 * ("miss_cost" in known), 2 * ("false_alarm_cost" in known)
        for found, price in (
            (answers(logits, fitted.decision), cost.per_1000_images),
            (logits.argmax(1), cost.by_probability_per_1000_images),
        ):
            paid = miss * ((found != 2) & (labels == 2)).sum() + alarm * ((found == 2) & (labels != 2)).sum()
            assert price == pytest.approx(1000 * paid / 150)
        assert (cost.miss, cost.false_alarm) == (miss, alarm)


def test_precision_recall_and_f1_of_each_class():
    wanted = DecideConfig(recall={"dent": 0.9})
    fitted = fit(*network(500, 1), CLASSES, wanted)
    logits, labels = network(600, 2)
    found = answers(logits, fitted.decision)
    for number, row in enumerate(class_figures(logits, labels, CLASSES, fitted)):
        hits, said, there = (found == number) & (labels == number), found == number, labels == number
        precision, recall = hits.sum() / said.sum(), hits.sum() / there.sum()
        assert (row.class_name, row.images, row.answers) == (CLASSES[number], there.sum(), said.sum())
        assert (row.precision, row.recall) == pytest.approx((precision, recall))
        assert row.f1 == pytest.approx(2 / (1 / precision + 1 / recall))
    (empty,) = class_figures(logits[:0], labels[:0], CLASSES, fitted)[:1]
    assert (empty.precision, empty.recall, empty.f1) == (None, None, None)


def test_a_promised_recall_is_not_refused_as_unknown():
    """Known images are kept with the coverage, on average over draws; those that reach a threshold are kept anyway."""
    population, truth = network(100_000, 97)
    wanted, kept, held = DecideConfig(recall={"dent": 0.85}, confidence=0.9, unknown_coverage=0.7), [], 0
    for seed in range(DRAWS):
        decision = fit(*network(300, seed), CLASSES, wanted).decision
        ruled = softmax(population.astype(float) / decision.temperature)[:, 2] >= decision.thresholds[0][1]
        kept.append((ruled | (population.max(1) >= decision.unknown_below)).mean())
        held += ruled[truth == 2].mean() >= 0.85
    assert np.mean(kept) >= 0.7
    assert held >= least_likely(DRAWS, 0.9)


def test_what_is_refused_is_counted_on_both_sides():
    wanted = DecideConfig(unknown_coverage=0.9)
    fitted = fit(*network(400, 1), CLASSES, wanted)
    logits, others = network(500, 2)[0], np.random.default_rng(3).normal(0, 1, (80, 3)).astype(np.float32)
    found = unknown_figures(logits, others, CLASSES, fitted, 0.9)
    assert found.test_kept == (logits.max(1) >= fitted.unknown_below).sum()
    assert found.others.refused == (others.max(1) < fitted.unknown_below).sum()
    pairs = (logits.max(1)[:, None] > others.max(1)).mean() + (logits.max(1)[:, None] == others.max(1)).mean() / 2
    assert found.others.auroc == pytest.approx(pairs)
    assert found.others.refused > 40 > 500 - found.test_kept - 40
    few = fit(*network(8, 1), CLASSES, wanted)
    assert few.decision.unknown_below is None
    assert "9 are needed" in unknown_figures(logits, None, CLASSES, few, 0.9).sentence


@pytest.mark.parametrize(
    ("output", "value"), [(slice(None), np.nan), (0, np.nan), (0, -np.inf), (2, np.nan), (2, np.inf)]
)
def test_an_image_without_numbers_is_a_miss(output, value):
    """Also where only one of its outputs is none, even that of its class."""
    wanted = DecideConfig(recall={"dent": 0.5}, confidence=0.9)
    logits, labels = network(300, 3)
    logits[labels == 2, output] = value
    fitted = fit(logits, labels, CLASSES, wanted)
    assert fitted.decision.thresholds == ()
    assert fitted.choices["dent"].hits == 0
    assert calibration_figures(logits, labels, fitted) is None
    (point,) = operating_points(logits, labels, CLASSES, fitted, wanted)
    assert (point.by_threshold.right, point.by_probability.right, point.by_threshold.recall) == (0, 0, 0.0)
    assert "cannot be promised" in point.sentence


def test_the_temperature_makes_a_too_sure_network_honest():
    logits, labels = network(2000, 4)
    found = calibration_figures(*network(2000, 5), fit(logits, labels, CLASSES, DecideConfig()))
    assert found.fitted
    assert found.calibration_error_after < found.calibration_error_before / 2
    assert found.loss_after < found.loss_before
    assert found.helped


@pytest.mark.parametrize(
    ("before", "after", "fitted", "said"),
    [(0.534, 0.538, True, True), (0.534, 0.534, True, True), (0.534, 0.53, True, False), (0.534, 0.534, False, False)],
)
def test_the_stage_says_when_the_temperature_does_not_help_on_test_images(before, after, fitted, said):
    calibration = {"temperature": 0.68, "fitted": fitted, "loss_before": before, "loss_after": after}
    figures = record_with(DecisionFigures, {"precision": "fp16", "calibration": calibration})
    (line,) = [line for line in lines_from_figures(figures) if line.startswith("temperature 0.68 at FP16")]
    assert line.endswith("; it does not improve their negative log likelihood") == said
