"""The choice follows what was measured: the clock is the test's own."""

import itertools

import pytest
import torch
from torch import nn

from edgedistill.models.build import build_model, outputs
from edgedistill.training import autotune
from edgedistill.training.autotune import CANDIDATES, FIXED, ROUNDS, Speed, answering_speed, fastest, speed_of


def tiny():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 6 * 6, 3))


def logits_of(model, images):
    return (model(images),)


def clock_of(seconds):
    """A clock by which each candidate's step takes what `seconds` says, round after round."""
    now, ticks = 0.0, []
    for _, speed in itertools.product(range(ROUNDS + 1), CANDIDATES):
        ticks += [now, now + seconds[speed]]
        now += seconds[speed] + 1
    return iter(ticks).__next__


@pytest.mark.parametrize(
    ("bfloat16_seconds", "taken"),
    [
        (0.5, Speed(bfloat16=True, channels_last=True)),
        (0.97, FIXED),  # not worth other bits
        (2.0, FIXED),
    ],
)
def test_what_is_clearly_faster_is_taken(bfloat16_seconds, taken):
    model = tiny()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    seconds = dict.fromkeys(CANDIDATES, 1.0) | {CANDIDATES[2]: bfloat16_seconds}
    images = torch.randn(2, 3, 8, 8)
    state = torch.random.get_rng_state()
    choice, told = fastest(model, logits_of, images, clock_of(seconds))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert choice == taken
    assert f"bfloat16, channels last {2 / bfloat16_seconds:.0f} images/s" in told
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_hopeless_candidate_takes_one_step_only():
    """bfloat16 without hardware for it takes up to twenty times as long as float32."""
    steps = [1.0, 1.0, 1.0, 10.0] + [1.0, 1.0, 1.0] * ROUNDS
    clock = iter([tick for seconds in steps for tick in (0.0, seconds)])
    choice, told = fastest(tiny(), logits_of, torch.randn(20, 3, 8, 8), clock.__next__)
    assert choice == FIXED
    assert "bfloat16, channels first 2 images/s" in told
    assert next(clock, None) is None


@pytest.mark.parametrize("hardware", [False, True])
def test_what_each_precision_is_on_a_device(hardware, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **how: asked.append(how) or hardware)
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    bfloat16 = FIXED._replace(bfloat16=True)
    assert [speed_of(name, cpu) for name in ("mixed", "fp32", "bf16")] == [FIXED, FIXED, bfloat16]
    assert asked == []
    assert [speed_of(name, gpu) for name in ("mixed", "fp32")] == [bfloat16 if hardware else FIXED, FIXED]
    assert speed_of("bf16", gpu) == bfloat16
    assert asked == [{"including_emulation": False}]


@pytest.mark.parametrize("hardware", [False, True])
def test_what_a_network_that_only_answers_computes_in(hardware, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **how: hardware)
    monkeypatch.setattr(autotune, "cpu_computes_bfloat16", lambda: hardware)
    for device in (torch.device("cpu"), torch.device("cuda", 0)):
        found = {name: answering_speed(name, device).bfloat16 for name in ("mixed", "auto", "fp32", "bf16")}
        assert found == {"mixed": hardware, "auto": hardware, "fp32": False, "bf16": True}
        assert answering_speed("mixed", device).channels_last


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [
        (
            "processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 amx_bf16\n\nprocessor\t: 1\nflags\t\t: avx512_bf16\n",
            True,
        ),
        ("flags\t: avx512f avx512_bf16\nflags\t: avx2\n", False),  # cores of two kinds
        ("flags\t: fpu avx512f avx512_vnni\nvmx flags\t: avx512_bf16\n", False),
        ("Features\t: fp asimd i8mm bf16\n", True),
        ("Features\t: fp asimd\n", False),
        ("", False),
        (None, False),
    ],
)
def test_which_cpu_computes_bfloat16(tmp_path, cpuinfo, expected):
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(cpuinfo)
    assert autotune.cpu_computes_bfloat16.__wrapped__(path) is expected  # a folder of this name may have been asked


@pytest.mark.slow
def test_real_steps_are_timed():
    model = build_model("mobilenetv3_small_050", 3)
    choice, told = fastest(model, outputs, torch.randn(4, 3, 32, 32))
    assert choice in CANDIDATES
    assert told.count("images/s") == len(CANDIDATES)
