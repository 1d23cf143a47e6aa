"""The board's sensors and clocks as files under /sys, one function a kind; absent things are empty.

`root` stands for `/`, so that a test can lay out the files of another board. Paths: L4T's
ina3221x driver (JetPack 4, IIO), Linux's ina3221 and ina238 (JetPack 5 on, hwmon), soctherm_oc (Orin,
Thor), devfreq; as read by jetson_stats and in L4T's developer guide, not seen on a board by us.
"""

import glob
import math
import os
import re

from edgedistill_device.board.telemetry import TOTAL_RAILS, is_connected, temperatures_c, text_of

# Thor has gpu-gpc-0, and gpu-nvd-0 for the video engines.
_GPU = re.compile(r"gpu(?!-nvd)|gv11b|gp10b|ga10b|gm20b")
_THROTTLING = re.compile(r"balanced|throttle|emergency|heavy|critical|-alert$")  # not pwm-fan
# Of the alerts, the one that says that a finger would burn: its trip point at 70 degrees holds no clock back.
NOTICES = ("hot-surface-alert",)


def rails_mw(root="/"):
    """{rail: mW} now, of every labelled INA3221 channel in either layout, and of chips that give power."""
    milliwatts = {}
    for path in _glob(root, "sys/bus/i2c/drivers/ina3221x/*/iio[:_]device*/in_power*_input"):
        number = re.search(r"in_power(\d+)_input$", path).group(1)
        name = text_of(os.path.join(os.path.dirname(path), "rail_name_" + number)).strip()
        power = _number(path)
        if name and is_connected(name) and power is not None:
            milliwatts[name] = power
    # Three channels; what Linux numbers on from 4 are sums and shunts of the same.
    for path in _glob(root, "sys/class/hwmon/hwmon*/curr[123]_input"):
        folder, number = os.path.split(path)[0], re.search(r"curr(\d+)_input$", path).group(1)
        if not text_of(os.path.join(folder, "name")).startswith("ina3221"):
            continue
        name = text_of(os.path.join(folder, "in%s_label" % number)).strip()
        millivolt = _number(os.path.join(folder, "in%s_input" % number))
        milliampere = _number(path)
        if name and is_connected(name) and millivolt is not None and milliampere is not None:
            milliwatts[name] = millivolt * milliampere / 1e3
    for path in _glob(root, "sys/class/hwmon/hwmon*/power1_input"):
        name, microwatt = _one_rail(os.path.dirname(path)), _number(path)
        if name and is_connected(name) and microwatt is not None:
            milliwatts[name] = microwatt / 1e3
    return milliwatts


def _one_rail(folder):
    """What an INA2xx (Thor: ina238) measures, by its device tree's label; empty for other chips."""
    if not text_of(os.path.join(folder, "name")).startswith("ina2"):
        return ""
    label = text_of(os.path.join(folder, "power1_label")) or text_of(os.path.join(folder, "label"))
    return label.strip()


def input_millivolt(root="/"):
    """Voltage of the whole input (telemetry.TOTAL_RAILS) now, or None."""
    for path in _glob(root, "sys/bus/i2c/drivers/ina3221x/*/iio[:_]device*/rail_name_*"):
        if text_of(path).strip() in TOTAL_RAILS:
            return _number(path.replace("rail_name_", "in_voltage") + "_input")
    for path in _glob(root, "sys/class/hwmon/hwmon*/in*_label"):
        if text_of(path).strip() in TOTAL_RAILS:
            return _number(path.replace("_label", "_input"))
    for path in _glob(root, "sys/class/hwmon/hwmon*/in1_input"):  # in0 is the shunt's
        if _one_rail(os.path.dirname(path)) in TOTAL_RAILS:
            return _number(path)
    return None


def zones_c(root="/"):
    """{thermal zone: degrees C} now."""
    zones = []
    for folder in _glob(root, "sys/class/thermal/thermal_zone*"):
        name = text_of(os.path.join(folder, "type")).strip()
        millidegrees = _number(os.path.join(folder, "temp"))
        if name and millidegrees is not None:
            zones.append((name, "%.3f" % (millidegrees / 1e3)))
    return temperatures_c(zones)


def cooling_active(root="/"):
    """Names of the cooling devices that hold a clock back at this moment, or only warn (NOTICES); no fans."""
    active = set()
    for folder in _glob(root, "sys/class/thermal/cooling_device*"):
        name = text_of(os.path.join(folder, "type")).strip()
        if _THROTTLING.search(name) and (_number(os.path.join(folder, "cur_state")) or 0) > 0:
            active.add(name)
    return sorted(active)


def over_current_events(root="/"):
    """{"oc1": count since boot, ...}: under-voltage and over-current throttling of Orin boards."""
    counts = {}
    for path in _glob(root, "sys/class/hwmon/hwmon*/oc*_event_cnt"):
        count = _number(path)
        if count is not None:
            counts[os.path.basename(path).split("_")[0]] = int(count)
    return counts


def clocks_mhz(root="/"):
    """Clocks in the shape of `telemetry.clocks_from_text`; the memory clock needs root, so it is None."""
    cpu = []
    for folder in _glob(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq"):
        values = [_number(os.path.join(folder, "scaling_%s_freq" % w)) for w in ("min", "max", "cur")]
        if None not in values:
            cpu.append(tuple(value / 1e3 for value in values))
    return {"cpu": cpu, "gpu": gpu_mhz(root), "emc": None, "emc_locked": None}


def gpu_mhz(root="/"):
    """(min, max, now) MHz of the GPU, or None."""
    for folder in _glob(root, "sys/class/devfreq/*"):
        if _GPU.search(os.path.basename(folder)):
            values = [_number(os.path.join(folder, w + "_freq")) for w in ("min", "max", "cur")]
            if None not in values:
                return tuple(value / 1e6 for value in values)
    return None


def cpu_mhz(root="/"):
    """MHz now of the fastest core, which is one that works, or None."""
    folders = _glob(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq")
    # Cores of one cluster link to one folder; some drivers wake a core to read its clock.
    once = {os.path.realpath(folder) for folder in folders}
    frequencies_khz = [_number(os.path.join(folder, "scaling_cur_freq")) for folder in sorted(once)]
    frequencies_khz = [kilohertz for kilohertz in frequencies_khz if kilohertz is not None]
    return max(frequencies_khz) / 1e3 if frequencies_khz else None


def _glob(root, pattern):
    return sorted(glob.glob(os.path.join(root, pattern)))


def _number(path):
    try:
        value = float(text_of(path))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
