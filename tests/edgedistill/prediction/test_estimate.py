"""`edgedistill estimate`: a file, a name, a user's own measurements, and what is refused."""

import json
import math
import subprocess
import sys

import pytest

from edgedistill.cli.main import main
from edgedistill.prediction.features import NAMES, catalogue
from edgedistill.prediction.latency import hardware, stored
from edgedistill.prediction.model import Prediction, features_of_name, predict
from edgedistill.prediction.user_measurements import NOTHING, Measured, factor_of, learn, store

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
    entry = stored()["boards"]["jetson-nano"]
    assert found.latency_ms_high / found.latency_ms == pytest.approx(math.exp(entry["half_width"]))
    assert found.interval_share == entry["interval_share"]
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
    orin = {p: predict("resnet18", "orin-nano-8gb", p) for p in ("fp32", "fp16", "int8")}
    assert orin["int8"].latency_ms < orin["fp16"].latency_ms < orin["fp32"].latency_ms
    assert orin["int8"].memory_mib is None, "what libraries take there is not published"


def test_a_network_unlike_the_published_ones_is_marked():
    assert predict("resnet18", "orin-nano-8gb").notes == ()
    assert not predict("efficientnet_b0", "jetson-nano").extrapolated
    assert not predict("mobilenetv3_small_100", "jetson-nano").extrapolated, "rows of it exist: 5.0 and 11.3 ms"
    assert "attention" in predict("mobilenetv4_hybrid_medium", "jetson-nano").notes[0]
    notes = predict("mobilenetv2_100", "orin-nano-8gb").notes
    assert any(note.startswith("extrapolated: ") and "goes to depthwise convolutions" in note for note in notes)
    assert all("the interval may not hold" in note for note in notes)


@pytest.mark.parametrize("target", sorted(hardware()))
def test_what_a_prediction_rests_on_is_said(target):
    found = predict("resnet18", target)
    assert found.provenance.startswith("predicted: ")
    entry = stored()["boards"][target]
    if entry["rows"] == 0:
        assert "no measurement of this board is published, only of others of its kind of chip" in found.provenance
    else:
        assert f"{entry['rows']} published rows" in found.provenance
    told = "of them without a power mode" in found.provenance
    assert told == (target in ("agx-orin", "agx-xavier", "tx2", "xavier-nx"))
    assert found.mode == hardware()[target].usual_mode
    assert found.mode in found.provenance


