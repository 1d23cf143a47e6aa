"""What the compiler is asked for, on a TensorRT made up: releases differ in their flags, and few are installed."""

import json
import sys
from types import SimpleNamespace

import pytest

from edgedistill.onnx_model import compile_child
from edgedistill.onnx_model.compile_child import LONGEST, compile_file


class Made:
    """A module as TensorRT 8 (`old`: batch and INT8 are asked for by flags) or 11 has it."""

    __version__ = "1.2.3"

    def __init__(self, old, refused=False, engine=b"12345", layers=("QUANTIZE",)):
        self.flags, self.created = [], []

        class ILogger:
            ERROR, INTERNAL_ERROR, WARNING = "error", "internal", "warning"

        def parse(network, log):
            log.log("warning", "slow")
            log.log("error", "a  complaint\nof two lines" + "!" * LONGEST)
            where = {"node": lambda: 7} if old else {"node_name": lambda: "conv"}
            fault = SimpleNamespace(desc=lambda: "what", **where)
            return SimpleNamespace(
                parse_from_file=lambda path: not refused,
                num_errors=1,
                get_error=lambda number: fault,
            )

        network = SimpleNamespace(num_layers=len(layers), get_layer=lambda number: SimpleNamespace(type=layers[number]))
        built = None if engine is None else SimpleNamespace(nbytes=len(engine))
        self.ILogger, self.OnnxParser = ILogger, parse
        self.NetworkDefinitionCreationFlag = SimpleNamespace(EXPLICIT_BATCH=3) if old else SimpleNamespace()
        self.BuilderFlag = SimpleNamespace(INT8="int8") if old else SimpleNamespace()
        self.LayerType = SimpleNamespace(QUANTIZE="QUANTIZE")
        self.Builder = lambda log: SimpleNamespace(
            create_network=lambda flags: self.created.append(flags) or network,
            create_builder_config=lambda: SimpleNamespace(set_flag=self.flags.append),
            build_serialized_network=lambda network, config: built,
        )


COMPLAINT = ("a complaint of two lines" + "!" * LONGEST)[:LONGEST]


@pytest.mark.parametrize(
    ("old", "layers", "batch", "flags"),
    [
        (True, ("CONVOLUTION", "QUANTIZE"), 8, ["int8"]),
        (True, ("CONVOLUTION",), 8, []),
        (False, ("CONVOLUTION", "QUANTIZE"), 0, []),
    ],
)
def test_flags_are_those_that_the_release_has_and_the_file_needs(old, layers, batch, flags):
    made = Made(old, layers=layers)
    assert compile_file(made, "m.onnx") == {"verdict": "builds", "said": [COMPLAINT], "engine_bytes": 5}
    assert (made.created, made.flags) == ([batch], flags)


@pytest.mark.parametrize(("old", "where"), [(True, "7"), (False, "conv")])
def test_a_refusal_is_told_with_all_complaints(old, where):
    found = compile_file(Made(old, refused=True), "m.onnx")
    assert found == {"verdict": "refused by the parser", "said": [f"{where}: what", COMPLAINT], "engine_bytes": None}
    found = compile_file(Made(old, engine=None), "m.onnx")
    assert found == {"verdict": "refused by the builder", "said": [COMPLAINT], "engine_bytes": None}


@pytest.mark.parametrize(
    ("words", "verdict"), [((), "refused by the builder"), (("parse",), "the parser takes it"), (("x",), "refused by")]
)
def test_the_last_line_is_the_answer(monkeypatch, capsys, words, verdict):
    monkeypatch.setitem(sys.modules, "made_up_compiler", Made(True, engine=None))
    monkeypatch.setattr(sys, "argv", ["child", "made_up_compiler", "m.onnx", *words])
    compile_child.main()
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert answer["version"] == "1.2.3"
    assert answer["verdict"].startswith(verdict)
