"""A loss that stops being a number: the batch is kept, the training goes back once, then it stops."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

from edgedistill.config.training import TrainingConfig
from edgedistill.core import distributed
from edgedistill.distillation.losses import label_losses
from edgedistill.errors import TrainingError
from edgedistill.progress.reporter import Talk
from edgedistill.training import unread
from edgedistill.training.batches import Order, TrainingSet
from edgedistill.training.checkpoint import load
from edgedistill.training.divergence import OTHERS, first_wrong
from edgedistill.training.loop import Term, Training, lr_at
from edgedistill_device.preprocess_spec import Preprocess

SPEC = Preprocess(8, 8, "area", (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
IMAGES, BATCH = 12, 4  # three steps an epoch


class View:
    def __call__(self, image, seed):
        return image

    def describe(self):
        return {}


class Net(nn.Module):
    """Two layers, a BatchNorm and logits beside features, as `outputs` gives them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(4 * 36, 2)


def read(net, images):
    features = net.body(images)
    return net.head(features), features


class Stopped(Exception):
    pass


def training(folder, bad_steps=(), defect="loss", stop_at=None, seconds=1e9, epochs=3):
    """`bad_steps` counts calls of the loss, so a step that is taken again may be whole."""
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, 8, 8, 3), dtype=np.uint8)
    hashes = [f"{number:064x}" for number in range(IMAGES)]
    images = TrainingSet(pixels, np.arange(IMAGES), np.arange(IMAGES) % 2, hashes, View())
    calls = iter(range(1000))

    def value(found, batch):
        call = next(calls)
        if call == stop_at:
            raise Stopped
        loss = label_losses(found.logits, batch.labels).mean()
        if call not in bad_steps:
            return loss
        # sqrt at 0: the value is whole, its gradient is 0 * inf
        return loss + (torch.nan if defect == "loss" else (found.logits.sum() * 0).sqrt())

    return Training(
        Net(),
        SPEC,
        images,
        Order(IMAGES, BATCH, seed=0),
        {"label": Term(value, 1.0)},
        TrainingConfig(epochs=epochs, batch_size=BATCH, peak_lr=0.01),
        lambda net: {"eval_top1_fraction": 0.5, "eval_balanced_accuracy_fraction": 0.5},
        torch.device("cpu"),
        checkpoint=folder / "checkpoint.pt",
        checkpoint_seconds=seconds,
        read=read,
    )


def bits(net):
    return {name: value.clone() for name, value in net.state_dict().items()}


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("defect", ["loss", "gradient"])
def test_it_goes_back_to_the_epochs_start_once_and_on_more_slowly(tmp_path, defect, capsys):
    ours = training(tmp_path, bad_steps={5}, defect=defect)
    rows = ours.run(Talk(), "net")
    assert f"the {defect} is not finite at step 5 (label " in capsys.readouterr().err
    assert ours.went_back.to_json() == {
        "from_step": 5,
        "to_step": 3,
        "why": ours.went_back.why,
        "batch": "bad_batch-5.npz",
        "lr_scale": 0.1,
    }
    assert [row.epoch for row in rows] == [1, 2, 3]
    plain_rows = training(tmp_path / "none").run(Talk(quiet=True), "net")
    assert rows[0] == plain_rows[0]
    assert [row.lr for row in rows[1:]] == pytest.approx([0.1 * row.lr for row in plain_rows[1:]])


