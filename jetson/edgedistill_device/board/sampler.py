"""Read the board's sensors during a measurement; an error here never fails the measurement."""

import os
import shutil
import subprocess
import threading
import time
from typing import Dict, NamedTuple, Optional

from edgedistill_device.board import sysfs, telemetry

PERIOD_S = 0.2
BETWEEN_CALLS_S = 0.5
FEWEST_POWER_SAMPLES = 3
TEGRASTATS = ["tegrastats", "--interval", "500"]


Reading = NamedTuple(
    "Reading",
    [
        ("at", float),  # by the sampler's clock
        ("zones_c", Dict[str, float]),
        ("gpu_mhz", Optional[float]),
        ("cpu_mhz", Optional[float]),  # of the fastest core
        ("input_mw", Optional[float]),  # of the whole input
        ("available_mib", Optional[float]),
    ],
)


class Sampler(object):
    """Readings from before, while and after: `Sampler()`, any `tick()`s, `with sampler:`, `finish()`.

    Inside `with`, a thread reads memory, temperatures, power, the GPU's clock and throttling every
    `period_s`. It shares Python's lock with the measurement, so it is for throughput; around
    timed single calls use `tick`, between two of them `tick_if_due`. Where the kernel shows no
    power rail but `tegrastats` exists, that is started and read instead.
    """

    def __init__(self, root="/", period_s=PERIOD_S, clock=time.perf_counter):
        self._root, self._period_s, self._clock = root, period_s, clock
        self._stop = threading.Event()
        self._thread = self._tegrastats = None
        self._ticked = float("-inf")
        self.readings = []  # Reading
        self.power = []  # (clock, {rail: mW})
        self.gpu_mhz = []
        self.cooling = set()
        self.peak_c = {}
        self.least_available_mib = self.most_nvmap_mib = None
        self.trouble = None  # why the thread ended early
        self.before_c = sysfs.zones_c(root)
        self.events_before = sysfs.over_current_events(root)
        self.has_rails = bool(sysfs.rails_mw(root))
        self.has_tegrastats = root == "/" and shutil.which(TEGRASTATS[0]) is not None

    def __enter__(self):
        self._stop.clear()
        if not self.has_rails and self.has_tegrastats:
            self._start_tegrastats()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join(5)
        if self._tegrastats is not None:
            self._tegrastats.terminate()
            self._tegrastats.wait()
            self._tegrastats = None

    def finish(self):
        """Take the last readings."""
        self.tick()
        self.after_c = sysfs.zones_c(self._root)
        self.events_after = sysfs.over_current_events(self._root)

    def mean_mw(self, start, end):
        """Mean of each rail between two readings of the clock: ({rail: mW}, number of samples)."""
        inside = [rails for moment, rails in list(self.power) if start <= moment <= end]
        values = {}
        for rails in inside:
            for name, power in rails.items():
                values.setdefault(name, []).append(power)
        means = {name: sum(powers) / len(powers) for name, powers in values.items()}
        return means, len(inside)

    def _run(self):
        while not self._stop.is_set() and self.tick():
            self._stop.wait(self._period_s)

    def tick(self):
        """Read everything once; False when that failed, with the reason in `trouble`."""
        try:
            self._read()
        except Exception as error:  # whatever a driver answers, the measurement goes on
            self.trouble = "%s: %s" % (type(error).__name__, error)
            return False
        finally:
            self._ticked = self._clock()
        return True

    def tick_if_due(self):
        """`tick`, when the last one is BETWEEN_CALLS_S ago; whether it was."""
        due = self._clock() - self._ticked >= BETWEEN_CALLS_S
        if due:
            self.tick()
        return due

    def _read(self):
        now, rails = self._clock(), sysfs.rails_mw(self._root)
        if rails:
            self.power.append((now, rails))
        zones, gpu = sysfs.zones_c(self._root), sysfs.gpu_mhz(self._root)
        self._warmer(zones)
        if gpu:
            self.gpu_mhz.append(gpu[2])
        self.cooling.update(sysfs.cooling_active(self._root))
        memory = telemetry.memory()
        free, nvmap = memory["available_mib"], memory["nvmap_mib"]
        if free is not None:
            self.least_available_mib = min(free, self.least_available_mib or 1e12)
        if nvmap is not None:
            self.most_nvmap_mib = max(nvmap, self.most_nvmap_mib or 0.0)
        self.readings.append(
            Reading(now, zones, gpu and gpu[2], sysfs.cpu_mhz(self._root), telemetry.input_mw(rails), free)
        )

    def _warmer(self, zones):
        for name, degrees in zones.items():
            self.peak_c[name] = max(degrees, self.peak_c.get(name, degrees))

    def _start_tegrastats(self):
        try:
            self._tegrastats = subprocess.Popen(
                TEGRASTATS,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                universal_newlines=True,
                errors="replace",
            )
        except OSError as error:
            self.trouble = "tegrastats: %s" % (error.strerror,)
            return
        threading.Thread(target=self._follow, args=(self._tegrastats.stdout,), name="tegrastats", daemon=True).start()

    def _follow(self, lines):
        with lines:
            for line in lines:
                readings = telemetry.tegrastats_from_line(line)
                if readings:
                    now, zones, rails = self._clock(), readings["temperatures_c"], readings["power_mw"]
                    self._warmer(zones)
                    if rails:
                        self.power.append((now, rails))
                    if readings["gpu_mhz"]:
                        self.gpu_mhz.append(float(readings["gpu_mhz"]))
                    self.readings.append(
                        Reading(
                            now,
                            zones,
                            readings["gpu_mhz"],
                            max(readings["cpu_mhz"] or [0]) or None,
                            telemetry.input_mw(rails),
                            None,
                        )
                    )


def power_mode():
    """(name, number) of nvpmodel, or (None, None)."""
    return telemetry.power_mode_from_text(output_of(["nvpmodel", "-q"]))


def clocks(root="/"):
    """Clocks from /sys; from `jetson_clocks --show` where that has none and this is root."""
    ranges = sysfs.clocks_mhz(root)
    if ranges["gpu"] is None and root == "/" and os.geteuid() == 0:
        shown = telemetry.clocks_from_text(output_of(["jetson_clocks", "--show"]))
        if shown["gpu"]:
            return shown
    return ranges


def output_of(command, timeout_s=10):
    """The output of a command; empty when it is missing, fails or takes too long."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
            errors="replace",
        )
    except OSError:
        return ""
    try:
        return process.communicate(timeout=timeout_s)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return ""
