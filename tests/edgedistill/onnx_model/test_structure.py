"""The graph without weights: every size that a network computes from its input is there, as a run has it."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

from edgedistill.onnx_model.structure import structure_of, with_static_shapes
from hand_made import array, model, node


def sizes(made):
    """{tensor: sizes} of what the shape inference knows in full."""
    values = {value.name: value.type.tensor_type for value in (*made.graph.value_info, *made.graph.output)}
    return {
        name: [dim.dim_value for dim in kind.shape.dim]
        for name, kind in values.items()
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim)
    }


def stored(name, *values):
    """As the exporter writes a constant when weights are none."""
    return node("Constant", (), [name], value=array("", values, np.int64))


def reshaped(length, *more):
    """x of (2, 3, 8, 8) as (2, length), where `length` is computed."""
    nodes = [
        *(stored("zero", 0), stored("two", 2), stored("rest", -1)),
        node("Shape", "x", ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        *length,
        node("Concat", ["n", "l"], ["to"], axis=0),
        node("Reshape", ["x", "to"], ["flat"]),
        *more,
    ]
    return model(nodes, shape=(2, 3, 8, 8))


def test_sizes_that_follow_from_the_input_are_worked_out():
    """The second of them from the first."""
    length = [stored("k", 96), node("Add", ["k", "k"], ["l"])]
    again = [
        node("Shape", ["flat"], ["t"]),
        node("Slice", ["t", "zero", "two"], ["u"]),
        node("ConstantOfShape", "u", ["v"], value=array("", [1.0])),
        node("Sub", ["flat", "v"], ["w"]),
    ]
    found = with_static_shapes(reshaped(length, *again))
    assert {name: sizes(found)[name] for name in "uvw"} == {"u": [2], "v": [2, 192], "w": [2, 192]}
    kinds = {one.output[0]: one.op_type for one in found.graph.node}
    assert [kinds[name] for name in ("s", "to", "u", "v", "flat", "w")] == [*["Constant"] * 4, "Reshape", "Sub"]


def test_what_follows_from_values_keeps_its_nodes_and_its_name():
    length = [
        node("ReduceSum", "x", ["sum"], keepdims=0),
        node("Cast", ["sum"], ["whole"], to=TensorProto.INT64),
        node("Reshape", ["whole", "rest"], ["l"]),
    ]
    found = with_static_shapes(reshaped(length, node("Relu", ["flat"])))
    kinds = {one.output[0]: one.op_type for one in found.graph.node}
    assert (kinds["sum"], kinds["whole"], kinds["l"], kinds["to"]) == ("ReduceSum", "Cast", "Reshape", "Concat")
    assert (kinds["s"], kinds["n"]) == ("Constant", "Constant")
    assert "flat" not in sizes(found)


class Tokens(nn.Module):
    """Sizes by `view` and `split`, as attention has them."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 4, stride=4), nn.LayerNorm(8)
        self.attend, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 5)

    def forward(self, image):
        x = self.stem(image)
        count, channels, height, width = x.shape
        x = self.norm(x.view(count, channels, height * width).transpose(1, 2))
        x = x + self.attend(x, x, x, need_weights=False)[0]
        return self.head(x.mean(1))


@pytest.mark.parametrize("fast_path", [True, False])
def test_a_network_with_attention_has_the_sizes_of_a_run_and_no_weights(fast_path):
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fast_path)
    try:
        net = Tokens().eval()
        for value in net.parameters():
            nn.init.normal_(value)  # the exporter merges equal ones
        made = structure_of(net, torch.zeros(1, 3, 16, 24))
        assert torch.backends.mha.get_fastpath_enabled() is fast_path
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
    assert [value.name for value in made.graph.input] == ["image"]
    weights = {tensor.name: tensor for tensor in made.graph.initializer}
    own = dict(net.named_parameters())
    assert {name: list(weights[name].dims) for name in own} == {name: list(one.shape) for name, one in own.items()}
    assert not any(weights[name].raw_data or weights[name].float_data for name in own)

    for name, value in own.items():
        weights[name].CopyFrom(numpy_helper.from_array(value.detach().numpy(), name))
    known = sizes(made)
    names = [name for one in made.graph.node for name in one.output if name]
    assert set(names) - {one.output[0] for one in made.graph.node if one.op_type == "Constant"} <= set(known)
    shown = onnx.ModelProto()
    shown.CopyFrom(made)
    shown.graph.ClearField("output")
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    run = ReferenceEvaluator(shown).run(names, {"image": np.ones((1, 3, 16, 24), np.float32)})
    for name, value in zip(names, run, strict=True):
        assert known.get(name, list(np.shape(value))) == list(np.shape(value)), name
