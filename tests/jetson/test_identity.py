"""Which board this is, also in a container that hides the files that say so."""

import os
import platform

import pytest

import boards
from edgedistill_device import doctor
from edgedistill_device.board import identity, telemetry
from edgedistill_device.engine import engine_file
from edgedistill_device.engine.runners.tensorrt_backend import cuda_check
from edgedistill_device.errors import EngineError

NANO = "NVIDIA Jetson Nano Developer Kit"


def test_the_release_files_of_other_boards():
    assert telemetry.l4t_release_from_text(boards.sample("nv_tegra_release_r28.txt")) == "28.1.0"
    assert telemetry.l4t_release_from_text(boards.sample("nv_tegra_release_thor.txt")) == "38.2.0"


@pytest.mark.parametrize(
    "path", ["proc/device-tree/model", "sys/firmware/devicetree/base/model", "tmp/nv_jetson_model"]
)
def test_the_name_is_the_same_wherever_it_is_read(tmp_path, path):
    boards.write(tmp_path, path, NANO + "\0\n")
    assert identity.board_name(str(tmp_path)) == NANO
    assert identity.hidden_identity(str(tmp_path)) == ""


def test_a_folder_in_place_of_the_copy_is_no_name(tmp_path):
    """What jetson-containers issue 694 leaves behind."""
    (tmp_path / "tmp" / "nv_jetson_model").mkdir(parents=True)
    assert identity.board_name(str(tmp_path)) == platform.machine()


def test_the_device_tree_comes_before_the_copy(tmp_path):
    boards.write(tmp_path, "tmp/nv_jetson_model", "another")
    boards.write(tmp_path, "proc/device-tree/model", NANO + "\0")
    assert identity.board_name(str(tmp_path)) == NANO


def test_another_computer_hides_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    boards.write(tmp_path, ".dockerenv", "")
    assert identity.hidden_identity(str(tmp_path)) == ""
    assert not identity.is_jetson(str(tmp_path))


@pytest.mark.parametrize("machine", ["a device of Tegra", "an Arm container", "the release file"])
def test_a_container_says_which_file_is_missing(tmp_path, monkeypatch, machine):
    boards.write(tmp_path, ".dockerenv", "")
    if machine == "an Arm container":
        monkeypatch.setattr(identity.platform, "machine", lambda: "aarch64")
    elif machine == "the release file":
        boards.write(tmp_path, "etc/nv_tegra_release", boards.sample("nv_tegra_release_nano.txt"))
    else:
        boards.write(tmp_path, "dev/nvmap", "")
    line = identity.hidden_identity(str(tmp_path))
    missing = (
        "/proc/device-tree/model is"
        if machine == "the release file"
        else "/proc/device-tree/model and /etc/nv_tegra_release are"
    )
    assert line == (
        missing + " not there in this container: docker run -v /proc/device-tree:/proc/device-tree:ro "
        "-v /etc/nv_tegra_release:/etc/nv_tegra_release:ro"
    )
    rows = {check.name: check for check in doctor.checks(str(tmp_path), root=str(tmp_path))}
    assert (rows["JetPack"].ok, rows["JetPack"].advice) == (False, line)
    assert "not a Jetson" not in rows["JetPack"].found
    assert rows["TensorRT"].required
    boards.write(tmp_path, "proc/device-tree/model", NANO + "\0")  # with the mounts
    boards.write(tmp_path, "etc/nv_tegra_release", boards.sample("nv_tegra_release_nano.txt"))
    assert identity.hidden_identity(str(tmp_path)) == ""
    assert identity.is_jetson(str(tmp_path))
    rows = {check.name: check for check in doctor.checks(str(tmp_path), root=str(tmp_path))}
    assert rows["JetPack"].found == NANO + (", L4T 32.7.6; JetPack 4.6.6 brings TensorRT 8.2.1, CUDA 10.2, Python 3.6")


def test_an_engine_of_the_host_is_refused_with_what_to_mount(monkeypatch):
    record = {"board": NANO}
    monkeypatch.setattr(engine_file, "hidden_identity", lambda: "X is not there: mount it")
    with pytest.raises(
        EngineError,
        match=r"built for board NVIDIA Jetson Nano Developer Kit, this is aarch64 "
        r"\(X is not there: mount it\): engines run only",
    ):
        engine_file.check_machine(record, board="aarch64")
    engine_file.check_machine(record, board=NANO)


def test_device_files_that_this_user_may_not_open(tmp_path, monkeypatch):
    boards.write(tmp_path, "dev/dri/renderD128", "")
    boards.write(tmp_path, "dev/nvmap", "")
    path = str(tmp_path / "dev" / "dri" / "renderD128")
    assert identity.closed_devices(str(tmp_path)) == []
    monkeypatch.setattr(identity.os, "access", lambda name, mode: name != path)  # root may open everything
    (line,) = identity.closed_devices(str(tmp_path))
    assert line.startswith(path + " (group ")
    row = cuda_check({"cuda-cudart-12-6": "12.6.68-1"}, True, str(tmp_path))
    assert (row.ok, row.advice) == (False, identity.GROUPS_MEND)
    assert line + " cannot be opened" in row.found
    assert "sudo usermod -aG video,render $USER" in row.advice


@pytest.mark.parametrize("state", ["ii", "hi", "iW", "it", "iiR", "ri", "pi", "ui"])
def test_a_package_in_this_state_is_installed(state):
    text = "%s  libnvinfer8:arm64  8.2.1-1+cuda10.2  arm64  TensorRT\n" % (state,)
    assert doctor.packages_from_text(text) == {"libnvinfer8": "8.2.1-1+cuda10.2"}


@pytest.mark.parametrize("state", ["rc", "un", "iU", "iH", "iF", "hc", "||/", "Status"])
def test_a_package_in_this_state_is_not(state):
    assert doctor.packages_from_text("%s  old  1.0  arm64\n" % (state,)) == {}


def test_the_unit_and_the_image_name_the_groups():
    folder = os.path.dirname(os.path.abspath(doctor.__file__))
    with open(os.path.join(folder, "classify.service")) as file:
        assert "JetPack 6 and newer: video render" in file.read()
