"""The compile check with the real compiler, and the watch over it with real processes."""

import json
import sys

import numpy as np
import pytest

from edgedistill.cli.main import main
from edgedistill.errors import PreflightError
from edgedistill.onnx_model import compile as compiling
from edgedistill.onnx_model.compile import compile_onnx, compiler_here, watched
from hand_made import array, node, save
from optional_tools import lacking

pytestmark = pytest.mark.slow

WEIGHT = array("w", np.ones((2, 3, 1, 1)))


@pytest.fixture
def compiler():
    if compiler_here() is None:
        lacking("tensorrt or tensorrt_rtx", "pip install -e '.[compile]'")


def test_a_network_builds(tmp_path, compiler):
    found = compile_onnx(save(tmp_path / "m.onnx", [node("Conv", "xw")], [WEIGHT]))
    assert found["verdict"] == "builds", found
    assert found["version"][0].isdigit()
    assert found["engine_bytes"] > 0
    assert found["peak_mib"] > 10
    assert "not the board's parser" in found["basis"]


def test_a_refusal_says_what_the_compiler_said(tmp_path, compiler):
    """A quantized bias in INT32: facts/quantization.md saw TensorRT for RTX refuse it too."""
    bias = [array("s", 0.1), array("z", 0, np.int32), array("b", [1, 2], np.int32)]
    chain = [node("DequantizeLinear", "bsz", ["f"]), node("Conv", "xwf")]
    path = save(tmp_path / "m.onnx", chain, [WEIGHT, *bias])
    found = compile_onnx(path)
    assert found["verdict"].startswith("refused by the ")
    assert found["said"]
    assert found["engine_bytes"] is None


def test_check_compile(tmp_path, capsys, compiler):
    path = save(tmp_path / "m.onnx", [node("Conv", "xw")], [WEIGHT])
    assert main(["check", str(path), "--compile", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["fits"], result["compile"]["verdict"]) == (True, "builds")
    assert main(["check", str(path), "--compile", "--compile-mib", "8"]) == 1
    said = capsys.readouterr().out
    assert "compile: stopped: out of memory, more than 8 MiB" in said
    assert "not the board's parser" in said


def test_check_parse_asks_the_parser_only(tmp_path, capsys, compiler):
    path = save(tmp_path / "m.onnx", [node("Conv", "xw")], [WEIGHT])
    assert main(["check", str(path), "--parse", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["compile"]
    assert (found["verdict"], found["engine_bytes"]) == ("the parser takes it", None)
    bad = save(tmp_path / "bad.onnx", [node("StringNormalizer", "x")], opset=13)
    assert main(["check", str(bad), "--parse", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["compile"]["verdict"] == "refused by the parser"


def child(program):
    return [sys.executable, "-S", "-c", program]


def test_a_child_that_takes_too_long_is_stopped():
    found = watched(child("import time; time.sleep(60)"), 0.3, 1000)
    assert found["stopped"] == "stopped: out of time, more than 0.3 s"
    assert found["returncode"] == -9
    assert 0.3 < found["seconds"] < 20


def test_a_child_that_takes_too_much_memory_is_stopped():
    found = watched(child("import time; x = b'1' * (200 << 20); time.sleep(60)"), 50, 100)
    assert found["stopped"] == "stopped: out of memory, more than 100 MiB"
    assert found["peak_mib"] > 100


def test_a_child_that_ends_is_read_to_the_end():
    found = watched(child("print('y' * 300000); import sys; sys.exit(3)"), 50, 1000)
    assert (found["stopped"], found["returncode"], len(found["stdout"])) == (None, 3, 300001)


def test_a_crash_is_told_with_its_last_words(tmp_path, monkeypatch):
    monkeypatch.setattr(compiling, "COMPILERS", {"antigravity_is_not_here": "x", "json": "a stand-in"})
    found = compile_onnx(tmp_path / "none.onnx")
    assert found["verdict"].startswith("crashed: exit code 1, it said: AttributeError")


def test_without_a_compiler_the_way_to_one_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(compiling, "COMPILERS", {})
    with pytest.raises(PreflightError, match="pip install 'tensorrt-rtx"):
        compile_onnx(tmp_path / "m.onnx")
