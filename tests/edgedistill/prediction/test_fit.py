"""The latency model: its fit against one written another way, its errors, its intervals."""

import functools
import json
import math
from importlib import resources

import numpy as np
import pytest
from scipy.optimize import minimize

from edgedistill.prediction.features import Features, catalogue, with_classes
from edgedistill.prediction.fitting import fit as fitting
from edgedistill.prediction.fitting.report import entry, summary, validated
from edgedistill.prediction.fitting.validate import Held, coverage, errors, half_width, held_out, pairs_in_order
from edgedistill.prediction.latency import TERMS, constants, hardware, latency_ms, shares
from edgedistill.prediction.published_rows import left_out, published, reason, used
from end_to_end import ROOT

NANO = [row for row in used() if row.target == "jetson-nano"]


@pytest.fixture(scope="module")
def fitted():
    """The function that fits and validates a board, each once."""
    return functools.cache(validated)


@pytest.fixture(scope="module")
def nano(fitted):
    return fitted("jetson-nano")


def test_every_published_row_is_used_or_left_out_with_a_reason():
    assert len(used()) + sum(1 for _ in left_out()) == len(published())
    assert all(why for _, why in left_out())
    for row in used():
        assert row.precision in hardware()[row.target].peak_gmacs_per_s
        assert row.source
        assert (row.network, row.image_px) in catalogue()


def test_contradicting_rows_of_one_network_both_stay():
    found = {row.latency_ms for row in NANO if row.network == "mobilenetv2_100"}
    assert found == {19.53, 17.65, 17.0}


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"precision": "not stated"}, "precision not stated"),
        ({"device": "Jetson Orin Nano"}, "power mode"),
        ({"precision": "INT8 requested (no HW INT8)"}, "hardware without it"),
        ({"model": "Swin-B"}, "transformer"),
        ({"model": "SSD MobileNet v2"}, "cannot be built"),
    ],
)
def test_why_a_row_is_left_out(changed, word):
    good = next(row for row in published() if row["model"] == "resnet18" and row["precision"] == "FP16")
    assert reason(good) == ""
    assert word in reason({**good, **changed})


def test_the_fit_is_the_minimum_that_another_solver_finds():
    """The posterior written out for one parameter vector, minimised by scipy's BFGS."""
    rows = NANO[:30]
    found = fitting.fit(rows, "jetson-nano")
    mean, deviation = fitting.prior("jetson-nano")
    methods = sorted({row.method for row in rows})
    shares = {row.network: sum(r.network == row.network for r in rows) for row in rows}

    def loss(values):
        stored = fitting.Fit("jetson-nano", values, tuple(methods)).stored
        total = (((values[: len(mean)] - mean) / deviation) ** 2).sum()
        total += ((values[len(mean) :] / fitting.METHOD) ** 2).sum()
        for row in rows:
            factor = values[len(mean) + methods.index(row.method)]
            expected = latency_ms(fitting.features_of(row), row.target, row.precision, stored)
            miss = (math.log(expected / row.latency_ms) + factor) / fitting.NOISE
            miss /= math.sqrt(shares[row.network])
            total += 2 * (math.sqrt(1 + miss**2) - 1)
        return total

    start = np.r_[mean, np.zeros(len(methods))]
    other = minimize(loss, start, method="BFGS", options={"gtol": 1e-3})
    assert loss(found.values) <= other.fun + 1e-3
    for row in rows:
        theirs = fitting.Fit("jetson-nano", other.x, tuple(methods)).stored
        features = fitting.features_of(row)
        assert latency_ms(features, row.target, row.precision, found.stored) == pytest.approx(
            latency_ms(features, row.target, row.precision, theirs), rel=0.01
        )


def test_the_stored_constants_are_what_the_command_finds(nano):
    made = entry(*nano)
    stored = constants()["jetson-nano"]
    assert set(made) == set(stored)
    for name in ("constants", "gains", "network", "family", "seen"):
        assert made[name] == pytest.approx(stored[name], rel=1e-3, abs=1e-6), name
    for name in ("half_width", "interval_share", "rows", "networks"):
        assert made[name] == pytest.approx(stored[name], rel=1e-3), name


def test_the_page_shows_what_the_command_prints(nano):
    rows, _, by = nano
    page = (ROOT / "docs" / "estimate.md").read_text(encoding="utf-8")
    for name, held in by.items():
        assert summary("jetson-nano", rows, name, held) in page


