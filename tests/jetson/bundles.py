"""A small whole bundle that the device tests can break."""

import functools
import json
import os
import shutil
import tempfile

import cv2
import numpy as np

from edgedistill_device.decode import read_image
from edgedistill_device.engine import engine_file
from edgedistill_device.manifest import VERSION, Manifest, read_manifest, write_manifest
from edgedistill_device.preprocess import to_input, view
from edgedistill_device.preprocess_spec import Preprocess
from tiny_onnx import model_bytes

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SOURCES = os.pathsep.join(os.path.join(ROOT, folder) for folder in ("jetson", "calibration"))  # for PYTHONPATH
PACKAGES = (
    os.path.join(ROOT, "jetson", "edgedistill_device"),
    os.path.join(ROOT, "calibration", "edgedistill_calibration"),
)
SPEC = Preprocess(24, 28, "area", (0.5, 0.4, 0.3), (0.25, 0.25, 0.25))
WEIGHT = [[4.0, -1.0, 0.5], [-1.0, 3.0, 0.0]]
BIAS = [0.1, -0.2]


def expected_logits(image, executed="fp32"):
    """The tiny model written another way: the mean colour through the matrix, in numpy; executed: or fp16."""

    def rounded(values):
        return np.asarray(values, np.float16 if executed == "fp16" else np.float64).astype(np.float64)

    mean = rounded(rounded(to_input(image, SPEC)[0]).reshape(3, -1).mean(axis=1))
    return rounded(WEIGHT).dot(mean) + rounded(BIAS)


def reddish_and_greenish(number, size=(40, 52)):
    """So many BGR images, the first half reddish, of (height, width)."""
    rng = np.random.RandomState(0)
    images = []
    for place in range(number):
        image = rng.randint(0, 60, size + (3,)).astype(np.uint8)
        image[..., 2 if place < number // 2 else 1] += 150
        images.append(image)
    return images


def make_bundle(folder, images=None, suffix=".png"):
    """Two reddish and two greenish images or those given, goldens from numpy. Returns the folder as text."""
    if images is None and suffix == ".png":
        return _written(str(folder), _usual())
    return _made(str(folder), images or reddish_and_greenish(4), suffix)


@functools.lru_cache(maxsize=None)
def _usual():
    """{name: bytes} of the bundle of no images of one's own."""
    with tempfile.TemporaryDirectory() as folder:
        return content_of(_made(folder, reddish_and_greenish(4), ".png"))


def content_of(folder):
    """{name: bytes} of all files below."""
    content = {}
    for place, _, names in os.walk(folder):
        for path in [os.path.join(place, name) for name in names]:
            with open(path, "rb") as file:
                content[os.path.relpath(path, folder)] = file.read()
    return content


def _written(folder, content):
    for name in sorted({os.path.dirname(name) for name in content}):
        os.makedirs(os.path.join(folder, name))
    for name, there in content.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(there)
    return folder


def _made(folder, pictures, suffix):
    images = os.path.join(folder, "golden", "images")
    os.makedirs(images)
    inputs = []
    for number, picture in enumerate(pictures):
        path = os.path.join(images, "%04d%s" % (number, suffix))
        assert cv2.imwrite(path, picture)
        inputs.append(view(read_image(path), SPEC))
    golden = os.path.join(folder, "golden")
    np.save(os.path.join(golden, "inputs.npy"), np.stack(inputs))
    logits = np.stack([expected_logits(image) for image in inputs]).astype(np.float32)
    np.save(os.path.join(golden, "logits.npy"), logits)
    with open(os.path.join(golden, "labels.json"), "w") as file:
        json.dump([int(number >= len(inputs) // 2) for number in range(len(inputs))], file)
    with open(os.path.join(folder, "model.onnx"), "wb") as file:
        file.write(model_bytes(WEIGHT, BIAS, SPEC.image_px))
    for package in PACKAGES:
        shutil.copytree(
            package,
            os.path.join(folder, os.path.basename(package)),
            ignore=shutil.ignore_patterns("__pycache__", "*.toml", ".*"),
        )
    sign(folder)
    return folder


def pretend_verified(folder):
    """The record of a pass with ONNX Runtime, for what is not about verifying."""
    digest = read_manifest(folder).files["model.onnx"].sha256
    engine_file.write_verified(folder, "onnxruntime", digest, {"executed": "fp32"})
    return folder


def sign(folder, **changes):
    """Write the manifest anew over what lies there."""
    manifest = Manifest(
        VERSION,
        1,
        "tiny",
        "local",
        0,
        "",
        "fp16",
        "image",
        "logits",
        (1, 3, 24, 24),
        ("red", "green"),
        SPEC,
        {"fp32": 1e-3, "fp16": 3e-2, "int8": 0.3},
        None,
        None,
        "classification",
        (),
        {},
        {},
    )
    write_manifest(folder, manifest._replace(**changes))
