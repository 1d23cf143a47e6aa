"""What is read of images is read once, also over kills: the log against a reading without one."""

import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from edgedistill.config.data import DataConfig
from edgedistill.data import readings
from edgedistill.data.prepare import prepare
from edgedistill.data.readings import LINES, ReadingLog, read_all
from edgedistill.progress.reporter import Talk
from end_to_end import ROOT, edgedistill, write_images


@pytest.fixture
def data(tmp_path, rng):
    """Two dozen images, one unreadable; a pool of copies, with new images between and behind them."""
    write_images(tmp_path / "images", per_class=8)
    (tmp_path / "images" / "disc" / "002b.png").write_bytes(b"no image")
    shutil.copytree(tmp_path / "images" / "disc", tmp_path / "pool")
    for name in ("001b", "006b", "z"):
        cv2.imwrite(str(tmp_path / "pool" / f"{name}.png"), rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    return DataConfig(
        train=str(tmp_path / "images"), unlabelled=str(tmp_path / "pool"), skip_unreadable=True, image_px=32
    )


@pytest.fixture
def read_now(monkeypatch):
    """Paths of the images that are opened."""
    opened, read_bytes = [], readings.read_bytes
    monkeypatch.setattr(readings, "read_bytes", lambda path: opened.append(path) or read_bytes(path))
    return opened


def made(data, out, log_folder=None, stop_after=None):
    """All files of stage data and its summary; or stopped at a line of the log, as a kill would."""
    out.mkdir(exist_ok=True)
    add = ReadingLog.add

    def stopped(log, path, stat, seen):
        nonlocal stop_after
        if stop_after == 0:
            raise KeyboardInterrupt
        stop_after -= 1
        add(log, path, stat, seen)

    with pytest.MonkeyPatch.context() as patch:
        if stop_after is not None:
            patch.setattr(ReadingLog, "add", stopped)
        summary = prepare(data, 32, out, lambda line: None, 48, log_folder=log_folder)
    return summary, {file.name: file.read_bytes() for file in sorted(out.iterdir()) if file.is_file()}


@pytest.mark.parametrize("stop_after", [0, 1, 5, 24, 25, 30, 36])
def test_an_interrupted_run_goes_on_and_ends_as_one_that_was_not(data, tmp_path, read_now, stop_after):
    expected = made(data, tmp_path / "whole")
    images = len(read_now)
    with pytest.raises(KeyboardInterrupt):
        made(data, tmp_path / "out", tmp_path / "log", stop_after)
    read_now.clear()
    found = made(data, tmp_path / "out", tmp_path / "log")
    assert found[0] == expected[0]
    assert found[1].keys() == expected[1].keys()
    for name in found[1].keys() - {"pixels.npz"}:  # a zip, which holds the time
        assert found[1][name] == expected[1][name], name
    shapes = [np.load(tmp_path / folder / "pixels.npz")["shapes"] for folder in ("whole", "out")]
    assert np.array_equal(*shapes)
    assert len(read_now) == images - stop_after


def test_a_half_line_and_half_pixels_are_made_again(data, tmp_path, read_now):
    _, expected = made(data, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        made(data, tmp_path / "out", tmp_path / "log", 9)
    lines = (tmp_path / "log" / LINES).read_bytes()
    (tmp_path / "log" / LINES).write_bytes(lines[:-10])
    with open(tmp_path / "out" / "pixels.u8", "ab") as file:
        file.write(b"half")
    read_now.clear()
    assert made(data, tmp_path / "out", tmp_path / "log")[1]["pixels.u8"] == expected["pixels.u8"]
    assert (
        len(read_now) == len(list((tmp_path / "images").rglob("*.png"))) + len(list((tmp_path / "pool").iterdir())) - 8
    )


def test_a_changed_image_and_those_behind_it_are_read_again(data, tmp_path, read_now):
    made(data, tmp_path / "out", tmp_path / "log")
    changed = tmp_path / "images" / "disc" / "003.png"
    changed.write_bytes((tmp_path / "images" / "disc" / "004.png").read_bytes())
    read_now.clear()
    found = made(data, tmp_path / "out", tmp_path / "log")[1]
    assert changed in read_now
    assert tmp_path / "images" / "disc" / "001.png" not in read_now
    shutil.rmtree(tmp_path / "whole", ignore_errors=True)
    assert found["pixels.u8"] == made(data, tmp_path / "whole")[1]["pixels.u8"]


def test_other_settings_and_another_start_of_the_computer_begin_anew(data, tmp_path, read_now, monkeypatch):
    paths = sorted((tmp_path / "images").rglob("*.png"))

    def read(**changes):
        read_now.clear()
        config = data.model_copy(update=changes)
        with ReadingLog(tmp_path / "log2", config, None) as log:
            seen = list(read_all(paths, config, None, log, Talk(quiet=True)))
        return len(read_now), [one if isinstance(one, str) else (one.sha256, one.size, one.grey) for one in seen]

    first, seen = read()
    assert (first, len(seen)) == (25, 25)
    assert read() == (0, seen)
    assert read(sixteen_bit="full")[0] == 0
    assert read(sixteen_bit=(5, 900))[0] == 25
    assert read(near_duplicate_similarity=0.0)[0] == 25
    (tmp_path / "boot").write_text("another")
    monkeypatch.setattr(readings, "_BOOT", tmp_path / "boot")
    assert read(near_duplicate_similarity=0.0)[0] == 25


SLOWLY = """
import sys, time
from edgedistill.data import readings
read_bytes = readings.read_bytes
readings.read_bytes = lambda path: time.sleep(0.03) or read_bytes(path)
from edgedistill.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["new", "data"])
def test_a_killed_command_goes_on_where_it_was(tmp_path, verb):
    write_images(tmp_path / "images", per_class=20)
    if verb == "new":
        words, log = ["new", "--train", "images", "r.toml"], tmp_path / ".r.toml.readings" / LINES
    else:
        (tmp_path / "r.toml").write_text(
            f'[data]\ntrain = "{tmp_path}/images"\nimage_px = 32\n[teacher]\nmodel = "resnet18"\nweights = "scratch"\n'
            '[student]\nmodel = "squeezenet1_1"\nweights = "scratch"\n'
        )
        words, log = ["data", "r.toml", "--run-dir", "run"], tmp_path / "run" / "data.partial" / "unfinished" / LINES
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, *words], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    )
    while child.poll() is None and (not log.exists() or log.read_bytes().count(b"\n") < 10):
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    stored = log.read_bytes().count(b"\n") - 1
    done = edgedistill(*words, cwd=tmp_path)
    assert f"{stored} of 60 images were read before an interruption and are not read again" in done.stderr + done.stdout
    assert not log.parent.exists()
    assert (tmp_path / "r.toml").exists()


def test_the_grey_levels_of_16_bit_images_alone_are_noted(tmp_path, rng):
    deep = rng.integers(300, 4000, (40, 50), dtype=np.uint16)
    deep[3, 4], deep[5, 6] = 17, 4095
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    cv2.imwrite(str(tmp_path / "flat.png"), (deep >> 4).astype(np.uint8))
    paths = [tmp_path / "deep.png", tmp_path / "flat.png"]
    for _ in range(2):  # read, and as the log has it
        with ReadingLog(tmp_path / "log", data_of := DataConfig(train="x"), None) as log:
            values = [seen.values for seen in read_all(paths, data_of, None, log, Talk(lambda line: None))]
        assert values == [(17, 4095), (-1, -1)]