def test_errors_meet_the_aim_on_networks_that_were_left_out(nano):
    """8 % and 99 % of the pairs that are no ties; a model of seven constants had 10.0 % and 98 %."""
    _, _, by = nano
    log_errors = [one.log_error for one in by["network"]]
    relative = [abs(one.predicted_ms / one.row.latency_ms - 1) for one in by["network"]]
    assert errors(log_errors)["mean_fraction"] == pytest.approx(sum(relative) / len(relative))
    assert errors(log_errors)["mean_fraction"] < 0.08
    assert pairs_in_order(by["network"])["clear_fraction"] > 0.99
    assert errors([one.log_error for one in by["family"]])["mean_fraction"] < 0.115


def test_a_group_that_is_held_out_has_no_say():
    """Multiplying its latencies by ten leaves its predictions as they were."""
    from dataclasses import replace

    rows = NANO[:16]
    changed = [replace(row, latency_ms=10 * row.latency_ms) if row.network == "resnet50" else row for row in rows]
    before = {
        one.row.source: one.predicted_ms
        for one in held_out(rows, "jetson-nano", "network")
        if one.row.network == "resnet50"
    }
    after = {
        one.row.source: one.predicted_ms
        for one in held_out(changed, "jetson-nano", "network")
        if one.row.network == "resnet50"
    }
    assert before == after


@pytest.mark.parametrize("target", sorted(hardware()))
def test_an_interval_holds_the_share_that_it_states(fitted, target):
    _, _, by = fitted(target)
    stated = constants()[target]["interval_share"]
    width = constants()[target]["half_width"]
    inside = [abs(one.log_error) <= width for one in by["network"]]
    assert sum(inside) / len(inside) >= stated
    assert coverage(by["family"], "family") >= stated


def test_half_width_is_the_conformal_rank():
    assert half_width([0.1 * i for i in range(1, 20)], 0.9) == pytest.approx(1.8)
    assert half_width([-3.0, 1.0], 0.9) == 3.0, "too few errors: the largest"


def test_pairs_count_each_two_networks_once():
    rows = [next(r for r in NANO if r.network == name) for name in ("squeezenet1_1", "resnet18", "vgg16")]
    right = [Held(row, row.latency_ms) for row in rows]
    assert pairs_in_order(right)["all_pairs"] == 3
    assert pairs_in_order(right)["all_fraction"] == 1.0
    turned = [Held(row, 1 / row.latency_ms) for row in rows]
    assert pairs_in_order(turned)["all_fraction"] == 0.0


def test_constants_are_the_package_s_own_file():
    text = (resources.files("edgedistill.prediction") / "constants.json").read_text(encoding="utf-8")
    assert set(json.loads(text)["targets"]) == set(hardware())
    for entry_ in constants().values():
        assert set(entry_["constants"]) == set(TERMS)
        assert all(value > 0 for value in entry_["constants"].values())


def test_features_grow_in_proportion_to_the_classes():
    counted = catalogue()[("mobilenetv3_small_100", 224)]
    half = with_classes(counted, 505)
    assert half.parameters == pytest.approx((counted[10].parameters + counted[1000].parameters) / 2)
    assert half.kernels == counted[10].kernels


@pytest.mark.parametrize(
    ("target", "precision"),
    [(target, precision) for target, board in hardware().items() for precision in board.peak_gmacs_per_s],
)
def test_the_shares_of_a_prediction_by_hand(target, precision):
    """Each term by its data sheet; the gains are of the precision that is not the reference, and of those terms."""
    board, features = hardware()[target], Features(*(1e6 * number for number in range(1, 12)))
    fitted = {
        "constants": {term: 2.0 + place for place, term in enumerate(TERMS)},
        "gains": {"compute": 3.0, "depthwise": 5.0},
    }
    width = {"fp32": 4, "fp16": 2, "int8": 1}[precision]
    other = precision in ("fp32" if target == "jetson-nano" else "int8",)
    expected = {}
    for place, term in enumerate(("dense3x3", "dense", "pointwise", "gemm", "matmul")):
        expected[term] = (2 + place) * (place + 1) / board.peak_gmacs_per_s[precision] * (3 if other else 1)
    for place, term in enumerate(("moved", "depthwise_moved", "other_moved"), start=5):
        gain = 5 if other and term == "depthwise_moved" else 1
        expected[term] = (2 + place) * (place + 1) * width / board.bandwidth_gb_per_s * gain
    expected |= {"kernels": 10 * 9e3, "network": 11.0, "python_call": 0.0}
    assert shares(features, target, precision, fitted) == pytest.approx(expected)
    assert latency_ms(features, target, precision, fitted) == pytest.approx(sum(expected.values()))
