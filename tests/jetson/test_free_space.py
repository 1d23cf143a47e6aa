"""What is free and what is needed differ in the line that says so: one is rounded down, the other up."""

import re
import shutil

import pytest

from edgedistill_device.board import identity
from edgedistill_device.errors import JetsonError
from edgedistill_device.releases import incoming

MIB = 1 << 20
ASKED = [
    lambda need: identity.check_disk(".", (need - 64 * MIB) // 3),
    lambda need: incoming.require_room(".", need - incoming.RESERVE_BYTES),
]


@pytest.mark.parametrize("ask", ASKED)
@pytest.mark.parametrize("need", [95 * MIB, 95 * MIB + 3, 96 * MIB - 3])
@pytest.mark.parametrize("short", [3, 300, 2 * MIB])
def test_free_and_needed_differ(monkeypatch, ask, need, short):
    need -= need % 3 - MIB % 3  # check_disk takes three times the model
    usage = shutil.disk_usage(".")
    usage = usage.__class__(usage.total, usage.used, need - short)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(JetsonError) as refused:
        ask(need)
    free, needed = [int(number) for number in re.findall(r" (\d+)", str(refused.value))][:2]
    assert free < needed
    assert free * MIB <= need - short
    assert needed * MIB >= need - 3
