"""Conditions of a measurement: clocks, power mode, temperatures, throttling, power."""

from edgedistill_device.board.sampler import FEWEST_POWER_SAMPLES
from edgedistill_device.board.sysfs import NOTICES
from edgedistill_device.board.telemetry import input_mw, input_rail, locked

HELD_BACK = 0.98  # of a locked clock; below that something held the GPU back


def conditions(sampler, clocks, power_mode):
    """Conditions from a finished Sampler and the clocks.

    Args:
        sampler: Sampler, after `finish()`.
        clocks: of `sampler.clocks`, taken before the measurement.
        power_mode: (name, number) or (None, None).

    Returns:
        JSON-able: `state` is throttled, unlocked, locked or unknown; clocks_mhz; power_mode;
        temperatures_c before, after and peak; throttle; and `absent` {what: why it is not there}.
    """
    slowest = min(sampler.gpu_mhz) if sampler.gpu_mhz else None
    events = {
        name: count - sampler.events_before.get(name, 0)
        for name, count in sampler.events_after.items()
        if count > sampler.events_before.get(name, 0)
    }
    is_locked = locked(clocks)
    held = bool(is_locked and clocks["gpu"] and slowest and slowest < HELD_BACK * clocks["gpu"][1])
    throttle = {
        "over_current_events": events,
        "cooling": sorted(sampler.cooling),
        "slowest_gpu_mhz": slowest,
        "below_its_lock": held,
    }
    if events or sampler.cooling.difference(NOTICES) or held:
        state = "throttled"
    else:
        state = {True: "locked", False: "unlocked", None: "unknown"}[is_locked]
    return {
        "state": state,
        "clocks_mhz": clocks,
        "power_mode": {"name": power_mode[0], "number": power_mode[1]},
        "temperatures_c": {
            "before": sampler.before_c,
            "after": sampler.after_c,
            "peak": sampler.peak_c,
        },
        "throttle": throttle,
        "absent": _absent(sampler, clocks, power_mode),
    }


def energy(sampler, start, end, images):
    """Power and energy of the images done between two readings of the clock.

    Returns:
        mean_mw {rail: mW}, samples, input_rail (of `telemetry.input_rail`: a sum where the board has no
        rail of the whole), input_mw, energy_mj (millijoule an image of the whole input, idle power
        included) and `reason`; what cannot be said is None and reason says why.
    """
    rails, samples = sampler.mean_mw(start, end)
    figures = {
        "mean_mw": {name: round(power, 1) for name, power in sorted(rails.items())},
        "samples": samples,
        "input_rail": None,
        "input_mw": None,
        "energy_mj": None,
        "reason": None,
    }
    if samples == 0 and not (sampler.has_rails or sampler.has_tegrastats):
        figures["reason"] = "no power rail under /sys and no tegrastats"
    elif samples < FEWEST_POWER_SAMPLES:
        figures["reason"] = "%d power samples, expected at least %d" % (samples, FEWEST_POWER_SAMPLES)
    else:
        figures["input_rail"], figures["input_mw"] = input_rail(rails), input_mw(rails)
        figures["energy_mj"] = figures["input_mw"] * (end - start) / images
    return figures


def warnings(conditions):
    """Lines for the top of a report, the worst first."""
    notices = [name for name in conditions["throttle"]["cooling"] if name in NOTICES]
    return _state_warnings(conditions) + [
        "%s: the module is hot to the touch, which slows nothing down yet; check the cooling" % (name,)
        for name in notices
    ]


def _state_warnings(conditions):
    state, throttle = conditions["state"], conditions["throttle"]
    if state == "throttled":
        signs = ["%s +%d" % item for item in sorted(throttle["over_current_events"].items())]
        signs += [name for name in throttle["cooling"] if name not in NOTICES]
        if throttle["below_its_lock"]:
            signs.append("GPU at %.0f of %.0f MHz" % (throttle["slowest_gpu_mhz"], conditions["clocks_mhz"]["gpu"][1]))
        return ["the board throttled (%s): check supply and cooling, then time it again" % ", ".join(signs)]
    if state == "unlocked":
        board = conditions["clocks_mhz"]["gpu"] is not None
        mend = ": run sudo jetson_clocks, then time it again" if board else ""
        return ["clocks were not locked" + mend]
    if state == "unknown":
        return ["clocks and power mode were not read or locked"]
    return []


def _absent(sampler, clocks, power_mode):
    reasons = {}
    if not sampler.before_c and not sampler.peak_c:
        reasons["temperatures"] = "no thermal zone could be read"
    if not clocks["cpu"]:
        reasons["cpu_clocks"] = "no cpufreq under /sys"
    if clocks["gpu"] is None:
        reasons["gpu_clock"] = "no GPU under /sys/class/devfreq"
    if power_mode[0] is None:
        reasons["power_mode"] = "nvpmodel is missing or says nothing"
    if not sampler.events_after:
        reasons["over_current_events"] = "no soctherm counters under /sys/class/hwmon (Orin has them)"
    if sampler.most_nvmap_mib is None:
        reasons["nvmap"] = "no NvMapMemUsed in /proc/meminfo"
    if sampler.trouble:
        reasons["telemetry"] = "incomplete: %s" % (sampler.trouble,)
    return reasons
