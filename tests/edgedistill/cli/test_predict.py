"""`edgedistill predict`: the classes that the evaluated and the bundled student gives, and what is refused."""

import csv
import io
import json
import os
import shutil

import cv2
import numpy as np
import onnx
import pytest
import torch

import edgedistill
from edgedistill.cli.main import main
from edgedistill.data.annotate import annotated, places_of_copies, write_annotated
from edgedistill.data.find_images import FoundImage, find_images
from edgedistill.data.prepared import open_prepared
from edgedistill.errors import DataError, UsageError
from edgedistill.onnx_model.classify import Network, classify, network_of
from edgedistill.onnx_model.export import onnx_from_model
from edgedistill_device.decode import read_image
from edgedistill_device.preprocess import to_input, view
from edgedistill_device.preprocess_spec import Preprocess
from tiny_onnx import model_bytes

SPEC = Preprocess(8, 8, "area", (0.0,) * 3, (1.0,) * 3)
STORED = {"image_px": 8, "resize_px": 8, "interpolation": "area", "mean": [0, 0, 0], "std": [1, 1, 1]}


def with_metadata(file, key, value):
    model = onnx.load(file)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, {**kept, key: value})
    file.write_bytes(model.SerializeToString())


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder with an exported network of two classes, red and not, as export/student.onnx."""
    monkeypatch.chdir(tmp_path)
    model = onnx.load_from_string(model_bytes([[4.0, -1.0, 0.5], [-4.0, 3.0, 0.0]], [0.1, -0.2], 8))
    for key, value in (("preprocess", json.dumps(STORED)), ("classes", '["röt", "other"]')):
        model.metadata_props.add(key=key, value=value)
    (tmp_path / "r" / "export").mkdir(parents=True)
    (tmp_path / "r" / "export" / "student.onnx").write_bytes(model.SerializeToString())
    for name, colour in (("a/red.png", (0, 0, 255)), ("a/deep/green.png", (0, 255, 0)), ("b/red.png", (0, 0, 250))):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((40, 60, 3), colour, np.uint8))
    return tmp_path


def test_the_logits_are_those_that_were_evaluated_and_bundled(finished_run):
    """The files themselves through this verb's way, against what the stages stored of their prepared images."""
    folder = finished_run / "runs" / "r"
    recipe = edgedistill.recipe(finished_run / "r.toml")
    resize_px = json.loads((folder / "data" / "data.json").read_text())["resize_px"]
    images = open_prepared(folder / "data", recipe, resize_px)
    files = [images.table.paths[int(row)] for row in images.rows("test")]
    logits = np.stack([one.logits for one in classify(network_of(folder), files, 1)])
    stored = np.load(folder / "evaluate" / "test_logits.npz")["student"]
    assert len(files) == len(stored) > 4
    np.testing.assert_allclose(logits, stored, atol=1e-4 * np.abs(stored).max())

    bundle = folder / "bundle" / "bundle"
    golden = np.load(bundle / "golden" / "logits.npy")
    sent = sorted((bundle / "golden" / "images").iterdir())
    found = np.stack([one.logits for one in classify(network_of(bundle), sent, 1)])
    np.testing.assert_array_equal(found, golden)


