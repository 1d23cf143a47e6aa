"""What happens while a command says nothing, with real processes."""

import pytest

from edgedistill.deployment import streams
from edgedistill.errors import BoardError


def test_it_is_ticked_in_each_silence_and_not_between_lines(monkeypatch):
    ticks = []
    monkeypatch.setattr(streams, "TICK_S", 0.05)
    assert streams.ask(["sh", "-c", "sleep 0.5; echo end"], tick=lambda: ticks.append(1)).line == "end"
    assert len(ticks) >= 2
    monkeypatch.setattr(streams, "TICK_S", 60)
    ticks.clear()
    streams.ask(["sh", "-c", "echo one; echo two"], tick=lambda: ticks.append(1))
    assert ticks == []


def test_the_end_of_its_time_does_not_wait_for_a_tick(monkeypatch):
    monkeypatch.setattr(streams, "TICK_S", 60)
    with pytest.raises(BoardError, match="no end within 0 s; is the board overloaded"):
        streams.ask(["sleep", "5"], timeout_s=0.2, tick=lambda: None)
