"""What `choose` and `estimate` print and draw: each cell, figure and point, of predictions whose values differ."""

import re
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from edgedistill.prediction.choose import Accuracy, Budget, Candidate
from edgedistill.prediction.latency import stored
from edgedistill.prediction.model import Prediction
from edgedistill.prediction.plot import _plot_front, _plot_group
from edgedistill.prediction.text import text_from_candidates, text_from_prediction

PREDICTION = Prediction(
    model="squeezenet1_0",
    target="tx2",
    mode="MAXN",
    requested="int8",
    precision="fp16",
    image_px=128,
    classes=7,
    batch=1,
    latency_ms=8.128,
    latency_ms_low=6.514,
    latency_ms_high=12.04,
    interval_share=0.83,
    fps=123.03,
    fps_low=83.06,
    fps_high=153.5,
    watts=6.54,
    image_mj=53.16,
    memory_mib=301.4,
    memory_with_libraries_mib=802.6,
    network_mib=41.3,
    parameters=1_234_567,
    macs_beside_depthwise=345_600_000,
    kernels=66,
    notes=("extrapolated: far away", "a note of its own"),
    provenance="predicted: from here",
)
OTHER = replace(
    PREDICTION,
    model="resnet18",
    image_px=224,
    mode="MAXQ",
    fps=44.4,
    fps_low=33.3,
    fps_high=55.5,
    notes=(),
    memory_mib=None,
)
THIRD = replace(OTHER, model="resnet50", parameters=25_560_000)
CANDIDATES = [
    Candidate(PREDICTION, Accuracy("w", 58.09, 140, "torchvision"), "fits", 1.2, 3.0, 0, 17.4),
    Candidate(OTHER, Accuracy("w", 69.76, 288, "timm"), "unknown", 0.9, None, 1, 31.6),
    Candidate(THIRD, None, "does not fit", 0.9, None, 2),
]


def rows_of(text):
    """(heads, cells of each row) of three candidates; an empty cell leaves none."""
    head, *rows = (re.split(r"\s{2,}", line.strip()) for line in text.splitlines()[1:5])
    return head, rows


def test_a_row_of_choose_has_its_candidate_s_values():
    text = text_from_candidates(CANDIDATES, Budget(50, 400, camera=True), 3)
    head, rows = rows_of(text)
    assert head == ["model", "px", "mode", "FPS", "interval", "MiB", "mJ a frame", "params", "top-1", "fits"]
    assert rows[0] == [
        *("1", "squeezenet1_0*", "128", "MAXN", "123", "83 to 154", "301", "17", "1.2 M", "58.1", "yes"),
    ]
    assert rows[1] == [  # measured on larger images, and without the memory of libraries
        *("2", "resnet18", "224", "MAXQ", "44", "33 to 56", "32", "1.2 M", "(69.8)", "maybe, pre-flight: unknown"),
    ]
    assert rows[2] == [
        *("3", "resnet50", "224", "MAXQ", "44", "33 to 56", "25.6 M", "no, pre-flight: does not fit"),
    ]
    lines = text.splitlines()
    assert lines[0] == "Jetson TX2, FP16, paced by a camera, 7 classes; budget: 50 FPS and 400 MiB"
    (advice,) = [line for line in lines if line.startswith("least energy")]
    assert advice.startswith(
        "least energy for 50 FPS: MAXN, 17 mJ a frame, 0.9 W of the whole board with squeezenet1_0 "
    )
    (counts,) = [line for line in lines if " candidates: " in line]
    assert [int(number) for number in re.findall(r"\d+", counts)] == [3, 1, 1, 1]
    assert [line.split(": ")[1].split(",")[0] for line in lines if line.startswith("ImageNet figures")] == [
        "huggingface/pytorch-image-models",
        "metadata of torchvision's weights",
    ]
    assert "a note of its own" in lines
    assert "extrapolated: far away" not in lines
    assert lines[-1] == "predicted: from here"


def test_without_a_camera_and_of_one_size_the_line_above_names_mode_and_pixels():
    text = text_from_candidates([CANDIDATES[1], CANDIDATES[2]], Budget(), 1)
    lines = text.splitlines()
    assert lines[0] == "Jetson TX2, FP16, MAXQ, 7 classes, 224 px; budget: no limit"
    assert re.split(r"\s{2,}", lines[1].strip()) == [
        "model",
        "FPS",
        "interval",
        "mJ a frame",
        "params",
        "top-1",
        "fits",
    ]
    assert not [line for line in lines if "resnet50" in line or "torchvision" in line], "of the rows that are shown"
    assert "2 candidates: 0 fit" in text


@pytest.mark.parametrize("tier", [0, 1, 2])
def test_a_mode_is_advised_only_where_it_holds_the_rate(tier):
    text = text_from_candidates([replace(CANDIDATES[0], tier=tier)], Budget(50, camera=True), 1)
    assert ("no power mode of tx2 holds 50 FPS" in text) == (tier == 2)
    assert ("least energy for 50 FPS" in text) == (tier < 2)


def test_each_figure_of_an_estimate():
    assert text_from_prediction(replace(PREDICTION, batch=4, image_px=(96, 128))).splitlines() == [
        "squeezenet1_0 at 96x128 px, 7 classes on Jetson TX2, FP16, TensorRT, MAXN, 4 images at once",
        "  latency  8.13 ms (6.51 to 12.0: held 83 % of the rows that were left out)",
        "  FPS      123 (83 to 154)",
        "  power    6.5 W while busy, 53 mJ an image (predicted; "
        f"{100 * stored()['power']['network']['median_fraction']:.0f} % median error of watts on a network that was "
        "left out)",
        "  memory   about 803 MiB of process with cuBLAS and cuDNN, 301 only where the engine is built without them, "
        "which is inferred; engine and context 41 MiB (estimate)",
        "  network  1.23 M parameters, 66 kernels after fusion, 346 M multiply-adds beside depthwise",
        "  note     extrapolated: far away",
        "  note     a note of its own",
        "  predicted: from here",
    ]
    bare = text_from_prediction(replace(PREDICTION, image_px=None, watts=None, memory_mib=None)).splitlines()
    assert bare[0] == "squeezenet1_0 on Jetson TX2, FP16, TensorRT, MAXN"
    assert bare[3] == "  power    no watts of tx2 are published"
    assert bare[4].startswith("  memory   engine and context 41 MiB; the memory of the libraries on this board is not")


def test_the_picture_s_points_intervals_and_names():
    figure = Figure()
    axes = figure.add_subplot()
    two = [CANDIDATES[0], replace(CANDIDATES[1], accuracy=Accuracy("w", 69.76, 224, "timm"))]
    _plot_group(axes, two, "red", "fits")
    points, _, (intervals,) = axes.containers[0].lines
    assert points.get_xydata().tolist() == [[123.03, 58.09], [44.4, 69.76]]
    assert [segment[:, 0].tolist() for segment in intervals.get_segments()] == [
        pytest.approx([83.06, 153.5]),
        pytest.approx([33.3, 55.5]),
    ]
    _plot_front(axes, two[::-1])
    assert axes.lines[-1].get_xydata().tolist() == [[44.4, 69.76], [123.03, 58.09]]
    names = {text.get_text(): text.xy for text in axes.texts}
    assert names == {"resnet18 224": (44.4, 69.76), "squeezenet1_0 128": (123.03, 58.09)}
