"""What the machine says of itself: pure parsers of text, and the few files they read.

Formats as the boards print them: tests/jetson/samples has real lines of each, with their sources.
What has another form is left out, never an error: numbers of more than 15 digits, too.
"""

import os
import platform
import re

# What the module (Xavier NX, TX2, Orin), the Nano's board or Thor's board takes in altogether. An AGX
# Xavier or AGX Orin has no such rail: there jtop adds up all rails, and so does `input_mw`.
TOTAL_RAILS = ("VDD_IN", "POM_5V_IN", "VIN")
_UNIT_KIB = {"k": 1, "M": 1024, "G": 1024 * 1024}
_NUMBER = r"(\d{1,15})"
_RAIL = r"(?<!\S)([A-Za-z]\w*) " + _NUMBER + r"(?:mW(?!/)|(?:mW)?(?:/\d{1,15}(?:mW)?)+)(?!\S)"
_NOT_SENSORS = "pmic"  # it always reads 50 or 100 degrees
_COLDEST_C = -40.0  # a switched-off sensor reads -256


def kibibytes_from_text(text):
    """{name: KiB} of /proc/meminfo or /proc/self/status; lines of other shapes are left out."""
    kibibytes = {}
    for line in text.splitlines():
        match = re.match(r"^(\w+):\s+(\d{1,15}) kB$", line)
        if match:
            kibibytes[match.group(1)] = int(match.group(2))
    return kibibytes


def cpu_model_from_text(text):
    """The CPU's name from /proc/cpuinfo (`model name` or, on Arm, `Model`), or None."""
    match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1).strip() if match else None


