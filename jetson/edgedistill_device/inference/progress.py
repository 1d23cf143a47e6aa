"""What `classify` counts, when it is to stop, and the file of `--stats`."""

import collections
import os
import signal
import sys
import threading
import time

from edgedistill_device.errors import StreamError
from edgedistill_device.json_text import json_text
from edgedistill_device.text import plain

STATS_PERIOD_S = 1.0
LATENCIES = 1000


class Progress(object):
    """Counts what was done, answers SIGTERM, SIGINT and SIGHUP, and writes `--stats` once a second."""

    def __init__(self, stats=None, clock=time.perf_counter):
        self.stopped, self.frames, self.dropped = False, 0, 0
        self._stats, self._clock, self._lock = stats, clock, threading.Lock()
        self._start = self._written = clock()
        self._frames_written, self._top, self._complained = 0, None, False
        self._latencies_ms = collections.deque(maxlen=LATENCIES)
        if stats is not None and not self._write(0.0):
            raise StreamError("--stats %s: cannot be written" % (stats,))

    def begin(self):
        """The clock starts; from now on SIGTERM, SIGINT and a lost terminal let the frame in hand be
        finished. Under nohup a lost terminal stays without effect."""
        self._start = self._written = self._clock()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self.stop)

    def stop(self, *_):
        self.stopped = True

    def one(self, top, latency_ms=None):
        """One more is done; `latency_ms`: from when its frame was read, where it is one."""
        with self._lock:
            self.frames, self._top = self.frames + 1, top
            if latency_ms is not None:
                self._latencies_ms.append(latency_ms)
        self.tick()

    def tick(self):
        """Write the stats when it is time, on whichever thread; True when asked to stop."""
        if self._stats is not None and self._lock.acquire(False):
            try:
                self._write_when_due(self._clock())
            finally:
                self._lock.release()
        return self.stopped

    def _write_when_due(self, now):
        if now - self._written >= STATS_PERIOD_S:
            fps = (self.frames - self._frames_written) / (now - self._written)
            self._written, self._frames_written = now, self.frames
            if not self._write(fps) and not self._complained:
                sys.stderr.write(
                    plain("edgedistill_device classify: --stats %s: cannot be written" % (self._stats,)) + "\n"
                )
                self._complained = True

    def summary(self, provenance):
        """JSON-able totals; fps counts from `begin`, latency_ms is of the last LATENCIES frames of streams."""
        seconds = max(self._clock() - self._start, 1e-9)
        if self._stats is not None:
            self._write(self.frames / seconds)
        return {
            "verb": "classify",
            "frames": self.frames,
            "dropped": self.dropped,
            "seconds": round(seconds, 3),
            "fps": round(self.frames / seconds, 2),
            "latency_ms": self._latency_ms(),
            "stopped": self.stopped,
            "provenance": provenance,
        }

    def _latency_ms(self):
        """{"p50", "p95", "max"}, nearest rank; None where there was no frame."""
        ordered = sorted(self._latencies_ms)
        if not ordered:
            return None
        ranks = {"p50": -(-len(ordered) // 2), "p95": -(-95 * len(ordered) // 100), "max": len(ordered)}
        return {name: round(ordered[rank - 1], 3) for name, rank in ranks.items()}

    def _write(self, fps):
        """Beside, then renamed: a reader never sees half a file. False when that fails."""
        content = {
            "pid": os.getpid(),
            "unix_time": round(time.time(), 3),
            "frames": self.frames,
            "dropped": self.dropped,
            "fps": round(fps, 2),
            "latency_ms": self._latency_ms(),
            "top": self._top,
        }
        try:
            with open(self._stats + ".tmp", "w", encoding="utf-8") as file:
                file.write(json_text(content, sort_keys=False))
            os.replace(self._stats + ".tmp", self._stats)
        except (IOError, OSError):
            return False
        return True
