import json

import pytest

from edgedistill_device.engine import precision


def test_the_inspectors_words():
    """Excerpts in the shape of NVIDIA's developer guide, and what releases write otherwise."""
    layers = [
        {
            "Name": "a",
            "Weights": {"Type": "Int8", "Count": 1},
            "Outputs": [{"Format/Datatype": "Half"}],
        },
        {
            "Name": "b",
            "Outputs": [{"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}],
        },
        {"Name": "c", "Outputs": [{"Format/Datatype": "Row major linear FP32"}]},
        {"Name": "d", "Outputs": [{"Format/Datatype": "Row major linear INT32"}]},
        {"Name": "e"},
    ]
    counts = precision.layer_counts(json.dumps({"Layers": layers}))
    assert counts == {"int8": 1, "fp16": 1, "fp32": 1, "unknown": 2}
    assert precision.layer_counts(json.dumps({"Layers": ["a", "b"]})) is None
    assert precision.layer_counts("no JSON") is None
    assert precision.layer_counts(None) is None


@pytest.mark.parametrize(
    ("asked", "counts", "executed"),
    [
        ("int8", {"int8": 1, "fp16": 3}, "int8"),
        ("int8", {"fp16": 3, "fp32": 2}, "fp16"),
        ("int8", {"fp32": 2, "unknown": 1}, "fp32"),
        ("fp16", {"fp32": 2}, "fp32"),
        ("fp32", {"fp16": 2}, "fp32"),
        ("int8", {"unknown": 2}, "int8"),  # the inspector does not say: what was asked of the builder
        ("fp16", {}, "fp16"),
        ("fp16", None, "fp16"),
    ],
)
def test_what_the_layers_are_is_what_is_executed(asked, counts, executed):
    choice = precision.Choice(asked, "model.onnx", None, ("before",))
    found = precision.answered(choice, counts)
    assert (found.executed, found.onnx, found.reasons[0]) == (executed, "model.onnx", "before")
    assert len(found.reasons) == (1 if executed == asked else 2)


@pytest.mark.parametrize(
    ("sm", "fast", "expected"),
    [(53, True, False), (61, None, True), (62, True, False), (72, True, True), (87, False, False)],
)
def test_int8_hardware(sm, fast, expected):
    assert precision.has_int8(sm, fast) is expected
