"""Watts and millijoules: the model's formula by hand, published figures, its fit."""

import pytest

from edgedistill.prediction.energy import Power, power_of
from edgedistill.prediction.features import Features, catalogue
from edgedistill.prediction.fitting.fit import features_of
from edgedistill.prediction.fitting.power import CAMERAS, fit_power, watts_of
from edgedistill.prediction.latency import hardware, stored
from edgedistill.prediction.model import predict
from edgedistill.prediction.published_rows import used

WATTS = [row for row in used() if row.watts]


def test_watts_by_hand():
    """AGX Xavier at 10 W: GPU at 520 of 1377 MHz with 4 of 8 multiprocessors on, CPU at 1200 of 2265.6 MHz."""
    power, features = stored()["power"], Features(1e9, 0, 2e9, 0, 0, 3e7, 2e7, 1e7, 50, 1e6, 1e5, 0)
    board, share = power["boards"]["agx-xavier"], power["voltage_share"]
    voltage = 1 - share + share * 520 / 1377
    idle = board["base_w"] + board["cpu_w"] * (1200 / 2265.6) ** 3
    clocked = board["gpu_w"] * 520 / 1377 * voltage**2 * 0.75
    work_mj = voltage**2 * power["mj_per_gmac"]["volta.fp16"] * 3 + power["mj_per_gb"]["volta"] * 2 * 6e7 / 1e9
    found = power_of(features, "agx-xavier", "MODE_10W", "fp16", latency_ms=12.5)
    assert found.idle_w == pytest.approx(idle)
    assert found.busy_w == pytest.approx(idle + clocked + work_mj / 12.5)
    assert found.image_mj == pytest.approx(12.5 * found.busy_w)
    assert not found.inferred


def test_a_frame_is_idle_between_two_and_busy_at_most_all_the_time():
    power = Power(busy_w=10.0, image_mj=80.0, idle_w=4.0, inferred=False)
    assert power.frame_mj(25, 8.0) == pytest.approx(10 * 8 + 4 * 32)
    assert power.frame_mj(200, 8.0) == pytest.approx(10 * 5), "it cannot be more than busy"


def test_a_board_whose_watts_nobody_published_has_none():
    features = catalogue()[("resnet18", 224)][1000]
    assert power_of(features, "agx-orin", "MAXN", "fp16", 1.0) is None
    assert predict("resnet18", "agx-orin").watts is None
    assert predict("resnet18", "agx-orin").image_mj is None


def test_a_batch_takes_less_energy_an_image():
    one, eight = (predict("resnet18", "agx-xavier", batch=images) for images in (1, 8))
    assert eight.image_mj < one.image_mj
    assert eight.image_mj == pytest.approx(eight.watts * eight.latency_ms / 8)


def test_the_stored_watts_are_what_the_command_finds():
    found, kept = fit_power(WATTS), stored()["power"]
    assert found["boards"].keys() == kept["boards"].keys()
    for name in ("mj_per_gmac", "mj_per_gb"):
        assert found[name] == pytest.approx(kept[name], rel=1e-2)
    for target, terms in found["boards"].items():
        assert terms == pytest.approx(kept["boards"][target], rel=1e-2)


def test_published_watts_are_met():
    """Of rows that the fit has seen, by their own latency; left-out errors stand beside the constants."""
    errors = sorted(abs(watts_of(row, features_of(row), stored()["power"]) / row.watts - 1) for row in WATTS)
    assert len(errors) >= 90
    assert errors[len(errors) // 2] < 0.05
    assert stored()["power"]["network"]["median_fraction"] < 0.05
    assert stored()["power"]["mode"]["median_fraction"] < 0.15


@pytest.mark.parametrize(("mode", "published_mj"), [("MAXN_SUPER", 212), ("15W", 184), ("7W", 137)])
def test_published_joules_of_a_camera_are_met_within_15_percent(mode, published_mj):
    """zainmk's Orin Nano at 29 FPS, taken for ResNet-50 in INT8; the fit has seen these three figures."""
    prediction = predict("resnet50", "orin-nano-8gb", "int8", mode=mode)
    features = catalogue()[("resnet50", 224)]
    power = power_of(features[max(features)], "orin-nano-8gb", mode, "int8", prediction.latency_ms)
    assert power.inferred
    assert power.frame_mj(29, prediction.latency_ms) == pytest.approx(published_mj, rel=0.15)
    assert [one.frame_mj for one in CAMERAS if one.mode == mode] == [published_mj]
    assert mode in hardware()["orin-nano-8gb"].modes
