"""Counting fused kernels, against counts by hand and against published sizes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedistill.errors import PreflightError
from edgedistill.onnx_model.check import fix
from edgedistill.onnx_model.findings import Graph
from edgedistill.prediction.features import catalogue, features_from_file
from edgedistill.prediction.kernels import batch_of_file, kernels_from_file, kernels_from_graph
from edgedistill.prediction.model import predict


def graph(nodes, constants, out, shape=(1, 8, 10, 10)):
    """A model of one input `x`; constants: name -> shape."""
    weights = [numpy_helper.from_array(np.ones(dims, np.float32), name) for name, dims in constants.items()]
    made = helper.make_graph(
        [helper.make_node(kind, inputs, [output], **more) for kind, inputs, output, more in nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
        weights,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


def counted(*arguments):
    return kernels_from_graph(Graph(onnx.shape_inference.infer_shapes(graph(*arguments)), 0))


PAD = {"pads": [1, 1, 1, 1]}


def test_a_residual_block_is_two_kernels():
    """conv + BN + ReLU, then conv + BN + addition + ReLU: nothing is left over."""
    norm = [f"{i}.{part}" for i in "ab" for part in ("scale", "bias", "mean", "var")]
    found = counted(
        [
            ("Conv", ["x", "w1"], "c1", PAD),
            ("BatchNormalization", ["c1", *norm[:4]], "n1", {}),
            ("Relu", ["n1"], "r1", {}),
            ("Conv", ["r1", "w2"], "c2", PAD),
            ("BatchNormalization", ["c2", *norm[4:]], "n2", {}),
            ("Add", ["n2", "x"], "s", {}),
            ("Relu", ["s"], "y", {}),
        ],
        {"w1": (8, 8, 3, 3), "w2": (8, 8, 3, 3), **dict.fromkeys(norm, (8,))},
        "y",
    )
    assert [kernel.kind for kernel in found] == ["dense3x3", "dense3x3"]
    assert [kernel.macs for kernel in found] == [8 * 100 * 8 * 9] * 2
    assert [kernel.moved for kernel in found] == [2 * 800, 3 * 800], "the residual is read too"


def test_hard_swish_is_one_kernel_more():
    found = counted(
        [("Conv", ["x", "w"], "c", {}), ("HardSigmoid", ["c"], "h", {}), ("Mul", ["c", "h"], "y", {})],
        {"w": (8, 8, 1, 1)},
        "y",
    )
    assert [(k.kind, k.moved) for k in found] == [("pointwise", 1600), ("elementwise", 1600)]


def test_squeeze_and_excite_is_pool_two_convolutions_and_a_product():
    found = counted(
        [
            ("GlobalAveragePool", ["x"], "p", {}),
            ("Conv", ["p", "w1"], "s", {}),
            ("Relu", ["s"], "r", {}),
            ("Conv", ["r", "w2"], "e", {}),
            ("Sigmoid", ["e"], "g", {}),
            ("Mul", ["x", "g"], "y", {}),
        ],
        {"w1": (2, 8, 1, 1), "w2": (8, 2, 1, 1)},
        "y",
    )
    assert [k.kind for k in found] == ["reduce", "pointwise", "pointwise", "elementwise"]
    assert found[-1].moved == 800 + 8 + 800


def test_kinds_of_convolution():
    found = counted(
        [
            ("Conv", ["x", "d"], "a", {"group": 8, **PAD}),
            ("Conv", ["a", "g"], "b", {"group": 2, **PAD}),
            ("Conv", ["b", "s"], "c", {"strides": [2, 2], **PAD}),
            ("Conv", ["c", "p"], "y", {}),
        ],
        {"d": (8, 1, 3, 3), "g": (8, 4, 3, 3), "s": (8, 8, 3, 3), "p": (4, 8, 1, 1)},
        "y",
    )
    assert [k.kind for k in found] == ["depthwise", "grouped", "dense", "pointwise"]
    assert [k.macs for k in found] == [800 * 9, 800 * 36, 200 * 72, 100 * 8]


def test_what_two_read_is_written_and_an_activation_then_costs_a_kernel():
    found = counted(
        [("Conv", ["x", "w"], "c", {}), ("Relu", ["c"], "r", {}), ("Concat", ["c", "r"], "y", {"axis": 1})],
        {"w": (8, 8, 1, 1)},
        "y",
    )
    assert [k.kind for k in found] == ["pointwise", "elementwise"], "the concatenation itself is free"


def test_reshapes_are_free_and_a_transpose_is_a_copy():
    model = graph(
        [
            ("Flatten", ["x"], "f", {"axis": 2}),
            ("Transpose", ["f"], "t", {"perm": [1, 0]}),
            ("MatMul", ["t", "w"], "m", {}),
            ("Add", ["m", "b"], "y", {}),
        ],
        {"w": (8, 5), "b": (5,)},
        "y",
    )
    found = kernels_from_graph(Graph(onnx.shape_inference.infer_shapes(model), 0))
    assert [k.kind for k in found] == ["copy", "gemm"], "the bias is taken in"
    assert found[1].macs == 100 * 5 * 8


def test_a_slice_is_read_and_written_and_what_is_left_out_is_not():
    model = graph([("Slice", ["x", "from", "to", "axis"], "y", {})], {"from": (1,), "to": (1,), "axis": (1,)}, "y")
    for name, value in (("from", 2), ("to", 5), ("axis", 1)):
        place = [tensor.name for tensor in model.graph.initializer].index(name)
        model.graph.initializer[place].CopyFrom(helper.make_tensor(name, TensorProto.INT64, [1], [value]))
    found = kernels_from_graph(Graph(onnx.shape_inference.infer_shapes(model), 0))
    assert [(k.kind, k.moved) for k in found] == [("copy", 2 * 3 * 100)]


def test_quantization_is_no_kernel_and_hides_no_fusion():
    found = counted(
        [
            ("QuantizeLinear", ["x", "scale", "zero"], "q", {}),
            ("DequantizeLinear", ["q", "scale", "zero"], "d", {}),
            ("Conv", ["d", "w"], "c", {}),
            ("QuantizeLinear", ["c", "scale", "zero"], "q2", {}),
            ("DequantizeLinear", ["q2", "scale", "zero"], "d2", {}),
            ("Relu", ["d2"], "y", {}),
        ],
        {"w": (8, 8, 1, 1), "scale": (), "zero": ()},
        "y",
    )
    assert [(k.kind, k.moved) for k in found] == [("pointwise", 1600)]


@pytest.mark.parametrize(
    ("network", "published_gmacs", "published_parameters"),
    [
        ("mobilenetv2_100", 0.300, 3.50e6),  # Sandler et al. 2018, table 4: 300 M multiply-adds
        ("resnet50", 4.09, 25.56e6),
        ("resnet18", 1.81, 11.69e6),
        ("vgg16", 15.47, 138.36e6),  # torchvision
        ("yolo11n", 6.5 / 2, 2.62e6),
        ("yolo11x", 194.9 / 2, 56.97e6),  # Ultralytics, GFLOPs at 640 px
    ],
)
def test_sizes_are_the_published_ones(network, published_gmacs, published_parameters):
    """The catalogue keeps no multiply-adds of depthwise layers: 19 M of MobileNetV2's 300 M."""
    px = 640 if network.startswith("yolo") else 224
    found = catalogue()[(network, px)][1000]
    assert found.macs / 1e9 == pytest.approx(published_gmacs, rel=0.08)
    assert found.parameters == pytest.approx(published_parameters, rel=0.01)


