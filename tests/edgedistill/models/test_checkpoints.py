"""Weights that people bring: whatever wrapped them, with a head that is kept, ordered, or said to be gone."""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from edgedistill.config.loading import load_recipe, recipe_from_sections
from edgedistill.config.task import CLASSIFICATION, EMBEDDING, MULTILABEL, weights_note
from edgedistill.errors import EdgeDistillError, TeacherError, WeightsError
from edgedistill.models.build import architecture_of, build_model
from edgedistill.models.checkpoints import read_class_names
from edgedistill.models.weights import model_from_weights, save_weights

MODEL = "mobilenetv3_small_050"
CLASSES = ["ant", "bee", "cat"]


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(3)
    model = build_model(MODEL, 3)
    torch.nn.init.normal_(model.classifier.weight)
    torch.nn.init.normal_(model.classifier.bias)
    return model.eval()


class Settings(dict):
    """As Lightning's AttributeDict."""


def _attribute_dict(**values):
    Settings.__module__, Settings.__qualname__ = "lightning.fabric.utilities.data", "AttributeDict"
    Settings.__name__ = "AttributeDict"
    return Settings(values)


def prefixed(state, prefix):
    return {f"{prefix}{key}": tensor for key, tensor in state.items()}


SHAPES = {
    "plain": lambda state: state,
    "timm": lambda state: {
        "epoch": 3,
        "arch": MODEL,
        "state_dict": state,
        "metric": np.float64(0.9),
        "args": argparse.Namespace(model=MODEL, lr=0.1, opt=None, out=Path("a/b")),
    },
    "timm with averages": lambda state: {
        "state_dict": {key: torch.zeros_like(tensor) for key, tensor in state.items()},
        "state_dict_ema": state,
    },
    "torchvision with averages": lambda state: {
        "model": {key: torch.zeros_like(tensor) for key, tensor in state.items()},
        "args": argparse.Namespace(),
        "model_ema": {"n_averaged": torch.tensor(4), **prefixed(state, "module.")},
    },
    "ddp": lambda state: prefixed(state, "module."),
    "compiled": lambda state: prefixed(state, "_orig_mod."),
    "lightning": lambda state: {
        "state_dict": {**prefixed(state, "model."), "criterion.weight": torch.ones(3)},
        "pytorch-lightning_version": "2.4.0",
        "epoch": 1,
    },
    "lightning net compiled under ddp": lambda state: {"state_dict": prefixed(state, "net._orig_mod.module.")},
    "own wrapper": lambda state: {"model_state_dict": prefixed(state, "backbone.timm_model.")},
}


@pytest.mark.parametrize(
    ("shape", "ending"),
    [
        *((shape, ".pth") for shape in SHAPES),
        *((shape, ending) for shape in ("plain", "lightning") for ending in (".ckpt", ".pth.tar", ".weights")),
    ],
)
def test_every_wrapping_is_taken_off_and_the_head_kept(tmp_path, trained, shape, ending):
    torch.save(SHAPES[shape](trained.state_dict()), tmp_path / f"w{ending}")
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\n")
    model = model_from_weights(
        MODEL, str(tmp_path / f"w{ending}"), CLASSES, False, class_names=str(tmp_path / "names.txt")
    )
    theirs = trained.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in model.state_dict().items())


def test_settings_of_lightning_are_read_without_lightning(tmp_path, trained, monkeypatch):
    import sys
    import types

    made = _attribute_dict(lr=0.1, class_to_idx={"bee": 0, "ant": 2, "cat": 1})
    fake = types.ModuleType("lightning.fabric.utilities.data")
    fake.AttributeDict = Settings
    for name in ("lightning", "lightning.fabric", "lightning.fabric.utilities"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "lightning.fabric.utilities.data", fake)
        torch.save(
            {"state_dict": prefixed(trained.state_dict(), "model."), "hyper_parameters": made}, tmp_path / "w.ckpt"
        )
    model = model_from_weights(MODEL, str(tmp_path / "w.ckpt"), CLASSES, will_train=False)
    assert torch.equal(model.classifier.bias, trained.classifier.bias[[2, 0, 1]]), "by the names in it"


