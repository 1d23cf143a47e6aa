"""What the machine says of itself: pure parsers of text, and the few files they read.

Formats as the boards print them: tests/jetson/samples has real lines of each, with their sources.
What has another form is left out, never an error: numbers of more than 15 digits, too.
"""

import os
import platform
import re

TOTAL_RAILS = ("VDD_IN", "POM_5V_IN")  # what the module or the Nano's board takes in altogether
_NOT_SENSORS = "pmic"  # it always reads 50 or 100 degrees
_COLDEST_C = -40.0  # a switched-off sensor reads -256


def kibibytes_from_text(text):
    """{name: KiB} of /proc/meminfo or /proc/self/status; lines of other shapes are left out."""
    found = {}
    for line in text.splitlines():
        match = re.match(r"^(\w+):\s+(\d{1,15}) kB$", line)
        if match:
            found[match.group(1)] = int(match.group(2))
    return found


def cpu_model_from_text(text):
    """The CPU's name from /proc/cpuinfo (`model name` or, on Arm, `Model`), or None."""
    match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", text, re.MULTILINE)
    return match.group(1).strip() if match else None


def l4t_release_from_text(text):
    """`32.7.1` from /etc/nv_tegra_release (`# R32 (release), REVISION: 7.1, ...`), or None."""
    match = re.search(r"# R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return "%s.%s" % match.groups() if match else None


def tegrastats_from_line(line):
    """One line of `tegrastats`, JetPack 4 to 7.

    Returns:
        None when it is no such line; else a dict, with None or {} for what the line lacks:
        ram_used_mib, ram_total_mib, swap_used_mib; cpu_percent (one an online core), cpu_mhz;
        gpu_percent, gpu_mhz (the slowest of several); emc_percent;
        temperatures_c {zone in lower case: degrees}; power_mw {rail: now, not the average}.
    """
    ram = re.search(r"\bRAM (\d{1,15})/(\d{1,15})MB", line)
    if not ram:
        return None
    swap = re.search(r"\bSWAP (\d{1,15})/\d+MB", line)
    cores = re.search(r"\bCPU \[([^\]]*)\]", line)
    online = re.findall(r"(\d{1,15})%@(\d{1,15})", cores.group(1)) if cores else []
    gpu = re.search(r"\bGR3D_FREQ (\d{1,15})%(?:@\[?(\d{1,15}(?:,\d{1,15})*))?", line)
    emc = re.search(r"\bEMC_FREQ (\d{1,15})%", line)
    return {
        "ram_used_mib": int(ram.group(1)),
        "ram_total_mib": int(ram.group(2)),
        "swap_used_mib": int(swap.group(1)) if swap else None,
        "cpu_percent": [int(percent) for percent, _ in online],
        "cpu_mhz": [int(mhz) for _, mhz in online],
        "gpu_percent": int(gpu.group(1)) if gpu else None,
        "gpu_mhz": min(int(mhz) for mhz in gpu.group(2).split(",")) if gpu and gpu.group(2) else None,
        "emc_percent": int(emc.group(1)) if emc else None,
        "temperatures_c": temperatures_c(
            re.findall(r"\b(\w+)@(-?\d+(?:\.\d*)?)C(?:/-?[\d.]+C)?(?=\s|$)", line)
        ),
        "power_mw": {
            rail: int(now)
            for rail, now in re.findall(r"\b([A-Z][A-Z0-9_]+) (\d{1,15})(?:mW)?/\d+(?:mW)?(?=[\s/]|$)", line)
        },
    }  # fmt: skip


def temperatures_c(zones):
    """{zone in lower case: degrees} of (name, degrees as text); constants and dead sensors out."""
    found = {}
    for name, degrees in zones:
        short = name.lower().replace("-thermal", "").replace("-therm", "")
        if not short.startswith(_NOT_SENSORS) and float(degrees) > _COLDEST_C:
            found[short] = float(degrees)
    return found


def input_mw(rails):
    """What the whole input takes of {rail: mW}, or None."""
    return next((rails[name] for name in TOTAL_RAILS if name in rails), None)


def power_mode_from_text(text):
    """(name, number) from `nvpmodel -q`: `NV Power Mode: MAXN`, a line, `0`; None when absent."""
    match = re.search(r"^NV Power Mode: *(\S+)[^\n]*(?:\n\s*(\d{1,15})\s*$)?", text, re.MULTILINE)
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
    found = {"cpu": [], "gpu": None, "emc": None, "emc_locked": None}
    for line in text.splitlines():
        match = re.search(triple, line)
        if not match:
            continue
        values = [int(value) for value in match.groups()]
        if line.startswith("cpu"):
            if "Online=0" not in line:
                found["cpu"].append(tuple(value / 1e3 for value in values))  # kHz
        elif line.startswith(("GPU", "EMC")):
            found[line[:3].lower()] = tuple(value / 1e6 for value in values)  # Hz
            override = re.search(r"FreqOverride=(\d)", line)
            if override:
                found["emc_locked"] = override.group(1) == "1"
    return found


def locked(clocks):
    """True when every online core and the GPU have min = max, as after `jetson_clocks`.

    False when one has not; None when none has but the GPU or the cores could not be read. The
    memory clock is left out: its readings differ by release.
    """
    known = list(clocks["cpu"]) + ([clocks["gpu"]] if clocks["gpu"] else [])
    if any(low != high for low, high, _ in known):
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
