import cv2
import numpy as np
import pytest
import torch

from edgedistill.config.data import AugmentConfig
from edgedistill.core.prefetch import made_ahead
from edgedistill.data.augment import TrainingView
from edgedistill.data.pixels import PixelCache, write_pixels
from edgedistill.training.batches import Order, TrainingSet, normalised
from edgedistill.training.loop import lr_at
from edgedistill_device.decode import read_image
from edgedistill_device.preprocess import resize_short_side, to_input, view
from edgedistill_device.preprocess_spec import Preprocess
from end_to_end import draw

SPEC = Preprocess(32, 36, "area", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_the_batch_in_torch_has_the_bits_of_the_boards_own_function(rng):
    images = rng.integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    expected = np.concatenate([to_input(image, SPEC) for image in images])
    got = normalised(torch.from_numpy(images).permute(0, 3, 1, 2), SPEC)
    assert np.array_equal(got.numpy(), expected)


def test_validation_pixels_are_the_boards_pixels(tmp_path, rng):
    """Decoded cache and centre crop against edgedistill_device.preprocess straight from the file."""
    paths = []
    for number, (height, width) in enumerate([(48, 48), (60, 41), (37, 90)]):
        image = cv2.resize(draw("disc", rng), (width, height))
        paths.append(tmp_path / f"{number}.jpg")
        cv2.imwrite(str(paths[-1]), image)
    write_pixels(tmp_path, (resize_short_side(read_image(p), 36, "area") for p in paths))
    pixels = PixelCache(tmp_path, (32, 32))
    assert len(pixels) == 3
    for row, path in enumerate(paths):
        assert np.array_equal(pixels.frame(row), view(read_image(path), SPEC))


@pytest.fixture
def training(tmp_path, rng):
    images = [draw(kind, rng) for kind in ("disc", "square", "stripes") * 4]
    write_pixels(tmp_path, iter(images))
    augment = AugmentConfig(transforms=({"name": "HorizontalFlip"}, {"name": "GaussNoise", "p": 1.0}))
    return TrainingSet(
        PixelCache(tmp_path),
        np.arange(12),
        np.arange(12) % 3,
        [f"{i:064x}" for i in range(12)],
        TrainingView(32, augment, "area"),
    )


def test_a_view_is_a_function_of_image_and_number_whatever_was_drawn_before(training):
    positions, views = np.array([3, 5, 3]), np.array([1, 0, 2])
    first = training.batch(positions, views).images
    training.batch(np.arange(12), np.full(12, 7))
    assert torch.equal(first, training.batch(positions, views).images)
    assert not torch.equal(first[0], first[2])


def test_batches_made_by_threads_equal_those_made_one_by_one(training):
    order = Order(12, 4, seed=1, views=2)
    jobs = list(order.steps(0, 9))
    threaded = made_ahead(lambda job: training.batch(*job), jobs, ahead=4)
    for job, batch in zip(jobs, threaded, strict=True):
        assert torch.equal(training.batch(*job).images, batch.images)


def test_an_order_started_in_the_middle_is_the_same_order():
    order = Order(50, 8, seed=3, views=2)
    whole = list(order.steps(0, 30))
    for (positions, views), (again, views_again) in zip(whole[13:], order.steps(13, 30), strict=True):
        assert np.array_equal(positions, again)
        assert np.array_equal(views, views_again)
    epoch = np.concatenate([positions for positions, _ in whole[:6]])
    assert len(set(epoch.tolist())) == 48  # each image at most once an epoch
    assert [int(views[0]) for _, views in whole[::6]] == [0, 1, 0, 1, 0]


def test_drawing_by_weight_meets_imbalance():
    labels = np.array([0] * 90 + [1] * 10)
    from edgedistill.data.balance import class_weights, sample_weights

    order = Order(100, 10, seed=0, sample_weights=sample_weights(labels))
    drawn = np.concatenate([labels[order.of_epoch(epoch)] for epoch in range(40)])
    assert 0.46 < drawn.mean() < 0.54
    weights = class_weights(labels, 2)
    assert weights[labels].mean() == pytest.approx(1)
    assert weights[1] / weights[0] == pytest.approx(9)


@pytest.mark.parametrize("weights", [None, np.arange(20.0)])
def test_chosen_images_alone_are_seen_in_as_many_steps(weights):
    chosen = np.array([1, 4, 5, 11, 19])
    order = Order(20, 4, seed=3, sample_weights=weights, chosen=chosen)
    assert order.steps_per_epoch == Order(20, 4, seed=3).steps_per_epoch == 5
    seen = np.bincount(np.concatenate([positions for positions, _ in order.steps(0, 50)]), minlength=20)
    assert set(np.flatnonzero(seen)) == set(chosen)
    if weights is None:
        assert set(seen[chosen]) == {40}, "each as often"
    else:
        assert seen[19] > seen[11] > seen[1]


def test_the_learning_rate_rises_then_falls_to_zero():
    rates = [lr_at(step, 100, 0.1, 0.5) for step in range(100)]
    assert rates[0] == pytest.approx(0.05)
    assert max(rates) == rates[9] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 1e-3
