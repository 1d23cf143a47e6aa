"""Prepare, infer and write at the same time, each on its own thread: what `bench` times and `classify` does."""

import queue
import threading
import time

_END = object()


def overlapped(items, prepare, infer, write, buffers, ending=None):
    """Run `infer` here while one thread prepares the next items and another writes the results before.

    An item is asked for only when there is a buffer for it: of a camera that is the newest frame.

    Args:
        items: iterable, advanced on the preparing thread; the run ends with it.
        prepare: prepare(item, buffer) fills the buffer, on the preparing thread.
        infer: infer(buffer) returns a result that does not use the buffer any more, on the calling thread: a CUDA
            context belongs to its thread.
        write: write(item, result, busy_ms) on the writing thread, in the order of the items; busy_ms is what
            `prepare` and `infer` took.
        buffers: what inputs are prepared into, at least two; no more are in flight.
        ending: threading.Event; set, by `infer` or at the end, it says that no more items are wanted. `items` that
            may wait for long end when it is set.

    Raises:
        what `items`, `prepare`, `infer` or `write` raised; what came before has been written, unless `write` raised.
    """
    ending = ending or threading.Event()
    free, ready, done = queue.Queue(), queue.Queue(), queue.Queue(maxsize=len(buffers))
    refusals = []  # what `write` raised
    preparing = (iter(items), prepare, free, ready, ending)
    threads = [
        threading.Thread(target=_prepare_all, name="prepare", args=preparing, daemon=True),
        threading.Thread(target=_write_all, name="write", args=(write, done, refusals), daemon=True),
    ]
    for buffer in buffers:
        free.put(buffer)
    for thread in threads:
        thread.start()
    try:
        while not refusals and not ending.is_set():
            item, buffer, prepared_s, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                break
            start = time.perf_counter()
            result = infer(buffer)
            busy_ms = (prepared_s + time.perf_counter() - start) * 1e3
            free.put(buffer)
            done.put((item, result, busy_ms))
    finally:
        ending.set()
        free.put(None)
        done.put(None)
        for thread in threads:
            thread.join()
    if refusals:
        raise refusals[0]


def _prepare_all(items, prepare, free, ready, ending):
    item = None
    while item is not _END:
        buffer = free.get()
        try:
            item = _END if ending.is_set() else next(items, _END)
            start = time.perf_counter()
            if item is not _END:
                prepare(item, buffer)
        except Exception as error:  # raised again where it can be answered
            ready.put((None, None, 0.0, error))
            return
        ready.put((item, buffer, time.perf_counter() - start, None))


def _write_all(write, done, refusals):
    """After a refusal the queue is still emptied, so that nobody waits for room in it."""
    for entry in iter(done.get, None):
        if not refusals:
            try:
                write(*entry)
            except Exception as error:  # raised again where it can be answered
                refusals.append(error)
