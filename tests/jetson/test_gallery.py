"""A network without classes: it answers with the nearest enrolled image, and classes come and go without training."""

import io
import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from bundles import SOURCES, SPEC, expected_logits, make_bundle, pretend_verified, sign
from edgedistill_device.__main__ import main
from edgedistill_device.decode import read_image
from edgedistill_device.engine.embedding_checks import at_least
from edgedistill_device.engine.runners import open_runner
from edgedistill_device.engine.verify import compare
from edgedistill_device.errors import BackendError, GalleryError, ManifestError, VerifyError
from edgedistill_device.inference.answers import line_of, shown_of
from edgedistill_device.inference.gallery import (
    Gallery,
    digest_of,
    gallery_bytes,
    gallery_of_photos,
    network_digest,
    read_gallery,
    unit_rows,
    write_gallery,
)
from edgedistill_device.manifest import read_manifest
from edgedistill_device.preprocess import view

LIMITS = {"min_cosine": {"fp32": 0.9999, "fp16": 0.999, "int8": 0.9}}


def embedding_bundle(folder, pictures=None):
    """The tiny bundle, its two outputs read as an embedding, with a gallery of its first and its last picture."""
    folder = make_bundle(folder, pictures)
    images = os.path.join(folder, "golden", "images")
    names = sorted(os.listdir(images))
    chosen = [names[0], names[-1]]
    rows = [expected_logits(view(read_image(os.path.join(images, name)), SPEC)) for name in chosen]
    sign(folder, task="embedding", provenance=LIMITS)
    gallery = Gallery(
        unit_rows(rows),
        np.arange(2, dtype=np.int32),
        digest_of(read_manifest(folder)),
        ("red", "green"),
        tuple(chosen),
        ("fp32, workstation",) * 2,
        {"fp32": -0.5},
        0.95,
    )
    write_gallery(os.path.join(folder, "gallery.npz"), gallery)
    sign(folder, task="embedding", provenance=LIMITS)
    return folder


@pytest.fixture
def bundle(tmp_path):
    return pretend_verified(embedding_bundle(tmp_path / "bundle"))


@pytest.fixture
def photos(tmp_path):
    """Ten blue photographs: a class that nothing was ever made for."""
    folder, rng = tmp_path / "photos" / "blue", np.random.RandomState(1)
    folder.mkdir(parents=True)
    for number in range(10):
        image = rng.randint(0, 40, (40, 52, 3)).astype(np.uint8)
        image[..., 0] += 200
        assert cv2.imwrite(str(folder / ("%d.png" % (number,))), image)
    return str(folder)


def content_of(path):
    with open(path, "rb") as file:
        return file.read()


def ran(capsys, *words):
    """(last line of stdout as JSON or None, stderr) of a verb."""
    code = main(list(words))
    out, err = capsys.readouterr()
    assert code == (1 if err and not out else 0), err
    return (json.loads(out.splitlines()[-1]) if out else None), err


def verb(bundle, name, *words):
    return [name, "--backend", "onnxruntime", "--bundle", bundle] + list(words)


def answers(bundle, capsys, *words):
    assert main(verb(bundle, "classify") + list(words)) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()][:-1]


def plain_cosine(first, second):
    return float(np.dot(first, second) / np.linalg.norm(first) / np.linalg.norm(second))


def test_the_answer_is_the_nearest_enrolled_image(bundle, capsys):
    images = os.path.join(bundle, "golden", "images")
    rows = answers(bundle, capsys, images)
    seen = [expected_logits(view(read_image(row["path"]), SPEC)) for row in rows]
    assert [row["class"] for row in rows] == ["red", "red", "green", "green"]
    for row, outputs in zip(rows, seen):
        assert row["decided_by"] == "nearest"
        assert [one["nearest"] for one in row["top"]] in (["0000.png", "0003.png"], ["0003.png", "0000.png"])
        for one in row["top"]:
            enrolled = seen[int(one["nearest"][:4])]
            assert one["cosine"] == pytest.approx(plain_cosine(outputs, enrolled), abs=1e-4)
    assert rows[0]["top"][0]["cosine"] == pytest.approx(1, abs=1e-5)
    assert shown_of(rows[0]) is rows[0]["top"]
    assert line_of(rows[0]) == "red 1.00"
    assert len(answers(bundle, capsys, "--top", "1", images)[0]["top"]) == 1


