"""The bundle around a bare ONNX file: goldens against a network by hand, and which networks it is made of."""

import json

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgedistill.bundles.unsigned import write_throwaway
from edgedistill.errors import BundleError
from edgedistill_device.manifest import read_manifest

WEIGHT = np.array([[4.0, -1.0, 0.5], [-1.0, 3.0, 0.0], [0.5, 1.0, -2.0], [0.0, 0.5, 1.0]], np.float32)


def written(path, inputs, outputs, preprocess=None):
    """Mean over the pixels, times WEIGHT, which is a graph input too, as exporters once wrote it.

    Args:
        inputs, outputs: name -> shape.
    """
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["mean", "w"], ["scores"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(WEIGHT, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    if preprocess:
        helper.set_model_props(model, {"preprocess": json.dumps(preprocess)})
    onnx.save(model, path)
    return path


def middle(image, height, width):
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


@pytest.mark.parametrize("stored", [False, True])
def test_goldens_are_what_the_network_gives_for_the_images_beside_them(tmp_path, stored):
    mean, std = ([0.1, 0.2, 0.3], [0.5, 0.25, 0.2]) if stored else ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    spec = {"image_px": [20, 36], "resize_px": 26, "interpolation": "bilinear", "mean": mean, "std": std}
    path = written(
        tmp_path / "net.onnx", {"image": (1, 3, 20, 36), "w": (4, 3)}, {"scores": (1, 4)}, spec if stored else None
    )
    bundle = tmp_path / "b"
    manifest = write_throwaway(path, bundle, "fp16")
    assert read_manifest(bundle) == manifest
    assert (manifest.input_name, manifest.output_name, manifest.input_shape) == ("image", "scores", (1, 3, 20, 36))
    assert manifest.classes == ("0", "1", "2", "3")
    assert (manifest.model, manifest.precision_requested) == ("net", "fp16")
    assert manifest.preprocess.interpolation == ("bilinear" if stored else "area")
    images = sorted((bundle / "golden" / "images").iterdir())
    inputs = np.load(bundle / "golden" / "inputs.npy")
    logits = np.load(bundle / "golden" / "logits.npy")
    labels = json.loads((bundle / "golden" / "labels.json").read_text())
    assert len(images) == len(inputs) == len(logits) == len(labels) == 4
    for image, seen, row, label in zip(images, inputs, logits, labels, strict=True):
        pixels = cv2.cvtColor(cv2.imread(str(image)), cv2.COLOR_BGR2RGB)
        assert pixels.shape == ((26, 47, 3) if stored else (20, 36, 3))
        np.testing.assert_array_equal(seen, middle(pixels, 20, 36))
        expected = WEIGHT @ ((seen.mean((0, 1)) / 255 - mean) / std)
        np.testing.assert_allclose(row, expected, atol=1e-4)
        assert label == expected.argmax()
    assert len({image.read_bytes() for image in images}) == 4


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"image": (2, 3, 8, 8)}, {"scores": (2, 4)}),
        ({"image": (1, 1, 8, 8)}, {"scores": (1, 4)}),
        ({"image": (1, 3, "h", 8)}, {"scores": (1, 4)}),
        ({"image": (1, 3, 8, 8)}, {"scores": (1, "n")}),
        ({"image": (1, 3, 64)}, {"scores": (1, 4)}),
        ({"image": (1, 3, 8, 8)}, {"scores": (1, 4, 1)}),
        ({"image": (1, 3, 8, 8)}, {"scores": (3, 4)}),
        ({"image": (1, 3, 8, 8)}, {"scores": (1, 4), "mean": (1, 3)}),
        ({"image": (1, 3, 8, 8), "other": (1, 3)}, {"scores": (1, 4)}),
        ({}, {"scores": (1, 4), "mean": (1, 3)}),
    ],
)
def test_another_kind_of_network_is_refused_before_anything_is_written(tmp_path, inputs, outputs):
    path = written(tmp_path / "net.onnx", inputs, outputs)
    with pytest.raises(BundleError, match=r"expected one input \(1, 3, H, W\) and one output \(1, classes\)"):
        write_throwaway(path, tmp_path / "b", "fp16")
    assert not (tmp_path / "b").exists()
