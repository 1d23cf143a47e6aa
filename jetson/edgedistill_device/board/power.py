"""Power mode, clocks and supply of a board: what slows it down silently, and the remedy.

`doctor` shows these checks, `build` records those that failed. Nothing is set here: that needs root.
"""

import os
import re
from typing import NamedTuple

from edgedistill_device.board import sampler, sysfs, telemetry
from edgedistill_device.board.identity import Check

LOWEST_SUPPLY_MV = 4750  # 5 V less 5 %: a cable or a supply that is too weak
# What NVIDIA's soctherm counters stand for on Orin (Jetson Linux Developer Guide, Platform Power and
# Performance); the Nano and Xavier NX count nothing under /sys.
EVENTS = {
    "oc1": "under-voltage",
    "oc2": "average over-current",
    "oc3": "instantaneous over-current",
}
_NANO_JACK = (
    "a Nano developer kit takes up to 10 W in MAXN: 5 V and 4 A at the barrel jack with jumper J48 set, "
    "or sudo nvpmodel -m 1 on micro-USB"
)


POWER_MODE = "power_mode"  # in a manifest's provenance, where agents of before pass it over
# Power mode that a bundle's latency budget was set for (nvpmodel's name), and that budget.
Assumed = NamedTuple("Assumed", [("mode", str), ("latency_budget_ms", float)])


def assumed_by(manifest):
    """The Assumed of a bundle; None where its recipe has no `target.fps`, or its target no measured mode."""
    mode = manifest.provenance.get(POWER_MODE)
    if not isinstance(mode, str) or not re.match(r"\w{1,40}\Z", mode) or manifest.latency_budget_ms is None:
        return None
    return Assumed(mode, manifest.latency_budget_ms)


def checks(root="/", board="", assumed=None):
    """Checks of a board; on another computer `found` says that there is nothing to read.

    Args:
        assumed: Assumed of the bundle that is served or built; None without one.
    """
    return [mode_check(root, assumed), clocks_check(root), supply_check(root, board)]


def warnings(root="/", board="", assumed=None):
    """Lines on what will slow the board down, with the remedy."""
    return [_line(check) for check in checks(root, board, assumed) if not check.ok]


def slower_mode_warnings(root, assumed):
    """A line where the power mode that is set is slower than the one that a bundle's budget assumes; else none."""
    name, _ = power_mode(root)
    if assumed is None or name is None or _speed(name) >= _speed(assumed.mode):
        return []
    return [_line(mode_check(root, assumed))]


def _line(check):
    return "%s: %s; %s" % (check.name, check.found, check.advice)


class SupplyWatch(object):
    """Watch the power supply during heavy work, when a weak one fails: call `look()` now and then."""

    def __init__(self, root="/", board=""):
        self._root, self._board = root, board
        self._before = sysfs.over_current_events(root)
        self._lowest, self._cooling = None, set()

    def look(self):
        now = sysfs.input_millivolt(self._root)
        if now:
            self._lowest = min(now, self._lowest or now)
        self._cooling.update(sysfs.cooling_active(self._root))

    def warnings(self):
        """Lines on what happened since this was made."""
        self.look()
        after = sysfs.over_current_events(self._root)
        risen = {name: count - self._before.get(name, 0) for name, count in after.items()}
        advice = supply_advice(self._lowest, risen, sorted(self._cooling), self._board)
        return ["power supply, while it was built: " + advice] if advice else []


def modes_from_text(text):
    """{number: name} of /etc/nvpmodel.conf (`< POWER_MODEL ID=0 NAME=MAXN >`); comments are left out."""
    modes = re.findall(r"^\s*<\s*POWER_MODEL\s+ID=(\d{1,15})\s+NAME=(\S+)\s*>", text, re.MULTILINE)
    return {int(number): name for number, name in modes}


def mode_number_from_text(text):
    """The number in /var/lib/nvpmodel/status (`pmode:0002 fmode:quiet`), or None."""
    match = re.search(r"\bpmode:(\d{1,15})", text)
    return int(match.group(1)) if match else None


def fastest_mode(modes):
    """The number of the least limited mode: MAXN where there is one, else the one with the most watts.

    The numbers do not order the modes: mode 0 is MAXN on a Nano and 15W on an Orin Nano, where 2 is MAXN_SUPER.
    """
    return max(modes, key=lambda number: _speed(modes[number]) + (-number,)) if modes else None


def _speed(name):
    """Sorts names of modes of one board: a larger tuple is a faster mode."""
    watts, cores = re.search(r"(\d{1,15})W", name), re.search(r"(\d{1,15})CORE", name)
    return (
        "MAXN" in name,
        "SUPER" in name,
        int(watts.group(1)) if watts else 0,
        int(cores.group(1)) if cores else 0,
    )


