"""teacher.mode = "probe" and "auto"."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp

from edgedistill.cli.main import main
from edgedistill.config.loading import recipe_from_table
from edgedistill.data.table import read_table
from edgedistill.distillation import teacher_choice
from edgedistill.distillation.probe import LogisticHead, head_from_features, put_head
from edgedistill.errors import RecipeError
from edgedistill.models.build import build_model, outputs


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


def test_scores_are_the_weighted_losses_on_each_fold_by_a_head_without_it():
    """Features whose means differ: scaled by how they vary around them."""
    features, labels, weights = problem(images=24)
    features, folds = features[..., :2] + np.float32([40, -3]), np.arange(24) // 3 % 3
    found = head_from_features(features, labels, folds, weights, 3).scores
    flat = features.reshape(-1, 2).astype(float)
    scaled = (flat - flat.mean(axis=0)) / math.sqrt(flat.var(axis=0).mean())
    names, weighs, fold_of = (np.tile(each, 2) for each in (labels, weights, folds))

    def losses(values):
        logits = scaled @ values[:6].reshape(3, 2).T + values[6:]
        return logsumexp(logits, axis=1) - logits[np.arange(48), names]

    total = 0.0
    for fold in range(3):
        taught = weighs * (fold_of != fold) / weighs[fold_of != fold].sum()
        solved = minimize(lambda v, w=taught: w @ losses(v) + 0.5 * (v[:6] @ v[:6]), np.zeros(9)).x
        total += (weighs * losses(solved))[fold_of == fold].sum()
    assert found[1.0] == pytest.approx(total / weighs.sum(), rel=2e-3)


def test_images_of_one_fold_choose_nothing_and_get_the_strongest_penalty():
    features, labels, weights = problem()
    assert head_from_features(features, labels, np.zeros(40, int), weights, 3).l2 == 30


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
        ({"mode": "both"}, ("probe", "finetune")),
        ({"mode": "both", "weights": "scratch"}, ("finetune",)),
        ({"mode": "auto", "weights": "scratch"}, ("finetune",)),
        ({"mode": "auto", "weights": "ours.safetensors", "epochs": 0}, ("finetune",)),  # as they are
    ],
)
def test_what_is_tried(keys, tries):
    assert recipe_from_table({"data": {"train": "x"}, "teacher": keys}, "r.toml").teacher.tries == tries


def test_a_recipe_of_before_has_the_same_teacher():
    """Neither key is among what an older artifact was made from."""
    teacher = recipe_from_table({"data": {"train": "x"}}, "r.toml").teacher
    newer = {"mode", "probe_views", "choice_minutes", "steps"}
    assert newer.isdisjoint(teacher.training)
    assert newer & set(teacher.model_copy(update={"mode": "auto"}).training) == {"mode", "probe_views"}
    nothing_to_probe = teacher.model_copy(update={"mode": "auto", "weights": "scratch", "choice_minutes": 5.0})
    assert newer.isdisjoint(nothing_to_probe.training)
    told = teacher.model_copy(update={"mode": "auto", "choice_minutes": 5.0, "steps": 3})
    assert newer <= set(told.training)


def teacher_of(finished_run, run_dir, mode, *settings):
    """teacher.json; features that were learnt on these images, so that the head alone gets the teacher back."""
    known = finished_run / "runs" / "r" / "teacher" / "weights.safetensors"
    keys = (f"teacher.weights={known}", f"teacher.mode={mode}", "teacher.epochs=1", *settings)
    words = ["teacher", str(finished_run / "r.toml"), "--run-dir", str(run_dir)]
    assert main([*words, *(word for key in keys for word in ("--set", key))]) == 0
    values = json.loads((run_dir / "teacher" / "teacher.json").read_text())
    assert values["validation"]["top1_fraction"] > 0.6  # chance is a third
    assert values["probe"]["views"] == 2
    assert values["artifact"]["files"].keys() == {"weights.safetensors"}
    return values


@pytest.mark.parametrize(("mode", "settings"), [("probe", ()), ("auto", ("teacher.choice_minutes=0",))])
def test_the_head_is_kept(finished_run, tmp_path, capsys, mode, settings):
    values = teacher_of(finished_run, tmp_path / "r", mode, *settings)
    assert (values["mode"], values["epochs"], values["history"]) == ("probe", 0, [])
    assert "tried" not in values
    said = "do not tell whether fine-tuning is better, and teacher.choice_minutes = 0" in capsys.readouterr().err
    assert said == (mode == "auto")


def test_many_validation_images_choose(finished_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(teacher_choice, "FEWEST_VALIDATION_IMAGES", 1)
    values = teacher_of(finished_run, tmp_path / "r", "auto")
    tried = values["tried"]
    assert tried["images"] == values["validation"]["images"]
    assert values["mode"] == ("finetune" if tried["interval"][0] > 0 else "probe")
    assert values["validation"]["top1_fraction"] == tried[values["mode"]]
    assert "validation images: probe" in capsys.readouterr().err


def test_few_validation_images_choose_by_folds_whose_images_nobody_learnt_from(
    finished_run, tmp_path, monkeypatch, capsys
):
    learnt, real = [], teacher_choice._Fold.training

    def training(fold, head, config):
        made = real(fold, head, config)
        learnt.append((set(made.images.rows), set(fold.rows[fold.left_out])))
        return made

    monkeypatch.setattr(teacher_choice._Fold, "training", training)
    values = teacher_of(finished_run, tmp_path / "r", "auto")
    table = read_table(tmp_path / "r" / "data")
    labelled = {*table.rows("train"), *table.rows("val")}
    first_steps, *folds = learnt
    assert first_steps == folds[0]
    assert set().union(*(left_out for _, left_out in folds)) == labelled
    for taught, left_out in folds:
        assert taught | left_out == labelled
        assert not {*table.groups[[*taught]]} & {*table.groups[[*left_out]]}
    tried = values["tried"]
    assert (tried["folds"], tried["images"]) == (3, len(labelled))
    assert values["mode"] == ("finetune" if tried["interval"][0] > 0 else "probe")
    assert f"on {len(labelled)} images of 3 fold(s) that were left out: probe" in capsys.readouterr().err
