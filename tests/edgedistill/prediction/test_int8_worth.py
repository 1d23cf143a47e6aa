"""The line "is INT8 worth it": its words, its limits, and where it stands."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedistill.cli.main import main
from edgedistill.errors import RecipeError
from edgedistill.prediction.features import catalogue, features_from_file
from edgedistill.prediction.int8_worth import LEAST_SPEEDUP, int8_speedup, int8_worth
from edgedistill.prediction.model import predict
from edgedistill.prediction.published_rows import published


@pytest.mark.parametrize(
    ("speedup", "drop", "limit", "worth", "words"),
    [
        (1.5, 0.2, None, True, "1.50 x FP16's speed for one image on Jetson Orin Nano 8GB (predicted)"),
        (1.5, 0.2, None, True, "top-1 -0.2 points (simulated); worth it"),
        (1.5, -0.3, None, True, "top-1 +0.3 points (simulated); worth it"),
        (1.1, 0.2, None, False, "not worth it: it gains less than 1.2 x"),
        (1.5, 1.4, None, False, "not worth it: it loses more than 1 points"),
        (1.5, 1.4, 2.0, True, "worth it"),
        (1.1, 1.4, 0.5, False, "it gains less than 1.2 x and it loses more than 0.5 points"),
        (1.5, None, None, None, "worth it if top-1 holds"),
        (1.1, None, None, False, "it gains less than"),
        (None, 0.1, None, None, "its speed-up on Jetson Orin Nano 8GB is not predicted"),
    ],
)
def test_the_verdict_and_its_reason(speedup, drop, limit, worth, words):
    found = int8_worth("orin-nano-8gb", speedup, drop, limit)
    assert found.worth is worth
    assert words in found.sentence
    assert "\n" not in found.sentence


@pytest.mark.parametrize("target", ["jetson-nano", "jetson-nano-2gb", "tx2"])
def test_a_board_without_int8_says_so(target):
    features = catalogue()[("resnet18", 224)][1000]
    assert int8_speedup(features, target) is None
    found = int8_worth(target, 1.5, 0.1)
    assert (found.worth, found.speedup) == (None, None)
    assert "has no INT8 hardware, so there is nothing to gain" in found.sentence


def test_this_computer_is_no_board():
    assert int8_speedup(catalogue()[("resnet18", 224)][1000], "local") is None
    assert "is no board" in int8_worth("local", None, 0.1).sentence


def test_check_has_the_line(tmp_path, capsys):
    """A single 3x3 convolution of 512 channels is bound by arithmetic, which INT8 does twice as fast."""
    weights = numpy_helper.from_array(np.zeros((512, 512, 3, 3), np.float32), "w")
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 512, 64, 64)) for name in ("x", "y")]
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    graph = helper.make_graph([node], "g", shapes[:1], shapes[1:], [weights])
    path = tmp_path / "m.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), str(path))
    assert main(["check", str(path), "--target", "orin-nano-8gb", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["int8"]
    speedup = int8_speedup(features_from_file(path), "orin-nano-8gb")
    assert 1.6 < speedup < 2.3
    assert said == f"{speedup:.2f} x FP16's speed for one image on Jetson Orin Nano 8GB (predicted); " + (
        "worth it if top-1 holds"
    )
    assert main(["check", str(path), "--target", "orin-nano-8gb"]) == 0
    assert f"INT8: {said}\n" in capsys.readouterr().out
    assert main(["check", str(path), "--target", "jetson-nano"]) == 0
    assert "INT8: Jetson Nano 4GB has no INT8 hardware, so there is nothing to gain\n" in capsys.readouterr().out


def test_the_speed_up_is_that_of_two_predictions():
    for target, mode in (("orin-nano-8gb", None), ("agx-xavier", "MODE_10W"), ("xavier-nx", None)):
        half, whole = (predict("resnet18", target, p, mode=mode).latency_ms for p in ("fp16", "int8"))
        assert int8_speedup(catalogue()[("resnet18", 224)][1000], target, mode) == pytest.approx(half / whole)
    with pytest.raises(RecipeError, match="no power mode"):
        int8_speedup(catalogue()[("resnet18", 224)][1000], "xavier-nx", "99W")


def test_a_board_that_is_not_predicted_has_no_speed_up():
    assert int8_speedup(catalogue()[("resnet18", 224)][1000], "orin-nano-4gb") is None
    assert "is not predicted" in int8_worth("orin-nano-4gb", None).sentence


def test_the_verdict_is_right_on_nine_of_ten_published_pairs():
    """Each network in FP16 and INT8 by one source on one board, batch and size, straight from the table."""
    pairs = {}
    for row in published():
        if row["precision"] in ("FP16", "INT8") and "Orin" in row["device"] and "DLA" not in row["device"]:
            key = (row["device"], row["model"], row["input_hw"], row["batch"], row["source"])
            pairs.setdefault(key, {})[row["precision"]] = float(row["fps"])
    names = {"resnet18", "resnet50", "vgg16", *(f"YOLO11{size}" for size in "nsmlx")}
    right, total = 0, 0
    for (device, model, size, batch, _), fps in pairs.items():
        if len(fps) == 2 and "Super" in device and model in names:
            features = catalogue()[(model.lower(), int(size.partition("x")[0]))]
            told = int8_speedup(features[max(features)].of_batch(int(batch)), "orin-nano-8gb")
            right += (told >= LEAST_SPEEDUP) == (fps["INT8"] / fps["FP16"] >= LEAST_SPEEDUP)
            total += 1
    assert total >= 8
    assert right / total >= 0.9


def test_depthwise_networks_gain_less():
    gains = {
        name: int8_speedup(catalogue()[(name, 224)][1000], "orin-nano-8gb")
        for name in ("resnet18", "resnet50", "mobilenetv3_large_100", "efficientnet_b0")
        if 1000 in catalogue().get((name, 224), {})
    }
    assert min(gains["resnet18"], gains["resnet50"]) > LEAST_SPEEDUP > gains["mobilenetv3_large_100"]
    assert gains["efficientnet_b0"] < LEAST_SPEEDUP
