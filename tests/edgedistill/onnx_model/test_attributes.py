"""Every attribute and output of every operator that a release imports is read, harmless, or reported."""

import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper

from edgedistill.config.target import load_target, releases
from edgedistill.onnx_model.findings import Graph
from edgedistill.onnx_model.rules import attributes
from edgedistill.onnx_model.rules.tables import column, importers, unread_importers
from hand_made import array, model, node

OLDEST = 7
SAMPLES = {
    AttributeProto.INT: 7,
    AttributeProto.FLOAT: 7.5,
    AttributeProto.STRING: "odd",
    AttributeProto.INTS: [7, 7],
    AttributeProto.FLOATS: [7.5],
    AttributeProto.STRINGS: ["odd"],
}
# What a value other than the default changes nothing of: (operator, attribute), with the reason in rules/attributes.py.
HARMLESS = {
    ("BatchNormalization", "momentum"),
    ("Cast", "saturate"),
    ("CastLike", "saturate"),
    ("Dropout", "ratio"),
    ("Dropout", "seed"),
    ("MaxPool", "storage_order"),
    ("QuantizeLinear", "saturate"),
    ("TopK", "sorted"),
    ("DequantizeLinear", "block_size"),
    ("QuantizeLinear", "block_size"),
}
ONLY_WITH = {  # attributes that count in one mode only
    ("Resize", "cubic_coeff_a"): {"mode": "cubic"},
    ("Resize", "exclude_outside"): {"mode": "cubic"},
    ("Resize", "extrapolation_value"): {"coordinate_transformation_mode": "tf_crop_and_resize"},
}


def schemas(release):
    """(opset, schema) of all forms of its operators that the release may meet, each once."""
    for kind in sorted(importers(release.operators) - unread_importers(release.operators)):
        seen = set()
        for opset in range(OLDEST, release.opset_max + 1):
            try:
                schema = onnx.defs.get_schema(kind, max_inclusive_version=opset)
            except onnx.defs.SchemaError:
                continue
            if schema.since_version not in seen and not schema.deprecated:
                seen.add(schema.since_version)
                yield opset, schema


@pytest.mark.parametrize("release", list(releases().values()), ids=list(releases()))
def test_no_attribute_is_lost_without_a_word(release):
    target, reads = load_target("xavier-nx", release.name), column("attributes.csv", release.operators)
    silent = []
    for opset, schema in schemas(release):
        for name, described in schema.attributes.items():
            key = (schema.name, name)
            if name in reads.get(schema.name, ()) or key in HARMLESS or int(described.type) not in SAMPLES:
                continue
            given = {name: SAMPLES[int(described.type)], **ONLY_WITH.get(key, {})}
            made = model([node(schema.name, "x", **given)], opset=opset)
            if not any(name in f.why for rule in attributes.RULES for f in rule(Graph(made, 0), target)):
                silent.append((opset, *key))
    assert not silent


def test_the_table_knows_what_the_importers_of_the_field_never_read():
    """Read by hand in builtin_op_importers.cpp of each branch."""
    known = {
        ("TopK", "largest"): (False, True, True, True, True, True),
        ("ScatterElements", "reduction"): (False, False, False, True, True, True),
        ("ReduceSum", "noop_with_empty_axes"): (False, False, False, True, True, True),
        ("ReduceL2", "axes"): (True, True, True, True, True, True),
        ("Shape", "start"): (False, False, False, True, True, True),
        ("NonMaxSuppression", "center_point_box"): (True, True, True, True, True, True),
        ("Resize", "cubic_coeff_a"): (False, True, True, True, True, True),
        ("RMSNormalization", "stash_type"): (False, False, False, False, True, True),
        ("Swish", "alpha"): (False, False, False, False, False, True),
    }
    for (kind, name), expected in known.items():
        columns = [column("attributes.csv", release.operators) for release in releases().values()]
        assert tuple(name in read.get(kind, ()) for read in columns) == expected, (kind, name)


def found(made, tensorrt):
    target = load_target("xavier-nx", tensorrt)
    return {f.rule for rule in attributes.RULES for f in rule(Graph(made, 0), target)}


