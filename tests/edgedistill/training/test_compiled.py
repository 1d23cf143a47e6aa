"""`torch.compile`: really traced, its choice by the test's own clock, and a compiler that fails stops nothing."""

import copy
import functools
import itertools

import pytest
import torch
from torch import nn

from edgedistill.models.build import outputs
from edgedistill.progress.reporter import Talk
from edgedistill.training import compiled as module
from edgedistill.training import loop
from edgedistill.training.autotune import FIXED, ROUNDS
from edgedistill.training.checkpoint import load
from edgedistill.training.compiled import Passes, compiled, compiled_where_it_pays
from test_divergence import Net, Stopped, read, training

FIRST, EAGER = 100.0, 0.1  # seconds of the pass that compiles, and of the network as it is


class Logits(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.BatchNorm1d(4))

    def forward(self, images):
        return (self.layers(images),)


def passes_of(network, *seconds):
    """On a clock by which the passes take these seconds."""
    ticks = itertools.chain.from_iterable((0.0, value) for value in seconds)
    clock = {"clock": ticks.__next__} if seconds else {}
    return Passes(network, torch.randn(6, 3, 2, 2, generator=torch.Generator().manual_seed(0)), FIXED, **clock)


@pytest.fixture
def as_it_is(monkeypatch):
    """A `torch.compile` that only counts."""
    made = []
    monkeypatch.setattr(torch, "compile", lambda network: made.append(network) or network)
    return made


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the compiler
def test_a_compiled_network_computes_the_same_and_is_left_as_it_was(monkeypatch):
    """Traced forward and backward as for any backend; this one writes no C++, which g++ takes half a minute for."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    network, said = Logits(), []
    before, random = copy.deepcopy(network.state_dict()), torch.random.get_rng_state()
    made = compiled(passes_of(network), said.append)
    assert said == []
    assert len(made[1]) == ROUNDS + 1
    assert torch.equal(torch.random.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    images, found = passes_of(network).images, []
    for net in (network, made[0]):
        logits = net(images)[0]
        found.append([logits, *torch.autograd.grad((logits**3).sum(), list(network.parameters()))])
    assert all(torch.allclose(own, fast, rtol=1e-3, atol=1e-4) for own, fast in zip(*found, strict=True))


def test_a_pass_takes_the_time_from_its_start_to_its_end():
    network = Logits()
    passes = Passes(network, passes_of(network).images, FIXED, itertools.count(5.0, 2.0).__next__)
    assert passes.seconds(network) == [2.0] * (ROUNDS + 1)


@pytest.mark.parametrize(
    ("fast", "steps", "said"),
    [
        (0.05, 5_999, "is not tried for 5999 steps of 100 ms"),
        (0.05, 6_000, "took 100 s, then 120 images/s, 60 without: taken for 6000 steps"),
        (0.08, 6_000, "not taken for 6000 steps"),  # 580 of 600 s: within the margin
        (0.08, 60_000, ": taken for 60000 steps"),
        (0.11, 10**9, "not taken"),
    ],
)
def test_it_is_taken_where_the_steps_to_come_repay_it(as_it_is, fast, steps, said):
    lines, network = [], Logits()
    passes = passes_of(network, 9.0, *[EAGER] * ROUNDS, FIRST, *[fast] * ROUNDS)
    made = compiled_where_it_pays(passes, steps, lines.append)
    assert (made is not None) == (": taken" in said)
    assert len(lines) == 1
    assert said in lines[0]
    assert len(as_it_is) == ("not tried" not in said)


def test_a_compiler_that_fails_is_one_line(monkeypatch):
    def broken(graph, inputs):
        raise RuntimeError("no C++ compiler\nand much more")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=broken))
    lines, network = [], Logits()
    before = copy.deepcopy(network.state_dict())
    assert compiled_where_it_pays(passes_of(network, 9.0, *[EAGER] * ROUNDS, 0.0), 10**6, lines.append) is None
    assert len(lines) == 1
    assert lines[0].startswith("torch.compile failed, trains without it (")
    assert "no C++ compiler" in lines[0]
    assert "\n" not in lines[0]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_training_that_was_compiled_is_compiled_again_when_it_resumes(tmp_path, as_it_is, monkeypatch):
    def ours(**how):
        made = training(tmp_path, seconds=0, **how)
        made.read, made.precision = outputs, "auto"
        return made

    monkeypatch.setattr(Net, "outputs", read, raising=False)
    monkeypatch.setattr(module, "WORTH_TRYING_S", 0.0)
    monkeypatch.setattr(module, "WORTH_IT", 0.0)  # whatever it takes
    with pytest.raises(Stopped):
        ours(stop_at=4).run(Talk(quiet=True), "net")
    assert len(as_it_is) == 1
    monkeypatch.setattr(loop, "compiled_where_it_pays", None)  # nothing is measured again
    again = ours()
    again.run(Talk(quiet=True), "net")
    assert len(as_it_is) == 2
    assert str(again.speed).endswith(", compiled")
    assert load(tmp_path / "checkpoint.pt", torch.device("cpu"))["speed"] == [*again.speed]


def test_maps_are_read_by_hooks_and_nothing_is_compiled_for_them(tmp_path, as_it_is):
    ours = training(tmp_path)
    ours.precision = "auto"
    ours.run(Talk(quiet=True), "net")
    assert as_it_is == []
    assert not ours.speed.compiled