def test_a_class_is_added_by_ten_photographs_and_removed(bundle, photos, capsys):
    before = content_of(os.path.join(bundle, "gallery.npz"))
    said, _ = ran(capsys, *verb(bundle, "gallery", "add", "blue", photos))
    assert (said["added"], said["class_images"], said["nearest_own_class"]) == (10, 10, 10)
    assert said["classes"] == {"red": 1, "green": 1, "blue": 10}
    row = answers(bundle, capsys, os.path.join(photos, "3.png"))[0]
    assert (row["class"], row["top"][0]["nearest"]) == ("blue", "3.png")
    said, _ = ran(capsys, *verb(bundle, "gallery", "add", "blue", photos))
    assert said["classes"]["blue"] == 10, "the same photographs again take the place of the first"
    made = read_gallery(os.path.join(bundle, "work", "gallery.npz"), digest_of(read_manifest(bundle)))
    assert made.made_by == ("fp32, workstation",) * 2 + ("fp32, onnxruntime",) * 10
    assert content_of(os.path.join(bundle, "gallery.npz")) == before, "what was signed stays"
    assert sorted(name for name in os.listdir(os.path.join(bundle, "work")) if "gallery" in name) == [
        "gallery.npz",
        "gallery.npz.lock",
    ]
    said, _ = ran(capsys, *verb(bundle, "gallery", "remove", "red"))
    assert said["classes"] == {"green": 1, "blue": 10}
    assert answers(bundle, capsys, os.path.join(photos, "3.png"))[0]["class"] == "blue"
    assert ran(capsys, *verb(bundle, "gallery", "list"))[0]["classes"] == said["classes"]


def test_a_folder_of_photographs_is_a_gallery(bundle, photos, capsys):
    shutil.copytree(os.path.join(bundle, "golden", "images"), os.path.join(os.path.dirname(photos), "mixed"))
    rows = answers(bundle, capsys, "--gallery", os.path.dirname(photos), photos)
    assert {row["class"] for row in rows} == {"blue"}
    assert {one["class"] for one in rows[0]["top"]} == {"blue", "mixed"}


def test_what_is_near_nothing_is_unknown(bundle, photos, capsys):
    manifest = read_manifest(bundle)
    path = os.path.join(bundle, "gallery.npz")
    gallery = read_gallery(path, digest_of(manifest))
    write_gallery(path, gallery._replace(unknown_below={"fp32": 0.9999}))
    sign(bundle, task="embedding", provenance=LIMITS)
    pretend_verified(bundle)
    row = answers(bundle, capsys, os.path.join(photos, "0.png"))[0]
    assert (row["class"], row["decided_by"]) == ("unknown", "unknown")
    assert line_of(row).startswith("unknown ")
    assert answers(bundle, capsys, os.path.join(bundle, "golden", "images", "0000.png"))[0]["class"] == "red"


def test_the_limit_is_of_the_precision_that_computes():
    gallery = Gallery(
        np.eye(2, dtype=np.float32), np.arange(2, dtype=np.int32), "", "ab", "xy", "mm", {"int8": 0.9}, 0.9
    )
    near = np.array([1.0, 1.0])
    assert gallery.served("fp16").answer(near, 2)["class"] == "a"
    assert gallery.served("int8").answer(near, 2)["class"] == "unknown"
    with pytest.raises(BackendError, match="NaN or infinity"):
        gallery.answer(np.array([np.nan, 0.0]), 1)
    with pytest.raises(GalleryError, match="gives 3 figures, the gallery's images have 2"):
        gallery.answer(np.ones(3), 1)


