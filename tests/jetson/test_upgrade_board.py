"""A board's ROOT that an earlier release left (tests/upgrade) serves on under this one, and goes back."""

import json
import lzma
import os
import tarfile

import pytest

from bundles import ROOT
from edgedistill_device.__main__ import main
from edgedistill_device.manifest import read_manifest
from edgedistill_device.releases.store import status

BOARD = os.path.join(ROOT, "tests", "upgrade", "earlier_release.tar.xz")


@pytest.fixture
def root(tmp_path):
    with lzma.open(BOARD) as file, tarfile.open(fileobj=file) as tar:
        known = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}  # 3.12 warns without, 3.6 has none
        tar.extractall(str(tmp_path), **known)
    return str(tmp_path / "root")


def test_status_tells_both_releases(root):
    found = status(root)
    assert sorted(row["serial"] for row in found["releases"]) == [1, 2]
    assert found["proven"] is True
    assert found["problems"] == []
    verified = {row["id"]: row["verified"] for row in found["releases"]}
    assert verified == {found["current"]: True, found["previous"]: True}
    assert set(found["highest_serial"].values()) == {2}


def test_each_release_is_whole(root):
    for row in status(root)["releases"]:
        manifest = read_manifest(os.path.join(root, "releases", row["id"]))
        assert (manifest.serial, manifest.model) == (row["serial"], "mobilenetv3_small_050")


def test_rollback_serves_the_one_before(root, capsys):
    before = status(root)
    assert main(["rollback", "--root", root]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["id"] == before["previous"]
    after = status(root)
    assert (after["current"], after["proven"]) == (before["previous"], True)
    assert os.path.basename(os.path.realpath(os.path.join(root, "current"))) == before["previous"]
