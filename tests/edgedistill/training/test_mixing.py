import numpy as np
import pytest
import torch

from edgedistill.config.data import AugmentConfig
from edgedistill.data.augment import TrainingView
from edgedistill.data.pixels import PixelCache, write_pixels
from edgedistill.distillation.objectives import label_term
from edgedistill.training.batches import Batch, Order, TrainingSet
from edgedistill.training.loop import Outputs
from edgedistill.training.mixing import Mixing, Plan, mixed
from end_to_end import draw

BOTH = Mixing(mixup_alpha=0.4, cutmix_alpha=1.0, fraction=0.75)


def training(tmp_path, rng, mixing):
    write_pixels(tmp_path, (draw("disc", rng) for _ in range(20)))
    view = TrainingView(16, AugmentConfig(transforms=()), "area")
    return TrainingSet(
        PixelCache(tmp_path), np.arange(20), np.arange(20) % 5, [f"{i:064x}" for i in range(20)], view, mixing
    )


def test_a_plan_is_a_function_of_the_seed_and_takes_the_share_asked_for():
    plans = [BOTH.plan(seed, 20, 16) for seed in range(2000)]
    assert plans[7] == BOTH.plan(7, 20, 16)
    taken = [plan for plan in plans if plan is not None]
    assert len(taken) / len(plans) == pytest.approx(0.75, abs=0.03)
    assert np.mean([plan.box is None for plan in taken]) == pytest.approx(0.5, abs=0.04)
    assert {plan.partner for plan in taken} == set(range(20))
    assert Mixing().plan(7, 20, 16) is None


def test_cutmix_shares_are_the_pixels_that_are_left():
    own, other = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    for seed in range(200):
        plan = Mixing(cutmix_alpha=1.0).plan(seed, 20, 16)
        pasted = mixed(own, other, plan)
        assert (pasted == 0).mean() == pytest.approx(plan.share)
    assert not own.any(), "the own view is not written into"


def furthest_apart(one, other):
    """Kolmogorov's distance between two samples."""
    places = np.sort(np.concatenate([one, other]))
    shares = [np.searchsorted(np.sort(sample), places, "right") / len(sample) for sample in (one, other)]
    return np.abs(shares[0] - shares[1]).max()


def test_shares_are_distributed_as_the_papers_say():
    """Zhang et al. 2018: lambda ~ Beta(alpha, alpha). Yun et al. 2019: a box with the sides r = sqrt(1 - lambda) of the
    image's, around any pixel, cut off at the border."""
    size, rng = (32, 96), np.random.default_rng(1)
    plans = [Mixing(mixup_alpha=0.4, cutmix_alpha=3.0).plan(seed, 20, size) for seed in range(2000)]
    of_mixup = np.array([plan.share for plan in plans if plan.box is None])
    assert furthest_apart(of_mixup, rng.beta(0.4, 0.4, 20_000)) < 0.07  # as 0.9999 of draws are
    root = np.sqrt(1 - rng.beta(3.0, 3.0, 20_000))
    covered, boxes = [], np.array([plan.box for plan in plans if plan.box is not None])
    for axis, length in enumerate(size):
        middle, half = rng.uniform(0, length, 20_000), length * root / 2
        assert (boxes[:, axis].min(), boxes[:, axis + 2].max()) == (0, length), "up to the border"
        covered.append(np.clip(middle + half, 0, length) - np.clip(middle - half, 0, length))
        middle_of_boxes = (boxes[:, axis] + boxes[:, axis + 2]) / 2
        assert middle_of_boxes.mean() == pytest.approx(length / 2, rel=0.03)
        assert furthest_apart(boxes[:, axis + 2] - boxes[:, axis], covered[-1]) < 0.1, "whole pixels"
    shares = np.array([plan.share for plan in plans if plan.box is not None])
    assert furthest_apart(shares, 1 - covered[0] * covered[1] / (32 * 96)) < 0.1


def test_mixup_by_hand():
    own, other = np.full((2, 2, 3), 100, np.uint8), np.full((2, 2, 3), 200, np.uint8)
    assert (mixed(own, other, Plan(0, 0.25, None)) == 175).all()


def test_a_mixed_batch_holds_both_views_and_both_labels(tmp_path, rng):
    images = training(tmp_path, rng, BOTH)
    plain = training(tmp_path, np.random.default_rng(0), Mixing())
    positions, views = np.arange(20), np.full(20, 3)
    batch, unmixed = images.batch(positions, views), plain.batch(positions, views)
    for i in range(20):
        plan = BOTH.plan(images.seed(i, 3), 20, 16)
        own = unmixed.images[i].permute(1, 2, 0).numpy()
        expected, partner, share = own, i % 5, 1.0
        if plan is not None:
            expected = mixed(own, unmixed.images[plan.partner].permute(1, 2, 0).numpy(), plan)
            partner, share = plan.partner % 5, plan.share
        assert np.array_equal(batch.images[i].permute(1, 2, 0).numpy(), expected)
        assert batch.partners[i] == partner
        assert batch.shares[i].item() == pytest.approx(share)
    assert images.describe() != plain.describe()


def test_the_label_loss_mixes_by_share_and_counts_what_has_a_label():
    """Two images: one mixed of labels 0 and 1 at 0.75, one unlabelled mixed with label 2 at 0.4."""
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 3.0]])
    batch = Batch(
        torch.zeros(2, 3, 1, 1),
        torch.tensor([0, -1]),
        torch.arange(2),
        torch.zeros(2),
        torch.tensor([1, 2]),
        torch.tensor([0.75, 0.4]),
    )
    got = label_term(None, 1.0, torch.device("cpu")).value(Outputs(logits, logits), batch)
    log_p = logits.log_softmax(dim=1)
    expected = -(0.75 * log_p[0, 0] + 0.25 * log_p[0, 1] + 0.6 * log_p[1, 2]) / (1 + 0.6)
    assert got.item() == pytest.approx(expected.item(), rel=1e-6)
    assert batch.main_labels.tolist() == [0, 2]


def test_without_any_label_the_label_loss_is_zero_and_finite():
    logits = torch.randn(2, 3, requires_grad=True)
    none = torch.tensor([-1, -1])
    batch = Batch(torch.zeros(2, 3, 1, 1), none, torch.arange(2), torch.zeros(2), none, torch.ones(2))
    loss = label_term(None, 1.0, torch.device("cpu")).value(Outputs(logits, logits), batch)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


def test_fewer_images_can_take_as_many_steps():
    order = Order(images=7, batch_size=4, seed=0, draws=20)
    assert order.steps_per_epoch == 5
    drawn = order.of_epoch(0)
    assert len(drawn) == 20
    assert set(np.bincount(drawn)) <= {2, 3}, "every image before any comes a third time"
