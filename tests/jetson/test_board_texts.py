"""What boards in the field print, with the right answer beside it: samples/field, samples/thor_sysfs."""

import json
import os

import pytest

from edgedistill_device.board import conditions, power, sampler, sysfs, telemetry
from edgedistill_device.engine import trtexec

SAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "samples")
THOR = os.path.join(SAMPLES, "thor_sysfs")


def cases(kind):
    """(name, text, expected) of every sample of a parser."""
    folder, found = os.path.join(SAMPLES, "field"), []
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name)) as file:
            text = file.read()
        if name.endswith(".json") and name != "logs_oom.json":
            case = json.loads(text)
            if case["parser"] == kind:
                with open(os.path.join(folder, name.replace(".json", ".txt"))) as file:
                    found.append((name[:-5], file.read(), case["expected"]))
    assert found, kind
    return found


@pytest.mark.parametrize(("name", "text", "expected"), cases("telemetry.tegrastats_from_line"))
def test_tegrastats(name, text, expected):
    found = telemetry.tegrastats_from_line(text)
    total = expected.pop("input_mw", None)
    assert found == expected
    if total is not None:
        assert telemetry.input_mw(found["power_mw"]) == total


# Forms of one field, each as a board printed it or as NVIDIA's guide gives it.
FIELDS = [
    ("GR3D_FREQ 99%@921", {"gpu_percent": 99, "gpu_mhz": 921}),
    ("GR3D_FREQ 37%", {"gpu_percent": 37, "gpu_mhz": None}),
    ("GR3D_FREQ 0%@[305]", {"gpu_percent": 0, "gpu_mhz": 305}),
    ("GR3D_FREQ 14%@[407,407]", {"gpu_percent": 14, "gpu_mhz": 407}),
    ("GR3D_FREQ 0%@[764,0]", {"gpu_percent": 0, "gpu_mhz": 764}),  # the second cluster is off
    ("GR3D_FREQ 0%@[0,0]", {"gpu_percent": 0, "gpu_mhz": 0}),
    ("GR3D_FREQ @[314,314,314]", {"gpu_percent": None, "gpu_mhz": 314}),
    ("GR3D_FREQ @[300,off,600]", {"gpu_percent": None, "gpu_mhz": 300}),
    ("GR3D_FREQ 20 %@[1300, 1200]", {"gpu_percent": 20, "gpu_mhz": 1200}),
    ("GR3D_FREQ 5%@N/A", {"gpu_percent": 5, "gpu_mhz": None}),
    ("GR3D2_FREQ 7%@9", {"gpu_percent": None, "gpu_mhz": None}),  # another engine
    ("GR3D 39%@76", {"gpu_percent": 39, "gpu_mhz": 76}),
    ("EMC_FREQ @2133", {"emc_percent": None}),
    ("EMC_FREQ 15%@1600", {"emc_percent": 15}),
    ("EMC 1%@1600", {"emc_percent": 1}),
    ("CPU [ 10%@729 , off, 20%@918 ]", {"cpu_percent": [10, 20], "cpu_mhz": [729, 918]}),
    ("CPU [0%,5%,off]@2601", {"cpu_percent": [0, 5], "cpu_mhz": [2601, 2601]}),
    ("CPU [11%,off]", {"cpu_percent": [11], "cpu_mhz": []}),
    ("SWAP 86/31420MB (cached 0MB)", {"swap_used_mib": 86}),
    ("SWAP 2/8GB (cached 0MB)", {"swap_used_mib": 2048}),
    ("IRAM 0/252kB(lfb 252kB)", {"power_mw": {}, "ram_used_mib": 3}),
    ("CV0@-256C CPU@44.562C Tboard@32C", {"temperatures_c": {"cpu": 44.562, "tboard": 32.0}}),
    ("gpu@41.843C/41.843C soc345@40C/49C", {"temperatures_c": {"gpu": 41.843, "soc345": 40.0}}),
    ("PMIC@50C thermal@42.425C", {"temperatures_c": {"thermal": 42.425}}),
    ("VDD_IN 3539mW/1422mW", {"power_mw": {"VDD_IN": 3539}}),
    ("VDD_IN 4067/4067", {"power_mw": {"VDD_IN": 4067}}),
    ("VIN 124486mW/36487mW/124486mW", {"power_mw": {"VIN": 124486}}),
    ("VIN 100000mW", {"power_mw": {"VIN": 100000}}),
    ("NC 0mW/0mW VDDQ_VDD2_1V8AO 301mW/301mW NC 0mW/0mW", {"power_mw": {"VDDQ_VDD2_1V8AO": 301}}),
    ("VIC 36%@115 APE 174 MTS fg 0% bg 0% NVENC 78%@179", {"power_mw": {}, "temperatures_c": {}}),
]


