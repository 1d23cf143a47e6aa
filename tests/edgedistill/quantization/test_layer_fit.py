"""The inputs that each output of a Conv reads, whatever its attributes are; who judges; when roundings are tried."""

import numpy as np
import pytest
import torch
from onnx import helper
from torch.nn import functional

from edgedistill.quantization import layer_fit
from edgedistill.quantization.layer_fit import LayerFit
from edgedistill.quantization.rounding import nearest

# Attributes of a Conv, and the shape of its weight; of those that are left out the standard's defaults hold.
FORMS = {
    "nothing given": ({}, (4, 6, 3, 2)),
    "strides": ({"strides": [2, 3]}, (4, 6, 3, 3)),
    "dilations": ({"dilations": [3, 1]}, (4, 6, 2, 3)),
    "pads": ({"pads": [2, 0, 1, 3]}, (4, 6, 3, 3)),
    "group": ({"group": 3}, (6, 2, 1, 2)),
    "depthwise": ({"group": 6, "pads": [1, 1, 1, 1]}, (6, 1, 3, 3)),
    "everything": ({"strides": [1, 2], "dilations": [2, 1], "pads": [0, 1, 2, 0], "group": 2}, (4, 3, 2, 3)),
}


class TorchConv:
    """A Conv without bias by PyTorch; `columns`: (G, d, pixels of all images), what each output pixel reads."""

    def __init__(self, attributes, kernel):
        self._pads = attributes.get("pads", [0, 0, 0, 0])
        self._form = {"stride": attributes.get("strides", 1), "dilation": attributes.get("dilations", 1)}
        self._groups, self._kernel = attributes.get("group", 1), kernel

    def _padded(self, image):
        top, left, bottom, right = self._pads
        return functional.pad(torch.from_numpy(image), (left, right, top, bottom))

    def run(self, given):
        image, weight = given
        padded = self._padded(image)
        return [functional.conv2d(padded, torch.from_numpy(weight), groups=self._groups, **self._form).numpy()]

    def columns(self, images):
        unfolded = [functional.unfold(self._padded(one), self._kernel, **self._form).numpy()[0] for one in images]
        return np.concatenate(unfolded, axis=1).reshape(self._groups, -1, sum(one.shape[1] for one in unfolded))


@pytest.fixture(params=FORMS)
def layer(request, rng):
    """(node, conv, inputs, weight) of a Conv; the colours of its images are alike and not around 0."""
    attributes, shape = FORMS[request.param]
    node = helper.make_node("Conv", ["x", "w"], ["y"], **attributes)
    grey = rng.uniform(size=(8, 1, 1, 11, 13))
    inputs = list((grey + 0.3 * rng.uniform(size=(8, 1, 6, 11, 13))).astype(np.float32))
    return node, TorchConv(attributes, shape[2:]), inputs, rng.normal(size=shape).astype(np.float32)


def asked_of_rounding(layer, monkeypatch):
    """Weights and both covariances as `best` hands them on; what the Conv is wanted to give is what it gives."""
    node, conv, inputs, weight = layer
    asked = []

    def rounded(flat, moments, cross, stay):
        asked.append((flat, moments, cross))
        return flat.astype(np.float32)

    monkeypatch.setattr(layer_fit, "rounded", rounded)
    LayerFit(node, conv, inputs, [conv.run([one, weight])[0] for one in inputs]).best(weight)
    assert len(asked) == len(layer_fit.STAY)
    return asked[0]


def test_a_rounding_is_made_from_what_the_conv_reads(layer, monkeypatch):
    monkeypatch.setattr(layer_fit, "PIXELS_AN_INPUT", 0)
    _, conv, inputs, weight = layer
    columns = conv.columns(inputs[1::2])
    flat, moments, cross = asked_of_rounding(layer, monkeypatch)
    assert np.array_equal(flat, weight.reshape(len(columns), -1, columns.shape[1]))
    expected = np.stack([np.cov(one.astype(np.float64), bias=True) for one in columns])
    assert moments == pytest.approx(expected, abs=1e-5)
    assert cross == pytest.approx(flat @ expected, abs=1e-4)


def test_of_large_images_some_pixels_are_looked_at_each_with_its_own_output(layer, monkeypatch):
    monkeypatch.setattr(layer_fit, "PIXELS_AN_INPUT", 0)
    monkeypatch.setattr(layer_fit, "SAMPLES", 40)
    _, conv, inputs, _ = layer
    flat, moments, cross = asked_of_rounding(layer, monkeypatch)
    assert cross == pytest.approx(flat @ moments, abs=1e-4)
    columns = conv.columns(inputs[1::2])
    expected = np.stack([np.cov(one.astype(np.float64), bias=True) for one in columns])
    apart = np.abs(moments - expected).max() / expected.max()
    assert 1e-3 < apart < 1


def test_the_bias_takes_the_mean_of_all_and_every_other_image_judges():
    """Of x -> 2 x by a weight of 1.5: with images of 1, 2, 3 and 6 the mean of what is missing is 1.5."""
    node, conv = helper.make_node("Conv", ["x", "w"], ["y"]), TorchConv({}, (1, 1))
    inputs = [np.full((1, 1, 2, 2), value, np.float32) for value in (1, 2, 3, 6)]
    fit = LayerFit(node, conv, inputs, [2 * one for one in inputs])
    found = fit.corrected(np.full((1, 1, 1, 1), 1.5, np.float32))
    assert found.bias == pytest.approx([1.5])
    assert [float(one[0, 0, 0, 0]) for one in found.outputs] == pytest.approx([3, 4.5, 6, 10.5])
    assert found.error == pytest.approx((1.0**2 + 0.0**2) / 2)  # of the first and the third


def test_with_few_pixels_for_a_weight_none_is_rounded_otherwise(rng, monkeypatch):
    """One output pixel an image, four weights, eight images of which four are for rounding."""
    node, conv = helper.make_node("Conv", ["x", "w"], ["y"]), TorchConv({}, (2, 2))
    inputs = list((rng.uniform(size=(8, 1, 1, 1, 1)) + 0.1 * rng.uniform(size=(8, 1, 1, 2, 2))).astype(np.float32))
    weight = rng.uniform(0.2, 1, size=(3, 1, 2, 2)).astype(np.float32)
    fit = LayerFit(node, conv, inputs, [conv.run([one, weight])[0] for one in inputs])
    # What `rounded` gives here is the weight itself, which no rounding beats.
    monkeypatch.setattr(layer_fit, "rounded", lambda flat, *_: flat.astype(np.float32))
    for least, tried in ((1, True), (2, False)):
        monkeypatch.setattr(layer_fit, "PIXELS_AN_INPUT", least)
        found = fit.best(weight)
        assert np.array_equal(found.weight, weight if tried else nearest(weight))
