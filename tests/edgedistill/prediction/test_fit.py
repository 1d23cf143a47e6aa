"""The latency model: its formula by hand, its fit against one written another way, its errors, its intervals."""

import functools
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from edgedistill.prediction.features import Features, catalogue, with_classes
from edgedistill.prediction.fitting import fit as fitting
from edgedistill.prediction.fitting.report import board_entry, seen_of, tables
from edgedistill.prediction.fitting.validate import (
    SAME,
    Held,
    coverage,
    errors,
    half_width,
    held_out,
    int8_verdicts,
    pairs_in_order,
)
from edgedistill.prediction.latency import TERMS, constants, hardware, latency_ms, shares, stored
from edgedistill.prediction.published_rows import left_out, published, reason, used
from end_to_end import ROOT

ROWS = used()
NANO = [row for row in ROWS if row.target == "jetson-nano"]


@pytest.fixture(scope="module")
def held():
    """The function that predicts each row by a fit without its group, each group of all rows once."""
    return functools.cache(functools.partial(held_out, ROWS))


def test_every_published_row_is_used_or_left_out_with_a_reason():
    assert len(used()) + sum(1 for _ in left_out()) == len(published())
    assert all(why for _, why in left_out())
    for row in used():
        assert row.precision in hardware()[row.target].macs_per_cycle
        assert row.mode in hardware()[row.target].modes
        assert row.mode == hardware()[row.target].usual_mode or row.mode_stated
        assert row.source
        assert row.grade in "ABCD"
        assert (row.network, row.image_px) in catalogue()


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"precision": "not stated"}, "precision not stated"),
        ({"device": "Jetson Orin Nano"}, "clocks of the board are not known"),
        ({"device": "Jetson AGX Xavier (DLA) (MAXN)"}, "not the GPU that computes"),
        ({"precision": "INT8 requested (no HW INT8)"}, "hardware without it"),
        ({"model": "Swin-B"}, "transformer"),
        ({"model": "SSD MobileNet v2"}, "cannot be built"),
        ({"runtime": "TF-TRT"}, "TensorFlow around it"),
    ],
)
def test_why_a_row_is_left_out(changed, word):
    good = next(row for row in published() if row["model"] == "resnet18" and row["precision"] == "FP16")
    assert reason(good) == ""
    assert word in reason({**good, **changed})


FAMILY = {"jetson-nano": "maxwell", "tx2": "pascal", "agx-xavier": "volta", "orin-nano-8gb": "ampere"}
TENSOR = {"agx-xavier": ("fp16", "int8"), "orin-nano-8gb": ("fp32", "fp16", "int8")}