def test_another_networks_gallery_is_refused_in_a_line(bundle, tmp_path, photos, capsys):
    other = str(tmp_path / "other.npz")
    manifest = read_manifest(bundle)
    with open_runner("onnxruntime", bundle, manifest) as runner:
        mine = gallery_of_photos([("blue", [os.path.join(photos, "0.png")])], manifest, runner)
    framed = manifest.preprocess._replace(resize_px=30)
    digest = network_digest(manifest.files["model.onnx"].sha256, framed)
    write_gallery(other, mine._replace(network=digest))
    for words in (["classify", "--gallery", other, photos], ["gallery", "--gallery", other, "list"]):
        assert main(verb(bundle, words[0], *words[1:])) == 1
        err = capsys.readouterr().err
        assert "made with another network" in err
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["gallery", "remove", "blue"], "blue: it is not in the gallery; classes: red, green"),
        (["gallery", "add", "unknown", "{photos}"], "a class cannot be called 'unknown'"),
        (["gallery", "add", "blue", "{photos}", "{photos}"], "two of the photographs have the same file name"),
        (["gallery", "add", "blue", "/nowhere.png"], "no such file or folder"),
        (["classify", "--gallery", "/nowhere.npz", "{photos}"], "no gallery that can be read: No such file"),
        (["classify", "--gallery", "{photos}", "{photos}"], "expected a folder of photographs for each class"),
        (["frames"], "answers with the nearest enrolled image"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(bundle, photos, capsys, words, line):
    words = [word.replace("{photos}", photos) for word in words]
    assert main(verb(bundle, words[0], *words[1:])) == 1
    err = capsys.readouterr().err
    assert line in err
    assert err.count("\n") == 1
    assert not os.path.exists(os.path.join(bundle, "work", "gallery.npz"))


def test_a_bundle_of_classes_has_no_gallery(tmp_path, photos, capsys):
    folder = pretend_verified(make_bundle(tmp_path / "classes"))
    assert main(verb(folder, "gallery", "list")) == 1
    assert "a bundle of classification names its classes itself" in capsys.readouterr().err
    assert main(verb(folder, "classify", "--gallery", photos, photos)) == 1
    assert "a bundle of classification has no gallery" in capsys.readouterr().err


def damaged(bundle, change):
    """The bundle's gallery with its arrays changed."""
    with np.load(os.path.join(bundle, "gallery.npz")) as stored:
        arrays = {name: stored[name] for name in stored.files}
    change(arrays)
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def _about(**changes):
    def change(arrays):
        about = dict(json.loads(arrays["about"].tobytes().decode()), **changes)
        arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays.pop("labels"),
        lambda arrays: arrays.update(labels=np.array([0, 2], np.int32)),
        lambda arrays: arrays.update(embeddings=arrays["embeddings"][:1]),
        lambda arrays: arrays.update(embeddings=arrays["embeddings"] * np.float32(np.nan)),
        lambda arrays: arrays.update(embeddings=np.array([{"a": 1}, {}], object)),
        lambda arrays: arrays.update(about=np.zeros(3, np.uint8)),
        _about(version=2),
        _about(names=["a"]),
        _about(names=["a", 3]),
        _about(unknown_below={"fp32": 7.0}),
        _about(unknown_below=[0.5]),
    ],
)
def test_a_damaged_gallery_is_refused_in_a_line(bundle, tmp_path, change):
    path = tmp_path / "damaged.npz"
    path.write_bytes(damaged(bundle, change))
    with pytest.raises(GalleryError, match="not a gallery that edgedistill wrote"):
        read_gallery(str(path), digest_of(read_manifest(bundle)))


@pytest.mark.parametrize("length", [0, 40, 400, -1])
def test_a_cut_gallery_is_refused_in_a_line(bundle, tmp_path, length):
    content = content_of(os.path.join(bundle, "gallery.npz"))
    path = tmp_path / "cut.npz"
    path.write_bytes(content[:length])
    with pytest.raises(GalleryError, match=r"cut\.npz: n"):
        read_gallery(str(path), digest_of(read_manifest(bundle)))


def test_a_change_that_is_interrupted_leaves_the_gallery_of_before(bundle, tmp_path, monkeypatch):
    path = str(tmp_path / "gallery.npz")
    gallery = read_gallery(os.path.join(bundle, "gallery.npz"), digest_of(read_manifest(bundle)))
    write_gallery(path, gallery)

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_gallery(path, gallery.without_class("red"))
    assert read_gallery(path, gallery.network).classes == ("red", "green")
    assert gallery_bytes(gallery) == content_of(path)


def test_two_changes_do_not_meet(bundle, photos, capsys):
    from edgedistill_device.lock import held

    os.makedirs(os.path.join(bundle, "work"), exist_ok=True)
    with held(os.path.join(bundle, "work", "gallery.npz.lock"), AssertionError()):
        assert main(verb(bundle, "gallery", "add", "blue", photos)) == 1
    assert "is being changed by another command" in capsys.readouterr().err


