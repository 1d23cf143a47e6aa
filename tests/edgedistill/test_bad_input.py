"""The mistakes that users make: one clear line, exit code 1, nothing half-written."""

import cv2
import numpy as np
import pytest

from end_to_end import CHECKPOINTS, RECIPE, command_words, edgedistill, write_images
from optional_tools import lacking

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    write_images(tmp_path / "images", per_class=16)
    (tmp_path / "r.toml").write_text(RECIPE)
    return tmp_path


def refused(folder, *words):
    done = edgedistill("data", "r.toml", *words, cwd=folder, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "runs" / "r" / "data").exists()
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("distill.temprature=2", "[distill] has no key 'temprature'; did you mean 'temperature'?"),
        ("distill.temp=4", "[distill] has no key 'temp'; did you mean 'temperature'?"),
        (
            "decide.recall=0.9",
            "expected a table that names the class, as in --set 'decide.recall={ crack = 0.9 }', got 0.9",
        ),
        (
            "distill.kd_weight=2",
            "distill.kd_weight: input should be less than or equal to 1, got 2",
        ),
        (
            "target.device=jetson-nana",
            "target 'jetson-nana' is unknown; did you mean 'jetson-nano'?",
        ),
        ("student.model=mobilenetv3_smal_100", "no model 'mobilenetv3_smal_100'; did you mean"),
        ("student.model=vit_tiny_patch16_224", "is not a student family"),
        ("data.train=nowhere", "no such folder or file"),
        ("nonsense", "expected section.key=value"),
    ],
)
def test_a_wrong_recipe_key(folder, override, line):
    verb = "export" if "device" in override else "data"
    done = edgedistill(verb, "r.toml", "--set", override, cwd=folder, check=False)
    assert done.returncode == 1
    assert line in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_class(folder):
    (folder / "images" / "empty").mkdir()
    (folder / "images" / "scans").mkdir()
    (folder / "images" / "scans" / "1.dcm").write_bytes(b"x")
    assert "the class 'scans' has no images that can be read, only 1 .dcm (DICOM" in refused(folder)
    (folder / "images" / "scans" / "1.dcm").unlink()
    done = edgedistill("data", "r.toml", cwd=folder)
    assert "folder 'empty' left out: empty" in done.stderr


def test_a_truncated_image(folder):
    path = folder / "images" / "disc" / "000.png"
    path.write_bytes(path.read_bytes()[:200])
    assert "000.png: a truncated PNG" in refused(folder)
    done = edgedistill("data", "r.toml", "--set", "data.skip_unreadable=true", cwd=folder)
    assert "1 unreadable, first" in done.stderr


def test_a_text_file_named_png(folder):
    (folder / "images" / "disc" / "notes.png").write_text("not an image")
    assert "notes.png: not an image that OpenCV can decode" in refused(folder)


def test_classes_that_differ_between_splits(folder, tmp_path):
    write_images(tmp_path / "val", per_class=2, seed=1, kinds=("disc", "square"))
    line = refused(folder, "--set", f"data.val={tmp_path / 'val'}")
    assert "val lacks ['stripes']" in line


def test_one_image_under_two_labels(folder):
    source = folder / "images" / "disc" / "000.png"
    (folder / "images" / "square" / "copy.png").write_bytes(source.read_bytes())
    assert "the same image has two labels" in refused(folder)


def test_an_empty_pool(folder):
    (folder / "pool").mkdir()
    assert "pool: no images in it" in refused(folder, "--set", "data.unlabelled=pool")


def test_a_truncated_shard(folder):
    (folder / "s.tar").write_bytes(b"x" * 700)
    assert "s.tar: not a whole, uncompressed tar" in refused(folder, "--set", "data.train=s.tar")


def test_a_class_too_small_to_split(folder):
    (folder / "images" / "rare").mkdir()
    cv2.imwrite(str(folder / "images" / "rare" / "1.png"), np.full((40, 40, 3), 9, np.uint8))
    assert "class 'rare' has 1 image in 1 group, too few" in refused(folder)


def test_weights_of_another_architecture(folder, tmp_path):
    import torch

    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "w.pth")
    done = edgedistill("teacher", "r.toml", "--set", f"teacher.weights={tmp_path / 'w.pth'}", cwd=folder, check=False)
    assert done.returncode == 1
    assert "does not hold the weights of test_resnet" in done.stderr
    assert "Traceback" not in done.stderr


def test_pickled_code_in_a_weights_file_is_not_run(folder, tmp_path):
    import torch

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    torch.save({"x": Evil()}, tmp_path / "w.pth")
    done = edgedistill("teacher", "r.toml", "--set", f"teacher.weights={tmp_path / 'w.pth'}", cwd=folder, check=False)
    assert done.returncode == 1
    assert "holds no loadable weights" in done.stderr
    assert not (tmp_path / "owned").exists()


def test_a_full_disk(folder):
    """A tmpfs of 100 kB; needs root."""
    import os
    import subprocess

    place = folder / "small"
    place.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(place)], capture_output=True
        ).returncode
    ):
        lacking("right to mount a tmpfs", "run as root")
    try:
        done = edgedistill("data", "r.toml", "--run-dir", place / "run", cwd=folder, check=False)
        assert done.returncode == 1
        assert "No space left" in done.stderr
        assert "Traceback" not in done.stderr
        assert not (place / "run" / "data").exists()
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_ctrl_c_is_one_line(folder):
    import signal
    import subprocess
    import time

    process = subprocess.Popen(
        [*command_words(), "distill", "r.toml", "--set", "distill.epochs=500", *CHECKPOINTS],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    seen = ""
    while "] baseline:" not in seen and "] distill:" not in seen:
        line = process.stderr.readline()
        assert line, seen
        seen += line
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert (
        "stopped in stage distill; what is finished and the last checkpoint are kept; run the same command to resume: "
        in rest
    )
    assert "Traceback" not in rest
