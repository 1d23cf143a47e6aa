"""An ONNX file may hold any text as a name: none reaches a terminal as it is."""

import onnx
import pytest

from edgedistill.cli.main import main
from hand_made import model, node
from terminal_text import FORGED, assert_terminal_safe


@pytest.fixture
def hostile_onnx(tmp_path):
    """Names of a node, an operator, a tensor and the file's maker that forge a verdict."""
    made = model([node("Relu", "x", ["\nnet.onnx: fits"]), node("Forged\x1b[1A", ["\nnet.onnx: fits"], ["y"])])
    made.graph.node[1].name = FORGED
    made.graph.node[0].name = f"\u202e{FORGED}\n{FORGED}"
    made.producer_name = made.producer_version = made.doc_string = FORGED
    path = tmp_path / "net.onnx"
    path.write_bytes(made.SerializeToString())
    return path


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_check_repeats_no_name_of_a_file_as_it_is(hostile_onnx, capsys, words):
    assert main(["check", str(hostile_onnx), *words]) == 1
    said = capsys.readouterr()
    assert "Forged\\\\x1b" in said.out if words else "Forged\\x1b" in said.out
    assert_terminal_safe(said.out)
    assert_terminal_safe(said.err)
    assert words or said.out.splitlines()[-1].startswith(f"{hostile_onnx}: does not fit jetson-nano")


def test_neither_do_fix_predict_bench_and_the_name_of_the_file_itself(hostile_onnx, capsys, tmp_path):
    for words in (
        ["check", hostile_onnx, "--fix", tmp_path / "fixed.onnx"],
        ["estimate", hostile_onnx],
        ["bench", hostile_onnx],
    ):
        main([str(word) for word in words])
        said = capsys.readouterr()
        assert_terminal_safe(said.out)
        assert_terminal_safe(said.err, lines=1)
    odd = tmp_path / "\x1b[2K\rnet.onnx: fits"
    odd.write_bytes(model([node("Relu", "x")]).SerializeToString())
    assert main(["check", str(odd)]) == 0
    assert_terminal_safe(capsys.readouterr().out, lines=2)  # whether INT8 is worth it, and that it fits


def test_a_name_as_long_as_a_file_is_cut(tmp_path, capsys):
    made = model([node("Forged" * 100_000, "x")])
    (tmp_path / "net.onnx").write_bytes(made.SerializeToString())
    assert main(["check", str(tmp_path / "net.onnx")]) == 1
    assert len(capsys.readouterr().out) < 10_000


def test_onnx_reads_such_names():
    """The oracle of this file: protobuf keeps every character that a name is given."""
    made = model([node("Relu", "x")])
    made.graph.node[0].name = FORGED
    assert onnx.load_from_string(made.SerializeToString()).graph.node[0].name == FORGED
