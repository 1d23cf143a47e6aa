import os
import re
import threading

import pytest

import boards
from boards import sample
from edgedistill_device.board import conditions, sampler, sysfs
from edgedistill_device.board.telemetry import (
    clocks_from_text,
    cpu_model_from_text,
    kibibytes_from_text,
    l4t_release_from_text,
    locked,
    power_mode_from_text,
    tegrastats_from_line,
)

SAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "samples")


def lines():
    """(file, line) of every tegrastats sample."""
    return [
        (name, line)
        for name in sorted(os.listdir(SAMPLES))
        if name.startswith("tegrastats")
        for line in sample(name).splitlines()
    ]


def by_splitting(line):
    """The oracle: no regular expression, words and what stands next to them."""
    words = line.split()
    after = {word: words[place + 1] for place, word in enumerate(words[:-1])}
    cores = after["CPU"].strip("[]").split(",")
    gpu, _, clock = after["GR3D_FREQ"].partition("@")
    zones = [word.split("/")[0].split("@") for word in words if "@" in word and word.endswith("C")]
    return {
        "ram_used_mib": int(after["RAM"].split("/")[0]),
        "ram_total_mib": int(after["RAM"].split("/")[1][:-2]),
        "swap_used_mib": int(after["SWAP"].split("/")[0]),
        "cpu_percent": [int(core.split("%")[0]) for core in cores if core != "off"],
        "cpu_mhz": [int(core.split("@")[1]) for core in cores if core != "off"],
        "gpu_percent": int(gpu[:-1]),
        "gpu_mhz": int(clock.strip("[]").split(",")[0]) if clock else None,
        "emc_percent": int(after["EMC_FREQ"].split("%")[0]) if "EMC_FREQ" in after else None,
        "temperatures_c": {name.lower(): float(value[:-1]) for name, value in zones if name != "PMIC"},
        "power_mw": {
            word: int(after[word].split("/")[0].replace("mW", ""))
            for word in words
            if word.startswith(("VDD_", "POM_", "VIN_"))
        },
    }


@pytest.mark.parametrize(("name", "line"), lines())
def test_tegrastats_of_every_board(name, line):
    assert tegrastats_from_line(line) == by_splitting(line)


def test_tegrastats_now_and_not_the_average():
    nano = tegrastats_from_line(sample("tegrastats_nano_jp4.txt").splitlines()[1])
    assert nano["power_mw"] == {"POM_5V_IN": 900, "POM_5V_GPU": 0, "POM_5V_CPU": 123}
    assert nano["temperatures_c"] == {"pll": 39, "cpu": 40.5, "gpu": 41, "ao": 46, "thermal": 41}


def test_tegrastats_other_lines_and_dead_sensors():
    assert tegrastats_from_line("") is None
    assert tegrastats_from_line("tegrastats: command needs root") is None
    found = tegrastats_from_line("RAM 1/2MB (lfb 1x1MB) CV0@-256C GPU@49.2C")
    assert found["temperatures_c"] == {"gpu": 49.2}
    assert (found["gpu_percent"], found["cpu_mhz"], found["power_mw"]) == (None, [], {})


def test_memory_files_are_parsed():
    text = "MemTotal:        4059 kB\nMemAvailable:   3000 kB\nNvMapMemUsed:  12 kB\nHugePages_Total: 0\n"
    assert kibibytes_from_text(text) == {"MemTotal": 4059, "MemAvailable": 3000, "NvMapMemUsed": 12}
    assert kibibytes_from_text("") == {}


def test_names_of_machines_are_parsed():
    assert cpu_model_from_text("processor: 0\nmodel name\t: Fast CPU @ 2 GHz\n") == "Fast CPU @ 2 GHz"
    assert cpu_model_from_text("nothing") is None
    line = "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI: aarch64, DATE: x"
    assert l4t_release_from_text(line) == "32.7.1"
    assert l4t_release_from_text("") is None


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("NVPM WARN: fan mode is not set!\nNV Power Mode: MAXN\n0\n", ("MAXN", 0)),
        ("NV Power Mode: MAXN_SUPER\n2\n", ("MAXN_SUPER", 2)),
        ("NV Power Mode: MODE_15W_6CORE\n", ("MODE_15W_6CORE", None)),
        ("", (None, None)),
    ],
)
def test_nvpmodel(text, mode):
    assert power_mode_from_text(text) == mode