@pytest.mark.parametrize(
    ("names", "rows"),
    [
        ("cat\nant\nbee", [1, 2, 0]),
        ('["bee", "cat", "ant"]', [2, 0, 1]),
        ('{"0": "bee", "1": "ant", "2": "cat"}', [1, 0, 2]),
        ('{"cat": 0, "bee": 1, "ant": 2}', [2, 1, 0]),
    ],
)
def test_rows_of_the_head_are_put_in_the_datas_order(tmp_path, trained, names, rows):
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    (tmp_path / "names").write_text(names)
    said = []
    model = model_from_weights(
        MODEL, str(tmp_path / "w.pth"), CLASSES, will_train=False, class_names=str(tmp_path / "names"), say=said.append
    )
    assert torch.equal(model.classifier.weight, trained.classifier.weight[rows])
    assert torch.equal(model.classifier.bias, trained.classifier.bias[rows])
    (line,) = said
    assert "kept" in line


def test_a_head_with_more_classes_gives_those_of_the_data(tmp_path, trained):
    torch.save({"state_dict": trained.state_dict(), "classes": ["bee", "dog", "ant"]}, tmp_path / "w.pth")
    said = []
    model = model_from_weights(MODEL, str(tmp_path / "w.pth"), ["ant", "bee"], False, say=said.append)
    assert torch.equal(model.classifier.weight, trained.classifier.weight[[2, 0]])
    assert "2 of its 3 classes" in said[0]


def test_names_in_safetensors_are_read(tmp_path, trained):
    safetensors.torch.save_file(
        trained.state_dict(), tmp_path / "w.safetensors", {"class_names": json.dumps(["bee", "ant", "cat"])}
    )
    model = model_from_weights(MODEL, str(tmp_path / "w.safetensors"), CLASSES, will_train=False)
    assert torch.equal(model.classifier.bias, trained.classifier.bias[[1, 0, 2]])


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (CLASSES, "no class names: taken in the data's order"),
        (["ant", "bee"], "its head has 3 outputs, the data 2 classes: a new one is trained"),
    ],
)
def test_a_head_is_never_dropped_or_guessed_without_a_line(tmp_path, trained, classes, said):
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    lines = []
    model = model_from_weights(MODEL, str(tmp_path / "w.pth"), classes, will_train=True, say=lines.append)
    assert any(said in line for line in lines)
    assert torch.equal(model.conv_stem.weight, trained.conv_stem.weight)
    kept = len(classes) == 3 and torch.equal(model.classifier.weight, trained.classifier.weight)
    assert kept == (len(classes) == 3)
    with pytest.raises(TeacherError, match=r"teacher\.classes|teacher\.epochs"):
        model_from_weights(MODEL, str(tmp_path / "w.pth"), classes, will_train=False)


def test_a_linear_layer_in_a_sequential_is_the_head(tmp_path, trained):
    state = {re.sub("^classifier", "classifier.1", key): tensor for key, tensor in trained.state_dict().items()}
    torch.save({"state_dict": state, "classes": CLASSES}, tmp_path / "w.pth")
    model = model_from_weights(MODEL, str(tmp_path / "w.pth"), CLASSES, will_train=False)
    assert torch.equal(model.classifier.weight, trained.classifier.weight)


def test_weights_without_a_head_get_a_new_one_and_a_line(tmp_path, trained):
    state = {key: tensor for key, tensor in trained.state_dict().items() if not key.startswith("classifier")}
    torch.save(state, tmp_path / "w.pth")
    lines = []
    model_from_weights(MODEL, str(tmp_path / "w.pth"), CLASSES, will_train=True, say=lines.append)
    assert "has no head" in lines[0]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("ant\nbee", "names 2 classes, the head has 3 outputs"),
        ("ant\nbee\nape", "does not name [cat]"),
        ("ant\nbee\nant", "names the class 'ant' twice"),
        ("", "expected class names"),
    ],
)
def test_a_list_of_names_that_does_not_fit_is_refused(tmp_path, trained, names, said):
    torch.save(trained.state_dict(), tmp_path / "w.pth")
    (tmp_path / "names").write_text(names)
    for will_train in (True, False):
        with pytest.raises(EdgeDistillError) as error:
            model_from_weights(MODEL, str(tmp_path / "w.pth"), CLASSES, will_train, class_names=str(tmp_path / "names"))
        assert said in str(error.value)
        assert "\n" not in str(error.value)


def test_names_that_are_no_text_are_one_line(tmp_path):
    (tmp_path / "names").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WeightsError, match="not a readable list of class names"):
        read_class_names(tmp_path / "names")


def test_missing_and_unknown_tensors_are_counted_and_named(tmp_path, trained):
    state = dict(trained.state_dict())
    for key in ("conv_stem.weight", "bn1.bias"):
        del state[key]
    state["blocks.9.odd.weight"] = torch.zeros(1)
    state["conv_head.bias"] = torch.zeros(7)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError) as error:
        model_from_weights(MODEL, str(tmp_path / "w.pth"), CLASSES, will_train=True)
    line = str(error.value)
    assert "2 missing: conv_stem.weight, bn1.bias" in line
    assert "1 unknown: blocks.9.odd.weight" in line
    assert "1 of another shape: conv_head.bias ((7,), not (1024,))" in line


