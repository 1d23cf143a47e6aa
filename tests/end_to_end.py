"""Images that the tests draw themselves, a recipe for them, and the command line as a process."""

import fcntl
import os
import shutil
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from command_client import Command
from forked import forked

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
model = "test_resnet"
weights = "scratch"
epochs = 3
batch_size = 16
peak_lr = 1e-2

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
allow_below_chance = true       # so few images and epochs show nothing
golden_images = 6
bench_runs = 20

[run]
threads = 1
"""
# What the command line imports that takes long; our own package comes first, as it says what OpenCV may decode.
HEAVY = (
    "edgedistill",
    "torch",
    "timm",
    "torchvision",
    "cv2",
    "albumentations",
    "onnx",
    "onnxruntime",
    "onnxslim",
    "matplotlib.figure",
    "jinja2",
    "optuna",
    "rich.live",
    "pydantic",
    "torch.onnx",
    "safetensors.torch",
    "torch.utils.tensorboard",
    "torch.distributed",
    "timm.optim",
    "scipy.optimize",
    "scipy.special",
    "scipy.sparse.csgraph",
)
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


def made_once(tmp_path_factory, name, make):
    """A copy for this worker of what `make(folder)` wrote for all workers: images/, linked, and what else is there."""
    base = tmp_path_factory.getbasetemp()
    source = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"first-{name}"
    with open(f"{source}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the worker that came first has made it
        if not (source / "made").exists():
            source.mkdir()
            make(source)
            (source / "made").touch()
    folder = tmp_path_factory.mktemp(name)
    ignored = {str(source): ("images", "made")}
    shutil.copytree(source, folder, ignore=lambda place, _: ignored.get(place, ()), dirs_exist_ok=True)
    (folder / "images").symlink_to(source / "images")  # a stage goes by where they are: it is up to date here too
    return folder


PRIVATE = "52.5200N 13.4050E, Anna's camera"  # what a photo tells beside its pixels


def add_private(folder):
    """Put a text into each PNG, as a camera does; no pixel changes."""
    chunk = b"tEXtLocation\0" + PRIVATE.encode()
    chunk = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    for path in folder.rglob("*.png"):
        content = path.read_bytes()
        path.write_bytes(content[:33] + chunk + content[33:])  # behind IHDR


def command_words():
    """What stands for `python -m edgedistill`: words of a command."""
    return forked(sys.executable, HEAVY, SOURCES), "-m", "edgedistill"


def socket_of_commands():
    """Where the server of `command_words` is asked for one."""
    return str(Path(command_words()[0]).with_name("socket"))


def edgedistill(*words, cwd, check=True, timeout=240, fresh=False):
    """Run the command line in a process of its own; `fresh`: one that imports everything itself."""
    words = ["-m", "edgedistill", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    if fresh:
        command = [sys.executable, *words]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout, env=environment)
    else:
        done = _forked_run(words, str(cwd), environment, timeout)
    assert not check or done.returncode == 0, done.stderr
    return done


def _forked_run(words, cwd, env, timeout_s):
    """As subprocess.run gives it, without a process that stands for the command."""
    readers, writers = zip(os.pipe(), os.pipe(), strict=True)
    begun = Command(socket_of_commands(), words, cwd, env, (0, *writers))
    with ThreadPoolExecutor(len(readers)) as pool, closing(begun) as command:
        for writer in writers:
            os.close(writer)
        said = [pool.submit(_text, reader) for reader in readers]
        try:
            code = command.wait(timeout_s)
        except TimeoutError:
            command.kill()
            raise subprocess.TimeoutExpired(words, timeout_s) from None
        return subprocess.CompletedProcess(words, code, *(text.result() for text in said))


def _text(descriptor):
    with open(descriptor, encoding="utf-8") as file:
        return file.read()