def l4t_release_from_text(text):
    """`32.7.1` from /etc/nv_tegra_release (`# R32 (release), REVISION: 7.1, ...`), or None."""
    match = re.search(r"# R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return "%s.%s" % match.groups() if match else None


def tegrastats_from_line(line):
    """One line of `tegrastats`, JetPack 3 to 7 and DRIVE OS.

    Returns:
        None when it is no such line; else a dict, with None or {} for what the line lacks:
        ram_used_mib, ram_total_mib, swap_used_mib; cpu_percent (one an online core), cpu_mhz;
        gpu_percent, gpu_mhz (of several the slowest that runs, 0 when none does); emc_percent;
        temperatures_c {zone in lower case: degrees}; power_mw {rail: now, not the average}.

    Source: Jetson Linux Developer Guide, tegrastats utility; samples of tests/jetson/samples.
    """
    ram = re.search(r"\bRAM %s/%s([kMG])B" % (_NUMBER, _NUMBER), line)
    if not ram:
        return None
    swap = re.search(r"\bSWAP %s/\d+([kMG])B" % _NUMBER, line)
    cores = _cores(line)
    gpu_percent, gpu_mhz = _load(line, "GR3D")
    return {
        "ram_used_mib": int(ram.group(1)) * _UNIT_KIB[ram.group(3)] // 1024,
        "ram_total_mib": int(ram.group(2)) * _UNIT_KIB[ram.group(3)] // 1024,
        "swap_used_mib": int(swap.group(1)) * _UNIT_KIB[swap.group(2)] // 1024 if swap else None,
        "cpu_percent": [percent for percent, _ in cores],
        "cpu_mhz": [mhz for _, mhz in cores if mhz is not None],
        "gpu_percent": gpu_percent,
        "gpu_mhz": gpu_mhz,
        "emc_percent": _load(line, "EMC")[0],
        "temperatures_c": temperatures_c(re.findall(r"(?<!\S)([\w-]+)@(-?\d+(?:\.\d*)?)C(?:/-?[\d.]+C)?(?!\S)", line)),
        "power_mw": {rail: int(now) for rail, now in re.findall(_RAIL, line) if is_connected(rail)},
    }


def _cores(line):
    """[(percent, MHz or None)] of the cores online: `[1%@345,off]`, or `[1%,off]@345` before JetPack 4."""
    cpu = re.search(r"\bCPU \[([^\]]*)\](?:@%s)?" % _NUMBER, line, re.IGNORECASE)
    if not cpu:
        return []
    cores = [re.match(r"%s%%(?:@%s)?$" % (_NUMBER, _NUMBER), core.strip()) for core in cpu.group(1).split(",")]
    clocks = [core and (core.group(2) or cpu.group(2)) for core in cores]
    return [(int(core.group(1)), int(clock) if clock else None) for core, clock in zip(cores, clocks) if core]


def _load(line, name):
    """(percent, MHz) of an engine: `X%`, `@Y`, `X%@Y`, `@[Y,Y]` or `X%@[Y,Y]`; None for what is not there."""
    load = re.search(
        r"(?<!\S)%s(?:_FREQ)?\s+(?:%s\s?%%)?(?:@(?:%s(?!\S)|\[([^\]]*)\]))?" % (name, _NUMBER, _NUMBER), line
    )
    if not load:
        return None, None
    percent, one, several = load.groups()
    clocks = [word.strip() for word in (one or several or "").split(",")]
    clocks_mhz = [int(word) for word in clocks if re.match(_NUMBER + "$", word)]
    if not clocks_mhz or len(clocks_mhz) + clocks.count("off") != len(clocks):
        mhz = None
    else:
        mhz = min([clock for clock in clocks_mhz if clock] or [0])  # a cluster that is off says 0
    return None if percent is None else int(percent), mhz


def temperatures_c(zones):
    """{zone in lower case: degrees} of (name, degrees as text); constants and dead sensors out."""
    degrees_by_zone = {}
    for name, degrees in zones:
        short = name.lower().replace("-thermal", "").replace("-therm", "")
        if not short.startswith(_NOT_SENSORS) and float(degrees) > _COLDEST_C:
            degrees_by_zone[short] = float(degrees)
    return degrees_by_zone


def is_connected(rail):
    """False for a channel that measures nothing, which boards call NC."""
    return re.match(r"NC\d*$", rail) is None


def input_rail(rails):
    """What stands for the whole input among {rail: mW}: a rail's name, `sum of A, B`, or None without any.

    Source: jetson_stats, jtop/core/power.py (total_power).
    """
    total = next((name for name in TOTAL_RAILS if name in rails), None)
    return total or ("sum of " + ", ".join(sorted(rails)) if rails else None)


def input_mw(rails):
    """What the whole input takes of {rail: mW}, by `input_rail`; None without rails."""
    name = input_rail(rails)
    return rails[name] if name in rails else sum(rails.values()) if rails else None


def power_mode_from_text(text):
    """(name, number) from `nvpmodel -q`: `NV Power Mode: MAXN`, a line, `0`; None when absent.

    With --verbose other words stand before it; without root, errors about what it cannot read follow.
    """
    match = re.search(r"^(?:NVPM .*: )?NV Power Mode: *(\S+)[^\n]*(?:\n\s*(\d{1,15})\s*$)?", text, re.MULTILINE)
    if not match:
        return None, None
    return match.group(1), int(match.group(2)) if match.group(2) else None


def clocks_from_text(text):
    """Clocks from `jetson_clocks --show` (needs root on the board).

    Returns:
        {"cpu": [(min, max, now) of each online core], "gpu": (min, max, now) or None,
        "emc": the same, and "emc_locked": bool or None}, in MHz.
    """
    triple = r"MinFreq=(\d{1,15}) MaxFreq=(\d{1,15}) CurrentFreq=(\d{1,15})"
    clocks = {"cpu": [], "gpu": None, "emc": None, "emc_locked": None}
    for line in text.splitlines():
        match = re.search(triple, line)
        name = re.match(r"\s*(cpu\d|EMC|GPU|gpu)", line)  # Thor: gpu-gpc-0
        if not match or not name or "gpu-nvd" in line:  # the video engines' clock
            continue
        name, values = name.group(1), [int(value) for value in match.groups()]
        if name.startswith("cpu"):
            if "Online=0" not in line:
                clocks["cpu"].append(tuple(value / 1e3 for value in values))  # kHz
        elif clocks[name.lower()] is None:
            clocks[name.lower()] = tuple(value / 1e6 for value in values)  # Hz
            override = re.search(r"FreqOverride=(\d)", line)
            if override:
                clocks["emc_locked"] = override.group(1) == "1"
    return clocks


def locked(clocks):
    """True when every online core and the GPU have min = max, as after `jetson_clocks`.

    False when one has not; None when none has but the GPU or the cores could not be read. The
    memory clock is left out: its readings differ by release.
    """
    ranges = list(clocks["cpu"]) + ([clocks["gpu"]] if clocks["gpu"] else [])
    if any(low != high for low, high, _ in ranges):
        return False
    return True if clocks["cpu"] and clocks["gpu"] else None


def memory():
    """MiB: available in the system, and this process's peak resident set. None when unknown."""
    system = kibibytes_from_text(text_of("/proc/meminfo"))
    process = kibibytes_from_text(text_of("/proc/self/status"))
    return {
        "available_mib": mib(system.get("MemAvailable")),
        "nvmap_mib": mib(system.get("NvMapMemUsed")),
        "process_peak_mib": mib(process.get("VmHWM")),
    }


def board_model(root="/"):
    """`NVIDIA Jetson Nano Developer Kit` from the device tree, or None.

    In a container of jetson-containers, which hides the device tree, from the copy in /tmp that its start
    script makes.
    """
    for name in ("proc/device-tree/model", "sys/firmware/devicetree/base/model", "tmp/nv_jetson_model"):
        model = text_of(os.path.join(root, name)).replace("\0", "").strip()
        if model:
            return model
    return None


def machine():
    """What ran: JSON-able, without host names."""
    return {
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "cpu": cpu_model_from_text(text_of("/proc/cpuinfo")),
        "board": board_model(),
        "l4t": l4t_release_from_text(text_of("/etc/nv_tegra_release")),
    }


def mib(kibibytes):
    """KiB to MiB, one decimal; None stays None."""
    return None if kibibytes is None else round(kibibytes / 1024.0, 1)


def text_of(path):
    """A small file's text; empty when it cannot be read (thermal zones answer EAGAIN at times)."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (IOError, OSError):
        return ""
