"""What an installation puts beside other projects' packages."""

import zipfile

import pytest
from hatchling.builders.wheel import WheelBuilder

from end_to_end import ROOT


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return zipfile.ZipFile(wheel).namelist()


def test_its_packages_are_named_after_us(names):
    """jetson-inference installs `jetson`; whoever comes second would hide the other."""
    folders = {name.partition("/")[0] for name in names}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {
        "edgedistill",
        "edgedistill_device",
        "edgedistill_calibration",
    }


def test_it_holds_what_runs_and_nothing_that_only_maintainers_need(names):
    assert not [name for name in names if name.endswith("ruff.toml") or "fitting" in name or "__pycache__" in name]
    data = {"config/releases.toml", "config/targets/jetson-nano.toml", "models/students.json", "reporting/page.html.j2"}
    assert {f"edgedistill/{name}" for name in data} < set(names)
    assert "edgedistill_device/classify.service" in names
