"""Models from reports of the field, one cause each, with the verdict that the report or the parser's source gives.

cases/expected.json names the report. "silently wrong" means that the importer takes the file and computes
something else, so the pre-flight must not call it fitting.
"""

import json
from pathlib import Path

import pytest

from edgedistill.onnx_model.check import check, fix

pytestmark = pytest.mark.slow

CASES = Path(__file__).parent / "cases"
EXPECTED = json.loads((CASES / "expected.json").read_text())
FITS = {"fits": True, "refused": False, "silently wrong": False}
MENDED = ("reshape14_allowzero", "castlike15", "groupnorm21", "swish24", "gelu20_fp16", "unused_input", "pad_wrap19")


@pytest.mark.parametrize("name", [name for name, case in EXPECTED.items() if case["expected"] in FITS])
def test_the_verdict_is_that_of_the_report(name):
    case = EXPECTED[name]
    result = check(CASES / name, "xavier-nx", case["tensorrt"])
    assert result["fits"] is FITS[case["expected"]], result["findings"]


def test_argmax_on_a_nano_is_warned_of():
    """Its builder failed for want of memory (NVIDIA/TensorRT#3677); the file itself is sound."""
    findings = check(CASES / "argmax_8.2.onnx", "jetson-nano")["findings"]
    assert [(f["level"], f["rule"]) for f in findings] == [("warning", "scratch-memory")]


@pytest.mark.parametrize("name", MENDED)
def test_what_exporters_write_today_is_mended(tmp_path, name):
    result = fix(CASES / f"fix_{name}.onnx", "jetson-nano", tmp_path / "out.onnx")
    assert result["fits"], result
    assert result["fix"]["not_mended"] == []


def test_what_depends_on_the_values_stays_and_is_named(tmp_path):
    result = fix(CASES / "nonzero_8.2.onnx", "jetson-nano", tmp_path / "out.onnx")
    assert not result["fits"]
    assert any("no importer for NonZero" in finding["why"] for finding in result["findings"])
