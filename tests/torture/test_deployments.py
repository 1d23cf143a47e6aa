"""Two deployments to one board at the same time, over a real sshd; of every other pair one is killed."""

import hashlib
import os
import signal
import sys
import threading

import pytest

from board_behind_sshd import RUNS, TestBoard, id_of, kill_script, make_keys, next_release, signed
from bundles import SOURCES
from forked import ON_A_BOARD, forked
from sshd import Sshd, need_sshd
from suite_length import chance, rounds

pytestmark = pytest.mark.slow

ROUNDS = rounds(1, 6, 40)
MORE = 8  # rounds until a kill has hit
PYTHON = os.environ.get("EDGEDISTILL_PYTHON36", sys.executable)
VERBS = ("want", "accept", "build", "verify", "bench", "activate")
KINDS = (("two releases", True), ("one release", False), ("one release", True), ("two releases", False))
ROAD_SECONDS, VERB_SECONDS = 5.0, 0.4  # about, for two on two cores, so that all of it is hit


class Served:
    """`with Served(board, ids) as seen`: looks at what is served, all the time, and counts."""

    def __init__(self, board, *bundles):
        self._current, self._valid = board.root / "current", {id_of(bundle) for bundle in bundles}
        self._end, self.looks, self.wrong = threading.Event(), 0, []

    def __enter__(self):
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    def _look(self):
        while not self._end.wait(0.005):
            try:  # one path, resolved once: by the name, a switch may come between two files
                content = (self._current.resolve(strict=True) / "manifest.json").read_bytes()
                found = hashlib.sha256(content).hexdigest()[:16]
            except OSError as error:
                found = str(error)
            self.looks += 1
            if found not in self._valid:
                self.wrong.append(found)


def with_tmpdir(folder, name, python):
    """That interpreter, whose temporary files lie in the folder's tmp/."""
    path = folder / name
    path.write_text(f'#!/bin/sh\nexport TMPDIR={folder}/tmp\nexec {python} "$@"\n')
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """(folder, board, its interpreters, server's config, keys, the release that it serves first).

    One interpreter is for whatever may be killed, the other stands for it elsewhere (tests/forked.py).
    """
    need_sshd()
    folder = tmp_path_factory.mktemp("boards")
    (folder / "tmp").mkdir()
    fresh, quick = (
        with_tmpdir(folder, name, python)
        for name, python in (("python", PYTHON), ("forked", forked(PYTHON, ON_A_BOARD, SOURCES)))
    )
    with Sshd(folder / "sshd") as server:
        keys, board = make_keys(folder / "keys"), TestBoard(folder / "board", quick)
        board.enrol(server.config, keys)
        first = signed(folder / "1", keys)
        board.deploy(server.config, first, folder / "first.json")
        yield folder, board, (fresh, quick), server.config, keys, first


def left_on(board, folder):
    """What a finished deployment must not have left; `.ses` is ONNX Runtime's own, written when it is imported."""
    return [
        str(path)
        for path in [
            *(board.root / "incoming").iterdir(),
            *(board.root / "releases").glob(".*"),
            *board.root.rglob("*.tmp"),
            *board.root.rglob("*.partial"),
            *(folder / "tmp").iterdir(),
        ]
        if path.name != ".ses"
    ]


def test_two_deployments_to_one_board(place, fork_client, tried):
    """Each is repeated once the pair has ended, and must end well then, whatever was killed."""
    folder, board, (fresh, quick), config, keys, before = place
    draw, lost, looks, kills, number = chance("deployments"), [], 0, 0, -1
    while number + 1 < ROUNDS or (not kills and number + 1 < ROUNDS + MORE):  # a kill may come too late
        number += 1
        what, kill = KINDS[number % len(KINDS)]
        one = next_release(before, folder / f"{number}a", keys, serial=2 * number + 2)
        other = one
        if what == "two releases":
            other = next_release(before, folder / f"{number}b", keys, serial=2 * number + 3, model="other")
        words = (
            "--host",
            "board",
            "--root",
            board.root,
            "--python",
            board.python,
            "--ssh-config",
            config,
            "--runs",
            RUNS,
            "--quiet",
        )
        if other != one:  # whichever comes second; the older one is repeated, too
            words += ("--allow-downgrade",)
        jobs = [{"words": ["deploy", bundle, *words]} for bundle in (one, other)]
        how = "nothing killed"
        if kill and draw.random() < 0.5:
            jobs[0]["kill_after_s"] = draw.uniform(0, ROAD_SECONDS)
            how = f"kill -9 here after {jobs[0]['kill_after_s']:.2f} s"
        elif kill:
            verb, after = draw.choice(VERBS), draw.uniform(0, VERB_SECONDS)
            board.fault(verb, kill_script(after, folder / f"killed{number}"))
            how = f"kill -9 of {verb} there after {after:.2f} s"
        with Served(board, before, one, other) as seen:
            board.use(fresh)
            pair = fork_client.run_all(*jobs, cwd=folder)
            board.forget_faults()
            board.use(quick)
            kills += pair[0].code == -signal.SIGKILL or (folder / f"killed{number}").exists()
            again = [fork_client.run(*job["words"], cwd=folder) for job in jobs[: 1 + (other != one)]]
        looks += seen.looks
        bad = [done.err for done in pair if done.code not in (0, -signal.SIGKILL)]
        if (
            len(bad) > kill
            or any(len(said.strip().splitlines()) != 1 for said in bad)
            or any(done.code for done in again)
            or seen.wrong
            or board.current() != id_of(other)
            or not board.served_equals(other)
            or left_on(board, folder)
        ):
            lost.append(
                (what, how, [(done.code, done.err) for done in [*pair, *again]], seen.wrong[:3], left_on(board, folder))
            )
        before = other
    tried("together", "two deployments to one board", number + 1, len(lost))
    tried("together", "two deployments to one board, one of them killed", kills)
    tried("together", "what the board serves, looked at", looks)
    assert not lost, lost
