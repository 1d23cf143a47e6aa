"""On a GPU a step waits for no number: what would wait is counted, on the CPU, in the operations of real objectives."""

import contextlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from edgedistill.config.training import DistillConfig
from edgedistill.distillation.objectives import label_term, logit_terms
from edgedistill.progress.reporter import Talk
from edgedistill.training import unread
from edgedistill.training.loop import Training
from test_divergence import training

# What reads a number of the device, or gives a tensor whose size its numbers decide.
WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "unique", "_index_put_impl")


class Waiting(TorchDispatchMode):
    """Names of the operations that would wait for a GPU, in the order of their calls."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name().partition("::")[2].partition(".")[0]
        boolean_index = name in ("index", "index_put_") and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name.startswith(WAITS) or boolean_index:
            self.calls.append(name)
        return function(*args, **(kwargs or {}))


class Cache:
    """Outputs of a teacher, as `LogitCache` has them."""

    def logits(self, batch):
        return torch.stack([batch.positions.float(), -batch.views.float()], dim=1)


WEIGHTS = torch.tensor([0.5, 1.5])
OBJECTIVES = {
    "label": lambda: {"label": label_term(WEIGHTS, 1.0, torch.device("cpu"))},
    **{
        loss: lambda loss=loss: logit_terms(DistillConfig(loss=loss), Cache(), WEIGHTS, torch.device("cpu"))
        for loss in ("kd", "dkd")
    },
    "given labels, a pool": lambda: logit_terms(
        DistillConfig(label_error_fraction=0.02, pool_temperature=1.0, pool_kd_weight=0.5),
        Cache(),
        WEIGHTS,
        torch.device("cpu"),
    ),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_no_step_waits_for_a_number(tmp_path, name, monkeypatch):
    """Three epochs of three steps; what the end of an epoch and a checkpoint read is not a step's."""
    monkeypatch.setitem(unread.STEPS, "cpu", 16)
    waits = []

    def count(owner, method):
        plain = getattr(owner, method)

        def counted(*args):
            with Waiting() as mode:
                result = plain(*args)
            waits.append(mode.calls)
            return result

        monkeypatch.setattr(owner, method, counted)

    count(Training, "_step")
    count(unread.Unread, "add")
    ours = training(tmp_path)
    ours.terms = OBJECTIVES[name]()
    rows = ours.run(Talk(quiet=True), "net")
    assert len(rows) == 3
    assert waits == [[]] * 2 * 9
    assert all(np.isfinite(row.train_loss) for row in rows)


def test_the_counter_sees_what_waits():
    numbers = torch.arange(4.0)
    with Waiting() as mode:
        assert numbers.sum().item() == 6
        assert numbers[numbers > 1].shape == (2,)
        bool(numbers[0] == 0)
    assert mode.calls == ["_local_scalar_dense", "index", "_local_scalar_dense"]


@pytest.mark.parametrize("unread_steps", [1, 2, 16])
def test_the_losses_shown_while_an_epoch_runs_are_its_means_so_far(tmp_path, monkeypatch, unread_steps):
    """Three epochs of three steps, whose losses may be unread for a while."""
    monkeypatch.setitem(unread.STEPS, "cpu", unread_steps)
    ours, losses, shown = training(tmp_path), [], []
    (term,) = ours.terms.values()

    def value(found, batch):
        losses.append(term.value(found, batch))
        return losses[-1]

    class Shown(Talk):
        @contextlib.contextmanager
        def progress(self, title, total, done=0, **about):
            show = shown_into(shown)
            yield show

    ours.terms = {"label": replace(term, value=value)}
    rows = ours.run(Shown(quiet=True), "net")
    for step, terms in shown:
        first = (step - 1) // 3 * 3
        mean = np.mean([loss.item() for loss in losses[first:step]])
        assert terms == {"label": pytest.approx(mean), "loss": pytest.approx(mean)}
    assert [step for step, _ in shown] == [s for s in range(1, 10) if s % 3 == 0 or s % 3 % unread_steps == 0]
    assert [terms["loss"] for step, terms in shown if step % 3 == 0] == [row.train_loss for row in rows]


def shown_into(shown):
    """What a view of a training is told."""

    def show(step, terms):
        shown.append((step, terms))

    show.end_epoch = lambda epoch: None
    return show