def test_what_cannot_be_counted_is_refused_in_one_line(tmp_path):
    with pytest.raises(PreflightError, match="no such file"):
        kernels_from_file(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(PreflightError, match="not a readable ONNX model"):
        kernels_from_file(tmp_path / "bad.onnx")
    pair = graph([("Conv", ["x", "w"], "y", {})], {"w": (8, 8, 1, 1)}, "y", (2, 8, 4, 4))
    onnx.save(pair, tmp_path / "pair.onnx")
    (kernel,) = kernels_from_file(tmp_path / "pair.onnx")
    assert (kernel.macs, kernel.moved) == (2 * 8 * 8 * 16, 2 * 2 * 8 * 16), "a file counts for all of its images"
    assert batch_of_file(tmp_path / "pair.onnx") == (2, "")
    free = graph([("Conv", ["x", "w"], "y", {})], {"w": (8, 8, 1, 1)}, "y", ("n", 8, "h", "w"))
    with pytest.raises(PreflightError, match="no static shape"):
        kernels_from_graph(Graph(onnx.shape_inference.infer_shapes(free), 0))


def test_weights_in_a_file_of_their_own_need_not_be_there(tmp_path):
    """Shapes are all that is counted: of a large network the graph alone can be asked about."""
    path = tmp_path / "m.onnx"
    model = graph([("Conv", ["x", "w"], "y", {})], {"w": (16, 8, 3, 3)}, "y")
    onnx.save(model, path, save_as_external_data=True, location="m.data", size_threshold=0)
    (tmp_path / "m.data").unlink()
    (kernel,) = kernels_from_file(path)
    assert (kernel.weights, kernel.macs) == (16 * 8 * 9, 16 * 8 * 9 * 64)
    assert batch_of_file(path) == (1, "")


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([("Identity", ["x"], "y", {})], "it has no operator that computes"),
        ([("Conv", ["x"], "y", {})], "a malformed ONNX model"),
    ],
)
def test_a_file_with_nothing_to_count_is_refused_in_one_line(tmp_path, nodes, said):
    onnx.save(graph(nodes, {}, "y"), tmp_path / "m.onnx")
    with pytest.raises(PreflightError, match=said) as refused:
        features_from_file(tmp_path / "m.onnx")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("kind", "domain"), [("QLinearConv", ""), ("LSTM", ""), ("FusedConv", "com.microsoft")])
