"""`edgedistill estimate`: a file, a name, a user's own measurements, and what is refused."""

import json
import subprocess
import sys

import pytest

from edgedistill.cli.main import main
from edgedistill.prediction.model import Prediction, predict
from edgedistill.prediction.user_measurements import store

ONE = {"p50_ms": 8.0, "p90_ms": 8.4}


@pytest.fixture(autouse=True)
def own_data(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    """mobilenetv3_small_100 for 10 classes at 128 px, exported as students are."""
    import numpy as np
    import torch

    from edgedistill.models.build import build_model
    from edgedistill.onnx_model.export import onnx_from_model

    torch.manual_seed(0)
    model = build_model("mobilenetv3_small_100", 10).eval()
    path = tmp_path_factory.mktemp("onnx") / "student.onnx"
    probe = np.random.default_rng(0).normal(size=(1, 3, 128, 128)).astype(np.float32)
    onnx_from_model(model, probe, path, {})
    return path


def bench_report(**changed):
    """The keys of a bench report that are read, as a Nano would fill them."""
    return {
        "version": 2,
        "verb": "bench",
        "model": "mobilenetv3_small_100",
        "executed": "fp16",
        "provenance": "measured: TensorRT 8.2.1 on sm_53",
        "state": "locked",
        "machine": {"board": "NVIDIA Jetson Nano Developer Kit"},
        "compute_ms": ONE,
        "host_ms": {"p50_ms": 9.0},
        **changed,
    }


def write(tmp_path, report):
    path = tmp_path / "bench.json"
    path.write_text("| a table |\n" + json.dumps(report))
    return path


def test_a_file_and_its_name_give_one_prediction(onnx_file):
    """The catalogue's sizes come from one export whose input was resized; this is a fresh export."""
    from_file = predict(onnx_file, "jetson-nano")
    from_name = predict("mobilenetv3_small_100", "jetson-nano", image_px=128, classes=10)
    assert from_file.latency_ms == pytest.approx(from_name.latency_ms, rel=1e-9)
    assert from_file.parameters == from_name.parameters
    assert from_file.kernels == from_name.kernels


def test_a_prediction_is_whole_and_says_where_it_comes_from():
    found = predict("squeezenet1_1", "jetson-nano")
    assert found.latency_ms_low < found.latency_ms < found.latency_ms_high
    assert found.fps == pytest.approx(1000 / found.latency_ms)
    assert found.fps_low == pytest.approx(1000 / found.latency_ms_high)
    assert found.provenance.startswith("predicted: ")
    assert found.latency_ms_low < 4.34 < found.latency_ms_high, "torch2trt measured 4.34 ms"
    assert found.memory_with_libraries_mib > found.memory_mib > found.network_mib
    assert set(found.as_dict) == set(Prediction.__dataclass_fields__)


def test_order_of_the_board_is_not_that_of_multiply_adds():
    """ResNet-18 beats MobileNetV2 on the Nano with six times the multiply-adds."""
    names = ("squeezenet1_1", "resnet18", "mobilenetv2_100", "efficientnet_b0", "resnet50")
    speeds = [predict(name, "jetson-nano").fps for name in names]
    assert speeds == sorted(speeds, reverse=True)


def test_precisions():
    nano = {p: predict("resnet18", "jetson-nano", p) for p in ("fp32", "fp16", "int8")}
    assert nano["fp32"].latency_ms > 1.5 * nano["fp16"].latency_ms
    assert nano["int8"].precision == "fp16"
    assert nano["int8"].requested == "int8"
    assert "no INT8 hardware" in nano["int8"].notes[0]
    orin = {p: predict("resnet18", "orin-nano-8gb", p) for p in ("fp16", "int8")}
    assert orin["int8"].latency_ms < orin["fp16"].latency_ms
    assert orin["int8"].memory_mib is None, "what libraries take there is not published"


def test_a_network_unlike_the_published_ones_is_marked():
    assert predict("resnet18", "orin-nano-8gb").notes == ()
    assert not predict("efficientnet_b0", "jetson-nano").extrapolated
    assert "attention" in predict("mobilenetv4_hybrid_medium", "jetson-nano").notes[0]
    notes = predict("mobilenetv2_100", "orin-nano-8gb").notes
    assert any(note.startswith("extrapolated: depthwise") for note in notes)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mobilenetv3_smal_100"], "did you mean mobilenetv3_small_100"),
        (["resnet18", "--target", "xavier-nx"], "no usable measurement of it is published"),
        (["resnet18", "--target", "local"], "no usable measurement of it is published"),
        (["resnet18", "--target", "orin-nano-4gb"], "no usable measurement of it is published"),
        (["resnet18", "--target", "orin-nano-8gb", "--precision", "fp32"], "too few usable"),
        (["resnet18", "--image-px", "200"], "counted at 96, 128"),
        (["none.onnx"], "no such file"),
        (["resnet18", "--classes", "1"], "expected at least 2"),
        ([], "which network?"),
    ],
)
def test_refusals_are_one_line(arguments, said, capsys):
    assert main(["estimate", *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_own_measurements_move_later_predictions_and_are_named(tmp_path, capsys):
    before = predict("mobilenetv3_small_100", "jetson-nano")
    report = write(tmp_path, bench_report(compute_ms={"p50_ms": 1.5 * before.latency_ms}))
    for _ in range(2):  # the same network again replaces the first
        assert main(["estimate", "--learn", str(report), "--image-px", "224", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.split("\n}\n")[0] + "}")
    # One network counts half: the geometric mean of 1.5 and of a second that agreed.
    assert found["latency_ms"] == pytest.approx(1.5**0.5 * before.latency_ms)
    assert "your own measurements of 1 network" in found["provenance"]
    assert predict("resnet18", "orin-nano-8gb").provenance.endswith("on a family"), "another board"
    assert len(json.loads(store().read_text())["measurements"]) == 1


def test_a_run_s_report_is_learned_from_too(tmp_path):
    device = {
        "executed": "fp16",
        "provenance": "measured: TensorRT 8.2.1",
        "conditions": {"state": "locked"},
        "machine": {"board": "NVIDIA Jetson Nano Developer Kit"},
        "latency_ms": {"compute": None, "host": ONE, "end_to_end": ONE},
    }
    recipe = {"student": {"model": "squeezenet1_1"}, "data": {"image_px": 128}}
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"device": device, "provenance": {"recipe": recipe}}))
    assert main(["estimate", "--learn", str(path)]) == 0
    kept = json.loads(store().read_text())["measurements"][0]
    assert (kept["model"], kept["image_px"], kept["latency_ms"]) == ("squeezenet1_1", 128, 8.0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"provenance": "stand-in: ONNX Runtime on this computer, not the board"}, "stand-in"),
        ({"machine": {"board": None}}, "only what a board measured"),
        ({"machine": {"board": "NVIDIA Jetson Orin Nano Developer Kit"}}, "not on Jetson Nano 4GB"),
        ({"compute_ms": {"p50_ms": 0}}, "was not measured"),
        ({"state": "throttled"}, "throttled"),
        ({"executed": "int8"}, "no prediction for jetson-nano in INT8"),
        ({"compute_ms": None, "host_ms": None}, "not a report of this project's bench"),
    ],
)
def test_what_is_not_learned_from(tmp_path, capsys, changed, said):
    report = write(tmp_path, bench_report(**changed))
    assert main(["estimate", "--learn", str(report), "--image-px", "224"]) == 1
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not store().exists()


def test_a_damaged_store_is_named(capsys):
    store().parent.mkdir(parents=True)
    store().write_text("{")
    assert main(["estimate", "resnet18"]) == 1
    assert "measurements.json" in capsys.readouterr().err


def test_a_name_is_predicted_without_torch_and_onnx():
    code = (
        "import sys; from edgedistill.cli.main import main; "
        "assert main(['estimate', 'resnet18', '--json']) == 0; "
        "assert not {'torch', 'onnx', 'timm', 'scipy', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_file_that_the_board_would_refuse_is_predicted_with_a_note(onnx_file, tmp_path):
    import onnx

    model = onnx.load(str(onnx_file))
    assert not [note for note in predict(onnx_file, "jetson-nano").notes if "check refuses" in note]
    model.opset_import[0].version = 14
    model.graph.node[-1].name = "last"
    onnx.save(model, str(tmp_path / "m.onnx"))
    notes = predict(tmp_path / "m.onnx", "jetson-nano").notes
    assert any("check refuses this file for jetson-nano" in note for note in notes)