def test_health_classifies_every_golden_image_with_the_gallery(bundle, capsys):
    assert main(verb(bundle, "health")) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["classified"] == 4
    os.makedirs(os.path.join(bundle, "work"), exist_ok=True)
    with open(os.path.join(bundle, "work", "gallery.npz"), "wb") as file:
        file.write(b"half a file")
    assert main(verb(bundle, "health")) == 1
    assert "not a gallery that edgedistill wrote" in capsys.readouterr().err


# verify


class Answers(object):
    """A runner that gives these embeddings, an image at a time."""

    backend, engine_sha256 = "onnxruntime", None

    def __init__(self, rows, executed):
        self._rows, self.executed = iter(rows), executed

    def infer(self, batch):
        return next(self._rows)[np.newaxis].astype(np.float32)


@pytest.fixture
def many(tmp_path):
    """Twenty goldens of two classes, and the largest tolerance of values: only what is about embeddings refuses."""
    from bundles import reddish_and_greenish

    folder = embedding_bundle(tmp_path / "many", reddish_and_greenish(20))
    sign(folder, task="embedding", provenance=LIMITS, tolerance={"fp32": 1e-3, "fp16": 3e-2, "int8": 9.0})
    return folder


def goldens(bundle):
    return np.load(os.path.join(bundle, "golden", "logits.npy")).astype(np.float64)


def compared(bundle, rows, executed="int8"):
    return compare(bundle, read_manifest(bundle), Answers(rows, executed))


def test_verify_tells_cosine_and_recall(many):
    found = compared(many, goldens(many), "fp32")
    assert found["lowest_cosine"] == pytest.approx(1, abs=1e-6)
    assert (found["recall_at_1_images"], found["min_cosine"]) == (20, 0.9999)
    assert found["recall_at_1_fraction"] == found["workstation_recall_at_1_fraction"] == 1
    assert "top1_fraction" not in found


def test_one_embedding_that_points_elsewhere_is_noticed(many):
    rows = goldens(many)
    for degrees, passes in ((20, True), (27, False)):  # arccos of 0.9 is 25.8
        turn = np.radians(degrees)
        turned = rows.copy()
        turned[7] = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]).dot(rows[7])
        if passes:
            assert compared(many, turned)["lowest_cosine"] == pytest.approx(np.cos(turn), abs=1e-3)
        else:
            with pytest.raises(VerifyError, match="a cosine of 0.89.* at least 0.9000 is expected"):
                compared(many, turned)


def test_embeddings_that_all_look_alike_are_noticed_by_their_neighbours(many):
    """A range that is much too small lets every image come out nearly the same; the directions alone may pass."""
    limits = {"min_cosine": {"int8": -1.0}}
    sign(many, task="embedding", provenance=limits, tolerance={"int8": 9.0})
    rows = goldens(many)
    flat = rows.mean(axis=0) + 1e-3 * np.random.RandomState(0).normal(size=rows.shape)
    with pytest.raises(VerifyError, match="golden images .* too many are lost"):
        compared(many, flat)
    assert compared(many, rows)["recall_at_1_fraction"] == 1


def test_a_bundle_without_limits_is_refused(many):
    for provenance in ({}, {"min_cosine": {"int8": "0.9"}}, {"min_cosine": {"int8": 2}}):
        sign(many, task="embedding", provenance=provenance, tolerance={"int8": 9.0})
        with pytest.raises(ManifestError, match="no cosine for int8"):
            compared(many, goldens(many))


def test_the_sign_test_is_that_of_a_fair_coin():
    assert at_least(0, 0) == 1
    assert at_least(3, 3) == pytest.approx(1 / 8)
    assert at_least(7, 7) == pytest.approx(1 / 128)
    assert at_least(2, 4) == pytest.approx(11 / 16)


def test_the_verb_works_as_a_process_without_a_locale(bundle, photos):
    environment = dict(os.environ, PYTHONPATH=SOURCES, LC_ALL="C")
    name = os.path.join(photos, "gr\u00fcn.png".encode("utf-8").decode("utf-8"))
    shutil.copyfile(os.path.join(photos, "0.png"), name)
    words = verb(bundle, "gallery", "add", "bl\u00e5", photos)
    done = subprocess.Popen(
        [sys.executable, "-m", "edgedistill_device"] + words,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=bundle,
    )
    out, err = done.communicate()
    assert done.returncode == 0, err
    assert json.loads(out.decode("ascii").splitlines()[-1])["classes"] == {"red": 1, "green": 1, "bl\u00e5": 11}