@pytest.mark.parametrize(("field", "expected"), FIELDS)
def test_one_field_of_tegrastats(field, expected):
    for line in ("RAM 3/4MB (lfb 1x4MB) " + field, "RAM 3/4MB (lfb 1x4MB) %s APE 1\n" % field):
        found = telemetry.tegrastats_from_line(line)
        assert {key: found[key] for key in expected} == expected


def test_ram_in_other_units():
    found = telemetry.tegrastats_from_line("RAM 2048/4194304kB (lfb 1x512kB)")
    assert (found["ram_used_mib"], found["ram_total_mib"]) == (2, 4096)


@pytest.mark.parametrize(
    ("rails", "name", "total"),
    [
        ({"VDD_IN": 5, "VDD_SOC": 2}, "VDD_IN", 5),
        ({"POM_5V_GPU": 1, "POM_5V_IN": 9}, "POM_5V_IN", 9),
        ({"VDD_GPU": 5, "VIN_SYS_5V0": 3, "VIN": 20}, "VIN", 20),
        (
            {"VIN_SYS_5V0": 4025, "VDD_CPU_CV": 390, "VDD_GPU_SOC": 2340},
            "sum of VDD_CPU_CV, VDD_GPU_SOC, VIN_SYS_5V0",
            6755,
        ),
        ({"GPU": 463, "SYS5V": 3306}, "sum of GPU, SYS5V", 3769),
        ({"VDD_GPU": 0, "VDD_CPU_SOC_MSS": 0}, "sum of VDD_CPU_SOC_MSS, VDD_GPU", 0),
        ({}, None, None),
    ],
)
def test_the_whole_input_is_one_rail_or_the_sum(rails, name, total):
    assert telemetry.input_rail(rails) == name
    assert telemetry.input_mw(rails) == total


@pytest.mark.parametrize(("name", "text", "expected"), cases("telemetry.clocks_from_text"))
def test_jetson_clocks(name, text, expected):
    found = telemetry.clocks_from_text(text)
    assert len(found["cpu"]) == expected["cpus"]
    assert list(found["gpu"]) == expected["gpu"]
    assert list(found["emc"]) == expected["emc"]
    assert telemetry.locked(found) is expected["locked"]


@pytest.mark.parametrize(("name", "text", "expected"), cases("telemetry.power_mode_from_text"))
def test_nvpmodel(name, text, expected):
    assert list(telemetry.power_mode_from_text(text)) == expected


def test_nvpmodel_says_more_when_verbose():
    text = (
        "NVPM VERB: Config file: /etc/nvpmodel.conf\nNVPM VERB: Current mode: NV Power Mode: 25W\n1\n"
        "NVPM VERB: PARAM CPU_ONLINE: ARG CORE_0: PATH /sys/devices/system/cpu/cpu0/online\n"
    )
    assert telemetry.power_mode_from_text(text) == ("25W", 1)
    assert telemetry.power_mode_from_text("NVPM ERROR: failed to read the mode\n") == (None, None)


@pytest.mark.parametrize(("name", "text", "expected"), cases("telemetry.l4t_release_from_text"))
def test_l4t_release(name, text, expected):
    assert telemetry.l4t_release_from_text(text) == expected


