"""A folder of wide 12-bit pictures: what `new` says of it, and the whole pipeline with what the board then sees."""

import json
import tomllib

import cv2
import numpy as np
import pytest

from edgedistill.onnx_model.exported_file import preprocess_from_onnx
from edgedistill_device.decode import read_image
from edgedistill_device.preprocess import view
from end_to_end import RECIPE, draw, edgedistill

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("wide"), np.random.default_rng(0)
    for kind in ("disc", "square"):
        (folder / "images" / kind).mkdir(parents=True)
        for number in range(14):
            beside = rng.integers(0, 90, (48, 48 * 3, 3), dtype=np.uint8)
            parts = [beside[:, : 48 * (number % 4)], draw(kind, rng), beside[:, 48 * (number % 4) :]]
            picture = np.concatenate(parts, axis=1).astype(np.uint16) * 16
            cv2.imwrite(str(folder / "images" / kind / f"{number}.png"), picture)
    return folder


def test_new_says_what_is_lost_and_proposes_what_loses_less(wide, tmp_path):
    done = edgedistill("new", "--train", wide / "images", tmp_path / "n.toml", cwd=tmp_path)
    said = done.stderr + done.stdout
    assert "width over height 4.00: the middle square of 64 px shows 25% of the pictures' area" in said
    assert "28 pictures of 16 bits" in said
    data = tomllib.loads((tmp_path / "n.toml").read_text())["data"]
    assert data["image_px"] == [32, 128]
    assert data["sixteen_bit"] == 12


def test_data_says_what_is_lost_where_the_recipe_loses_it(wide, tmp_path):
    (tmp_path / "r.toml").write_text(RECIPE.replace('"images"', json.dumps(str(wide / "images"))))
    done = edgedistill("data", "r.toml", cwd=tmp_path)
    assert "the network is shown 25% of the pictures' area: see data.fit" in done.stderr
    assert "become 16 grey levels: see data.sixteen_bit" in done.stderr


def test_the_whole_road_with_a_rectangle_bars_and_twelve_bits(wide, tmp_path):
    recipe = RECIPE.replace('"images"', json.dumps(str(wide / "images")))
    recipe = recipe.replace("image_px = 32\ncrop_fraction = 1.0", 'image_px = [32, 64]\nfit = "pad"\nsixteen_bit = 12')
    (tmp_path / "r.toml").write_text(recipe)
    edgedistill(
        "run",
        "r.toml",
        "--set",
        "distill.feature_loss=fitnet",
        "--set",
        "teacher.epochs=1",
        "--set",
        "distill.epochs=1",
        "--set",
        "quantize.qad_epochs=1",
        cwd=tmp_path,
    )
    run = tmp_path / "runs" / "r"
    manifest = json.loads((run / "bundle/bundle/manifest.json").read_text())
    assert manifest["input_shape"] == [1, 3, 32, 64]
    assert manifest["preprocess"]["image_px"] == [32, 64]
    assert manifest["preprocess"]["fit"] == "pad"
    assert manifest["preprocess"]["sixteen_bit"] == [0, 4095]
    spec = preprocess_from_onnx(run / "export" / "student.onnx")
    golden = run / "bundle" / "bundle" / "golden"
    images = [view(read_image(path, spec.sixteen_bit), spec) for path in sorted((golden / "images").iterdir())]
    assert np.array_equal(np.stack(images), np.load(golden / "inputs.npy"))
    assert images[0].shape == (32, 64, 3)
    assert (images[0][0] == 114).all()  # 4:1 in 2:1: bars above and below
    report = json.loads((run / "report" / "report.json").read_text())
    assert report["device"]["verify"]["mean_pixel_difference"] == 0
    assert report["provenance"]["recipe"]["data"]["image_px"] == [32, 64]
    assert (
        "32 x 64 px (height x width, the whole picture with grey bars)"
        in (run / "bundle/bundle/MODEL_CARD.md").read_text()
    )
