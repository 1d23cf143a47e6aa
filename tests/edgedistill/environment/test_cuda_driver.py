"""A GPU whose driver is too old for the installed PyTorch is not fine; the driver's library is a stand-in."""

import re
from importlib import metadata

import pytest

from edgedistill.environment import cuda_driver, doctor


class Library:
    """`libcuda.so.1` with so many devices, of this CUDA; `failing` answers with an error."""

    def __init__(self, devices=1, version=12040, failing=""):
        self.devices, self.version, self.failing = devices, version, failing

    def _put(self, name, place, value):
        if name == self.failing:
            return 999
        place._obj.value = value
        return 0

    def cuInit(self, flags):
        return 999 if self.failing == "cuInit" else 0

    def cuDeviceGetCount(self, place):
        return self._put("cuDeviceGetCount", place, self.devices)

    def cuDriverGetVersion(self, place):
        return self._put("cuDriverGetVersion", place, self.version)


@pytest.mark.parametrize(("version", "cuda"), [(12040, (12, 4)), (13000, (13, 0)), (11080, (11, 8)), (10020, (10, 2))])
def test_the_driver_says_how_many_devices_and_which_cuda(version, cuda):
    opened = []
    found = cuda_driver.cuda_driver(lambda name: opened.append(name) or Library(2, version))
    assert (found.devices, found.cuda, opened) == (2, cuda, ["libcuda.so.1"])


@pytest.mark.parametrize("library", [Library(0), Library(failing="cuInit"), Library(failing="cuDeviceGetCount")])
def test_a_driver_without_a_device_is_none(library):
    assert cuda_driver.cuda_driver(lambda name: library) is None


def test_no_driver_is_none_and_one_that_hides_its_version_is_of_cuda_0():
    def absent(name):
        raise OSError(name)

    assert cuda_driver.cuda_driver(absent) is None
    assert cuda_driver.cuda_driver(lambda name: Library(failing="cuDriverGetVersion")).cuda == (0, 0)


PACKAGES_OF_12 = ["nvidia-cuda-runtime-cu12==12.4.127; platform_system == 'Linux'", "sympy==1.13.1"]
PACKAGES_OF_13 = ["cuda-toolkit[cudart]==13.2.2", "nvidia-cudnn-cu13==9.26.0.51; platform_system == 'Linux'"]


def install(monkeypatch, version, required):
    real = metadata.version, metadata.requires
    monkeypatch.setattr(metadata, "version", lambda name: version if name == "torch" else real[0](name))
    monkeypatch.setattr(metadata, "requires", lambda name: required if name == "torch" else real[1](name))


@pytest.mark.parametrize(
    ("version", "required", "major"),
    [
        ("2.10.0+cu126", PACKAGES_OF_13, 12),
        ("2.10.0+cu130", None, 13),
        ("2.5.1", PACKAGES_OF_12, 12),
        ("2.15.0", PACKAGES_OF_13, 13),
        ("2.15.0+cpu", None, 0),
        ("2.15.0+rocm6.4", None, None),
        ("2.15.0", ["sympy"], None),
    ],
)
def test_which_cuda_pytorch_is_for(monkeypatch, version, required, major):
    install(monkeypatch, version, required)
    assert cuda_driver.cuda_of_pytorch() == major


def test_without_pytorch_its_cuda_is_unknown(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    assert cuda_driver.cuda_of_pytorch() is None


def test_the_installed_pytorch_says_the_same_itself():
    import torch

    built_for = torch.version.cuda
    assert cuda_driver.cuda_of_pytorch() == (int(built_for.partition(".")[0]) if built_for else 0)


@pytest.mark.parametrize(
    ("cuda", "torch_version", "ok", "said", "cure"),
    [
        (
            (12, 4),
            "2.15.0+cu130",
            False,
            "the driver is of CUDA 12.4, PyTorch of 13",
            r"update the driver, or `uv pip .*`",
        ),
        ((12, 4), "2.15.0+cu128", True, "1 CUDA device(s), the driver is of CUDA 12.4", ""),
        ((13, 1), "2.15.0+cu126", True, "CUDA 13.1", ""),
        ((13, 1), "2.15.0+cpu", False, "PyTorch of none", "`uv pip .*`"),
        ((0, 0), "2.15.0+cu130", True, "1 CUDA device(s)", ""),
        (None, "2.15.0+cu130", False, "no CUDA device", "a computer with .*"),
    ],
)
def test_doctor_compares_the_two(monkeypatch, cuda, torch_version, ok, said, cure):
    install(monkeypatch, torch_version, None)
    monkeypatch.setattr(doctor, "cuda_driver", lambda: cuda and cuda_driver.Driver(1, cuda))
    check = doctor._cuda()
    assert (check.ok, check.required) == (ok, False)
    assert said in check.found
    assert re.fullmatch(cure, check.cure)
    shown = " ".join(doctor.text_from_checks([check]).split())
    assert ("training runs on the CPU" in shown) == (not ok)
