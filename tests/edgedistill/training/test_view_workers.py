"""Batches are the same whoever makes them; what happens to the processes that do."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest
import torch

from edgedistill.config.data import AugmentConfig
from edgedistill.data.augment import TrainingView
from edgedistill.data.pixels import PixelCache, write_pixels
from edgedistill.errors import DataError, TrainingError
from edgedistill.training import view_workers
from edgedistill.training.batches import BATCHES_IN_USE, Order, TrainingSet
from edgedistill.training.mixing import Mixing
from edgedistill.training.view_workers import batches_ahead

ORDER = Order(12, 4, seed=1, views=3)


@pytest.fixture
def training(tmp_path, rng):
    write_pixels(tmp_path, [rng.integers(0, 256, (40, 50, 3), dtype=np.uint8) for _ in range(12)])
    augment = AugmentConfig(transforms=({"name": "HorizontalFlip"}, {"name": "GaussNoise", "p": 1.0}))
    view = TrainingView(32, augment, "area")
    mixing = Mixing(mixup_alpha=0.5, cutmix_alpha=0.5, fraction=0.5)
    return TrainingSet(
        PixelCache(tmp_path), np.arange(12), np.arange(12) % 3, [f"{i:064x}" for i in range(12)], view, mixing
    )


@pytest.fixture(autouse=True)
def others():
    """Children that tests before this one left."""
    OTHERS.clear()
    OTHERS.update(child.pid for child in multiprocessing.active_children())


OTHERS = set()


def workers_alive():
    return sum(child.is_alive() for child in multiprocessing.active_children() if child.pid not in OTHERS)


def assert_equal(batch, expected):
    for name, value in vars(expected).items():
        made = vars(batch)[name]
        assert made is value is None or torch.equal(made, value), name
    assert batch.images.stride() == expected.images.stride()


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("first_step", [0, 7])
def test_batches_do_not_depend_on_who_makes_them(training, workers, first_step):
    training.workers = workers
    jobs = list(ORDER.steps(first_step, 20))
    made = list(training.batches(iter(jobs)))
    assert len(made) == len(jobs)
    for job, batch in zip(jobs, made, strict=True):
        assert_equal(batch, training.batch(*job))
    assert workers_alive() == 0


def test_a_batch_stays_what_it_is_while_it_is_used(training):
    """Its memory is used again when it is gone, and not before; where all is in use, there is other memory."""
    training.workers = 2
    jobs = list(ORDER.steps(0, 60))
    kept = list(training.batches(iter(jobs)))  # more than there are blocks
    for job, batch in zip(jobs, kept, strict=True):
        assert_equal(batch, training.batch(*job))


def test_memory_is_used_again(training):
    training.workers = 2
    jobs = list(ORDER.steps(0, 100))
    pixels = [batch.images.data_ptr() for batch in training.batches(iter(jobs))]
    assert len(set(pixels)) <= 2 * 2 + BATCHES_IN_USE < len(jobs)


def test_views_of_other_sizes_and_figures_come_whole(tmp_path, rng):
    write_pixels(tmp_path, [rng.integers(0, 256, (40, 50, 3), dtype=np.uint8) for _ in range(12)])
    targets = rng.normal(size=(12, 2)).astype(np.float32)
    names = [f"{i:064x}" for i in range(12)]
    view = TrainingView((16, 32), AugmentConfig(), "area")
    of_figures = TrainingSet(
        PixelCache(tmp_path), np.arange(12), np.full(12, -1), names, view, workers=2, targets=targets
    )
    jobs = [(np.array([3, 4, 5]), np.array([0, 1, 0])), (np.array([7]), np.array([2]))]
    for job, batch in zip(jobs, of_figures.batches(iter(jobs)), strict=True):
        assert_equal(batch, of_figures.batch(*job))
        assert batch.targets.shape == (len(job[0]), 2)


def test_auto_goes_over_to_processes_when_it_waits(training, monkeypatch):
    """Views are slow here, and whoever takes the batches does nothing else."""
    monkeypatch.setattr(view_workers, "cores", lambda: 4)
    monkeypatch.setattr(view_workers, "TRIAL", 4)
    training.workers = "auto"
    jobs = list(ORDER.steps(0, 40))
    made = [(batch, workers_alive()) for batch in training.batches(iter(jobs))]
    for job, (batch, _) in zip(jobs, made, strict=True):
        assert_equal(batch, training.batch(*job))
    children = [alive for _, alive in made]
    assert (children[0], children[30]) == (0, 4), children


def test_auto_stays_with_threads_when_the_network_is_the_slower_one(training, monkeypatch):
    monkeypatch.setattr(view_workers, "cores", lambda: 4)
    monkeypatch.setattr(view_workers, "TRIAL", 4)
    training.workers = "auto"
    for _ in training.batches(ORDER.steps(0, 15)):
        time.sleep(0.1)
        assert workers_alive() == 0


def test_the_random_stream_of_the_training_is_not_touched(training):
    training.workers = 1
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    assert len(list(training.batches(ORDER.steps(0, 3)))) == 3
    assert torch.equal(torch.rand(4), expected)


def refuse(job):
    if job == 2:
        raise DataError("x.jpg: was readable in stage data and is not now")
    return job


@pytest.mark.parametrize("workers", [0, 2])
def test_a_refusal_stays_what_it_was(workers):
    with pytest.raises(DataError, match=r"^x\.jpg: was readable in stage data and is not now$"):
        list(batches_ahead(refuse, range(9), workers))
    assert workers_alive() == 0


def die(job):
    if job == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def test_a_worker_that_is_killed_is_told_in_one_line():
    with pytest.raises(TrainingError, match=r"ended from outside .*run\.workers=0") as refused:
        list(batches_ahead(die, range(9), 2))
    assert "\n" not in str(refused.value)


def test_who_leaves_early_leaves_no_process(training):
    training.workers = 2
    batches = training.batches(ORDER.steps(0, 1000))
    next(batches)
    assert workers_alive() == 2
    batches.close()
    assert workers_alive() == 0


def test_auto_has_no_processes_on_few_cores(training, monkeypatch):
    monkeypatch.setattr(view_workers, "cores", lambda: 3)
    monkeypatch.setattr(view_workers, "TRIAL", 4)
    training.workers = "auto"
    assert [workers_alive() for _ in training.batches(ORDER.steps(0, 30))] == [0] * 30
