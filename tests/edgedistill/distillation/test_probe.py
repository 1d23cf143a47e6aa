"""teacher.mode = "probe" and "auto"."""

import json
import math

import numpy as np
import pytest
import torch

from edgedistill.cli.main import main
from edgedistill.config.loading import recipe_from_table
from edgedistill.distillation.probe import LogisticHead, head_from_features, put_head
from edgedistill.errors import RecipeError
from edgedistill.models.build import build_model, outputs
from edgedistill.stages import teacher as stage


def loss(head, features, labels, weights, scale):
    """What the head minimises, one image after another."""
    total = 0.0
    for view in features:
        for image, label, weight in zip(view, labels, weights, strict=True):
            logits = [
                sum(w * x for w, x in zip(row, image, strict=True)) + b
                for row, b in zip(head.weight, head.bias, strict=True)
            ]
            total += weight * (math.log(sum(map(math.exp, logits))) - logits[label])
    squares = float((head.weight**2).sum()) * scale**2  # of the weights on scaled features
    return total / (len(features) * len(labels)) + head.l2 / 2 * squares


def problem(images=40, views=2, width=3, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(images) % classes
    centres = rng.normal(size=(classes, width))
    features = centres[labels] + rng.normal(size=(views, images, width)) * [0.5, 2.0, 1.0]
    return (
        features.astype(np.float32),
        labels,
        np.where(labels == 0, 2.0, 0.5) * images / sum(np.where(labels == 0, 2.0, 0.5)),
    )


def test_no_step_in_any_direction_lowers_the_loss():
    features, labels, weights = problem()
    head = head_from_features(features, labels, np.arange(40) % 4, weights, 3)
    flat = features.reshape(-1, 3).astype(float)
    scale = math.sqrt(flat.var(axis=0).mean())
    least = loss(head, features, labels, weights, scale)
    for index in np.ndindex(head.weight.shape):
        for step in (-0.02, 0.02):
            moved = head.weight.copy()
            moved[index] += step
            other = LogisticHead(moved, head.bias, head.l2, {})
            assert loss(other, features, labels, weights, scale) >= least
    for index in range(3):
        for step in (-0.02, 0.02):
            moved = head.bias.copy()
            moved[index] += step
            other = LogisticHead(head.weight, moved, head.l2, {})
            assert loss(other, features, labels, weights, scale) >= least


def test_the_strength_follows_the_folds_that_were_left_out():
    rng = np.random.default_rng(1)
    labels = np.arange(60) % 2
    noise = rng.normal(size=(1, 60, 20)).astype(np.float32)
    folds = np.arange(60) // 2 % 3
    weights = np.ones(60)
    clear = noise.copy()
    clear[0, :, 0] += np.where(labels == 1, 30, -30)
    ours = head_from_features(noise, labels, folds, weights, 2), head_from_features(clear, labels, folds, weights, 2)
    assert ours[0].l2 >= 1 > 0.01 >= ours[1].l2
    assert min(ours[0].scores.values()) == pytest.approx(math.log(2), rel=0.1)  # it knows nothing
    assert (ours[1].logits(clear[0]).argmax(axis=1) == labels).all()


def test_a_feature_that_is_nearly_constant_does_not_decide_alone():
    """It is 0 but for tiny noise in training, and 5 in another picture."""
    features, labels, weights = problem()
    features = features[..., :2]
    tiny = np.random.default_rng(2).normal(size=(*features.shape[:2], 1)) * 1e-6
    head = head_from_features(np.concatenate([features, tiny], axis=2), labels, np.arange(40) % 4, weights, 3)
    assert np.abs(head.weight[:, 2] * 5).max() < 0.1 * np.abs(head.weight[:, :2]).max()


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "squeezenet1_1", "shufflenet_v2_x0_5"])
def test_the_network_gives_the_head_s_logits(name):
    torch.manual_seed(0)
    model = build_model(name, 3).eval()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = outputs(model, images)[1].numpy()
        width = features.shape[1]
        rng = np.random.default_rng(3)
        head = LogisticHead(rng.normal(size=(3, width)) / width, rng.normal(size=3), 1.0, {})
        put_head(model, name, head)
        assert model(images).numpy() == pytest.approx(head.logits(features), abs=1e-4)


def test_a_network_without_features_to_read_is_refused():
    with pytest.raises(RecipeError, match=r"teacher.mode = 'probe' reads the features of a trained network"):
        recipe_from_table({"data": {"train": "x"}, "teacher": {"mode": "probe", "weights": "scratch"}}, "r.toml")


@pytest.mark.parametrize(
    ("keys", "tries"),
    [
        ({}, ("finetune",)),
        ({"mode": "probe"}, ("probe",)),
        ({"mode": "auto"}, ("probe", "finetune")),
        ({"mode": "auto", "weights": "scratch"}, ("finetune",)),
        ({"mode": "auto", "weights": "ours.safetensors", "epochs": 0}, ("finetune",)),  # as they are
    ],
)
def test_what_is_tried(keys, tries):
    assert recipe_from_table({"data": {"train": "x"}, "teacher": keys}, "r.toml").teacher.tries == tries


def test_a_recipe_of_before_has_the_same_teacher():
    """Neither key is among what an older artifact was made from."""
    teacher = recipe_from_table({"data": {"train": "x"}}, "r.toml").teacher
    assert {"mode", "probe_views"}.isdisjoint(teacher.training)
    assert {"mode", "probe_views"} <= set(teacher.model_copy(update={"mode": "probe"}).training)
    nothing_to_probe = teacher.model_copy(update={"mode": "auto", "weights": "scratch"})
    assert {"mode", "probe_views"}.isdisjoint(nothing_to_probe.training)


@pytest.mark.parametrize(
    ("mode", "fewest", "kept"),
    [
        ("probe", 100, "probe"),
        ("auto", 100, "probe"),
        ("auto", 1, None),
    ],
)
def test_the_stage(finished_run, tmp_path, monkeypatch, capsys, mode, fewest, kept):
    """A teacher whose features were learnt on these images: the head alone gets it back."""
    monkeypatch.setattr(stage, "FEWEST_VALIDATION_IMAGES", fewest)
    known = finished_run / "runs" / "r" / "teacher" / "weights.safetensors"
    words = [
        "teacher",
        str(finished_run / "r.toml"),
        "--run-dir",
        str(tmp_path / "r"),
        "--set",
        f"teacher.weights={known}",
        "--set",
        f"teacher.mode={mode}",
        "--set",
        "teacher.epochs=1",
    ]
    assert main(words) == 0
    values = json.loads((tmp_path / "r" / "teacher" / "teacher.json").read_text())
    told = capsys.readouterr().err
    assert values["validation"]["top1_fraction"] > 0.6  # chance is a third
    assert values["probe"]["views"] == 2
    if kept is None:
        figures = values["tried"]
        assert values["mode"] == ("finetune" if figures["finetune"] > figures["probe"] else "probe")
        assert values["validation"]["top1_fraction"] == figures[values["mode"]]
    else:
        assert (values["mode"], values["epochs"], values["history"]) == (kept, 0, [])
        assert ("do not tell whether fine-tuning is better" in told) == (mode == "auto")
    assert values["artifact"]["files"].keys() == {"weights.safetensors"}