@pytest.mark.parametrize(
    ("kind", "given", "outputs", "tensorrt", "rule"),
    [
        ("LSTM", {"layout": 1, "hidden_size": 2}, "y", "8.5", "unread-attribute"),
        ("LSTM", {"layout": 1, "hidden_size": 2}, "y", "10.3", "attribute-value"),
        ("GRU", {"layout": 1, "hidden_size": 2}, "y", "8.6", "unread-attribute"),
        ("LSTM", {"input_forget": 1, "hidden_size": 2}, "y", "8.2", "attribute-value"),
        ("Shape", {"start": 1}, "y", "8.6", "unread-attribute"),
        ("ReverseSequence", {"time_axis": 1, "batch_axis": 0}, "y", "8.5", "unread-attribute"),
        ("BatchNormalization", {"training_mode": 1}, "y", "8.6", "attribute-value"),
        ("LpPool", {"p": 3, "kernel_shape": [2, 2]}, "y", "8.2", "attribute-value"),
        ("Pad", {"mode": "wrap"}, "y", "8.6", "attribute-value"),
        ("Resize", {"coordinate_transformation_mode": "tf_crop_and_resize"}, "y", "8.2", "attribute-value"),
        ("GridSample", {"mode": "cubic"}, "y", "10.3", "attribute-value"),
        ("ScatterND", {"reduction": "none"}, "y", "10.3", "attribute-value"),
        ("Einsum", {"equation": "ii->i"}, "y", "8.2", "attribute-value"),
        ("Einsum", {"equation": "A,B->AB"}, "y", "8.2", "attribute-value"),
        (
            "LSTM",
            {"direction": "bidirectional", "activations": ["Sigmoid", "Tanh", "Tanh", "Relu", "Tanh", "Tanh"]},
            "y",
            "8.2",
            "attribute-value",
        ),
        ("AveragePool", {"kernel_shape": [2, 2], "dilations": [2, 1]}, "y", "8.2", "attribute-value"),
        ("LayerNormalization", {}, "ym", "8.6", "outputs"),
        ("BatchNormalization", {}, "ymv", "8.5", "outputs"),
    ],
)
def test_what_the_importer_refuses_or_does_not_read(kind, given, outputs, tensorrt, rule):
    opset = releases()[tensorrt].opset_max
    made = model([helper.make_node(kind, ["x"], list(outputs), **given)], opset=opset)
    assert found(made, tensorrt) == {rule}


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("TopK", {"largest": 1, "sorted": 0}),
        ("Resize", {"mode": "linear", "cubic_coeff_a": -0.5}),
        ("Einsum", {"equation": "bij,bjk->bik"}),
        ("Dropout", {"ratio": 0.3}),
        ("MaxPool", {"kernel_shape": [2, 2]}),
        ("LSTM", {"direction": "bidirectional", "activations": ["Sigmoid", "Tanh", "Tanh"] * 2, "hidden_size": 2}),
    ],
)
def test_what_means_the_same_on_the_board_is_not_reported(kind, given):
    assert found(model([node(kind, "x", **given)]), "8.2") == set()


def test_nodes_out_of_order_are_taken_and_a_cycle_is_not(tmp_path):
    """The parsers sort for themselves."""
    from edgedistill.onnx_model.check import check

    late = model([node("Neg", "a"), node("Relu", "x", ["a"])])
    (tmp_path / "late.onnx").write_bytes(late.SerializeToString())
    assert check(tmp_path / "late.onnx", "jetson-nano")["fits"]
    cycle = model([node("Add", "xb", ["a"]), node("Relu", "a", ["b"]), node("Neg", "b")])
    (tmp_path / "cycle.onnx").write_bytes(cycle.SerializeToString())
    assert any("cycle" in f["why"] for f in check(tmp_path / "cycle.onnx", "jetson-nano")["findings"])


def own(depth):
    """Functions that each call the one below, twice."""
    functions = []
    for level in range(depth):
        kind, domain = (f"F{level - 1}", "own") if level else ("Relu", "")
        nodes = [helper.make_node(kind, [given], [made], domain=domain) for given, made in (("a", "t"), ("t", "b"))]
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid("own", 1)]
        functions.append(helper.make_function("own", f"F{level}", ["a"], ["b"], nodes, opsets))
    return model([node(f"F{depth - 1}", "x", domain="own")], domain="own", functions=functions)


@pytest.mark.parametrize("tensorrt", ["8.2", "10.3"])
def test_functions_without_end_are_refused_in_one_line(tmp_path, tensorrt):
    from edgedistill.errors import PreflightError
    from edgedistill.onnx_model.check import check

    (tmp_path / "m.onnx").write_bytes(own(30).SerializeToString())
    with pytest.raises(PreflightError, match="unfold to"):
        check(tmp_path / "m.onnx", "xavier-nx", tensorrt)
    (tmp_path / "m.onnx").write_bytes(own(3).SerializeToString())
    assert check(tmp_path / "m.onnx", "xavier-nx", tensorrt)["fits"] is (tensorrt == "10.3")


def test_computed_inputs_are_taken_from_the_release_that_reads_them(tmp_path):
    from edgedistill.onnx_model.check import check

    made = model(
        [node("Mul", ["k0", "k1"], ["k"]), node("TopK", "xk", ["y", "i"])],
        [array("k0", [2], "int64"), array("k1", [1], "int64")],
    )
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    fits = {name: check(tmp_path / "m.onnx", "xavier-nx", name)["fits"] for name in releases()}
    assert fits == {"8.2": False, "8.5": False, "8.6": True, "10.3": True, "10.16": True, "11.4": True}


@pytest.mark.parametrize(
    ("kind", "to", "tensorrt", "fits"),
    [
        ("Pow", TensorProto.INT32, "10.3", False),
        ("MatMul", TensorProto.INT32, "8.2", False),
        ("Mul", TensorProto.INT32, "8.2", True),
        ("Mul", TensorProto.INT64, "8.2", True),
        ("Equal", TensorProto.BOOL, "8.2", False),
        ("Equal", TensorProto.BOOL, "8.5", True),
        ("And", TensorProto.BOOL, "8.2", True),
    ],
)
def test_types_follow_the_release(tmp_path, kind, to, tensorrt, fits):
    from edgedistill.onnx_model.check import check

    made = model(
        [node("Cast", "x", ["i"], to=to), node(kind, "ii", ["r"]), node("Cast", "r", to=TensorProto.FLOAT)],
        shape=(1, 3, 8, 8),
    )
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    result = check(tmp_path / "m.onnx", "xavier-nx", tensorrt)
    assert result["fits"] is fits, result["findings"]
