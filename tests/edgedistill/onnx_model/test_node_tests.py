"""benchmarks/onnx_node_tests.py finds what it is there for: faults put in on purpose are contradictions."""

from pathlib import Path

import numpy as np
import pytest

from edgedistill.onnx_model import rules
from edgedistill.onnx_model.rules import RULES, attributes
from hand_made import array, model, node, save

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
X = np.linspace(-4, 4, 192, dtype=np.float32).reshape(1, 3, 8, 8)


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import onnx_node_tests

    return onnx_node_tests


def case_of(bench, made, outputs=()):
    return bench.Case("hand made", made, {"x": X}, list(outputs), 1e-3, 1e-7)


def contradictions(bench, case, path, release, parser=None):
    path.write_bytes(case.model.SerializeToString())
    results = bench.Results(release)
    bench.judged(case, path, results, parser)
    return [what for what, _, _ in results.contradictions]


def test_a_lost_rule_is_a_contradiction(bench, tmp_path, monkeypatch):
    case = case_of(bench, model([node("TopK", "xk", ["y", "i"], largest=0)], [array("k", [2], np.int64)]))
    assert contradictions(bench, case, tmp_path / "m.onnx", "8.2") == []
    monkeypatch.setattr(rules, "RULES", [rule for rule in RULES if rule not in attributes.RULES])
    assert contradictions(bench, case, tmp_path / "m.onnx", "8.2") == ["fits against the tables"]


@pytest.mark.parametrize(
    ("kind", "taken", "found"),
    [
        ("Relu", True, []),
        ("Relu", False, ["fits, the parser refuses it"]),
        ("BitwiseNot", False, []),
        ("BitwiseNot", True, ["refused, the parser takes it"]),
    ],
)
def test_a_parser_of_another_opinion_is_a_contradiction(bench, tmp_path, kind, taken, found):
    case = case_of(bench, model([node(kind, "x")], opset=18, ir=8))
    assert contradictions(bench, case, tmp_path / "m.onnx", "11.4", {"taken": taken, "said": "said"}) == found


@pytest.mark.parametrize("shift", [0, 1])
def test_other_outputs_after_fix_are_a_contradiction(bench, tmp_path, shift):
    path = save(tmp_path / "m.onnx", [node("HardSwish", "x")], opset=14)
    expected = X * np.clip(X / 6 + 0.5, 0, 1) + shift
    case = case_of(bench, model([node("HardSwish", "x")], opset=14), [expected])
    results = bench.Results("8.2")
    bench.mended(case, path, tmp_path, results, True)
    assert results.counts["fix: fits now"] == 1
    assert [what for what, _, _ in results.contradictions] == ["other outputs after --fix"] * shift


def test_a_traceback_is_a_contradiction(bench, tmp_path, monkeypatch):
    def breaks(graph, target):
        raise ZeroDivisionError("planted")
        yield

    monkeypatch.setattr(rules, "RULES", [breaks])
    case = case_of(bench, model([node("Relu", "x")]))
    assert contradictions(bench, case, tmp_path / "m.onnx", "8.2") == ["traceback of check"]
