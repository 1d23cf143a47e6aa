"""Images to look at: in a finished run against its own files, names that tell nothing, and what has no heat maps."""

import csv
import json
from pathlib import PurePosixPath

import cv2
import numpy as np
import pytest
import torch

import edgedistill
from edgedistill.core.files import write_json
from edgedistill.data.heat import beside_its_heat, heated
from edgedistill.data.prepared import open_prepared
from edgedistill.distillation.cached_outputs import CachedOutputs, image_list_digest
from edgedistill.onnx_model.export import onnx_from_model
from edgedistill.records.report import ReportRecord
from edgedistill.reporting.look_closer import answers_on_train, shown_names, with_heat
from edgedistill.reporting.page import html_from_report
from record_factories import page_of, report_of
from report_pages import looked_at, undrawn


def rows_of(run, split):
    with (run / "data" / "images.csv").open(encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["split"] == split]


def softmax(logits):
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_the_report_of_a_real_run(finished_run):
    run = finished_run / "runs" / "r"
    report = json.loads((run / "report" / "report.json").read_text(encoding="utf-8"))
    look, rows = report["look_closer"], rows_of(run, "test")
    logits = np.load(run / "evaluate" / "test_logits.npz")
    decided = json.loads((run / "decide" / "decide.json").read_text(encoding="utf-8"))
    assert look["temperature"] == decided["board"]["fp32"]["temperature"]
    student = softmax(logits["student"] / look["temperature"])
    wrong = np.flatnonzero(student.argmax(1) != logits["labels"])
    by_label = sorted((student[i, logits["labels"][i]], i) for i in wrong)
    assert [one["position"] for one in look["worst"]] == [i for _, i in by_label[:10]]
    for one in [*look["worst"], *look["doubtful"]]:
        row, said = rows[one["position"]], student[one["position"]]
        assert row["sha256"] == one["sha256"]
        assert one["file"] == "/".join(row["path"].split("/")[-2:]), "class and name; no folder of this computer"
        assert one["label"] == row["label"]
        expected = sorted(zip(said, report["data"]["classes"], strict=True), reverse=True)[:2]
        assert [answer["class"] for answer in one["student"]] == [name for _, name in expected]
        assert [answer["probability"] for answer in one["student"]] == pytest.approx([p for p, _ in expected])
    confused = {
        (a, b): count
        for a, row in enumerate(report["student"]["confusion"])
        for b, count in enumerate(row)
        if a != b and count
    }
    names = report["data"]["classes"]
    assert {(names.index(c["label"]), names.index(c["predicted"])): c["images"] for c in look["confusions"]} == confused
    assert all(len(cell["shown"]) == min(12, cell["images"]) for cell in look["confusions"])
    assert look["heat"] is None
    assert look["heat_reason"] == "student.onnx gives no heat maps: its last feature map has a single place"
    assert look["suspects"]["train_images"] is not None


