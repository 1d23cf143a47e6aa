"""The number of threads follows what was measured: the clock and the computer are the test's own."""

import pytest
import torch

from edgedistill.config.deployment import RunConfig
from edgedistill.environment import control_groups, processors
from edgedistill.training import fit
from edgedistill.training.threads import ROUNDS, fastest_threads


class Computer:
    """Steps take what `seconds` says of the number of threads; every operation waits for its slowest thread."""

    def __init__(self, seconds):
        self.seconds, self.now, self.threads, self.steps = seconds, 0.0, None, []

    def step(self):
        self.steps.append(self.threads)
        self.now += self.seconds(self.threads)

    def choice(self, most):
        return fastest_threads(most, self.step, lambda count: setattr(self, "threads", count), lambda: self.now)


def shared_with(busy, cores):
    """A thread whose core another program holds too gets half of it."""
    return lambda threads: (2.0 if threads > cores - busy else 1.0) / threads


@pytest.mark.parametrize(
    ("cores", "busy", "taken"),
    [(1, 0, 1), (2, 0, 2), (2, 1, 1), (16, 0, 16), (16, 1, 15), (16, 9, 16), (16, 8, 8), (3, 1, 2)],
)
def test_as_many_threads_as_there_are_cores_left(cores, busy, taken):
    computer = Computer(shared_with(busy, cores))
    choice, told = computer.choice(cores)
    assert (choice, computer.threads) == (taken, taken)
    assert f"takes {taken} of {cores}" in told
    left = cores if busy == 0 else cores - busy
    assert computer.seconds(1) / computer.seconds(choice) >= 0.6 * left


def test_more_threads_that_gain_little_are_not_taken_and_the_first_step_counts_for_nobody():
    computer = Computer(
        lambda threads: 30.0 if len(computer.steps) <= 2 and threads == 1 else 1.0 if threads == 1 else 0.97
    )
    assert computer.choice(2)[0] == 1
    assert len(computer.steps) == 2 * (ROUNDS + 1)


def test_a_number_that_collapses_takes_one_step():
    computer = Computer(lambda threads: 0.05 if threads == 1 else 3.0)
    assert computer.choice(2)[0] == 1
    assert computer.steps == [1, 2] + [1] * ROUNDS


@pytest.mark.slow
def test_real_steps_leave_the_random_state_as_it_was():
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    try:
        choice, _ = fastest_threads(2)
        assert choice in (1, 2)
        assert torch.get_num_threads() == choice
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_the_user_set_is_not_measured(monkeypatch):
    monkeypatch.setattr(fit, "fastest_threads", lambda most: pytest.fail("measured"))
    threads = torch.get_num_threads()
    try:
        fit.device_of(RunConfig(device="cpu", threads=1))
        assert torch.get_num_threads() == 1
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        fit.device_of(RunConfig(device="cpu"))
        monkeypatch.delenv("OMP_NUM_THREADS")
        said = []
        monkeypatch.setattr(fit, "cores", lambda: 2)
        monkeypatch.setattr(fit, "fastest_threads", lambda most: (most - 1, "one of two"))
        fit.device_of(RunConfig(device="cpu"), said.append)
        assert said == ["  one of two"]
    finally:
        torch.set_num_threads(threads)


GROUPS = {
    "version 2": ("0::/user/job\n", {"user/cpu.max": "150000 100000", "user/job/cpu.max": "max 100000"}, 1),
    "version 2, above": ("0::/user/job\n", {"user/cpu.max": "300000 100000", "user/job/cpu.max": "800000 100000"}, 3),
    "version 1": ("3:memory:/x\n2:cpu,cpuacct:/job\n", {"cpu,cpuacct/job/cpu.cfs_quota_us": "250000"}, 2),
    "below one core": ("0::/\n", {"cpu.max": "20000 100000"}, 1),
    "no limit": ("0::/\n1:cpu:/\n", {"cpu.max": "max 100000", "cpu/cpu.cfs_quota_us": "-1"}, 8),
    "none": ("", {}, 8),
}


@pytest.mark.parametrize("name", GROUPS)
def test_a_container_has_the_cores_of_its_quota(name, tmp_path, monkeypatch):
    lines, files, cores = GROUPS[name]
    (tmp_path / "cgroup").write_text(lines)
    for place, content in files.items():
        file = tmp_path / "sys" / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.with_name("cpu.cfs_period_us").write_text("100000")
    monkeypatch.setattr(control_groups, "_OF_PROCESS", tmp_path / "cgroup")
    monkeypatch.setattr(control_groups, "_GROUPS", tmp_path / "sys")
    monkeypatch.setattr(processors.os, "sched_getaffinity", lambda process: range(8))
    assert processors.usable_cores() == cores
