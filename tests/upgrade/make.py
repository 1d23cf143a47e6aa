"""Write earlier_release.tar.xz beside this file: what the release of today leaves on a disk. See README.md.

A run of all stages whose weights are then set to zero or to a pattern, so that they compress; the stamps are the
run folder's own again. Its bundle is deployed twice, through a real sshd, to a board that runs ONNX Runtime.

    PYTHONPATH=.:jetson:calibration:tests:tests/jetson:tests/torture python tests/upgrade/make.py
"""

import lzma
import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import onnx
import safetensors.torch
import torch
from safetensors import safe_open

from board_behind_sshd import TestBoard, make_keys
from edgedistill.bundles.signing import sign_bundle
from edgedistill.config.loading import load_recipe
from edgedistill.pipeline.plan import inputs_of
from edgedistill.pipeline.run_folder import RunFolder
from edgedistill.pipeline.runner import run_stages
from edgedistill.pipeline.table import stages_of
from edgedistill.progress.reporter import Talk
from edgedistill.records.result import Result
from edgedistill_device.manifest import read_manifest, write_manifest
from end_to_end import edgedistill, write_images
from small_recipe import small_recipe
from sshd import Sshd

HERE = Path(__file__).parent
PLACE = Path(tempfile.gettempdir()) / "edgedistill-upgrade"  # stands in the artifacts: no folder of a person
NATIVE = {"bundle", "deploy", "report"}  # made anew from what was emptied


def emptied(path):
    """Set the weights in a file to zero; of a network that is run later, to a pattern."""
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as file:
            about = file.metadata()
        state = {name: torch.zeros_like(tensor) for name, tensor in safetensors.torch.load_file(path).items()}
        safetensors.torch.save_file(state, path, about)
    elif path.suffix == ".onnx":
        model = onnx.load(path)
        for tensor in model.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1:
                tensor.raw_data = pattern(tensor.dims).tobytes()
            elif tensor.data_type == onnx.TensorProto.FLOAT16:
                tensor.raw_data = bytes(len(tensor.raw_data))
        onnx.save(model, path)
    elif path.name == "pixels.u8":  # four shades are left; the bundle's images are frames.u8
        path.write_bytes((np.fromfile(path, np.uint8) & 0xC0).tobytes())
    elif path.name.startswith("shard-"):  # the teacher's logits for training
        np.save(path, np.zeros_like(np.load(path)))


def pattern(dims):
    """61 random numbers again and again, at He's scale for the shape: a network that answers, in few bytes."""
    few = np.random.default_rng(0).normal(scale=(2 / np.prod(dims[1:])) ** 0.5, size=61).astype(np.float32)
    few = (few.view(np.uint32) & 0xFFFF0000).view(np.float32)  # bfloat16's precision
    return np.resize(few, np.prod(dims))


def empty(recipe, folder):
    """Every stage up to `quantize` once more, as `RunFolder.finish` stamps it, with zeros for weights."""
    with RunFolder(folder) as run:
        for stage in stages_of(recipe):
            if stage.name in NATIVE:
                continue
            known = run.artifact(stage.name)
            stamp = known.pop("artifact")
            inputs = inputs_of(stage, recipe, run, lambda stamp=stamp: stamp["inputs"]["source files"])
            shutil.copytree(folder / stage.name, run.begin(stage.name, inputs), dirs_exist_ok=True)
            (folder / f"{stage.name}.partial" / f"{stage.name}.json").unlink()
            for name in stamp["files"]:
                emptied(folder / f"{stage.name}.partial" / name)
            result = Result(known, tuple(stamp["files"]), stamp["cost"])
            run.finish(stage.name, inputs, result, stamp["seconds"])


def deploy(recipe, bundle, receipts):
    """ROOT of a board that got the bundle with serial 1, then 2."""
    keys = make_keys(PLACE / "keys")
    board = TestBoard(PLACE / "board", os.environ.get("EDGEDISTILL_PYTHON36", sys.executable))
    receipts.mkdir()
    with Sshd(PLACE / "sshd") as server:
        board.enrol(server.config, keys, target=recipe.target.device)
        for serial in (1, 2):
            (bundle / "manifest.json.sig").unlink(missing_ok=True)
            write_manifest(str(bundle), read_manifest(str(bundle))._replace(serial=serial))
            sign_bundle(bundle, keys.name, keys=keys.public.parent)
            board.deploy(server.config, bundle, receipts / "board.json")
    return board.root


def pack(folders, to):
    """One archive, since a bundle lies in both: names in order, no owner."""
    with lzma.open(to, "wb", preset=9 | lzma.PRESET_EXTREME) as file, tarfile.open(fileobj=file, mode="w") as tar:
        for path in (path for folder in folders for path in sorted(folder.rglob("*"))):
            if "__pycache__" in path.parts or path.name in {".lock", "lock"}:
                continue
            folder = next(folder for folder in folders if path.is_relative_to(folder))
            info = tar.gettarinfo(path, str(Path(folder.name) / path.relative_to(folder)))
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            with open(path if info.isreg() else os.devnull, "rb") as content:
                tar.addfile(info, content if info.isreg() else None)
    print(to.name, to.stat().st_size, "bytes")


def main():
    os.environ |= {"XDG_DATA_HOME": str(PLACE / "data")}
    shutil.rmtree(PLACE, ignore_errors=True)
    write_images(PLACE / "images", per_class=8)
    (PLACE / "r.toml").write_text(small_recipe())
    edgedistill("quantize", "r.toml", "--run-dir", "run", cwd=PLACE)
    finish()


def finish():
    """From a run whose `quantize` is done."""
    os.chdir(PLACE)
    recipe, run = load_recipe(Path("r.toml")), PLACE / "run"
    empty(recipe, run)
    run_stages(recipe, run, Talk(quiet=True))
    shutil.copytree(run / "bundle" / "bundle", PLACE / "bundle")
    root = deploy(recipe, PLACE / "bundle", run / "deployments")
    pack((run, root), HERE / "earlier_release.tar.xz")
    shutil.rmtree(PLACE)


if __name__ == "__main__":
    main()
