"""How many steps fit into a time, and a training of steps that are no whole epochs."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest

from edgedistill.config.training import DistillConfig, TrainingConfig
from edgedistill.progress.reporter import Talk
from edgedistill.training import pace
from edgedistill.training.loop import lr_at
from edgedistill.training.pace import FIRST_STEPS, MEASURED, WARM_UP, measured_pace
from edgedistill.training.schedule import Pace, steps_of, steps_within
from test_divergence import BATCH, IMAGES, training

PER_EPOCH = IMAGES // BATCH


@pytest.mark.parametrize("per_epoch", [1, 3, 38])
@pytest.mark.parametrize("pace", [Pace(1.0, 0.0), Pace(0.25, 3.0), Pace(2.0, 0.5)])
@pytest.mark.parametrize("seconds", [0.0, 0.9, 4.0, 7.0, 100.0, 1234.5])
def test_one_step_more_would_be_too_long(per_epoch, pace, seconds):
    def taken(steps):
        return sum(
            pace.step_seconds + (pace.validation_seconds if step % per_epoch == 0 or step == steps else 0)
            for step in range(1, steps + 1)
        )

    steps = steps_within(seconds, pace, per_epoch)
    assert taken(steps) <= seconds
    assert taken(steps + 1) > seconds


def test_steps_come_before_epochs_and_a_teacher_as_it_is_stays():
    assert steps_of(TrainingConfig(epochs=3, min_steps=50, steps=7), 4) == 7
    assert steps_of(TrainingConfig(epochs=0, steps=7), 4) == 0


def test_the_last_epoch_may_be_a_part_and_the_learning_rate_ends_with_it(tmp_path):
    steps = 2 * PER_EPOCH + 1
    one = training(tmp_path)
    one.config = one.config.model_copy(update={"steps": steps})
    evaluated, rates = [], []
    evaluate = one.evaluate
    one.evaluate = lambda net: (evaluated.append(len(rates)), evaluate(net))[1]
    one.on_step = lambda: rates.append(0)
    history = one.run(Talk(quiet=True), "net")
    assert [row.epoch for row in history] == [1, 2, 3]
    assert evaluated == [PER_EPOCH, 2 * PER_EPOCH, steps]
    rate = lr_at(steps - 1, steps, one.config.warmup_fraction, one.config.peak_lr)
    assert history[-1].lr == pytest.approx(rate)
    assert history[-1].train_loss == pytest.approx(history[-1].terms["label"]), "a mean over the steps that it had"
    assert history[-1].train_loss == pytest.approx(history[-2].train_loss, rel=0.5)


def test_steps_and_validations_are_timed_apart(tmp_path, monkeypatch):
    """On a clock of the test's own: the first steps take a minute each, every later one 2 s, a validation 5 s."""
    one, now, taken = training(tmp_path), [0.0], itertools.count()
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def spend(seconds, work):
        def spending(*given):
            now[0] += seconds()
            return work(*given)

        return spending

    one.evaluate = spend(lambda: 5.0, one.evaluate)
    learnt = spend(lambda: 60.0 if next(taken) < WARM_UP else 2.0, one.terms["label"].value)
    one.terms = {"label": replace(one.terms["label"], value=learnt)}
    one.config = one.config.model_copy(update={"steps": FIRST_STEPS})
    assert measured_pace(one, Talk(quiet=True), "net") == pytest.approx(Pace(2.0, 5.0))
    assert next(taken) == WARM_UP + MEASURED


@pytest.mark.parametrize(
    ("keys", "doubled"),
    [
        ({"epochs": 30}, ["epochs=60"]),
        ({"steps": 1_500_000}, ["steps=3000000"]),
        ({"minutes": 2.5}, ["minutes=5"]),
        ({"minutes": 2.5, "steps": 100}, ["minutes=5", "steps=200"]),
    ],
)
def test_what_makes_it_twice_as_long(keys, doubled):
    assert DistillConfig(**keys).doubled() == doubled
