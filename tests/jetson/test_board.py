"""What is planned of a board's memory."""

import pytest

from edgedistill_device.board import identity
from edgedistill_device.errors import BuildError


@pytest.mark.parametrize(
    ("available", "workspace_mib", "external"),
    [(382, 32, False), (700, 128, False), (1305, 256, False), (1306, 128, True), (3500, 512, True)],
)
def test_workspace_is_half_of_what_stays(available, workspace_mib, external):
    first = identity.attempts({"available": available})[0]
    assert first == identity.Attempt(workspace_mib, external)


def test_a_memory_budget_leaves_libraries_and_workspace_out():
    plenty = {"available": 3500}
    assert identity.attempts(plenty, budget_mib=500) == [(64, False), (32, False)]
    assert identity.attempts(plenty, budget_mib=100.5)[0] == (32, False)  # as little as there is
    assert identity.attempts(plenty, budget_mib=1305)[0] == (256, False)
    assert identity.attempts(plenty, budget_mib=1306)[0] == (128, True)
    assert identity.attempts(plenty, workspace_mib=512, budget_mib=1000)[0] == (512, False)
    assert identity.attempts({"available": 700}, budget_mib=9000)[0] == (128, False)


def test_each_attempt_is_smaller_and_without_libraries():
    plan = identity.attempts({"available": 3500})
    assert plan == [(512, True), (256, False), (128, False), (32, False)]
    assert identity.attempts({"available": 382}) == [(32, False)]
    assert identity.attempts({"available": 700}) == [(128, False), (64, False), (32, False)]
    assert identity.attempts({"available": 3500}, workspace_mib=48) == [(48, True), (32, False)]
    assert identity.attempts({"available": 3500}, workspace_mib=32) == [(32, True), (32, False)]


def test_a_workspace_that_means_nothing_is_refused():
    with pytest.raises(BuildError, match="--workspace-mib 0: expected at least 32"):
        identity.attempts({"available": 3500}, workspace_mib=0)


def test_short_memory_without_swap_is_a_warning():
    assert identity.memory_warnings({"available": 600, "swap_free": 4000}) == []
    (line,) = identity.memory_warnings({"available": 600, "swap_free": 0})
    assert "sudo swapon /swapfile" in line