@pytest.mark.parametrize(
    ("target", "mode", "precision"),
    [
        ("jetson-nano", "5W", "fp32"),
        ("jetson-nano", "MAXN", "fp16"),
        ("tx2", "MAXQ", "fp16"),
        ("agx-xavier", "MODE_10W", "int8"),
        ("agx-xavier", "MAXN", "fp32"),
        ("orin-nano-8gb", "7W", "int8"),
        ("orin-nano-8gb", "25W", "fp32"),
    ],
)
def test_the_shares_of_a_prediction_by_hand(target, mode, precision):
    """Each term by the clocks of the board's mode, times a constant and the factors of its family."""
    clock = {
        ("jetson-nano", "5W"): (640, 1600, 918, 1, 128, 16),
        ("jetson-nano", "MAXN"): (921.6, 1600, 1479, 1, 128, 16),
        ("tx2", "MAXQ"): (850, 1331, 1200, 2, 128, 32),
        ("agx-xavier", "MODE_10W"): (520, 1065.6, 1200, 4, 64, 64),
        ("agx-xavier", "MAXN"): (1377, 2133, 2265.6, 8, 64, 64),
        ("orin-nano-8gb", "7W"): (408, 2133, 960, 8, 128, 32),
        ("orin-nano-8gb", "25W"): (918, 3199, 1344, 8, 128, 32),
    }
    gpu, emc, cpu, multiprocessors, cores, bus = clock[target, mode]
    a_cycle = {  # multiply-accumulates of a multiprocessor
        "jetson-nano": {"fp32": 128, "fp16": 256},
        "tx2": {"fp16": 256},
        "agx-xavier": {"fp32": 64, "int8": 1024},
        "orin-nano-8gb": {"fp32": 512, "int8": 2048},
    }[target][precision]
    fitted = {name: 1.0 + place / 100 for place, name in enumerate(sorted(constants()))}
    family, unit = FAMILY[target], "tensor" if precision in TENSOR.get(target, ()) else "cuda"
    width = {"fp32": 4, "fp16": 2, "int8": 1}[precision]
    millions = Features(*(1e6 * number for number in (1, 2, 3, 4, 5, 60, 7, 8, 9e-4, 10, 11, 12)))
    expected = {}
    for term, macs in (("dense3x3", 1), ("dense", 2), ("pointwise", 3), ("gemm", 4), ("matmul", 5), ("grouped", 12)):
        names = (f"{unit}.{term}", f"{family}.{precision}", f"{family}.{unit}.{term}")
        expected[term] = 1e6 * macs / (a_cycle * multiprocessors * gpu * 1e3)
        expected[term] *= fitted[names[0]] * fitted[names[1]] * fitted[names[2]]
    cuda_or_tensor = "tensor" if target in TENSOR else "cuda"
    expected["depthwise"] = 7e6 / (cores * multiprocessors * gpu * 1e3)
    expected["depthwise"] *= fitted[f"{cuda_or_tensor}.depthwise"] * fitted[f"{family}.depthwise"]
    for term, elements, size in (("weights", 10, width), ("moved", 50, width), ("other_moved", 8, max(width, 2))):
        expected[term] = 1e6 * elements * size / (bus * emc * 1e3) * fitted[term] * fitted[f"{family}.{term}"]
    expected["kernels_gpu"] = 900 / gpu * fitted["kernels_gpu"] * fitted[f"{family}.kernels"]
    expected["kernels_cpu"] = 900 / cpu * fitted["kernels_cpu"] * fitted[f"{family}.kernels"]
    expected["network"] = 1000 / cpu * fitted["network"] * fitted[f"{family}.network"]
    assert set(expected) == set(TERMS)
    assert shares(millions, target, mode, precision, fitted) == pytest.approx(expected)
    assert latency_ms(millions, target, mode, precision, fitted) == pytest.approx(sum(expected.values()))


def test_a_batch_needs_its_weights_once():
    one = catalogue()[("resnet18", 224)][1000]
    eight = one.of_batch(8)
    assert eight.macs == 8 * one.macs
    assert eight.moved == one.parameters + 8 * (one.moved - one.parameters)
    assert (eight.kernels, eight.parameters) == (one.kernels, one.parameters)
    times = [latency_ms(f, "orin-nano-8gb", "MAXN_SUPER", "fp16", constants()) for f in (one, eight)]
    assert times[0] < times[1] < 8 * times[0]


def test_the_fit_is_the_minimum_that_another_solver_finds():
    """The posterior written out for one parameter vector; scipy's L-BFGS finds no lower place beside the fit's."""
    rows = [row for row in NANO if row.method in ("torch2trt/blob/master/benchmarks/JETSON_NANO", "kentaroy47")][:16]
    found = fitting.fit(rows)
    prior = {
        **fitting.priors(),
        "source.torch2trt/blob/master/benchmarks/JETSON_NANO": (1.0, 0.06),
        "source.kentaroy47": (1.0, 0.2),
        "call.torch2trt/blob/master/benchmarks/JETSON_NANO": (0.6, 0.5),
        "call.kentaroy47": (0.6, 0.5),
        "old": (1.3, 0.4),
    }
    noise = {"A": 0.075, "B": 0.15, "C": 0.375, "D": 0.6}
    same = Counter(row.network for row in rows)
    assert {**found.constants, **found.nuisance}.keys() == prior.keys()
    assert len({row.method for row in rows}) == 2

    def expected_ms(row, values):
        terms = shares(fitting.features_of(row), row.target, row.mode, row.precision, values)
        slower = values["old"] if row.old else 1.0
        total = sum(ms * (slower if term.startswith("kernels") else 1.0) for term, ms in terms.items())
        return values[f"source.{row.method}"] * (total + values[f"call.{row.method}"] * 1000 / 1479)

    def loss(logs):
        values = dict(zip(prior, np.exp(logs), strict=True))
        total = sum(
            ((log - math.log(mean)) / width) ** 2 for log, (mean, width) in zip(logs, prior.values(), strict=True)
        )
        for row in rows:
            miss = math.log(expected_ms(row, values) / row.latency_ms) / noise[row.grade] / same[row.network] ** 0.5
            total += 2 * (math.sqrt(1 + miss**2) - 1)
        return total

    ours = np.log([{**found.constants, **found.nuisance}[name] for name in prior])
    start = np.log([mean for mean, _ in prior.values()])
    assert loss(ours) < loss(start) - 1
    other = minimize(loss, ours, method="L-BFGS-B", options={"maxiter": 5, "maxfun": 2000})
    assert loss(ours) <= other.fun + 1e-3


