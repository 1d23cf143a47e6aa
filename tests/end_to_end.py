"""Images that the tests draw themselves, a recipe for them, and the command line as a process."""

import fcntl
import functools
import os
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SOURCES = os.pathsep.join(str(ROOT / folder) for folder in (".", "jetson", "calibration"))  # for PYTHONPATH

RECIPE = """
[data]
train = "images"
image_px = 32
crop_fraction = 1.0

[augment]
crop_scale_min = 0.8
transforms = [{ name = "HorizontalFlip", p = 0.5 }]

[teacher]
model = "resnet10t"
weights = "scratch"
epochs = 3
batch_size = 16
peak_lr = 3e-3

[student]
model = "mobilenetv3_small_050"
weights = "scratch"

[distill]
temperature = 2.0
feature_weight = 0.1
epochs = 4
batch_size = 16
views = 2

[quantize]
calibration_images = 16

[target]
precision = "int8"

[deploy]
golden_images = 6
bench_runs = 20

[run]
threads = 1
"""
SERVERS = []
CHECKPOINTS = ("--set", "run.checkpoint_seconds=0.1")  # for tests that stop a training


def draw(kind, rng, side=48):
    """A disc, a square or stripes at a random place on noise: (side, side, 3) uint8 RGB."""
    image = rng.integers(0, 90, (side, side, 3), dtype=np.uint8)
    x, y = (int(v) for v in rng.integers(side // 3, 2 * side // 3, 2))
    colour = [int(v) for v in rng.integers(140, 255, 3)]
    size = int(rng.integers(side // 6, side // 3))
    if kind == "disc":
        cv2.circle(image, (x, y), size, colour, -1)
    elif kind == "square":
        cv2.rectangle(image, (x - size, y - size), (x + size, y + size), colour, -1)
    else:
        for offset in range(-size, size, 6):
            cv2.line(image, (x - size, y + offset), (x + size, y + offset), colour, 2)
    return image


def write_images(folder, per_class, seed=0, kinds=("disc", "square", "stripes")):
    rng = np.random.default_rng(seed)
    for kind in kinds:
        (folder / kind).mkdir(parents=True)
        for number in range(per_class):
            image = draw(kind, rng)
            assert cv2.imwrite(str(folder / kind / f"{number:03d}.png"), image[:, :, ::-1])
    return folder


def write_project(folder, per_class):
    """images/ and r.toml of RECIPE in a folder, which is given back."""
    write_images(folder / "images", per_class)
    (folder / "r.toml").write_text(RECIPE)
    return folder


PRIVATE = "52.5200N 13.4050E, Anna's camera"  # what a photo tells beside its pixels


def add_private(folder):
    """Put a text into each PNG, as a camera does; no pixel changes."""
    chunk = b"tEXtLocation\0" + PRIVATE.encode()
    chunk = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    for path in folder.rglob("*.png"):
        content = path.read_bytes()
        path.write_bytes(content[:33] + chunk + content[33:])  # behind IHDR


@functools.cache
def command_words():
    """What stands for `python -m edgedistill` without importing torch anew: words of a command.

    All workers of one pytest have one server for it, which ends with that pytest.
    """
    pytest = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    folder = Path(tempfile.gettempdir(), f"forked-{os.getuid()}-{pytest}")
    folder.mkdir(mode=0o700, exist_ok=True)
    program, place = Path(__file__).with_name("command_server.py"), folder / "socket"
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            server = subprocess.Popen(
                [sys.executable, program, "serve", place, str(pytest)],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": SOURCES},
            )
            while not place.exists():
                assert server.poll() is None
                time.sleep(0.02)
            SERVERS.append(server)  # it is not waited for
    return sys.executable, "-S", str(program), str(place)


def edgedistill(*words, cwd, check=True, timeout=240, fresh=False):
    """Run the command line in a process of its own; `fresh`: one that imports everything itself."""
    start = (sys.executable, "-m", "edgedistill") if fresh else command_words()
    command = [*start, *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout, env=environment)
    assert not check or done.returncode == 0, done.stderr
    return done
