"""A board whose clock begins in 1970, as a Nano's without a time server: every verb works all the same."""

import json
import os
import subprocess
import sys

import pytest

import fakes
from board_root import BoardRoot

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_children")]

# Python's own clock counts from 1970 in every process; time.monotonic goes on as it is.
IN_1970 = """
import time
_begun = time.monotonic()
time.time = lambda: 20 + (time.monotonic() - _begun) % 60
"""


@pytest.fixture
def served(tmp_path):
    board = BoardRoot(tmp_path, backend="tensorrt")
    path = fakes.write_modules(tmp_path / "fake", "8.2", sm=53)
    with open(os.path.join(path, "sitecustomize.py"), "w") as file:
        file.write(IN_1970)
    environment = dict(os.environ, PYTHONPATH=path, PYTHONDONTWRITEBYTECODE="1", XDG_CACHE_HOME=str(tmp_path / "cache"))

    def jetson(words, folder=board.bundle):
        process = subprocess.Popen(
            [sys.executable, "-m", "edgedistill_device"] + words,
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
        )
        out, error = process.communicate()
        assert process.returncode == 0, error
        return json.loads(out.splitlines()[-1])

    return board, jetson


def serves(board):
    return os.path.basename(os.path.realpath(board.path("current")))


def test_from_a_copy_to_a_rollback_in_1970(served):
    board, jetson = served
    root = ["--root", board.root]
    ids = [board.send(), board.send(serial=2)]
    for release in ids:
        jetson(["accept", release] + root)
        folder = board.path("releases", release)
        assert jetson(["build"], folder)["build_seconds"] >= 0
        jetson(["verify"], folder)
        jetson(["activate", release] + root)
        assert serves(board) == release
    under_way = board.send(serial=3)
    pruned = jetson(["prune", "--keep", "2"] + root)
    assert (pruned["removed"], pruned["incoming"]) == ([], [])  # files of the future are not old
    assert under_way in os.listdir(board.path("incoming"))
    jetson(["rollback"] + root)
    assert serves(board) == ids[0]
    assert ids[0] in json.dumps(jetson(["status"] + root))
    stats = board.path("stats.json")
    folder = os.path.join("golden", "images")
    jetson(["classify", "--stats", stats, folder], board.path("releases", ids[0]))
    with open(stats) as file:
        assert json.load(file)["unix_time"] < 100  # the clock was there
    assert jetson(["bench", "--runs", "20"], board.path("releases", ids[0]))["host_ms"]["p50_ms"] > 0
