"""Training, ONNX and the board see the same input, for every fit, shape and bit depth.

The board is Python 3.6 with its own OpenCV and ONNX Runtime where EDGEDISTILL_PYTHON36 names one, else
this interpreter in a process of its own.
"""

import json
import os
import subprocess

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from edgedistill.config.data import DataConfig
from edgedistill.data.framing import framing_of
from edgedistill.data.pixels import open_pixels
from edgedistill.data.prepare import prepare
from edgedistill.data.table import read_table
from edgedistill.models.build import preprocess_of, resize_px_of
from edgedistill.onnx_model.export import onnx_from_model
from edgedistill.onnx_model.exported_file import preprocess_from_onnx
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.training.batches import normalised
from edgedistill_device.preprocess import to_input
from edgedistill_device.preprocess_spec import dict_from_preprocess
from end_to_end import ROOT, SOURCES

pytestmark = pytest.mark.slow

MODEL = "mobilenetv3_small_050"
BOARD = """
import json, sys
import numpy as np
import onnxruntime
from edgedistill_device.decode import read_image
from edgedistill_device.preprocess import Preparer
from edgedistill_device.preprocess_spec import preprocess_from_dict
job = json.load(open(sys.argv[1]))
spec = preprocess_from_dict(job["preprocess"])
prepare = Preparer(spec)
session = onnxruntime.InferenceSession(job["model"], providers=["CPUExecutionProvider"])
batches = [prepare(read_image(path, spec.sixteen_bit)).copy() for path in job["paths"]]
logits = [session.run(None, {session.get_inputs()[0].name: batch})[0] for batch in batches]
np.savez(job["out"], inputs=np.concatenate(batches), logits=np.concatenate(logits))
"""
CASES = {
    "crop": {"image_px": 48},
    "crop of a rectangle, as ImageNet crops": {"image_px": [48, 64], "crop_fraction": 0.875},
    "pad": {"image_px": 48, "fit": "pad"},
    "pad into a rectangle, 12 bits": {"image_px": [32, 64], "fit": "pad", "sixteen_bit": 12},
    "squash": {"image_px": 48, "fit": "squash", "sixteen_bit": 14},
    "squash into a tall one, a thermal range": {"image_px": [64, 32], "fit": "squash", "sixteen_bit": [900, 3100]},
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Landscape, portrait, 4:1 and turned pictures of 8 and 16 bits, grey and in colour."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(4)
    sizes = ((90, 160), (160, 90), (40, 160), (60, 60), (33, 41))
    for number in range(20):
        place = folder / ("even" if number % 2 else "odd")
        place.mkdir(exist_ok=True)
        height, width = sizes[number % len(sizes)]
        image = cv2.resize(rng.integers(0, 256, (9, 16, 3), dtype=np.uint8), (width, height))
        deep = image.astype(np.uint16) * 16 + rng.integers(0, 16, image.shape, dtype=np.uint16)
        if number % 4 == 0:
            cv2.imwrite(str(place / f"{number}.png"), image)
        elif number % 4 == 1:
            cv2.imwrite(str(place / f"{number}.png"), deep)
        elif number % 4 == 2:
            cv2.imwrite(str(place / f"{number}.tiff"), deep[..., 0])
        else:
            turned = Image.Exif()
            turned[0x112] = 6
            Image.fromarray(image).save(place / f"{number}.jpg", exif=turned, quality=100, subsampling=0)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_training_onnx_and_board_see_the_same_input(pictures, tmp_path, forked_python, case):
    data = DataConfig(train=str(pictures), near_duplicate_similarity=0, **CASES[case])
    resize_px = resize_px_of(MODEL, data.image_px, data.crop_fraction or 1.0, data.fit)
    spec = preprocess_of(MODEL, data.image_px, resize_px, data.interpolation, data.fit, data.sixteen_bit_range)
    training_px = round(1.4 * min(data.size))
    prepare(data, resize_px, tmp_path, lambda line: None, training_px)
    table = read_table(tmp_path)
    stored = open_pixels(tmp_path, table.paths, data, resize_px, training_px)
    files = open_pixels(tmp_path, table.paths, data.model_copy(update={"store": "files"}), resize_px, training_px)
    rows = range(len(table.paths))
    frames = np.stack([stored.frame(row) for row in rows])
    assert frames.shape[1:] == (*data.size, 3)
    assert framing_of(data, resize_px, training_px).keeps_frames
    assert all(np.array_equal(frames[row], files.frame(row)) for row in rows)
    # Of JPEG files `files` decodes no more than a view needs.
    assert all(np.array_equal(stored[row], files[row]) for row in rows if table.paths[row].suffix != ".jpg")

    inputs = np.concatenate([to_input(frame, spec) for frame in frames])
    trained_on = normalised(torch.from_numpy(frames).permute(0, 3, 1, 2), spec).numpy()
    assert np.abs(trained_on - inputs).max() < 1e-6
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, 2), torch.nn.Flatten())
    model.append(torch.nn.Linear(model(torch.zeros(1, 3, *data.size)).shape[1], 4)).eval()
    path = tmp_path / "model.onnx"
    onnx_from_model(model, inputs, path, {"preprocess": json.dumps(dict_from_preprocess(spec))})
    assert preprocess_from_onnx(path) == spec
    with OnnxSession(path) as session:
        here = session.logits(inputs)

    board = on_the_board(forked_python, tmp_path, path, spec, table.paths)
    lossless = [row for row in rows if table.paths[row].suffix != ".jpg"]
    assert np.abs(board["inputs"] - inputs)[lossless].max() <= LEVEL / min(spec.std)
    assert np.abs(board["inputs"] - inputs).mean() <= 0.5 * LEVEL / min(spec.std)  # two JPEG decoders
    assert np.abs(board["logits"] - here).max() <= 0.02 * np.abs(here).max()


LEVEL = 1.01 / 255  # two releases of OpenCV may round one grey level differently


def on_the_board(python, folder, model, spec, paths):
    job = {
        "preprocess": dict_from_preprocess(spec),
        "model": str(model),
        "out": str(folder / "board.npz"),
        "paths": [str(path) for path in paths],
    }
    (folder / "job.json").write_text(json.dumps(job))
    done = subprocess.run(
        [python, "-c", BOARD, str(folder / "job.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": SOURCES, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return np.load(job["out"])