def test_a_power_mode_changes_the_latency_by_its_clocks(capsys):
    """What is bound by the GPU scales with its clock, at most by the largest ratio of any clock of the two modes."""
    usual, slow = (predict("resnet50", "orin-nano-8gb", mode=mode) for mode in ("MAXN_SUPER", "7w"))
    assert slow.mode == "7W"
    assert 1.4 < slow.latency_ms / usual.latency_ms < 2.6
    assert main(["estimate", "resnet50", "--target", "orin-nano-8gb", "--mode", "7W", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["latency_ms"] == slow.latency_ms


def test_any_name_and_size_is_counted_on_the_fly():
    """Against published sizes of the networks: parameters, and multiply-adds at 224 px, of torchvision's page."""
    for name, millions, giga in (("resnet34", 21.8, 3.66), ("alexnet", 61.1, 0.714)):
        assert (name, 200) not in catalogue()
        features = features_of_name(name, 224, 1000)
        assert features.parameters / 1e6 == pytest.approx(millions, rel=0.005)
        assert features.macs / 1e9 == pytest.approx(giga, rel=0.01)
    small = features_of_name("resnet34", 200, 1000)
    wide = features_of_name("resnet34", (160, 256), 1000)
    assert small.macs == pytest.approx(wide.macs, rel=0.1), "as many pixels, but for rounding up"
    assert predict("resnet34", "jetson-nano", image_px=(160, 256)).image_px == (160, 256)


def test_a_graph_without_weights_is_counted_like_the_exported_file(onnx_file):
    """The catalogue aside: the same network by its name at the file's size and classes."""
    from edgedistill.prediction.features import features_from_file
    from edgedistill.prediction.networks import features_on_the_fly

    made = features_on_the_fly("mobilenetv3_small_100", (128, 128), 10)
    kept = features_from_file(onnx_file)
    for field in NAMES:
        assert getattr(made, field) == pytest.approx(getattr(kept, field), rel=2e-3), field


def test_a_pool_that_onnx_has_no_form_for_is_counted():
    """VGG pools 6x8 to 7x7 at 192x256: its fully connected layers stay, its convolutions grow with the pixels."""
    odd, even = (features_of_name("vgg11", px, 10) for px in ((192, 256), (224, 224)))
    assert odd.gemm_macs == even.gemm_macs
    assert odd.dense3x3_macs / even.dense3x3_macs == pytest.approx(192 * 256 / 224**2)
    assert odd.kernels == even.kernels


def test_a_batch():
    one, eight = (predict("resnet18", "orin-nano-8gb", batch=images) for images in (1, 8))
    assert eight.batch == 8
    assert one.latency_ms < eight.latency_ms < 8 * one.latency_ms
    assert eight.fps == pytest.approx(8000 / eight.latency_ms)
    assert eight.fps > one.fps
    assert eight.macs_beside_depthwise == one.macs_beside_depthwise


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mobilenetv3_smal_100"], "did you mean mobilenetv3_small_100"),
        (["my_own_network"], "neither timm "),
        (["inception_v3", "--image-px", "16"], "inception_v3"),
        (["resnet18", "--target", "local"], "no usable measurement of its kind of chip is published"),
        (["resnet18", "--target", "orin-nano-4gb"], "no usable measurement of its kind of chip is published"),
        (["resnet18", "--target", "jetson-nano", "--mode", "15W"], "it has: MAXN, 5W"),
        (["resnet18", "--batch", "0"], "expected at least 1 image"),
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
    assert "your own" not in predict("resnet18", "orin-nano-8gb").provenance, "another board"
    assert len(json.loads(store().read_text())["measurements"]) == 1


def test_what_is_estimated_with_a_measurement_is_of_its_precision(tmp_path, capsys):
    report = write(tmp_path, bench_report(executed="fp32"))
    assert main(["estimate", "--learn", str(report), "--image-px", "224", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["precision"], found["image_px"]) == ("mobilenetv3_small_100", "fp32", 224)


def test_each_network_that_was_measured_counts_once():
    """In whichever mode and precision: the geometric mean of their ratios and of one network that agreed."""
    ratios = {
        "resnet18": (("MAXN", "fp16", 2.0), ("5W", "fp16", 3.0), (None, "fp32", 1.5)),
        "alexnet": (("5W", "fp32", 0.25),),
    }
    board = "NVIDIA Jetson Nano Developer Kit"
    for name, measured in ratios.items():
        for mode, precision, ratio in measured:
            expected = predict(name, "jetson-nano", precision, mode=mode, learned=NOTHING)
            latency_ms = ratio * expected.latency_ms
            one = Measured(name, 224, precision, latency_ms, board, "locked", mode)
            stored_of_board = learn(one, "jetson-nano", features_of_name(name, 224, 1000))
    assert stored_of_board == 4
    other = Measured("resnet18", 224, "fp16", 99.0, "NVIDIA Jetson TX2 Developer Kit", "locked")
    assert learn(other, "tx2", features_of_name("resnet18", 224, 1000)) == 1
    found = factor_of("jetson-nano")
    assert found.factor == pytest.approx(((2.0 * 3.0 * 1.5) ** (1 / 3) * 0.25) ** (1 / 3))
    assert found.note == f"; times {found.factor:.3f} from your own measurements of 2 networks"
    before, after = (predict("resnet50", "jetson-nano", learned=one) for one in (NOTHING, None))
    for value in ("latency_ms", "latency_ms_low", "latency_ms_high"):
        assert getattr(after, value) == pytest.approx(found.factor * getattr(before, value))
    for value in ("fps", "fps_low", "fps_high"):
        assert getattr(after, value) == pytest.approx(getattr(before, value) / found.factor)
    assert after.provenance == before.provenance + found.note


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
    assert main(["estimate", "--learn", str(path), "--image-px", "160"]) == 0
    assert [one["image_px"] for one in json.loads(store().read_text())["measurements"]] == [128, 160], "what is typed"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"provenance": "stand-in: ONNX Runtime on this computer, not the board"}, "stand-in"),
        ({"machine": {"board": None}}, "only what a board measured"),
        ({"machine": {"board": "NVIDIA Jetson Orin Nano Developer Kit"}}, "not on Jetson Nano 4GB"),
        ({"compute_ms": {"p50_ms": 0}}, "was not measured"),
        ({"state": "throttled"}, "throttled"),
        ({"executed": "int8"}, "no prediction for Jetson Nano 4GB in INT8"),
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