def test_the_stored_constants_are_what_the_command_finds():
    found = fitting.fit(ROWS)
    assert found.constants == pytest.approx(constants(), rel=1e-3)
    for family, terms in seen_of(ROWS, found).items():
        assert terms == pytest.approx(stored()["seen"][family], rel=2e-3, abs=1e-6)


def test_the_stored_errors_are_what_the_command_finds(held):
    by = {group: held("family") for group in ("network", "family", "source", "board")}  # one of the four is enough
    for target, entry in stored()["boards"].items():
        made = board_entry(target, by)
        assert (made["rows"], made["networks"], made["rows_without_mode"]) == (
            entry["rows"],
            entry["networks"],
            entry["rows_without_mode"],
        )
        if made["rows"]:
            assert made["family"] == pytest.approx(entry["family"], rel=1e-2)
            for mode, figures in made["modes"].items():
                assert figures["family"] == pytest.approx(entry["modes"][mode]["family"], rel=1e-2), mode
        if made["interval_from"] == "its rows":
            assert made["half_width"] == pytest.approx(entry["half_width"], rel=1e-2)
            assert made["interval_share"] == entry["interval_share"]


def test_the_page_shows_what_the_command_prints():
    page = (ROOT / "docs" / "predict.md").read_text(encoding="utf-8")
    lines = [line for line in tables(stored()) if line]
    assert len(lines) > 25
    assert [line for line in lines if line not in page] == []


def test_errors_meet_the_aim_on_networks_that_were_left_out():
    """Issue 26: 10 %, 25 % and 95 % of clear pairs; with a family left out the aim is not met, and the page says so."""
    found = stored()["all"]
    assert found["network"]["median_fraction"] <= 0.10
    assert found["network"]["p90_fraction"] <= 0.25
    assert found["network"]["clear_fraction"] >= 0.95
    assert found["family"]["clear_fraction"] >= 0.95
    assert found["source"]["clear_fraction"] >= 0.95
    assert found["network"]["rows"] == len(ROWS) >= 249


def test_errors_by_hand():
    logs = [math.log(ratio) for ratio in (1.1, 0.9, 1.3, 0.6)]
    found = errors(logs)
    assert found["mean_fraction"] == pytest.approx((0.1 + 0.1 + 0.3 + 0.4) / 4)
    assert found["median_fraction"] == pytest.approx(0.2)
    assert found["p90_fraction"] == pytest.approx(0.3 + 0.7 * 0.1)


def test_a_group_that_is_held_out_has_no_say():
    """Multiplying its latencies by ten leaves its predictions as they were."""
    rows = [
        row for row in NANO if row.method == "torch2trt/blob/master/benchmarks/JETSON_NANO" or row.network == "resnet50"
    ][:16]
    changed = [replace(row, latency_ms=10 * row.latency_ms) if row.network == "resnet50" else row for row in rows]
    before, after = (
        [one.predicted_ms for one in held_out(table, "network") if one.row.network == "resnet50"]
        for table in (rows, changed)
    )
    assert before == after
    assert len(before) >= 2


def test_an_outlier_counts_less_where_its_power_mode_is_not_stated_or_its_grade_is_low():
    """Its source may then have a factor of its own, which no prediction for others has."""
    rows = [row for row in NANO if row.method == "netspresso"]
    twice = [
        replace(row, latency_ms=2 * row.latency_ms, method="another", grade="B", source="x")
        for row in rows
        if row.mode == "MAXN"
    ]
    assert len(twice) >= 5
    features = fitting.features_of(twice[0])

    def predicted(extra):
        return latency_ms(features, "jetson-nano", "MAXN", "fp16", fitting.fit([*rows, *extra]).constants)

    plain, stated = predicted([]), predicted(twice)
    not_stated = predicted([replace(row, mode_stated=False) for row in twice])
    low = predicted([replace(row, grade="D") for row in twice])
    assert plain < not_stated < stated
    assert plain < low < stated