def test_two_networks_in_one_file_are_not_guessed_between(tmp_path, trained):
    both = {**prefixed(trained.state_dict(), "student."), **prefixed(trained.state_dict(), "teacher.")}
    torch.save({"state_dict": both}, tmp_path / "w.ckpt")
    with pytest.raises(WeightsError, match="holds 2 such networks, under 'student' and 'teacher'"):
        model_from_weights(MODEL, str(tmp_path / "w.ckpt"), CLASSES, will_train=True)


def test_a_pickled_network_is_refused_with_the_way_out(tmp_path, trained):
    torch.save(trained, tmp_path / "whole.pth")
    with pytest.raises(WeightsError, match=r"only running code from the file would read; .*state_dict"):
        model_from_weights(MODEL, str(tmp_path / "whole.pth"), CLASSES, will_train=True)


LITE, SIBLING = "efficientnet_lite0", "tf_efficientnet_lite0"  # names and shapes of their tensors are equal


@pytest.fixture(scope="module")
def sibling():
    return build_model(SIBLING, 3)


def ours(path, model, name, **note):
    save_weights(model, path, {"model": name, "classes": CLASSES, "preprocess": {}, **note})
    return str(path)


def theirs(path, model, **noted):
    torch.save({"state_dict": model.state_dict(), "classes": CLASSES, **noted}, path)
    return str(path)


@pytest.mark.parametrize("will_train", [False, True])
def test_our_weights_of_a_sibling_are_refused(tmp_path, sibling, will_train):
    """Its padding and the epsilon of its BatchNorm are others: the same tensors are another network."""
    file = ours(tmp_path / "w.safetensors", sibling, SIBLING)
    with pytest.raises(WeightsError, match=rf'made with {SIBLING}, not with {LITE}; set teacher.model = "{SIBLING}"'):
        model_from_weights(LITE, file, CLASSES, will_train)
    model_from_weights(SIBLING, file, CLASSES, will_train)


@pytest.mark.parametrize("noted", [{"arch": SIBLING}, {"args": argparse.Namespace(model=f"{SIBLING}.in1k")}])
def test_timms_weights_of_a_sibling_only_start_a_training(tmp_path, sibling, noted):
    file, said = theirs(tmp_path / "w.pth.tar", sibling, **noted), []
    with pytest.raises(TeacherError, match=rf"made with {SIBLING}.*, not with {LITE}, and will not be trained"):
        model_from_weights(LITE, file, CLASSES, will_train=False)
    model = model_from_weights(LITE, file, CLASSES, will_train=True, say=said.append)
    assert torch.equal(model.conv_stem.weight, sibling.conv_stem.weight)
    assert f"made with {SIBLING}" in said[0]
    model_from_weights(SIBLING, file, CLASSES, will_train=False)


@pytest.mark.parametrize("arch", [LITE, f"{LITE}.ra_in1k", f"timm/{LITE}.ra_in1k", "my_network", ""])
def test_a_tag_a_hub_and_a_name_that_timm_does_not_have_are_no_other_model(tmp_path, sibling, arch):
    said = []
    model_from_weights(LITE, theirs(tmp_path / "w.pth", sibling, arch=arch), CLASSES, False, say=said.append)
    assert "made with" not in "".join(said)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("mnasnet_a1", "semnasnet_100"),  # an entry that only calls another
        ("tv_resnet50", "resnet50"),  # deprecated
        ("resnet18.a1_in1k", "resnet18"),
        ("squeezenet1_1", "squeezenet1_1"),
        ("my_network", None),
    ],
)
def test_an_alias_is_the_network_that_it_builds(name, own):
    assert architecture_of(name) == own


@pytest.mark.parametrize(("theirs", "task"), [(MULTILABEL, CLASSIFICATION), (CLASSIFICATION, MULTILABEL)])
def test_the_head_of_another_task_is_not_kept(tmp_path, trained, theirs, task):
    """One answers each label for itself, the other one class of several: logits of one mean nothing as the other's."""
    file, said = ours(tmp_path / "w.safetensors", trained, MODEL, **weights_note(theirs)), []
    with pytest.raises(TeacherError, match=f"its head is one of {theirs.name}, the data's task is {task.name}"):
        model_from_weights(MODEL, file, CLASSES, False, task)
    model = model_from_weights(MODEL, file, CLASSES, True, task, say=said.append)
    assert not torch.equal(model.classifier.weight, trained.classifier.weight)
    assert torch.equal(model.conv_stem.weight, trained.conv_stem.weight)
    assert "a new one is trained" in said[0]
    kept = model_from_weights(MODEL, file, CLASSES, False, theirs)
    assert torch.equal(kept.classifier.weight, trained.classifier.weight)
    model_from_weights(MODEL, file, CLASSES, True, EMBEDDING)


