"""Power mode, clocks and supply of three boards, before and while something heavy runs."""

import pytest

import boards
import fakes
from bundles import make_bundle
from edgedistill_device.board import power, sysfs
from edgedistill_device.engine import build
from edgedistill_device.manifest import read_manifest

NANO = "NVIDIA Jetson Nano Developer Kit"
ORIN = "NVIDIA Jetson Orin Nano Developer Kit"


def failing(root, board):
    return {check.name: check for check in power.checks(str(root), board) if not check.ok}


def test_modes_of_two_boards():
    nano = power.modes_from_text(boards.sample("nvpmodel_nano.conf"))
    assert nano == {0: "MAXN", 1: "5W"}
    assert power.fastest_mode(nano) == 0
    orin = power.modes_from_text(boards.sample("nvpmodel_orin_nano_super.conf"))
    assert orin == {0: "15W", 1: "25W", 2: "MAXN_SUPER", 3: "7W"}
    assert power.fastest_mode(orin) == 2  # and not 0, which guides for the Nano tell
    assert power.modes_from_text("# < POWER_MODEL ID=id_num NAME=mode_name >\n") == {}
    assert power.fastest_mode({}) is None


@pytest.mark.parametrize(
    ("modes", "best"),
    [
        ({0: "15W", 1: "7W"}, 0),
        ({0: "MODE_15W_2CORE", 2: "MODE_15W_6CORE", 3: "MODE_10W_2CORE"}, 2),
        ({0: "MAXN", 1: "25W", 2: "MAXN_SUPER"}, 2),
    ],
)
def test_the_fastest_mode(modes, best):
    assert power.fastest_mode(modes) == best


@pytest.mark.parametrize(
    ("text", "number"),
    [("pmode:0002 fmode:quiet", 2), ("pmode:0000", 0), ("pmode:0012\n", 12), ("", None)],
)
def test_the_mode_that_is_kept(text, number):
    assert power.mode_number_from_text(text) == number


def test_a_good_nano_has_nothing_to_mend(tmp_path):
    boards.nano(tmp_path)
    assert failing(tmp_path, NANO) == {}
    found = {check.name: check.found for check in power.checks(str(tmp_path), NANO)}
    assert found == {
        "power mode": "MAXN (0)",
        "clocks": "GPU 922 to 922 MHz, now 922; 4 cores online, locked",
        "power supply": "5.04 V in",
    }


def test_a_nano_on_a_phone_charger(tmp_path):
    boards.nano(tmp_path, minimum=76800000, now=76800000, mode=1, millivolt=4610)
    boards.write(tmp_path, "sys/class/thermal/cooling_device0/type", "gpu-balanced")
    boards.write(tmp_path, "sys/class/thermal/cooling_device0/cur_state", "2")
    found = failing(tmp_path, NANO)
    assert found["power mode"].found == "5W (1)"
    assert found["power mode"].advice == "MAXN (0) is faster: sudo nvpmodel -m 0"
    assert found["clocks"].found.startswith("GPU 77 to 922 MHz")
    assert found["clocks"].advice.endswith("sudo jetson_clocks")
    assert found["power supply"].found == "4.61 V in, held back by gpu-balanced"
    assert found["power supply"].advice.startswith("below 4.75 V: ")
    assert "barrel jack with jumper J48" in found["power supply"].advice
    assert not any(check.required for check in found.values())


def test_counters_of_an_orin(tmp_path):
    boards.orin_nano(tmp_path, events=37)
    boards.write(tmp_path, "sys/class/hwmon/hwmon3/oc1_event_cnt", "0\n")
    row = failing(tmp_path, ORIN)["power supply"]
    assert row.found == "4.97 V in, instantaneous over-current 37 since boot"
    assert row.advice.startswith("the board throttled itself (instantaneous over-current): use the")
    assert "J48" not in row.advice


def test_another_computer_has_nothing_to_read(tmp_path):
    rows = power.checks(str(tmp_path), "x86_64")
    assert all(row.ok and not row.advice for row in rows)
    assert [row.found for row in rows] == [
        "no nvpmodel here",
        "no GPU clock under /sys",
        "the board shows nothing of it",
    ]
    assert sysfs.input_millivolt(str(tmp_path)) is None


def test_of_chips_with_one_rail_each_the_inputs_own_gives_the_voltage(tmp_path):
    """Thor's: an ina238 a rail, whose in0 is the shunt."""
    for number, (name, label, millivolt) in enumerate(
        [("ina238", "VDD_GPU", 870), ("ina238", "VIN", 19900), ("nct1008", "VIN", 1)]
    ):
        chip = "sys/class/hwmon/hwmon%d/" % (3 - number)
        for file, text in (("name", name), ("label", label), ("in0_input", "12"), ("in1_input", "%d" % millivolt)):
            boards.write(tmp_path, chip + file, text + "\n")
    assert sysfs.input_millivolt(str(tmp_path)) == 19900


def test_the_supply_is_watched_while_it_matters(tmp_path):
    boards.orin_nano(tmp_path, events=5)
    watch = power.SupplyWatch(str(tmp_path), ORIN)
    assert watch.warnings() == []  # the five are from before
    boards.orin_nano(tmp_path, events=6)
    (line,) = watch.warnings()
    assert line.startswith("power supply, while it was built: the board throttled itself (inst")
    boards.nano(tmp_path / "nano")
    watch = power.SupplyWatch(str(tmp_path / "nano"), NANO)
    boards.nano(tmp_path / "nano", millivolt=4700)
    watch.look()
    boards.nano(tmp_path / "nano")  # it recovers: what it had been is not forgotten
    assert "below 4.75 V" in watch.warnings()[0]


def test_a_build_records_what_slowed_it_down(tmp_path, monkeypatch):
    """The fake builds, and the supply gives way as the child starts."""
    bundle = make_bundle(tmp_path / "bundle")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", fakes.write_modules(tmp_path / "fake", "8.2", sm=53))
    monkeypatch.setattr(build, "memory_mib", lambda: {"available": 4000, "swap_free": 4000})
    monkeypatch.setattr(build, "board_name", lambda: NANO)
    root = tmp_path / "root"
    boards.nano(root, minimum=76800000, mode=1)
    attempts = build.attempts

    def planned(*words):
        found = attempts(*words)
        monkeypatch.setattr(build, "check_disk", lambda *w: boards.nano(root, millivolt=4500))
        return found

    monkeypatch.setattr(build, "attempts", planned)
    found = build.build(bundle, read_manifest(bundle), root=str(root))["warnings"]
    assert [line.split(":")[0] for line in found] == [
        "power mode",
        "clocks",
        "power supply, while it was built",
    ]
    assert "below 4.75 V" in found[2]
