"""What the workstation reads: recipes, lists of images, shards, ONNX files, weights."""

import io
import tarfile

import torch

from bundles import BIAS, SPEC, WEIGHT
from edgedistill.config.data import DataConfig
from edgedistill.config.loading import load_recipe
from edgedistill.config.target import load_target
from edgedistill.data.shards import read_bytes
from edgedistill.data.sources import list_items, list_pool
from edgedistill.errors import DataError, EdgeDistillError, PreflightError, WeightsError
from edgedistill.models.weights import about_of, load_weights, model_from_weights, save_weights
from edgedistill.onnx_model.preflight import check_onnx
from monitored_target import Target
from optional_tools import imported
from small_recipe import small_recipe
from tiny_onnx import model_bytes

CSV = b'path,label,group\na.png,x,1\n"b, c.png",y,2\nd.png,x,\n'
DATA = DataConfig(train="x", group_column="group")


def through_a_file(path, read):
    def call(content):
        path.write_bytes(content)
        read(path)

    return call


def listed(path):
    for item in [*list_items(path, DATA if path.suffix == ".csv" else DataConfig(train="x"))]:
        if path.suffix == ".tar":
            read_bytes(item.path)
    list_pool(path, DATA)


def recipe(folder):
    corpus = [small_recipe().encode(), b'[data]\ntrain = "~x/\\u0000"\n[distill]\nseed = -1\n']
    return Target(corpus, through_a_file(folder / "r.toml", load_recipe), EdgeDistillError, folder)


def csv(folder):
    return Target([CSV], through_a_file(folder / "t.csv", listed), DataError, folder)


def parquet(folder):
    pyarrow, parquet = (imported(name, "make install") for name in ("pyarrow", "pyarrow.parquet"))
    content = io.BytesIO()
    parquet.write_table(pyarrow.table({"path": ["a.png", "b.png"], "label": ["x", "y"]}), content)
    return Target([content.getvalue()], through_a_file(folder / "t.parquet", listed), DataError, folder)


def shard(folder):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, body in (("a.png", b"x" * 90), ("a.cls", b"1"), ("b.jpg", b"y" * 9), ("b.json", b'{"label": "z"}')):
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return Target([content.getvalue()], through_a_file(folder / "t.tar", listed), (DataError, OSError), folder)


def onnx(folder):
    nano = load_target("jetson-nano")
    call = through_a_file(folder / "m.onnx", lambda path: check_onnx(path, nano))
    return Target([model_bytes(WEIGHT, BIAS, SPEC.image_px)], call, PreflightError, folder)


def _weights(path):
    about_of(path)
    try:
        load_weights(path)
    except WeightsError:
        model_from_weights("mobilenetv3_small_050", str(path), ["a", "b"], will_train=True)


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body = torch.nn.Linear(2, 2)


def safetensors(folder):
    seed = folder / "seed.safetensors"
    save_weights(Tiny(), seed, {"model": "mobilenetv3_small_050", "classes": ["a", "b"], "preprocess": {}})
    call = through_a_file(folder / "w.safetensors", _weights)
    return Target([seed.read_bytes()], call, EdgeDistillError, folder)


def torch_file(folder):
    seed = folder / "seed.pth"
    torch.save({"state_dict": {"x": torch.zeros(2)}}, seed)
    return Target([seed.read_bytes()], through_a_file(folder / "w.pth", _weights), EdgeDistillError, folder)
