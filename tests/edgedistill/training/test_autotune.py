"""The choice follows what was measured: the clock is the test's own."""

import itertools

import pytest
import torch

from edgedistill.models.build import build_model, outputs
from edgedistill.training.autotune import CANDIDATES, FIXED, ROUNDS, Speed, fastest


def clock_of(seconds):
    """A clock by which each candidate's step takes what `seconds` says, round after round."""
    now, ticks = 0.0, []
    for _, speed in itertools.product(range(ROUNDS + 1), CANDIDATES):
        ticks += [now, now + seconds[speed]]
        now += seconds[speed] + 1
    return iter(ticks).__next__


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bfloat16_seconds", "taken"),
    [
        (0.5, Speed(bfloat16=True, channels_last=True)),
        (0.97, FIXED),  # not worth other bits
        (2.0, FIXED),
    ],
)
def test_what_is_clearly_faster_is_taken(bfloat16_seconds, taken):
    model = build_model("mobilenetv3_small_050", 3)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    seconds = dict.fromkeys(CANDIDATES, 1.0) | {CANDIDATES[2]: bfloat16_seconds}
    images = torch.randn(2, 3, 32, 32)
    state = torch.random.get_rng_state()
    choice, told = fastest(model, outputs, images, clock_of(seconds))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert choice == taken
    assert f"bfloat16, channels last {2 / bfloat16_seconds:.0f} images/s" in told
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.slow
def test_real_steps_are_timed():
    model = build_model("mobilenetv3_small_050", 3)
    choice, told = fastest(model, outputs, torch.randn(4, 3, 32, 32))
    assert choice in CANDIDATES
    assert told.count("images/s") == len(CANDIDATES)