def test_the_teacher_s_answers_on_training_images_are_those_of_the_cache(finished_run):
    run = finished_run / "runs" / "r"
    recipe = edgedistill.recipe(finished_run / "r.toml")
    resize_px = json.loads((run / "data" / "data.json").read_text())["resize_px"]
    found = answers_on_train(open_prepared(run / "data", recipe, resize_px), run / "logits")
    rows, views = rows_of(run, "train"), recipe.distill.views
    records = np.concatenate([np.load(path) for path in sorted((run / "logits").glob("shard-*.npy"))])
    by_view = softmax(records["logits"]).reshape(-1, len(rows), len(found.teacher[0]))
    assert len(by_view) == views
    np.testing.assert_allclose(found.teacher, by_view.mean(axis=0), atol=1e-5)
    assert list(found.sha256) == [row["sha256"] for row in rows]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"image list": image_list_digest(["another"])}, "was not asked about the training images themselves"),
        ({"transform": {"mixing": {}}}, "mixtures of two training images"),
    ],
)
def test_a_cache_of_other_images_is_no_ground(finished_run, tmp_path, change, said):
    run = finished_run / "runs" / "r"
    recipe = edgedistill.recipe(finished_run / "r.toml")
    images = open_prepared(run / "data", recipe, json.loads((run / "data" / "data.json").read_text())["resize_px"])
    for path in (run / "logits").glob("shard-*.npy"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    header = json.loads((run / "logits" / "cache.json").read_text())
    header["belongs_to"] |= change
    write_json(tmp_path / "cache.json", header)
    assert CachedOutputs(tmp_path).images == len(images.rows("train"))
    why = answers_on_train(images, tmp_path)
    assert said in why


def test_names_tell_no_folder_of_this_computer():
    below = [PurePosixPath(f"/home/me/parts/{name}") for name in ("crack/1.jpg", "good/a/b/c/2.jpg")]
    assert shown_names(below) == ["crack/1.jpg", "b/c/2.jpg"]
    assert shown_names([PurePosixPath("/home/me/one.jpg")]) == ["one.jpg"]
    assert shown_names([PurePosixPath("/a/\x1b[2J.jpg"), PurePosixPath("/a/\udc80.jpg")]) == [
        "\\x1b[2J.jpg",
        "\\udc80.jpg",
    ]
    assert shown_names([]) == []


def chosen(classes=("red", "green")):
    return looked_at(list(classes), "x.png", 20).model_copy(update={"heat": None})


def exported(path, net, px=32):
    onnx_from_model(
        net.eval(),
        np.zeros((1, 3, px, px), np.float32),
        path,
        {
            "preprocess": json.dumps(
                {"image_px": px, "resize_px": px, "interpolation": "area", "mean": [0] * 3, "std": [1] * 3}
            )
        },
    )
    return path


def test_maps_are_of_the_answer_that_was_given(tmp_path):
    """One half of the picture speaks for the first class, the other for the second."""
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 2, 8, 8, bias=False), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    with torch.no_grad():
        net[0].weight[:] = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]])[:, :, None, None]
    frame = np.zeros((32, 32, 3), np.uint8)
    frame[:, :16, 0] = frame[:, 16:, 1] = 255
    look, maps = with_heat(chosen(), exported(tmp_path / "s.onnx", net), lambda image: frame, ["red", "green"])
    assert (look.heat.kind, look.heat.rows, look.heat.columns, look.heat_reason) == ("exact", 4, 4, "")
    rows = [*look.worst, *look.doubtful]
    assert set(maps) == {row.sha256 for row in rows}
    answers = {row.student[0].class_name for row in rows}
    assert answers == {"red", "green"}
    for row in rows:
        orange = maps[row.sha256][:, :, 0].astype(int) - maps[row.sha256][:, :, 2]
        left, right = orange[:, :8].mean(), orange[:, 24:].mean()
        assert (left > right + 50) == (row.student[0].class_name == "red")


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (
            lambda: [torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2)],
            "s.onnx gives no heat maps: they need a network",
        ),
        (
            lambda: [torch.nn.Conv2d(3, 2, 32), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()],
            "s.onnx gives no heat maps: ",
        ),
    ],
)
def test_without_maps_the_page_says_why(tmp_path, net, said, stages_to_read, recipe):
    path = exported(tmp_path / "s.onnx", torch.nn.Sequential(*net()))
    look, maps = with_heat(chosen(), path, lambda image: np.zeros((32, 32, 3), np.uint8), ["red", "green"])
    assert (look.heat, maps) == (None, {})
    assert said in look.heat_reason
    with undrawn():
        assert f"{look.heat_reason}." in page_of(report_of(stages_to_read, recipe, look_closer=look))


def test_a_report_of_an_older_release_has_no_such_section(stages_to_read, recipe):
    report = report_of(stages_to_read, recipe)
    with undrawn():
        page = page_of({key: value for key, value in report.items() if key != "look_closer"})
    assert 'id="look"' not in page
    assert "#look" not in page
    assert "#cell-" not in page


def test_pictures_that_the_page_has_no_room_for_are_named(stages_to_read, recipe):
    report = report_of(stages_to_read, recipe, look_closer=looked_at(["a", "b"], "deep/x.png"))
    worst = report["look_closer"]["worst"][0]["sha256"]
    with undrawn():
        page = html_from_report(ReportRecord.from_json(report, "r"), None, {worst: b"jpeg"}, {worst: b"hot"})
    assert page.count("data:image/jpeg;base64,anBlZw==") >= 1
    assert page.count("data:image/jpeg;base64,aG90") == 1, "heat maps stand with the clearest errors and closest calls"
    assert "Without a picture, to keep this page small: <bdi>deep/<wbr>x." in page


def test_orange_lies_where_the_heat_is(rng):
    frame = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    heat = np.zeros((4, 6))
    heat[1, 4] = 1
    drawn = heated(frame, heat)
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    assert (drawn[25:, :25] == grey[25:, :25, None]).all(), "without heat the picture in grey"
    centre = drawn[15, 45].astype(float)
    expected = 0.4 * grey[15, 45] + 0.6 * np.array([255, 106, 0])
    assert np.abs(centre - expected).max() < 12
    large = beside_its_heat(frame, heat)
    assert large.shape == (280, 840, 3)
    assert (large[::7, :420:7] == frame).all()