ODD = {
    "conv_stem.weight of int8": ("conv_stem.weight", lambda tensor: (10 * tensor).to(torch.int8)),
    "classifier.weight of int8": ("classifier.weight", lambda tensor: (10 * tensor).to(torch.int8)),
    "conv_stem.weight of complex64": ("conv_stem.weight", lambda tensor: tensor.to(torch.complex64)),
    "classifier.weight, which is not dense": ("classifier.weight", lambda tensor: tensor.to_sparse()),
    "conv_head.bias, which has no values": ("conv_head.bias", lambda tensor: tensor.to("meta")),
}


@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
@pytest.mark.parametrize("fault", ODD)
def test_tensors_that_are_no_weights_are_one_line(tmp_path, trained, fault):
    key, change = ODD[fault]
    torch.save({**trained.state_dict(), key: change(trained.state_dict()[key])}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=f"1 tensors, like {fault}"):
        model_from_weights(MODEL, str(tmp_path / "w.pth"), CLASSES, will_train=True)


def test_counts_that_were_averaged_as_floats_are_taken(tmp_path, trained):
    """As timm's avg_checkpoints.py writes them."""
    state = {key: tensor.half() for key, tensor in trained.state_dict().items()}
    torch.save(state, tmp_path / "w.pth")
    model = model_from_weights(MODEL, str(tmp_path / "w.pth"), CLASSES, will_train=True)
    assert torch.equal(model.conv_stem.weight, trained.conv_stem.weight.half().float())


@pytest.mark.parametrize("bias", [torch.tensor(1.0), torch.zeros(5)])
def test_a_head_whose_layers_disagree_is_not_kept(tmp_path, trained, bias):
    torch.save({**trained.state_dict(), "classifier.bias": bias}, tmp_path / "w.pth")
    said = []
    model_from_weights(MODEL, str(tmp_path / "w.pth"), CLASSES, will_train=True, say=said.append)
    assert "has a head of another build: a new one is trained" in said[0]


@pytest.mark.parametrize("will_train", [False, True])
def test_a_class_that_a_checkpoint_names_twice_is_refused(tmp_path, trained, will_train):
    file = theirs(tmp_path / "w.pth", trained, classes=["ant", "ant", "bee"])
    with pytest.raises(WeightsError, match="names the class 'ant' of its head twice"):
        model_from_weights(MODEL, file, ["ant", "bee"], will_train)
    (tmp_path / "names").write_text("ant\ncat\nbee\n")
    model = model_from_weights(MODEL, file, ["ant", "bee"], will_train, class_names=str(tmp_path / "names"))
    assert torch.equal(model.classifier.bias, trained.classifier.bias[[0, 2]])


def test_paths_of_any_ending_are_relative_to_the_recipe(tmp_path):
    (tmp_path / "r.toml").write_text("""
[data]
train = "images"
[teacher]
weights = "runs/last.ckpt"
classes = "names.txt"
[student]
weights = "best"
[distill]
method = "ensemble"
teachers = [{ model = "resnet18", weights = "w.pth.tar", classes = "n.json" }, { model = "resnet18" }]
""")
    recipe = load_recipe(tmp_path / "r.toml")
    assert recipe.teacher.weights == str(tmp_path / "runs/last.ckpt")
    assert recipe.teacher.classes == str(tmp_path / "names.txt")
    assert recipe.student.weights == str(tmp_path / "best")
    first, second = recipe.distill.teachers
    assert (first.weights, first.classes) == (str(tmp_path / "w.pth.tar"), str(tmp_path / "n.json"))
    assert second.weights == "hub"
    packaged = load_recipe(tmp_path / "r.toml", ["teacher.weights=package:efficientnet_lite0"])
    assert packaged.teacher.weights == "package:efficientnet_lite0"
    mine = {"method": "progressive", "assistants": [{"model": "resnet18", "weights": "a.ckpt"}]}
    recipe_from_sections({"data": {"train": "x"}, "distill": mine}, None)
    assert mine["assistants"][0]["weights"] == "a.ckpt", "what the caller gave is not changed"