def test_what_computes_and_is_not_counted_is_refused_by_its_name(tmp_path, kind, domain):
    """The same network as QLinearConv was predicted at 4.1 ms instead of 74."""
    nodes = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node(kind, ["r"], ["y"], domain=domain)]
    sizes = (1, 8, 10, 10)
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, sizes)],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)]), str(tmp_path / "m.onnx"))
    with pytest.raises(PreflightError, match=f"the cost of {kind}.* is not known"):
        kernels_from_file(tmp_path / "m.onnx")


def branch(name, kind, inputs):
    sizes = (1, 8, 10, 10)
    out = helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes)
    return helper.make_graph([helper.make_node(kind, inputs, [name])], name, [], [out])


def behind_an_if():
    """Two convolutions with an If between them, whose condition follows from the size of its input."""
    parts = {"then_branch": branch("t", "Identity", ["c"]), "else_branch": branch("e", "Relu", ["c"])}
    model = graph(
        [
            ("Conv", ["x", "w"], "c", {}),
            ("Shape", ["c"], "s", {}),
            ("Gather", ["s", "zero"], "g", {}),
            ("Equal", ["g", "one"], "k", {}),
            ("If", ["k"], "i", parts),
            ("Conv", ["i", "w2"], "y", {}),
        ],
        {"w": (8, 8, 1, 1), "w2": (8, 8, 1, 1)},
        "y",
    )
    for name, value in (("zero", 0), ("one", 1)):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [], [value]))
    return model


def test_an_if_hides_nothing_behind_it(tmp_path):
    """Its condition is known and what its branches read is not: a network of 14.8 ms was predicted at 0.38."""
    onnx.save(behind_an_if(), tmp_path / "m.onnx")
    with pytest.raises(
        PreflightError, match="If -> i: what it costs depends on the branch .* --fix OUT.onnx"
    ) as refused:
        kernels_from_file(tmp_path / "m.onnx")
    assert "\n" not in str(refused.value)
    fixed = fix(tmp_path / "m.onnx", "jetson-nano", tmp_path / "fixed.onnx")
    assert fixed["fits"]
    assert [kernel.kind for kernel in kernels_from_file(tmp_path / "fixed.onnx")] == ["pointwise"] * 2