@pytest.mark.parametrize(("name", "text", "expected"), cases("trtexec.summary_from_text"))
def test_trtexec(name, text, expected):
    found = trtexec.summary_from_text(text)
    assert found["throughput_qps"] == expected["throughput_qps"]
    assert found["compute_ms"]["p50_ms"] == expected["compute_p50"]
    assert found["latency_ms"]["p99_ms"] == expected["latency_p99"]
    assert found["enqueue_ms"]["p50_ms"] == expected["enqueue_p50"]
    assert found["enqueue_bound"] is expected.get("enqueue_bound", False)


def test_trtexecs_other_warnings_are_kept():
    text = (
        "[x] [I] Throughput: 5 qps\n"
        "[x] [W] * GPU compute time is unstable, with coefficient of variance = 28.1311%.\n"
        "[x] [W]   If not already in use, locking GPU clock frequency may improve the stability.\n"
    )
    found = trtexec.summary_from_text(text)
    assert found["warnings"] == ["GPU compute time is unstable, with coefficient of variance = 28.1311%."]
    assert found["enqueue_bound"] is False


def test_thor_under_sys():
    rails = sysfs.rails_mw(THOR)
    assert rails == pytest.approx({"VDD_GPU": 397.28, "VDD_CPU_SOC_MSS": 5956.8, "VIN": 20986})
    assert telemetry.input_mw(rails) == 20986
    assert sysfs.gpu_mhz(THOR) == (315, 1575, 1575)
    assert sysfs.over_current_events(THOR) == {"oc1": 0, "oc2": 8, "oc3": 813}
    assert sysfs.zones_c(THOR) == {"tj": 55.1}
    assert {"gpu-throttle-alert", "hot-surface-alert"} <= set(sysfs.cooling_active(THOR))
    assert "cpu-throttle-alert" not in sysfs.cooling_active(THOR)


def test_the_video_engines_clock_is_not_the_gpus(tmp_path):
    for word in ("min", "max", "cur"):
        path = tmp_path / "sys/class/devfreq/gpu-nvd-0" / (word + "_freq")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1692000000")
    assert sysfs.gpu_mhz(str(tmp_path)) is None
    text = "cpu0: MinFreq=1 MaxFreq=1 CurrentFreq=1\ngpu-nvd-0 MinFreq=9 MaxFreq=9 CurrentFreq=9\n"
    assert telemetry.clocks_from_text(text)["gpu"] is None


def test_a_hot_surface_is_said_and_is_no_throttling(tmp_path):
    """Its trip point at 70 degrees holds no clock back; a finger would burn."""
    folder = tmp_path / "sys/class/thermal/cooling_device13"
    folder.mkdir(parents=True)
    (folder / "type").write_text("hot-surface-alert\n")
    (folder / "cur_state").write_text("1\n")
    root = str(tmp_path)
    watch = sampler.Sampler(root)
    watch.finish()
    found = conditions.conditions(watch, sampler.clocks(root), (None, None))
    assert found["throttle"]["cooling"] == ["hot-surface-alert"]
    assert found["state"] == "unknown"
    assert conditions.warnings(found)[-1].startswith("hot-surface-alert: the module is hot to the touch")
    check = power.supply_check(root)
    assert check.found == "hot-surface-alert"
    assert check.advice == "the module is hot to the touch (hot-surface-alert): fit or clear the fan"


def test_energy_of_a_board_without_a_rail_of_the_whole():
    """AGX Orin: the sum, and it says so."""
    watch = sampler.Sampler(SAMPLES)  # no board
    rails = {"VDD_GPU_SOC": 2000.0, "VDD_CPU_CV": 500.0, "VIN_SYS_5V0": 3500.0}
    watch.power = [(float(second), rails) for second in range(5)]
    found = conditions.energy(watch, 0.0, 4.0, images=24)
    assert found["input_rail"] == "sum of VDD_CPU_CV, VDD_GPU_SOC, VIN_SYS_5V0"
    assert found["input_mw"] == 6000
    assert found["energy_mj"] == pytest.approx(1000)