def test_jetson_clocks():
    free = clocks_from_text(sample("jetson_clocks_nano_free.txt"))
    assert free["cpu"][0] == (102, 1479, 1326)
    assert free["gpu"] == pytest.approx((76.8, 921.6, 76.8))
    assert free["emc"] == (204, 1600, 1600)
    assert free["emc_locked"] is False
    assert locked(free) is False
    fast = clocks_from_text(sample("jetson_clocks_nano_locked.txt"))
    assert locked(fast) is True
    assert fast["emc_locked"] is True
    orin = clocks_from_text(sample("jetson_clocks_orin_nano_free.txt"))
    assert len(orin["cpu"]) == 6
    assert locked(orin) is False
    still = "cpu0: Online=1 MinFreq=5 MaxFreq=5 CurrentFreq=5\n"
    gpu = "GPU MinFreq=9 MaxFreq=9 CurrentFreq=9\n"
    offline = "cpu1: Online=0 MinFreq=1 MaxFreq=5 CurrentFreq=1\n"
    assert locked(clocks_from_text(still + offline + gpu)) is True
    assert locked(clocks_from_text(still)) is None  # the GPU could be anything
    assert locked(clocks_from_text(offline.replace("Online=0", "Online=1"))) is False
    assert locked(clocks_from_text("")) is None


def test_power_in_both_layouts(tmp_path):
    boards.nano(tmp_path / "nano")
    assert sysfs.rails_mw(str(tmp_path / "nano")) == {
        "POM_5V_IN": 4200,
        "POM_5V_GPU": 1300,
        "POM_5V_CPU": 800,
    }
    boards.orin_nano(tmp_path / "orin")
    found = sysfs.rails_mw(str(tmp_path / "orin"))
    assert found == pytest.approx({"VDD_IN": 7551.36, "VDD_CPU_GPU_CV": 8848.64})
    assert sysfs.rails_mw(str(tmp_path)) == {}


def test_zones_that_are_off_or_constant_are_left_out(tmp_path):
    boards.nano(tmp_path / "nano")
    zones = sysfs.zones_c(str(tmp_path / "nano"))
    assert zones == {"ao": 41.5, "cpu": 36, "gpu": 35.5}
    boards.orin_nano(tmp_path / "orin")
    assert sysfs.zones_c(str(tmp_path / "orin")) == {"cpu": 50.468, "tj": 51}


def test_the_clock_of_the_fastest_core_is_read_once_a_cluster(tmp_path, monkeypatch):
    root = str(tmp_path)
    assert sysfs.cpu_mhz(root) is None
    boards.cpufreq(root, 0, 102000, 1510400, 729600)
    boards.cpufreq(root, 4, 102000, 1510400, 883200)
    for core in (1, 5):  # as the kernel links the cores of one policy
        os.makedirs(os.path.join(root, "sys/devices/system/cpu/cpu%d" % core))
        os.symlink("../cpu%d/cpufreq" % (core - 1), os.path.join(root, "sys/devices/system/cpu/cpu%d/cpufreq" % core))
    read, really = [], sysfs.text_of
    monkeypatch.setattr(sysfs, "text_of", lambda path: read.append(path) or really(path))
    assert sysfs.cpu_mhz(root) == 883.2
    assert len(read) == 2


def watched(root, between=None):
    watch = sampler.Sampler(str(root), period_s=0.01)
    with watch:
        if between:
            between()
        for _ in range(200):
            if len(watch.power) >= 4 or watch.trouble:
                break
            threading.Event().wait(0.01)
    watch.finish()
    return watch


def found_in(root, watch):
    return conditions.conditions(watch, sampler.clocks(str(root)), ("MAXN", 0))


def test_a_locked_board_in_peace(tmp_path):
    boards.nano(tmp_path)
    found = found_in(tmp_path, watched(tmp_path))
    assert found["state"] == "locked"
    assert conditions.warnings(found) == []
    assert found["temperatures_c"]["peak"] == {"ao": 41.5, "cpu": 36, "gpu": 35.5}
    assert set(found["absent"]) == {"over_current_events", "nvmap"}


def test_a_locked_gpu_below_its_clock_is_throttled(tmp_path):
    boards.nano(tmp_path, now=614400000)
    found = found_in(tmp_path, watched(tmp_path))
    assert found["state"] == "throttled"
    assert "the board throttled (GPU at 614 of 922 MHz)" in conditions.warnings(found)[0]


def test_free_clocks_and_events_during_the_run(tmp_path):
    boards.orin_nano(tmp_path, events=5)
    assert found_in(tmp_path, watched(tmp_path))["state"] == "unlocked"
    found = found_in(tmp_path, watched(tmp_path, lambda: boards.orin_nano(tmp_path, events=7)))
    assert found["throttle"]["over_current_events"] == {"oc3": 2}
    assert conditions.warnings(found)[0].startswith("the board throttled (oc3 +2)")


