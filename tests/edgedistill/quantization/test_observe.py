"""Where each tensor's range comes from, on a graph with every kind; pieces of images."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edgedistill.errors import QuantizeError
from edgedistill.quantization import observe
from edgedistill.quantization.observe import Observer, pieces, plan_of

GRAPH = """g (float[1, 3, 6, 6] image) => (float[1, 3, 6, 6] told, float[1, 108] y) {
    a = Conv (image, w)
    b = Relu (a)
    c = Conv (b, w)
    d = HardSigmoid <alpha = 0.25, beta = 0.4> (c)
    e = Mul (c, d)
    f = Conv (e, w)
    g = HardSigmoid (f)
    h = Conv (e, w)
    i = HardSigmoid (h)
    j = Mul (h, g)
    k = Mul (i, j)
    l = Conv (k, w)
    m = Clip (l, low, high)
    n = Conv (m, w)
    o = Relu (n)
    p = Relu (n)
    q = Add (o, p)
    told = Conv (q, w)
    r = Relu (told)
    s = Sigmoid (r)
    y = Flatten (s)
}"""
SAME = {"a": ("b", 0.0), "c": ("e", 2.4), "l": ("m", 0.0), "y": ("s", 0.0)}
BOUNDED = {"d": 1.0, "f": 2.5, "g": 1.0, "i": 1.0, "s": 1.0}
# `h` goes through a product that is not its hard-swish, `n` through two ReLUs, and `told` out of the network.
OBSERVED = ("image", "b", "e", "h", "j", "k", "m", "n", "o", "p", "q", "told", "r")


def model(text=GRAPH):
    graph = onnx.parser.parse_graph(text)
    weight = np.random.default_rng(0).normal(size=(3, 3, 1, 1))
    stored = {"w": weight, "low": np.array(0), "high": np.array(6)}
    read = {name for node in graph.node for name in node.input}
    graph.initializer.extend(numpy_helper.from_array(stored[k].astype(np.float32), k) for k in stored if k in read)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    return onnx.shape_inference.infer_shapes(made, strict_mode=True)


def test_each_tensor_is_looked_at_or_takes_a_range_that_loses_nothing():
    plan = plan_of(model())
    assert plan.observed == OBSERVED
    assert plan.bounded == pytest.approx(BOUNDED)
    assert {name: source for name, (source, _) in plan.same_as.items()} == {
        name: one for name, (one, _) in SAME.items()
    }
    assert [least for _, least in plan.same_as.values()] == pytest.approx([least for _, least in SAME.values()])
    assert plan.shapes["y"] == (1, 108)


@pytest.mark.parametrize(("product", "own"), [(0.5, 2.4), (9.0, 9.0)])
def test_ranges_are_handed_on(product, own):
    """Below 2.4 the hard-swish is not flat yet, however small its product is."""
    ranges = plan_of(model()).spread({**dict.fromkeys(OBSERVED, 5.0), "e": product, "m": 6.0})
    assert ranges == pytest.approx(
        {**dict.fromkeys(OBSERVED, 5.0), **BOUNDED, "e": product, "m": 6.0, "a": 5.0, "c": own, "l": 6.0, "y": 1.0}
    )


def test_a_range_through_two_others_arrives_and_one_of_nothing_is_refused():
    plan = observe.Plan(("x",), {"c": ("b", 0.0), "b": ("a", 3.0), "a": ("x", 0.0)}, {}, {})
    assert plan.spread({"x": 2.0}) == {"x": 2.0, "a": 2.0, "b": 3.0, "c": 3.0}
    with pytest.raises(QuantizeError, match="no range for tensor 'c': 'b' has none"):
        observe.Plan((), {"c": ("b", 0.0)}, {}, {}).spread({})


SOFTMAX = """g (float[1, 3, 6, 6] image) => (float[1, 3, 6, 6] y) {
    a = Conv (image, w)
    b = Softmax <axis = 0> (a)
    y = Conv (b, w)
}"""


@pytest.mark.parametrize(
    ("text", "images_in_bytes", "piece"),
    [(GRAPH, 100.0, 16), (GRAPH, 5.9, 5), (GRAPH, 0.5, 1), (SOFTMAX, 100.0, 1)],
)
def test_a_piece_takes_so_many_images_and_gives_each_its_own_tensors(text, images_in_bytes, piece, rng, monkeypatch):
    """A softmax over the batch is run image by image."""
    made = model(text)
    plan = plan_of(made)
    each = 4 * 3 * 6 * 6 * len(plan.observed)
    monkeypatch.setattr(observe, "PIECE_BYTES", int(images_in_bytes * each))
    images = rng.normal(size=(19, 3, 6, 6)).astype(np.float32)
    with Observer(made, plan) as observer:
        assert observer.piece == piece
        alone = [observer.run(images[number : number + 1]) for number in range(19)]
        parts = list(observer.stream(lambda number: images[number : number + 1], pieces(19, 2, piece)))
    assert [len(part["image"]) for part in parts] == [piece] * (17 // piece) + [17 % piece] * bool(17 % piece)
    for name in plan.observed:
        expected = np.concatenate([one[name] for one in alone[2:]])
        assert np.concatenate([part[name] for part in parts]) == pytest.approx(expected, abs=1e-5)
