"""A board that version 0.1 enrolled, whose agent and releases are called `jetson` (tests/upgrade), over a real sshd."""

import lzma
import shutil
import subprocess
import tarfile

import pytest

from board_behind_sshd import TestBoard, id_of, sign_again
from edgedistill.bundles.device_code import copy_device_code
from edgedistill.deployment.ssh import Connection
from end_to_end import ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def board(tmp_path, forked_python, keys):
    """It trusts our key beside the one whose private half was thrown away."""
    board = TestBoard(tmp_path / "board", forked_python)
    with lzma.open(ROOT / "tests" / "upgrade" / "earlier_release.tar.xz") as file, tarfile.open(fileobj=file) as tar:
        tar.extractall(tmp_path / "left", filter="tar")
    board.root.rmdir()
    shutil.copytree(tmp_path / "left" / "root", board.root, symlinks=True)
    shutil.copy(keys.public, board.root / "trusted.d" / "new.pem")
    return board


@pytest.fixture(scope="module")
def release(first, keys, tmp_path_factory):
    """A bundle of today with all its device code and decisions, for that board."""
    row = {"temperature": 2.0, "thresholds": [["green", 0.3]], "unknown_below": -9.0}
    folder = tmp_path_factory.mktemp("release") / "bundle"
    shutil.copytree(first, folder)
    copy_device_code(folder)
    return sign_again(
        folder, keys, serial=3, target="jetson-nano", model="tiny", provenance={"decisions": {"fp32": row}}
    )


def test_a_new_release_goes_through_the_old_agent_and_back(server, tmp_path, board, release):
    before = board.current()
    found = board.deploy(server.config, release, tmp_path / "r.json")
    assert (found.id, found.activate.previous) == (id_of(release), before)
    assert board.current() == id_of(release)
    assert board.served_equals(release)
    with Connection("board", server.config) as machine:
        assert board.on(machine).agent("status")["problems"] == []
        assert board.on(machine).agent("rollback")["id"] == before
    assert board.current() == before


def test_enrolling_brings_the_agent_up_to_date_and_nothing_old_stays_in_it(server, tmp_path, board, keys, release):
    before = board.current()
    (board.root / "trusted.d" / "new.pem").unlink()  # enrolling brings it by its own name
    (board.root / "trusted.d" / "ours.pem").rename(board.root / "trusted.d" / "old.pem")
    board.enrol(server.config, keys, target="jetson-nano")
    (agent,) = (board.root / "agents").iterdir()
    assert sorted(path.name for path in agent.iterdir() if path.is_dir()) == [
        "edgedistill_calibration",
        "edgedistill_device",
        "jetson",
    ]
    assert sorted(path.name for path in (agent / "jetson").iterdir()) == ["__init__.py", "__main__.py"]
    board.deploy(server.config, release, tmp_path / "r.json")
    with Connection("board", server.config) as machine:
        rolled = board.on(machine).agent("rollback")  # the new agent asks the old release by its old name
    assert rolled["id"] == before == board.current()


def test_a_unit_of_before_starts_the_new_release(server, tmp_path, board, release, board_python):
    """Its words are `python3 -m jetson`; what it runs leaves nothing compiled in the release."""
    board.deploy(server.config, release, tmp_path / "r.json")
    for folder, words in (
        ("current", ["classify", "--backend", "onnxruntime", "golden/images"]),
        ("agent", ["status"]),
    ):
        root = ["--root", str(board.root)] if folder == "agent" else []
        done = subprocess.run(
            [board_python, "-m", "jetson", *words, *root], cwd=board.root / folder, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert not list(board.root.rglob("__pycache__"))