def test_a_run_on_the_command_line(finished_run, capsys):
    folder, images = finished_run / "runs" / "r", finished_run / "images"
    assert main(["predict", str(folder), str(images), "--json", "--top", "2"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["path"] for row in rows] == [str(found.path) for found in find_images([images])]
    assert all(row["reason"] is None and len(row["top"]) == 2 for row in rows)
    assert all(sum(one["probability"] for one in row["top"]) <= 1 + 1e-9 for row in rows)
    teacher = edgedistill.predict(folder, images, top=2, model="teacher")
    assert [row["top"] for row in teacher] != [row["top"] for row in rows]
    with pytest.raises(edgedistill.EdgeDistillError, match="a bundle has no teacher; give the run folder"):
        edgedistill.predict(folder / "bundle" / "bundle", images, model="teacher")


def test_the_pixels_are_those_of_the_board(run):
    """Written out with the board's functions: decode, frame, normalise, and a softmax of the two sums."""
    (row,) = edgedistill.predict("r", "a/red.png", top=2)
    pixels = to_input(view(read_image("a/red.png"), SPEC), SPEC)
    logits = np.array([[4.0, -1.0, 0.5], [-4.0, 3.0, 0.0]]) @ pixels.mean(axis=(0, 2, 3)) + [0.1, -0.2]
    expected = np.exp(logits) / np.exp(logits).sum()
    assert [one["class"] for one in row["top"]] == ["röt", "other"]
    assert [one["probability"] for one in row["top"]] == pytest.approx(expected.tolist(), rel=1e-4)


def test_a_table_json_and_csv(run, capsys):
    assert main(["predict", "r", "a", "b/red.png", "--top", "1"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in table] == [
        ["a/red.png", "röt"],
        ["a/deep/green.png", "other"],
        ["b/red.png", "röt"],
    ]
    assert all(line.endswith(" %") for line in table)
    assert main(["predict", "r", "a", "--csv", "--top", "3"]) == 0
    head, *rows = csv.reader(io.StringIO(capsys.readouterr().out))
    assert head == [
        "path",
        "class_1",
        "probability_1",
        "class_2",
        "probability_2",
        "class_3",
        "probability_3",
        "reason",
    ]
    assert [(row[0], row[1], row[5:]) for row in rows] == [
        ("a/red.png", "röt", ["", "", ""]),
        ("a/deep/green.png", "other", ["", "", ""]),
    ]


def test_an_image_that_cannot_be_read_is_told_and_the_others_are_done(run, capsys):
    (run / "a" / "bad.png").write_bytes(b"no image")
    (run / "a" / "notes.txt").write_text("no image either")
    assert main(["predict", "r", "a", "none.jpg", "--json"]) == 1
    said = capsys.readouterr()
    rows = {row["path"]: row for row in map(json.loads, said.out.splitlines())}
    assert list(rows) == ["a/bad.png", "a/red.png", "a/deep/green.png", "none.jpg"]
    assert rows["a/bad.png"]["top"] == []
    assert "not an image" in rows["a/bad.png"]["reason"]
    assert rows["a/red.png"]["top"][0]["class"] == "röt"
    lines = said.err.splitlines()
    assert [line.partition(": ")[2].partition(":")[0] for line in lines] == ["a/bad.png", "none.jpg"]
    assert main(["predict", "r", "a"]) == 1
    assert "a/bad.png         not classified" in capsys.readouterr().out


def test_copies_are_annotated_and_the_originals_stay(run):
    before = (run / "a" / "red.png").read_bytes()
    edgedistill.predict("r", ["a", "b"], annotate="a/drawn")
    edgedistill.predict("r", ["a", "b"], annotate="a/drawn")  # its own copies are no images to classify
    written = sorted(str(path.relative_to(run / "a" / "drawn")) for path in (run / "a" / "drawn").rglob("*.png"))
    assert written == ["deep/green.png", "red-2.png", "red.png"]
    assert (run / "a" / "red.png").read_bytes() == before
    drawn, plain = read_image(run / "a" / "drawn" / "red.png"), read_image(run / "a" / "red.png")
    changed = (drawn != plain).any(axis=2)
    assert drawn.shape == plain.shape
    assert 0 < changed.mean() < 0.5
    for place in ("a", "."):
        with pytest.raises(UsageError, match="is one of the images; name another folder"):
            places_of_copies(run / place, find_images([run / place]))


def test_heat_maps_lie_over_what_spoke_for_the_answer(run, capsys):
    """A network that looks at every 8 x 8 square by itself: red ones speak for the first class, green ones against."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 8, 8), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    with torch.no_grad():
        net[0].weight[:] = torch.tensor([[4.0, -4.0, 0.0], [-4.0, 4.0, 0.0]])[:, :, None, None]
        net[0].bias[:] = 0
    stored = {**STORED, "image_px": 32, "resize_px": 32}
    metadata = {"preprocess": json.dumps(stored), "classes": '["red", "green"]'}
    onnx_from_model(net.eval(), np.zeros((1, 3, 32, 32), np.float32), run / "r" / "export" / "student.onnx", metadata)
    image = np.full((64, 64, 3), 100, np.uint8)
    image[16:32, 48:] = (0, 0, 255)  # BGR: one red square, of what becomes 4 x 4 places
    cv2.imwrite(str(run / "a" / "red.png"), image)
    for _ in range(2):  # its own pictures are no images to classify
        assert main(["predict", "r", "a", "--explain", "a/maps"]) == 0
    assert sorted(path.name for path in (run / "a" / "maps").rglob("*.png")) == ["green.png", "red.png"]
    drawn = read_image(run / "a" / "maps" / "red.png").astype(int)
    assert drawn.shape == (256, 512, 3), "the network's frame, and beside it the heat"
    orange = drawn[:, 256:, 0] - drawn[:, 256:, 2]
    hottest = [int(place) for place in np.unravel_index(orange.argmax(), orange.shape)]
    assert 64 <= hottest[0] < 128 <= 192 <= hottest[1]
    assert np.abs(orange[192:, :64]).max() < 12, "nothing speaks for red at the other end"
    assert main(["predict", "r", "a", "--explain", "out", "--annotate", "out"]) == 2
    assert "both write to out; name two folders" in capsys.readouterr().err


def test_a_network_without_heat_maps_still_classifies(run, capsys):
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 8, 2))
    metadata = {"preprocess": json.dumps(STORED), "classes": '["a", "b"]'}
    onnx_from_model(net.eval(), np.zeros((1, 3, 8, 8), np.float32), run / "r" / "export" / "student.onnx", metadata)
    assert main(["predict", "r", "a", "--explain", "maps"]) == 1
    assert (
        "student.onnx gives no heat maps: they need a network whose last feature map is averaged"
        in capsys.readouterr().err
    )
    assert main(["predict", "r", "a"]) == 0


def test_a_text_that_fits_the_picture():
    for size in ((16, 16), (400, 30), (30, 400), (1000, 1500)):
        image = np.full((*size, 3), 128, np.uint8)
        changed = (annotated(image, "a long name of a class 99.9 %") != image).any(axis=2)
        assert changed.any()
        assert not changed[size[0] // 2 + 2 :].any(), "it stays in the upper half"
        assert size[0] < 100 or not changed[:, -1].any(), "its end is inside"


def test_a_copy_is_written_in_a_folder_that_is_not_there_yet(tmp_path):
    place, image = tmp_path / "out" / "monday" / "line 1" / "a.png", np.full((40, 60, 3), (200, 100, 0), np.uint8)
    for text in ("disc", "square"):  # and once more, where it is
        write_annotated(place, image, text)
        assert np.array_equal(cv2.imread(str(place))[..., ::-1], annotated(image, text)), "red stays red"


def test_copies_of_kinds_that_are_not_written_become_png(tmp_path):
    images = [FoundImage(tmp_path / name, tmp_path.__class__(name)) for name in ("a.gif", "b.JPG")]
    assert [place.name for place in places_of_copies(tmp_path / "out", images)] == ["a.gif.png", "b.JPG"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["predict", "mobilenetv2_100"], 2, "is estimated by: edgedistill estimate mobilenetv2_100"),
        (["predict", "student.onnx"], 2, "is estimated by: edgedistill estimate student.onnx"),
        (["predict", "r/export/student.onnx", "a"], 2, "edgedistill estimate r/export/student.onnx"),
        (["estimate", "photo.JPG"], 2, "to classify images: edgedistill predict RUN photo.JPG"),
        (["predict", "r"], 1, "no images: name image files or folders"),
        (["predict", "r", "empty"], 1, "empty: no images in this folder"),
        (["predict", "runs/none", "a"], 1, "expected a run folder with export/student.onnx, or a bundle folder"),
        (["predict", "r", "a", "--model", "teacher"], 1, "expected a run folder with export/teacher.onnx"),
        (["predict", "r", "a", "--top", "0"], 2, "--top 0: expected at least 1 class"),
        (["predict", "r", "a", "--annotate", "r/export/student.onnx"], 1, "cannot write r/export/student.onnx/red.png"),
    ],
)
def test_refusals_are_one_line(run, capsys, words, code, said):
    (run / "empty").mkdir()
    assert main(words) == code
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("option", ["--target=jetson-nano", "--precision", "--image-px", "--classes", "--learn"])
def test_the_options_of_the_old_predict_are_told_where_they_are(capsys, option):
    with pytest.raises(SystemExit) as ended:
        main(["predict", "mobilenetv2_100", option, "1"])
    assert ended.value.code == 2
    assert (
        "the speed of a network is estimated by: edgedistill estimate, with the same options" in capsys.readouterr().err
    )


def test_a_network_that_gives_no_classes_is_refused(run):
    network = network_of(run / "r")
    with pytest.raises(edgedistill.EdgeDistillError, match="expected a logit for each of 3 classes, got 2 figures"):
        list(classify(Network(network.path, ("a", "b", "c"), network.preprocess), [run / "a" / "red.png"], 1))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: file.write_bytes(b"no ONNX"), "not a readable ONNX file"),
        (
            lambda file: file.write_bytes(model_bytes([[1.0, 0, 0], [0, 1.0, 0]], [0.0, 0.0], 8)),
            "no classes that edgedistill wrote",
        ),
        (lambda file: with_metadata(file, "classes", '{"a": 1}'), "no list of class names"),
        (lambda file: with_metadata(file, "preprocess", "[]"), "no preprocessing that edgedistill wrote"),
        (
            lambda file: with_metadata(file, "preprocess", json.dumps({**STORED, "image_px": 7})),
            "does not take an image",
        ),
    ],
)
def test_a_damaged_export_is_refused_in_one_line(run, capsys, damage, said):
    damage(run / "r" / "export" / "student.onnx")
    assert main(["predict", "r", "a"]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_damaged_bundle_is_refused_in_one_line(run, capsys):
    (run / "b" / "manifest.json").write_text("{}")
    assert main(["predict", "b", "a"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_figures_that_are_none_name_no_class(run, capsys):
    file = run / "r" / "export" / "student.onnx"
    file.write_bytes(model_bytes([[np.nan, 0, 0], [0, 1.0, 0]], [0.0, 0.0], 8))
    for key, value in (("preprocess", json.dumps(STORED)), ("classes", '["a", "b"]')):
        with_metadata(file, key, value)
    assert main(["predict", "r", "a/red.png", "--json", "--annotate", "drawn"]) == 1
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert row == {
        "path": "a/red.png",
        "top": [],
        "reason": "a/red.png: the network gives NaN or infinity, which is no class",
    }
    assert not (run / "drawn").exists()


def test_hidden_and_system_files_are_no_images(tmp_path):
    for name in ("a/.hidden.png", "a/__MACOSX/x.png", "a/x.png", "a/y.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [str(found.name) for found in find_images([tmp_path / "a"])] == ["x.png"]
    shutil.rmtree(tmp_path / "a")
    os.makedirs(tmp_path / "a")
    with pytest.raises(DataError):
        find_images([tmp_path / "a"])