def test_an_if_of_constants_costs_nothing(tmp_path):
    model = behind_an_if()
    for item in model.graph.node[4].attribute:
        item.g.node[0].input[0] = "w"
    model.graph.node[5].input[0], model.graph.node[5].input[1] = "c", "i"
    model.graph.ClearField("value_info")
    for item in model.graph.node[4].attribute:
        item.g.output[0].type.CopyFrom(helper.make_tensor_type_proto(TensorProto.FLOAT, (8, 8, 1, 1)))
    onnx.save(model, tmp_path / "m.onnx")
    assert [kernel.macs for kernel in kernels_from_file(tmp_path / "m.onnx")] == [6400] * 2


def test_a_loop_is_refused(tmp_path):
    value = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 8, 10, 10)) for name in ("a", "b")}
    kept = [helper.make_tensor_value_info(name, TensorProto.BOOL, ()) for name in ("go", "on")]
    count = helper.make_tensor_value_info("n", TensorProto.INT64, ())
    nodes = [helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Identity", ["go"], ["on"])]
    body = helper.make_graph(nodes, "body", [count, kept[0], value["a"]], [kept[1], value["b"]])
    model = graph([("Loop", ["five", "", "x"], "l", {"body": body}), ("Relu", ["l"], "y", {})], {}, "y")
    model.graph.initializer.append(helper.make_tensor("five", TensorProto.INT64, [], [5]))
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(PreflightError, match="Loop -> l: what it costs depends on how often its body runs"):
        kernels_from_file(tmp_path / "m.onnx")


def test_the_order_of_the_nodes_makes_no_difference(tmp_path):
    model = graph(
        [("Conv", ["x", "w"], "c", PAD), ("Relu", ["c"], "r", {}), ("Conv", ["r", "w2"], "y", {})],
        {"w": (8, 8, 3, 3), "w2": (8, 8, 1, 1)},
        "y",
    )
    onnx.save(model, tmp_path / "m.onnx")
    nodes = list(model.graph.node)[::-1]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
    onnx.save(model, tmp_path / "reversed.onnx")
    assert kernels_from_file(tmp_path / "reversed.onnx") == kernels_from_file(tmp_path / "m.onnx")
    model.graph.node[-1].input[0] = "y"
    onnx.save(model, tmp_path / "cycle.onnx")
    with pytest.raises(PreflightError, match="its nodes form a cycle"):
        kernels_from_file(tmp_path / "cycle.onnx")


@pytest.mark.parametrize(
    ("inputs", "images", "said"),
    [
        ({"image": (1, 3, 8, 8), "gallery": (100, 64, 8, 8)}, 1, "image has 1, which is counted, gallery has 100"),
        ({"gallery": (100, 64, 1, 1), "image": (1, 3, 8, 8)}, 1, "image has 1, which is counted, gallery has 100"),
        ({"gallery": (100, 64, 8, 8), "image": (2, 8, 8, 3)}, 2, "image has 2, which is counted, gallery has 100"),
        ({"left": (4, 3, 8, 8), "right": (4, 3, 8, 8), "state": (9, 5)}, 4, ""),
        ({"image": (0, 3, 8, 8)}, 1, ""),
        ({"sound": (7, 16)}, 1, ""),
    ],
)
def test_the_image_says_the_batch_and_not_a_gallery_beside_it(tmp_path, inputs, images, said):
    """With 100 stored features beside one image its FPS were a hundred times too many."""
    model = graph([("Relu", [name], f"r{name}", {}) for name in inputs], {}, f"r{next(iter(inputs))}")
    model.graph.ClearField("input")
    for name, shape in inputs.items():
        model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    onnx.save(model, tmp_path / "m.onnx")
    found, note = batch_of_file(tmp_path / "m.onnx")
    assert (found, note[note.find(": ") + 2 :]) == (images, said)
    if all(0 not in shape for shape in inputs.values()):
        prediction = predict(tmp_path / "m.onnx", "jetson-nano")
        assert prediction.batch == images
        assert [one for one in prediction.notes if "disagree" in one] == ([note] if said else [])