def power_mode(root="/"):
    """(name, number) of the mode that is set: of nvpmodel, else of its files; None for what is unknown."""
    modes = modes_from_text(telemetry.text_of(os.path.join(root, "etc/nvpmodel.conf")))
    name, number = sampler.power_mode() if root == "/" else (None, None)
    if number is None:
        status = telemetry.text_of(os.path.join(root, "var/lib/nvpmodel/status"))
        number = mode_number_from_text(status)
        name = name or modes.get(number)
    if number is None:
        number = next((n for n, mode_name in modes.items() if mode_name == name), None)
    return name, number


def timing_conditions(root="/"):
    """Conditions under which kernels are timed now, for a file's name: `MAXN-gpu922-locked`, `5W-gpu640-free`.

    The memory clock is not among them: it takes root to read.
    """
    name, number = power_mode(root)
    clocks = sampler.clocks(root)
    highest = "gpu%.0f" % clocks["gpu"][1] if clocks["gpu"] else "gpu"
    state = {True: "locked", False: "free", None: "unread"}[telemetry.locked(clocks)]
    mode = name if name is not None else "mode" if number is None else "mode%d" % number
    return "-".join((mode, highest, state))


def mode_check(root="/", assumed=None):
    """The power mode that is set, against the one that a bundle's budget assumes and the board's own fastest one."""
    modes = modes_from_text(telemetry.text_of(os.path.join(root, "etc/nvpmodel.conf")))
    name, number = power_mode(root)
    if number is None and name is None:
        return Check("power mode", True, False, "no nvpmodel here", "")
    best = fastest_mode(modes)
    summary = "%s (%s)" % (name or "unnamed", "?" if number is None else number)
    if assumed and name and _speed(name) < _speed(assumed.mode):
        here = [n for n, mode_name in sorted(modes.items()) if mode_name == assumed.mode]
        mend = "sudo nvpmodel -m %d" % (here[0],) if here else "this JetPack has no such mode: lower target.fps"
        budget = "the bundle's budget of %.4g ms assumes %s" % (assumed.latency_budget_ms, assumed.mode)
        return Check("power mode", False, False, summary, "%s: %s" % (budget, mend))
    if best is None or number in (None, best):
        return Check("power mode", True, False, summary, "")
    return Check(
        "power mode",
        False,
        False,
        summary,
        "%s (%d) is faster: sudo nvpmodel -m %d" % (modes[best], best, best),
    )


def clocks_check(root="/"):
    """Locked clocks: without them two timings of the same engine differ."""
    clocks = sampler.clocks(root)
    if clocks["gpu"] is None:
        return Check("clocks", True, False, "no GPU clock under /sys", "")
    low, high, now = clocks["gpu"]
    summary = "GPU %.0f to %.0f MHz, now %.0f; %d cores online" % (low, high, now, len(clocks["cpu"]))
    if telemetry.locked(clocks) is not False:
        return Check("clocks", True, False, summary + ", locked", "")
    return Check(
        "clocks",
        False,
        False,
        summary,
        "not locked: timings vary, those that a build chooses kernels by too: sudo jetson_clocks",
    )


def supply_check(root="/", board=""):
    """What the board's sensors show of its supply: voltage, counters, clocks held back at this moment."""
    millivolt, events = sysfs.input_millivolt(root), sysfs.over_current_events(root)
    cooling = sysfs.cooling_active(root)
    readings = ["%.2f V in" % (millivolt / 1e3)] if millivolt else []
    readings += ["%s %d since boot" % (EVENTS.get(name, name), n) for name, n in sorted(events.items()) if n]
    held = [name for name in cooling if name not in sysfs.NOTICES]
    readings += ["held back by " + ", ".join(held)] if held else []
    readings += [name for name in cooling if name in sysfs.NOTICES]
    if not readings and not events:
        return Check("power supply", True, False, "the board shows nothing of it", "")
    summary = ", ".join(readings) or "no under-voltage or over-current since boot"
    advice = supply_advice(millivolt, events, cooling, board)
    return Check("power supply", not advice, False, summary, advice)


def supply_advice(millivolt, events, cooling, board):
    """One line on what is wrong with the supply; empty when nothing is seen.

    Args:
        millivolt: lowest seen at the board's input, or None.
        events: {"oc1": count}.
        cooling: names of active cooling devices.
        board: its name, for what only one board needs.
    """
    mend = "use the supply that came with the board, and a short cable"
    if "Nano" in board and "Orin" not in board:
        mend = _NANO_JACK
    if millivolt and millivolt < LOWEST_SUPPLY_MV:
        return "below %.2f V: %s" % (LOWEST_SUPPLY_MV / 1e3, mend)
    if any(events.values()):
        names = ", ".join(EVENTS.get(name, name) for name in sorted(events) if events[name])
        return "the board throttled itself (%s): %s, or choose a lower power mode" % (names, mend)
    if any(name not in sysfs.NOTICES for name in cooling):
        return "clocks are held back: fit or clear the fan, and %s" % (mend,)
    if cooling:
        return "the module is hot to the touch (%s): fit or clear the fan" % (", ".join(cooling),)
    return ""
