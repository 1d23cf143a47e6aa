"""What each image weighs in a loss, and how many steps a training has."""

import json
import tomllib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import edgedistill
from edgedistill.config.loading import load_recipe
from edgedistill.config.training import DistillConfig, TrainingConfig
from edgedistill.data.balance import class_weights
from edgedistill.distillation import teacher_choice
from edgedistill.distillation.losses import label_losses
from edgedistill.distillation.objectives import logit_terms, soft_label_loss
from edgedistill.pipeline.runner import run_stages
from edgedistill.progress.reporter import Talk
from edgedistill.training.batches import Batch
from edgedistill.training.images import Images
from edgedistill.training.schedule import schedule_for, steps_of
from end_to_end import draw, write_project

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("counts", [(1000, 1), (5000, 3, 7), (9900, *[1] * 100), (50, 50)])
def test_class_weights_have_a_cap_and_the_mean_1(counts):
    labels = np.repeat(np.arange(len(counts)), counts)
    weights = class_weights(labels, len(counts) + 1)
    assert weights[-1] == 0, "a class without images"
    assert weights[labels].mean() == pytest.approx(1)
    present = weights[:-1]
    assert present.max() / present.min() <= 20 + 1e-9
    assert (np.argsort(-present, kind="stable") == np.argsort(counts, kind="stable")).all()


@pytest.mark.parametrize("loss", ["kd", "dkd", "dist", "wttm", "mse"])
def test_an_image_that_weighs_two_is_an_image_that_comes_twice(loss):
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 4), torch.randn(5, 4)
    labels = torch.tensor([0, 1, 2, 3, 0])
    weights, copies = torch.tensor([2.0, 1, 1, 1, 0]), [0, 0, 1, 2, 3]
    distill = DistillConfig(loss=loss, temperature=2.0)
    weighed = soft_label_loss(distill, student, teacher, labels, weights)
    copied = soft_label_loss(distill, student[copies], teacher[copies], labels[copies])
    assert weighed.item() == pytest.approx(copied.item(), rel=1e-5)
    plain = soft_label_loss(distill, student, teacher, labels)
    ones = soft_label_loss(distill, student, teacher, labels, torch.ones(5))
    assert ones.item() == pytest.approx(plain.item(), rel=1e-5)
    assert weighed.item() != pytest.approx(plain.item(), rel=1e-3)


@pytest.mark.parametrize("loss", ["kd", "dkd", "wttm", "mse"])
def test_a_batch_of_rare_classes_pulls_harder(loss):
    """Weights have the mean 1 over the training set, not over a batch: a batch of twos counts twice."""
    torch.manual_seed(0)
    student, teacher, labels = torch.randn(5, 4), torch.randn(5, 4), torch.tensor([0, 1, 2, 3, 0])
    distill, weights = DistillConfig(loss=loss, temperature=2.0), torch.tensor([2.0, 1, 0.5, 1, 3])
    once = soft_label_loss(distill, student, teacher, labels, weights).item()
    assert soft_label_loss(distill, student, teacher, labels, 2 * weights).item() == pytest.approx(2 * once, rel=1e-5)


class Cache:
    def __init__(self, logits):
        self._logits = logits

    def logits(self, batch):
        return self._logits


def test_class_weights_weigh_all_of_the_students_loss_as_they_do_the_baselines():
    """Teacher = one-hot labels: soft and hard labels ask for the same, so balance must ask alike."""
    from edgedistill.training.loop import Outputs

    labels = torch.tensor([0, 0, 0, 1])
    batch = Batch(torch.zeros(4, 3, 1, 1), labels, torch.arange(4), torch.zeros(4), labels, torch.ones(4))
    weights = torch.tensor(class_weights(labels.numpy(), 2), dtype=torch.float32)
    teacher = torch.nn.functional.one_hot(labels) * 60.0
    logits = torch.randn(4, 2, requires_grad=True)
    terms = logit_terms(DistillConfig(temperature=1.0, kd_weight=0.9), Cache(teacher), weights, torch.device("cpu"))
    loss = sum(term.weight * term.value(Outputs(logits, logits), batch) for term in terms.values())
    (student,) = torch.autograd.grad(loss, logits)
    (baseline,) = torch.autograd.grad(label_losses(logits, labels, weights).mean(), logits)
    assert torch.allclose(student, baseline, atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 0, 0, 1], [1 / 3, 1 / 3, 1 / 3, 1]),
        ([-1, 0, 0, 0, 1, -1, 2], [3 / 5, 1 / 3, 1 / 3, 1 / 3, 1, 3 / 5, 1]),  # three classes on five images
        ([-1, -1], [1, 1]),
    ],
)
def test_classes_are_drawn_equally_often_and_an_image_without_a_label_as_an_average_one(labels, expected):
    images = SimpleNamespace(recipe=SimpleNamespace(data=SimpleNamespace(balance="sample")))
    assert Images.drawn(images, Taught(labels)).tolist() == pytest.approx(expected)
    images.recipe.data.balance = "loss"
    assert Images.drawn(images, Taught(labels)) is None