def test_cooling_devices_count_and_fans_do_not(tmp_path):
    boards.nano(tmp_path)
    for number, (name, state) in enumerate([("pwm-fan", 3), ("gpu-balanced", 1), ("cpu-heavy", 0)]):
        folder = "sys/class/thermal/cooling_device%d/" % number
        boards.write(tmp_path, folder + "type", name)
        boards.write(tmp_path, folder + "cur_state", "%d" % state)
    assert sysfs.cooling_active(str(tmp_path)) == ["gpu-balanced"]
    assert found_in(tmp_path, watched(tmp_path))["state"] == "throttled"


def test_energy_is_input_power_by_time_by_image(tmp_path):
    boards.nano(tmp_path)
    watch = watched(tmp_path)
    watch.power = [(float(second), {"POM_5V_IN": 4000.0 + 100 * second}) for second in range(6)]
    found = conditions.energy(watch, 1.0, 4.0, images=30)
    assert found["mean_mw"] == {"POM_5V_IN": 4250}
    assert found["energy_mj"] == pytest.approx(4250 * 3 / 30)
    assert conditions.energy(watch, 1.0, 2.0, images=30)["reason"] == "2 power samples, expected at least 3"
    assert conditions.energy(watch, 9.0, 10.0, images=30)["reason"].startswith("0 power samples")
    watch.power = [(0.0, {"VDD_IN": 10.0}), (1.0, {"VDD_IN": 20.0}), (2.0, {"VDD_SOC": 7.0})]
    assert watch.mean_mw(0.0, 2.0) == ({"VDD_IN": 15, "VDD_SOC": 7}, 3)


def test_nothing_to_read_is_said_and_fails_nothing(tmp_path):
    watch = sampler.Sampler(str(tmp_path))
    watch.finish()
    found = conditions.conditions(watch, sampler.clocks(str(tmp_path)), (None, None))
    assert found["state"] == "unknown"
    assert conditions.warnings(found) == ["clocks and power mode were not read or locked"]
    assert set(found["absent"]) >= {"temperatures", "cpu_clocks", "gpu_clock", "power_mode"}
    assert "no power rail under /sys" in conditions.energy(watch, 0.0, 1.0, images=1)["reason"]


def test_a_driver_that_breaks_ends_the_telemetry_only(tmp_path, monkeypatch):
    def broken(root):
        raise RuntimeError("EAGAIN")

    monkeypatch.setattr(sampler.sysfs, "gpu_mhz", broken)
    watch = watched(tmp_path)
    assert watch.trouble == "RuntimeError: EAGAIN"


def test_tegrastats_is_read_where_the_kernel_shows_no_rail(tmp_path, monkeypatch):
    """A program of that name that prints a real line: a real process, a real pipe."""
    program = tmp_path / "tegrastats"
    line = sample("tegrastats_xavier_nx_jp4.txt").strip()
    program.write_text("#!/bin/sh\nwhile true; do echo '%s'; sleep 0.05; done\n" % line)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    monkeypatch.setattr(sampler.sysfs, "rails_mw", lambda root: {})
    watch = watched("/")
    assert watch.power[0][1] == {"VDD_IN": 4067, "VDD_CPU_GPU_CV": 738, "VDD_SOC": 1353}
    assert 306 in watch.gpu_mhz
    told = [reading for reading in watch.readings if reading.input_mw is not None]
    assert told[0][2:] == (306, 1267, 4067, None)
    assert watch.peak_c["gpu"] >= 43


def test_commands_that_are_missing_or_hang_say_nothing(tmp_path, monkeypatch):
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 30\n")
    slow.chmod(0o755)
    assert sampler.output_of([str(slow)], timeout_s=0.2) == ""
    assert sampler.output_of(["no-such-program-here"]) == ""
    assert re.match("x", sampler.output_of(["echo", "x"]))


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("RAM 1/2MB cpu@46.12..5C", {}),
        ("RAM 1/2MB GR3D_FREQ 0%@[,5]", {"gpu_percent": 0}),
        ("RAM 1/2MB CPU [1%@" + "9" * 5000 + "]", {}),
    ],
)
def test_numbers_of_no_form_are_left_out(line, left):
    """What is left of the line is what it says without them."""
    assert tegrastats_from_line(line) == dict(tegrastats_from_line("RAM 1/2MB"), **left)


def test_a_line_without_a_readable_ram_is_none():
    assert tegrastats_from_line("RAM 1/" + "9" * 5000 + "MB") is None
