"""Prepare, infer and write at once: order kept, each item once, a refusal of any of them told by the caller."""

import threading
import time

import pytest

from edgedistill_device.errors import ImageError
from edgedistill_device.overlap import overlapped

WORK_S = 0.004


def run(items=range(12), prepare=None, infer=None, write=None, buffers=2, ending=None):
    """(item, result) in the order of writing; a result is ten times what was prepared."""
    written = []

    def fill(item, buffer):
        buffer[0] = item
        if prepare is not None:
            prepare(item)

    def tenfold(buffer):
        value = buffer[0]
        if infer is not None:
            infer(value)
        return 10 * value

    def note(item, result, busy_ms):
        if write is not None:
            write(item)
        written.append((item, result, busy_ms))

    try:
        overlapped(items, fill, tenfold, note, [[None] for _ in range(buffers)], ending)
    finally:
        run.written = [entry[:2] for entry in written]
    return written


def pause(_):
    time.sleep(WORK_S)


@pytest.mark.parametrize("slow", ["prepare", "infer", "write", "none"])
@pytest.mark.parametrize("buffers", [2, 3])
def test_every_item_is_written_once_and_in_order(slow, buffers):
    written = run(buffers=buffers, **({} if slow == "none" else {slow: pause}))
    assert [entry[:2] for entry in written] == [(number, 10 * number) for number in range(12)]
    if slow in ("prepare", "infer"):
        assert min(entry[2] for entry in written) >= 1e3 * WORK_S


def test_the_three_work_at_the_same_time():
    """Three neighbouring items wait for each other: were they to take turns, the first would wait in vain."""
    together = threading.Barrier(3, timeout=30)

    def meet_at(place):
        return lambda item: together.wait() if item == place else None

    assert len(run(range(9), prepare=meet_at(5), infer=meet_at(4), write=meet_at(3))) == 9
    names = {"prepare": set(), "infer": set(), "write": set()}
    run(range(3), *(lambda _, name=name: names[name].add(threading.current_thread().name) for name in names))
    assert names == {"prepare": {"prepare"}, "infer": {threading.current_thread().name}, "write": {"write"}}


@pytest.mark.parametrize("who", ["prepare", "infer", "write", "items"])
def test_a_refusal_comes_out_and_what_came_before_is_written(who):
    def refuse_the_sixth(item):
        if item == 5:
            raise ImageError("x.jpg: a truncated JPEG")

    def items():
        for number in range(10**6):
            if who == "items":
                refuse_the_sixth(number)
            yield number

    before = threading.active_count()
    with pytest.raises(ImageError, match="truncated"):
        run(items(), **({} if who == "items" else {who: refuse_the_sixth}))
    assert run.written == [(number, 10 * number) for number in range(5)]
    assert threading.active_count() == before


def test_a_writer_that_is_slow_holds_the_others_back():
    """What is in flight is bounded, however far the others could run ahead."""
    taken, most = [], [0]

    def items():
        for number in range(20):
            taken.append(number)
            yield number

    def write(item):
        time.sleep(WORK_S)
        most[0] = max(most[0], len(taken) - item)

    run(items(), write=write)
    assert most[0] <= 7  # two buffers, two results waiting, one in hand on each thread


def test_an_item_is_asked_for_only_when_a_buffer_is_free():
    """Of a camera that is the newest frame: a queue of older ones would only add to the latency."""
    asked, release = [], threading.Event()

    def items():
        for number in range(6):
            asked.append(number)
            yield number

    def infer(value):
        if value == 0:
            time.sleep(5 * WORK_S)
            assert asked == [0, 1]
            release.set()

    run(items(), infer=infer)
    assert release.is_set()


def test_infer_can_end_it_and_endless_items_are_left():
    ending = threading.Event()

    def infer(value):
        if value == 7:
            ending.set()

    def endless():
        number = 0
        while True:
            yield number
            number += 1

    assert len(run(endless(), infer=infer, ending=ending)) == 8