@pytest.mark.parametrize(
    ("drawn", "by_class", "expected"),
    [
        (None, None, [1, 1, 1, 1]),
        ([1 / 3, 1 / 3, 1 / 3, 1], None, [2 / 3, 2 / 3, 2 / 3, 2]),
        (None, [0.5, 4.5], [1 / 3, 1 / 3, 1 / 3, 3]),
    ],
)
def test_the_loss_of_the_probe_weighs_images_as_the_recipe_asks_with_the_mean_one(drawn, by_class, expected):
    images = SimpleNamespace(
        drawn=lambda taught: None if drawn is None else np.array(drawn),
        class_weights=lambda: None if by_class is None else torch.tensor(by_class),
    )
    assert teacher_choice._image_weights(images, Taught([0, 0, 0, 1])).tolist() == pytest.approx(expected)


class Taught:
    """Labelled images, or some without a label: -1."""

    targets = None

    def __init__(self, labels):
        self.labels = np.array(labels)

    def __len__(self):
        return len(self.labels)


def test_images_without_a_label_weigh_the_mean_and_mixed_ones_their_shares():
    from edgedistill.distillation.objectives import image_weights

    none = torch.zeros(3, 3, 1, 1)
    batch = Batch(
        none,
        torch.tensor([-1, 0, 1]),
        torch.arange(3),
        torch.zeros(3),
        torch.tensor([-1, 1, 1]),
        torch.tensor([1.0, 0.25, 1.0]),
    )
    assert image_weights(batch, torch.tensor([0.5, 3.0])).tolist() == [1.0, 0.25 * 0.5 + 0.75 * 3, 3.0]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("balance"), per_class=12)


def test_a_run_takes_min_steps_and_says_its_weights(place, tmp_path):
    settings = ["data.balance=loss", "distill.feature_weight=0", "teacher.min_steps=7", "distill.min_steps=9"]
    run_stages(load_recipe(place / "r.toml", settings), tmp_path, Talk(quiet=True), only="distill")
    run_stages(load_recipe(place / "r.toml", settings), tmp_path, Talk(quiet=True), only="baseline")
    found = {
        name: json.loads((tmp_path / f"{name}/{name}.json").read_text()) for name in ("teacher", "baseline", "distill")
    }
    assert [found[name]["steps"] for name in found] == [7, 9, 9]
    assert [len(found[name]["history"]) for name in found] == [found[name]["epochs"] for name in found]
    assert set(found["distill"]["class_weights"]) == {"disc", "square", "stripes"}
    assert found["teacher"]["class_weights"] == found["baseline"]["class_weights"] == found["distill"]["class_weights"]


def test_epochs_are_raised_and_never_lowered():
    config = TrainingConfig(epochs=3, min_steps=10)
    assert [steps_of(config, steps) / steps for steps in (1, 3, 4, 100)] == [10, 4, 3, 3]
    assert steps_of(TrainingConfig(epochs=0, min_steps=10), 1) == 0
    assert steps_of(TrainingConfig(epochs=3), 1) == 3


@pytest.mark.parametrize("images", [4, 36, 752, 5_000, 50_000, 300_000, 1_300_000])
def test_a_schedule_fits_the_size_of_the_set(images):
    per_epoch = max(1, images // 32)
    found = schedule_for(images)
    assert [type(number) for number in found] == [int, int, int]
    assert 500 <= found.teacher_epochs * per_epoch <= max(20_000, per_epoch)
    assert 1000 <= found.student_epochs * per_epoch <= max(60_000, 3 * per_epoch)
    assert found.views == min(30, found.student_epochs), "no view is learnt by heart while a new one can be had"
    with_pool = schedule_for(images, 10 * images)
    assert with_pool.teacher_epochs == found.teacher_epochs, "the pool has no labels"
    assert with_pool.student_epochs == schedule_for(11 * images).student_epochs


def test_new_writes_a_schedule_of_enough_steps_for_few_images(tmp_path):
    import cv2

    rng = np.random.default_rng(0)
    for kind in ("disc", "stripes"):
        (tmp_path / "images" / kind).mkdir(parents=True)
        for number in range(18):
            cv2.imwrite(str(tmp_path / f"images/{kind}/{number}.png"), draw(kind, rng))
    edgedistill.new(tmp_path / "images", tmp_path / "r.toml")
    recipe = tomllib.loads((tmp_path / "r.toml").read_text())
    load_recipe(tmp_path / "r.toml")
    for section, least in (("teacher", 500), ("distill", 1000)):
        assert recipe[section]["epochs"] * max(1, 25 // recipe[section]["batch_size"]) >= least
