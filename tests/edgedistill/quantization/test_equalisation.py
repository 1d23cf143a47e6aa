"""What may stand between scaled layers, on graphs by hand; the statistics and the noise that factors are chosen by."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgedistill.onnx_model.session import OnnxSession
from edgedistill.quantization import observe
from edgedistill.quantization.equalisation import Statistics, _Reader, equalised, groups_of, statistics_of

CHANNELS = 4
SPREAD = np.array([0.1, 0.5, 2.0, 9.0], np.float32).reshape(-1, 1, 1, 1)  # of the channels that `a` and `c` make


def graph(nodes, outputs=("y",)):
    """`a` and `c` are Convs of the image to four channels; `nodes` are between them and `outputs`."""
    rng = np.random.default_rng(0)
    stored = {
        "wa": SPREAD * rng.normal(size=(CHANNELS, 2, 1, 1)),
        "wc": SPREAD[::-1] * rng.normal(size=(CHANNELS, 2, 1, 1)),
        "to3": rng.normal(size=(3, CHANNELS, 1, 1)),
        "to4": rng.normal(size=(CHANNELS, CHANNELS, 1, 1)),
        "gemm": rng.normal(size=(CHANNELS, 3)),
        "turned": rng.normal(size=(3, CHANNELS)),
        "wide": rng.normal(size=(4 * CHANNELS, 3)),
        "flat": rng.normal(size=(1, 3)),
        "constant": rng.normal(size=(1, CHANNELS, 1, 1)),
        "whole": rng.normal(size=(1, CHANNELS, 4, 4)),
    }
    ends = ", ".join(f"float {name}" for name in outputs)
    text = "a = Conv (image, wa) c = Conv (image, wc) " + nodes.replace(";", " ")
    made = onnx.parser.parse_graph(f"g (float[1, 2, 4, 4] image) => ({ends}) {{ {text} }}")
    for value in made.output:
        value.type.tensor_type.ClearField("shape")  # to be inferred
    read = {name for node in made.node for name in node.input}
    made.initializer.extend(numpy_helper.from_array(v.astype(np.float32), k) for k, v in stored.items() if k in read)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)


@pytest.fixture
def images(rng):
    return rng.normal(size=(20, 2, 4, 4)).astype(np.float32)


def outputs(model, images, folder, names=None):
    """{tensor: (n, ...)}"""
    path, shown = folder / "shown.onnx", onnx.ModelProto()
    shown.CopyFrom(model)
    if names:
        del shown.graph.output[:]
        shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    names = [value.name for value in shown.graph.output]
    onnx.save(shown, str(path))
    with OnnxSession(path, names) as session:
        runs = [session.run(image[np.newaxis]) for image in images]
    return {name: np.stack([run[at] for run in runs]) for at, name in enumerate(names)}


GATE = "p = GlobalAveragePool (image); g = Conv (p, wc); h = Sigmoid (g)"
MEAN = "p = GlobalAveragePool (a)"
PASSING = {
    "relu": "k = Relu (a); y = Conv (k, to3)",
    "a maximum of pixels": "k = MaxPool <kernel_shape=[2, 2]> (a); y = Conv (k, to3)",
    "a mean of pixels": "k = AveragePool <kernel_shape=[2, 2]> (a); y = Conv (k, to3)",
    "a mean over all": "k = GlobalAveragePool (a); y = Conv (k, to3)",
    "a mean over named axes": "k = ReduceMean <axes=[2, 3]> (a); y = Conv (k, to3)",
    "a mean over axes from behind": "k = ReduceMean <axes=[-1, -2]> (a); y = Conv (k, to3)",
    "a sum": "k = Add (a, c); l = Relu (k); y = Conv (l, to3)",
    "a gate": f"{GATE}; k = Mul (a, h); y = Conv (k, to3)",
    "a gate before what it opens": f"{GATE}; k = Mul (h, a); y = Conv (k, to3)",
    "one pixel in a row": f"{MEAN}; q = Conv (p, to4); r = Relu (q); k = Flatten (r); y = Gemm (k, gemm)",
    "a Gemm whose weight is turned": f"z = Conv (a, to3); {MEAN}; k = Flatten (p); y = Gemm <transB=1> (k, turned)",
}
STOPPING = {
    "a sigmoid": "k = Sigmoid (a); y = Conv (k, to3)",
    "a constant on top": "k = Add (a, constant); y = Conv (k, to3)",
    "a constant of every pixel on top": "k = Add (a, whole); y = Conv (k, to3)",
    "a sum with a mean": "m = GlobalAveragePool (c); k = Add (a, m); y = Conv (k, to3)",
    "a product of equals": "k = Mul (a, c); y = Conv (k, to3)",
    "a square": "k = Mul (a, a); y = Conv (k, to3)",
    "a product with a constant": "k = Mul (a, constant); y = Conv (k, to3)",
    "a product of two gates": "g = GlobalAveragePool (a); h = GlobalAveragePool (c); k = Mul (g, h); y = Conv (k, to3)",
    "a difference": "k = Sub (a, c); y = Conv (k, to3)",
    "a larger of two": "k = Max (a, c); y = Conv (k, to3)",
    "a mean over one axis": "k = ReduceMean <axes=[2]> (a); y = Conv (k, to3)",
    "a mean over channels": "l = ReduceMean <axes=[1, 2]> (a); k = Add (l, a); y = Conv (k, to3)",
    "a mean over all three": "l = ReduceMean <axes=[1, 2, 3]> (a); k = Add (l, a); y = Conv (k, to3)",
    "pixels in a row": "p = MaxPool <kernel_shape=[2, 2], strides=[2, 2]> (a); k = Flatten (p); y = Gemm (k, wide)",
    "a Gemm that turns its input": "p = GlobalAveragePool (a); k = Flatten (p); y = Gemm <transA=1> (k, flat)",
    "weights that are computed": "v = Relu (to3); y = Conv (a, v)",
    "weights of two layers": "k = Relu (a); l = Conv (k, to4); m = Relu (l); y = Conv (m, to4)",
}


@pytest.mark.parametrize("case", PASSING)
def test_channels_are_scaled_and_nothing_else_changes(case, images, tmp_path):
    model = graph(PASSING[case])
    scaled, channels = equalised(model, images)
    before, after = ({t.name: numpy_helper.to_array(t) for t in m.graph.initializer} for m in (model, scaled))
    assert channels >= 2
    assert not np.array_equal(before["wa"], after["wa"])
    assert np.array_equal(outputs(scaled, images, tmp_path)["y"], outputs(model, images, tmp_path)["y"])


@pytest.mark.parametrize("case", STOPPING)
def test_what_no_factor_passes_is_left_alone(case, images):
    model = graph(STOPPING[case])
    assert not any(node.output[0] in ("a", "c") for group in groups_of(model) for node in group.producers)
    scaled, _ = equalised(model, images)
    before, after = ({t.name: numpy_helper.to_array(t) for t in m.graph.initializer} for m in (model, scaled))
    assert all(np.array_equal(before[name], after[name]) for name in ("wa", "wc") if name in before)


def test_what_the_file_gives_out_is_left_alone():
    assert groups_of(graph("k = Relu (a); y = Conv (k, to3)", ["y", "k"])) == []


def test_a_scaled_tensor_reaches_as_far_as_before_at_most(images, tmp_path):
    """Or FP16 could overflow where it did not; and not half as far, which would be nearer to its smallest numbers."""
    model = graph("s = Add (a, c); k = Relu (s); y = Conv (k, to3)")
    scaled, _ = equalised(model, images)
    before, after = (np.abs(outputs(one, images, tmp_path, ["k"])["k"]).max() for one in (model, scaled))
    assert before / 2 < after <= before


def test_statistics_are_those_of_all_images_whatever_the_pieces(images, tmp_path, monkeypatch):
    model = graph("k = Relu (a); y = Conv (k, to3)")
    values = outputs(model, images, tmp_path, ["k"])["k"].reshape(len(images), CHANNELS, -1)
    for piece_bytes in (observe.PIECE_BYTES, 1):  # 16 and 4 images, and each alone
        monkeypatch.setattr(observe, "PIECE_BYTES", piece_bytes)
        found = statistics_of(model, ["k"], images)["k"]
        assert found.largest == pytest.approx(np.abs(values).max(axis=(0, 2)))
        assert found.power == pytest.approx(np.square(values).mean(axis=(0, 2)), rel=1e-5)


@pytest.mark.parametrize("factors", [[1, 1, 1, 1, 1, 1], [4, 1, 0.5, 2, 1, 8]])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_noise_is_what_rounding_makes_of_independent_channels(factors, groups, rng):
    """Rounded one by one: activations with one step for all, weights with one an output; over the signal."""
    factors = np.array(factors, np.float64)
    reach = np.array([0.3, 1.0, 2.0, 0.6, 1.5, 0.1])
    x = rng.uniform(-1, 1, size=(20000, 6)) * reach
    weight = rng.normal(size=(8, 6 // groups, 1, 1)) * np.exp2(rng.integers(-2, 3, size=(8, 1, 1, 1)))
    node = helper.make_node("Conv", ["k", "w"], ["y"], group=groups)
    statistics = {"k": Statistics(np.abs(x).max(axis=0), np.square(x).mean(axis=0))}
    found = _Reader(node, {"w": weight}, statistics).noise(factors)

    full = np.zeros((8, 6))
    for row in range(8):
        first = row // (8 // groups) * (6 // groups)
        full[row, first : first + 6 // groups] = weight[row, :, 0, 0]
    scaled, divided = x * factors, full / factors
    step, steps = np.abs(scaled).max() / 127, np.abs(divided).max(axis=1, keepdims=True) / 127
    rounded = (np.rint(scaled / step) * step) @ (np.rint(divided / steps) * steps).T
    measured = np.square(rounded - x @ full.T).sum() / np.square(x @ full.T).sum()
    assert 10 * np.log10(found / measured) == pytest.approx(0, abs=1.0)