@pytest.mark.parametrize("defect", ["loss", "gradient"])
def test_the_weights_put_back_are_the_kept_ones_bit_for_bit(tmp_path, defect):
    """And so is the optimizer: from there it goes the way of a plain loop that never met the bad step."""
    ours, before_step = training(tmp_path, bad_steps={5}, defect=defect), []

    def noting(net, images):
        before_step.append(bits(net))
        return read(net, images)

    ours.read = noting
    ours.run(Talk(quiet=True), "net")
    kept, left, put_back = before_step[3], before_step[5], before_step[6]
    assert same(put_back, kept)
    assert not same(put_back, left)
    assert len(before_step) == 9 + 3

    torch.manual_seed(0)
    net = Net().to(memory_format=torch.channels_last).train()
    decayed, others = ([p for p in net.parameters() if (p.ndim > 1) is many] for many in (True, False))
    optimizer = torch.optim.AdamW(
        [{"params": others, "weight_decay": 0.0}, {"params": decayed, "weight_decay": ours.config.weight_decay}],
        fused=True,  # a bias before BatchNorm has a gradient of rounding errors alone, which Adam makes large
    )
    for step, (positions, views) in enumerate(ours.order.steps(0, 9)):
        for group in optimizer.param_groups:
            group["lr"] = (1.0 if step < 3 else 0.1) * lr_at(step, 9, ours.config.warmup_fraction, 0.01)
        batch = ours.images.batch(positions, views)
        pixels = (batch.images.to(memory_format=torch.channels_last) / 255 - 0.5) / 0.25
        loss = nn.functional.cross_entropy(read(net, pixels)[0], batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for name, value in bits(net).items():
        assert torch.allclose(bits(ours.model)[name], value, atol=1e-6), name


def test_what_a_step_draws_is_a_function_of_seed_and_step(tmp_path):
    """Dropout's numbers: other ones at each step, and the same when a step is made again."""

    def drawn(folder, **how):
        seen, ours = [], training(folder, **how)

        def draws(net, images):
            seen.append(torch.rand(4).tolist())
            return read(net, images)

        ours.read = draws
        with contextlib.suppress(Stopped):
            ours.run(Talk(quiet=True), "net")
        return seen

    (tmp_path / "whole").mkdir()
    whole = drawn(tmp_path / "whole")
    assert len({tuple(values) for values in whole}) == len(whole) == 9
    (tmp_path / "killed").mkdir()
    before = drawn(tmp_path / "killed", stop_at=5, seconds=0)
    assert before[:5] + drawn(tmp_path / "killed") == whole


def test_the_batch_that_caused_it_is_kept_whole(tmp_path):
    ours = training(tmp_path, bad_steps={5})
    ours.run(Talk(quiet=True), "net")
    order = Order(IMAGES, BATCH, seed=0)
    positions, _ = list(order.steps(0, 9))[5]
    with np.load(tmp_path / "bad_batch-5.npz") as kept:
        assert kept["positions"].tolist() == positions.tolist()
        assert kept["sha256"].tolist() == [f"{p:064x}" for p in positions]
        assert np.array_equal(kept["images"], ours.images.pixels[positions])
        assert np.array_equal(kept["labels"], positions % 2)


def test_the_second_time_it_stops_and_says_where_to_look(tmp_path):
    with pytest.raises(TrainingError) as caught:
        training(tmp_path, bad_steps={5, 7}).run(Talk(quiet=True), "net")
    said = str(caught.value)
    assert said.startswith("the loss is not finite at step 4 (label nan) again")
    assert str(tmp_path / "bad_batch-4.npz") in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("stop_at", [4, 6, 8, 10])
def test_killed_before_or_after_going_back_it_ends_with_the_same_bits(tmp_path, stop_at):
    """Calls 0 to 10: steps 0 to 5, then back to 3, and 3 to 8; every step leaves a checkpoint."""
    (tmp_path / "whole").mkdir()
    whole = training(tmp_path / "whole", bad_steps={5}, seconds=0)
    whole.run(Talk(quiet=True), "net")
    (tmp_path / "killed").mkdir()
    with pytest.raises(Stopped):
        training(tmp_path / "killed", {5}, stop_at=stop_at, seconds=0).run(Talk(quiet=True), "net")
    state = load(tmp_path / "killed" / "checkpoint.pt", torch.device("cpu"))["state"]
    still_to_come = () if state.went_back else {5 - state.step}
    again = training(tmp_path / "killed", bad_steps=still_to_come, seconds=0)
    again.run(Talk(quiet=True), "net")
    assert again.went_back == whole.went_back
    assert same(bits(again.model), bits(whole.model))


@pytest.mark.parametrize(
    ("loss", "gradient", "other", "said"),
    [
        (1.0, 1.0, None, None),
        (1.0, 1.0, "gradient", OTHERS),
        (torch.nan, 1.0, None, "loss of process 0"),
        (-torch.inf, torch.nan, "gradient", "loss of process 0"),
        (1.0, torch.nan, "loss of process 1", OTHERS),
        (1.0, torch.nan, "gradient", "gradient"),
    ],
)
def test_what_one_process_meets_all_go_back_for(monkeypatch, loss, gradient, other, said):
    """The third step of four; the other process has its first trouble there too."""
    others = {int: 2 if other else None, str: other}
    monkeypatch.setattr(distributed, "world", lambda: 2)
    monkeypatch.setattr(distributed, "mean_over_ranks", lambda own: (own + (other is None)) / 2)
    answers = iter([others[int], others[str]])
    monkeypatch.setattr(distributed, "all_of", lambda own: [own, next(answers)])
    steps = [(1.0, 1.0), (0.5, 2.0), (loss, gradient), (1.0, 1.0)]
    assert first_wrong(steps) == (said and (2, said))


def test_the_first_process_to_meet_it_says_where_all_go_back_to(monkeypatch):
    monkeypatch.setattr(distributed, "world", lambda: 2)
    monkeypatch.setattr(distributed, "mean_over_ranks", lambda own: 0.0)
    answers = iter([1, "loss of process 1"])
    monkeypatch.setattr(distributed, "all_of", lambda own: [own, next(answers)])
    assert first_wrong([(1.0, 1.0), (1.0, 1.0), (torch.nan, 1.0)]) == (1, OTHERS)


@pytest.mark.parametrize("defect", ["loss", "gradient"])
def test_steps_that_are_read_later_go_back_as_those_that_are_read_at_once(tmp_path, defect, monkeypatch):
    """As on a GPU: the bad one of three is told by its own number, and its batch and the sums are its epoch's."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    at_once = training(tmp_path / "one", bad_steps={4}, defect=defect)
    rows = at_once.run(Talk(quiet=True), "net")
    monkeypatch.setitem(unread.STEPS, "cpu", 16)
    later = training(tmp_path / "other", bad_steps={4}, defect=defect)
    assert later.run(Talk(quiet=True), "net") == rows
    assert later.went_back == at_once.went_back
    assert later.went_back.from_step == 4
    assert same(bits(at_once.model), bits(later.model))
    with np.load(tmp_path / "one" / "bad_batch-4.npz") as one, np.load(tmp_path / "other" / "bad_batch-4.npz") as other:
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_damaged_checkpoint_is_named_and_a_full_memory_is_not_blamed_on_it(tmp_path, monkeypatch):
    (tmp_path / "checkpoint.pt").write_bytes(b"PK")
    with pytest.raises(TrainingError, match="does not fit this training"):
        load(tmp_path / "checkpoint.pt", torch.device("cpu"))

    def full(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: not enough memory")

    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(RuntimeError, match="not enough memory"):
        load(tmp_path / "checkpoint.pt", torch.device("cpu"))