def test_the_interval_of_a_board_is_wider_where_rows_do_not_state_their_mode():
    """All of AGX Orin's nine rows leave it open, a third of AGX Xavier's do, none of the Nano's."""
    boards = stored()["boards"]
    assert boards["agx-orin"]["rows_without_mode"] == boards["agx-orin"]["rows"] == 9
    assert boards["jetson-nano"]["rows_without_mode"] == 0
    for target in ("agx-orin", "agx-xavier", "tx2", "xavier-nx"):
        assert boards[target]["rows_without_mode"] > 0
        assert boards[target]["half_width"] > 1.5 * boards["jetson-nano"]["half_width"]


@pytest.mark.parametrize("target", sorted(hardware()))
def test_an_interval_holds_the_share_that_it_states(held, target):
    entry = stored()["boards"][target]
    own = [one for one in held("family") if one.row.target == target]
    if entry["interval_from"] == "its rows":
        assert coverage(own, "family") >= entry["interval_share"]
        inside = [abs(one.log_error) <= entry["half_width"] + 1e-6 for one in own]
        assert sum(inside) / len(inside) >= entry["interval_share"]
    else:
        assert len(own) < 20
        every = held("board")
        assert coverage(every, "board") >= entry["interval_share"]
        assert entry["half_width"] == pytest.approx(half_width([one.log_error for one in every]), rel=1e-2)


def test_half_width_is_the_conformal_rank():
    assert half_width([0.1 * i for i in range(1, 20)], 0.9) == pytest.approx(1.8)
    assert half_width([-3.0, 1.0], 0.9) == 3.0, "too few errors: the largest"


def test_pairs_are_of_one_board_mode_precision_and_batch():
    rows = [next(r for r in NANO if r.network == name) for name in ("squeezenet1_1", "resnet18", "vgg16")]
    right = [Held(row, row.latency_ms) for row in rows]
    assert pairs_in_order(right)["all_pairs"] == 3
    assert pairs_in_order(right)["all_fraction"] == 1.0
    assert pairs_in_order([Held(row, 1 / row.latency_ms) for row in rows])["all_fraction"] == 0.0
    for changed in ({"mode": "5W"}, {"precision": "fp32"}, {"target": "tx2"}, {"batch": 8}):
        assert pairs_in_order([*right[:2], Held(replace(rows[2], **changed), 1.0)])["all_pairs"] == 1
    close = replace(rows[1], network="vgg16", latency_ms=rows[1].latency_ms * (1 + SAME / 2))
    assert pairs_in_order([right[1], Held(close, 1.0)])["clear_pairs"] == 0


def test_int8_verdicts_by_hand():
    """Pairs of one source: 1.5 is told as 1.4, right; 1.25 as 1.1 and 1.1 as 1.3, wrong."""
    row = replace(next(row for row in ROWS if row.target == "orin-nano-8gb"), precision="fp16", latency_ms=1.0)
    held = []
    for place, (measured, told) in enumerate(((1.5, 1.4), (1.25, 1.1), (1.1, 1.3))):
        half = replace(row, network=f"n{place}")
        held += [Held(half, 1.0), Held(replace(half, precision="int8", latency_ms=1 / measured), 1 / told)]
    assert int8_verdicts(held) == {"pairs": 3, "right_pairs": 1, "worth_pairs": 2}
    held[0] = Held(replace(held[0].row, source="another"), 1.0)
    assert int8_verdicts(held)["pairs"] == 2
    assert stored()["int8"]["right_pairs"] / stored()["int8"]["pairs"] >= 0.9
    assert stored()["int8"]["pairs"] >= 11


def test_int8_verdicts_of_the_published_pairs_are_the_stored_ones():
    """Networks left out one by one, those with an INT8 row only: the others have no pair."""
    names = {row.network for row in ROWS if row.precision == "int8"}
    held = []
    for name in sorted(names):
        found = fitting.fit([row for row in ROWS if row.network != name]).constants
        held += [
            Held(row, latency_ms(fitting.features_of(row), row.target, row.mode, row.precision, found))
            for row in ROWS
            if row.network == name
        ]
    assert int8_verdicts(held) == stored()["int8"]


def test_constants_are_those_of_the_boards_and_all_above_zero():
    assert set(stored()["boards"]) == set(hardware())
    families = {board.family for board in hardware().values()}
    assert {name.partition(".")[0] for name in constants()} > families
    assert all(value > 0 for value in constants().values())


def test_features_grow_in_proportion_to_the_classes():
    counted = catalogue()[("mobilenetv3_small_100", 224)]
    half = with_classes(counted, 505)
    assert half.parameters == pytest.approx((counted[10].parameters + counted[1000].parameters) / 2)
    assert half.kernels == counted[10].kernels
