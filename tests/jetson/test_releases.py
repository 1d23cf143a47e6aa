"""The board's side of flashing: what is served, and the way back."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from board_root import current, refused, said, snapshot
from bundles import BIAS, ROOT, WEIGHT
from edgedistill_device.__main__ import build_parser, main
from edgedistill_device.errors import ManifestError, ReleaseError, VerifyError
from edgedistill_device.manifest import sha256_of
from edgedistill_device.releases import store
from edgedistill_device.releases.incoming import accept
from edgedistill_device.releases.root import bytes_in, discard
from edgedistill_device.releases.store import activate, prune, rollback, status
from tiny_onnx import model_bytes

pytestmark = pytest.mark.usefixtures("forked_children")
PYTHON = sys.executable


def test_the_whole_road_as_a_user_takes_it(able, tmp_path, capsys):
    os.symlink(able.root, str(tmp_path / "on-another-disk"))
    root, ids = ["--root", str(tmp_path / "on-another-disk")], []
    for serial in (7, 8):
        release = able.send(serial=serial)
        os.remove(able.path("incoming", release, "model.onnx"))
        assert main(["want", release] + root) == 0
        left = said(capsys)
        assert left["release_exists"] is False
        # what the first release has is copied from there; the model is of both
        assert [f["name"] for f in left["files"]] == (["model.onnx"] if serial == 7 else [])
        if serial == 7:
            shutil.copy(os.path.join(able.bundle, "model.onnx"), able.path("incoming", release))
        assert main(["accept", release] + root) == 0
        assert said(capsys) == {
            "verb": "accept",
            "id": release,
            "serial": serial,
            "key_id": able.key_id,
            "already": False,
        }
        able.verify(release)
        assert main(["activate", release] + root) == 0
        found = said(capsys)
        assert (found["id"], found["previous"], found["already"]) == (
            release,
            (ids or [None])[-1],
            False,
        )
        assert found["health"]["images"] == 4
        assert found["health"]["end_to_end_ms"]["p50_ms"] > 0
        assert current(able) == release
        ids.append(release)
    assert main(["status"] + root) == 0
    found = said(capsys)
    assert (found["current"], found["previous"], found["proven"]) == (ids[1], ids[0], True)
    assert found["board"]["backend"] == "onnxruntime"
    assert found["highest_serial"] == {able.key_id: 8}
    row = next(row for row in found["releases"] if row["id"] == ids[0])
    assert (row["model"], row["serial"], row["verified"], row["executed"]) == (
        "tiny",
        7,
        True,
        "fp32",
    )
    assert main(["rollback"] + root) == 0
    found = said(capsys)
    assert (found["id"], found["previous"], found["already"]) == (ids[0], ids[1], False)
    assert found["health"]["images"] == 4
    assert current(able) == ids[0]
    assert main(["prune", "--keep", "1"] + root) == 0
    assert said(capsys)["removed"] == []


def test_only_a_whole_verified_release_becomes_current(board):
    release = board.send()
    refused(board, "releases/%s is not there" % release, activate, release)
    accept(board.root, release)
    refused(board, "model.onnx has not passed; run: ", activate, release)
    board.pretend_verified(release)
    with open(board.path("releases", release, "classes.py"), "w") as file:
        file.write("")
    refused(board, "classes.py is not in the manifest", activate, release)
    assert current(board) is None


def test_activate_again_asks_again_and_changes_nothing(able):
    release = able.send()
    accept(able.root, release)
    able.verify(release)
    assert activate(able.root, release)["already"] is False
    before = snapshot(able.root)
    found = activate(able.root, release)
    assert (found["already"], found["previous"], found["health"]["images"]) == (True, None, 4)
    assert snapshot(able.root) == before


def wrong_goldens(board):
    path = os.path.join(board.bundle, "golden", "logits.npy")
    np.save(path, np.load(path) + 3)
    return {}


def impossible_budget(board):
    return {"latency_budget_ms": 1e-6}


def health_that(*lines):
    def change(board):
        with open(os.path.join(board.bundle, "edgedistill_device", "verbs", "health.py"), "a") as file:
            file.write("\n\ndef run(args):\n    import os, sys, time\n")
            file.writelines("    %s\n" % line for line in lines)
        return {}

    return change


SICK = [
    (wrong_goldens, "health check: edgedistill_device health: logits differ"),
    (impossible_budget, "ms, the bundle's budget is 1e-06 ms"),
    (health_that("os.kill(os.getpid(), 11)"), "health check: died of signal 11 (SIGSEGV)"),
    (health_that("time.sleep(60)"), "health check: no answer within 1.5 s"),
    (health_that("return 'fine'"), "health check: expected its JSON, got 'fine'"),
    (health_that("os._exit(3)"), "health check: exit code 3"),
]
NAMES = ["goldens", "budget", "crash", "hang", "nonsense", "exit"]


@pytest.mark.parametrize(("harm", "words"), SICK, ids=NAMES)
def test_what_does_not_prove_itself_is_taken_back(able, monkeypatch, harm, words):
    good = able.send(serial=1)
    bad = able.send(serial=2, **harm(able))
    for release in (good, bad):
        accept(able.root, release)
        able.pretend_verified(release)
    with monkeypatch.context() as patch:
        patch.setattr(store, "ask_current", lambda *_: {})
        activate(able.root, good)
    with pytest.raises(ReleaseError) as error:
        activate(able.root, bad, timeout_s=1.5 if "answer" in words else 60)
    assert words in str(error.value)
    assert str(error.value).endswith("; %s is served again" % good)
    found = status(able.root)
    assert (found["current"], found["previous"], found["proven"]) == (good, None, True)
    assert current(able) == good


def test_after_a_first_release_that_does_not_prove_itself_none_is_served(able):
    release = able.send(latency_budget_ms=1e-6)
    accept(able.root, release)
    able.verify(release)
    with pytest.raises(ReleaseError, match="; no release is served$"):
        activate(able.root, release)
    assert (current(able), os.path.lexists(able.path("live"))) == (None, False)
    found = status(able.root)
    assert (found["current"], found["previous"], found["proven"]) == (None, None, False)


def test_what_was_never_proved_is_left_by_the_next_command(served, monkeypatch, capsys):
    board, (first, second) = served

    class PowerCut(BaseException):
        pass

    def cut(*_):
        monkeypatch.setattr(store, "revert_unproven", lambda root: None)  # nothing runs any more
        raise PowerCut

    third = board.send(serial=3)
    accept(board.root, third)
    board.pretend_verified(third)
    for recover in (lambda: status(board.root, recover=True), lambda: prune(board.root)):
        with monkeypatch.context() as patch:
            patch.setattr(store, "ask_current", cut)
            with pytest.raises(PowerCut):
                activate(board.root, third)
        monkeypatch.undo()
        found = status(board.root)
        assert (found["current"], found["previous"], found["proven"]) == (third, second, False)
        recover()
        assert "%s never passed its health check" % third in capsys.readouterr().err
        found = status(board.root)
        assert (found["current"], found["previous"], found["proven"]) == (second, first, True)
        assert current(board) == second


def test_a_killed_agent_leaves_neither_lock_nor_child(able, tmp_path, monkeypatch):
    said_pid = tmp_path / "pid"
    monkeypatch.setenv("SAID_PID", str(said_pid))
    health_that("with open(os.environ['SAID_PID'], 'w') as file: file.write(str(os.getpid()))", "time.sleep(60)")(able)
    release = able.send()
    accept(able.root, release)
    able.pretend_verified(release)
    agent = subprocess.Popen(
        [PYTHON, "-m", "edgedistill_device", "activate", release, "--root", able.root],
        cwd=ROOT,
        env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1"),
    )
    until(lambda: said_pid.exists() and said_pid.read_text())
    assert status(able.root)["proven"] is False
    with pytest.raises(ReleaseError, match="is locked by another command"):
        prune(able.root)
    agent.kill()
    agent.wait()
    until(lambda: not alive(said_pid.read_text()))
    assert status(able.root, recover=True)["current"] is None
    assert current(able) is None


def until(seen, seconds=30):
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid):
    try:
        with open("/proc/%s/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (IOError, OSError):
        return False


def test_back_and_no_further(served, monkeypatch):
    board, (first, second) = served
    monkeypatch.setattr(store, "ask_current", lambda *_: {})
    for _ in range(2):  # a connection that broke makes a user say it twice
        found = rollback(board.root, leave=second)
        assert (found["id"], found["previous"], current(board)) == (first, second, first)
    refused(board, "current is %s" % first, rollback, leave="0" * 16)
    assert rollback(board.root)["id"] == second


def test_back_to_what_is_no_longer_healthy_is_undone(served, monkeypatch):
    """Its files, engine and pass are as they were; what is below them may have changed since."""
    board, (first, second) = served
    asked = []

    def sick(root, backend, timeout_s):
        found = status(root)
        asked.append((found["current"], found["proven"], backend, timeout_s))
        raise ReleaseError("health check: died of signal 11 (SIGSEGV)")

    monkeypatch.setattr(store, "ask_current", sick)
    with pytest.raises(ReleaseError, match=r"SIGSEGV\); %s is served again$" % second):
        rollback(board.root, timeout_s=7.0)
    assert asked == [(first, False, "onnxruntime", 7.0)]
    found = status(board.root)
    assert (found["current"], found["previous"], found["proven"]) == (second, first, True)
    assert current(board) == second


def test_back_to_what_no_longer_fits_is_refused(served):
    board, (first, _) = served
    record = board.path("releases", first, "work", "engine", "verified-onnxruntime.json")
    os.rename(record, record + "~")
    refused(board, "has not passed", rollback)
    os.rename(record + "~", record)
    with open(board.path("releases", first, "golden", "labels.json"), "a") as file:
        file.write(" ")
    refused(board, "golden/labels.json has ", rollback)


def test_back_from_the_first_there_is_nothing(board, monkeypatch):
    refused(board, "current is None, so there is nothing to roll back from", rollback)
    release = board.send()
    accept(board.root, release)
    board.pretend_verified(release)
    monkeypatch.setattr(store, "ask_current", lambda *_: {})
    activate(board.root, release)
    refused(board, "has no previous release", rollback)


def test_links_that_were_not_made_here_are_not_followed(served, tmp_path):
    board, _ = served
    os.remove(board.path("live"))
    os.symlink(str(tmp_path), board.path("live"))
    refused(board, "is not a link that was made here", rollback)


def test_prune_keeps_what_is_in_force_and_the_newest(served, monkeypatch):
    board, (first, second) = served
    monkeypatch.setattr(store, "ask_current", lambda *_: {})
    later = [board.send(serial=serial) for serial in (3, 4, 5)]
    for release in later:
        accept(board.root, release)
    half, old = board.send(serial=6), board.send(serial=7)
    day_s = 86400
    for place, folders, names in os.walk(board.path("incoming", old)):
        for path in [place] + [os.path.join(place, name) for name in folders + names]:
            os.utime(path, (time.time() - 2 * day_s,) * 2)
    before = bytes_in(board.root)
    found = prune(board.root, keep=3)
    assert found["removed"] == later[:2]
    assert found["incoming"] == [old]
    assert found["freed_bytes"] == before - bytes_in(board.root) > 0
    assert os.listdir(board.path("incoming")) == [half]
    rollback(board.root)  # the older of the two is current now, and still stays
    assert prune(board.root, keep=0)["removed"] == [later[2]]
    assert sorted(os.listdir(board.path("releases"))) == sorted([first, second])
    with pytest.raises(ReleaseError, match="--keep -1"):
        prune(board.root, keep=-1)


def test_an_engine_that_ends_the_process_is_verified_once_and_not_served(able, monkeypatch):
    with open(os.path.join(able.bundle, "edgedistill_device", "verbs", "verify.py"), "a") as file:
        file.write("\n\ndef run(args):\n    import os, signal\n    os.kill(os.getpid(), signal.SIGSEGV)\n")
    release = able.send()
    accept(able.root, release)
    able.pretend_verified(release)
    with monkeypatch.context() as patch:
        patch.setattr(store, "ask_current", lambda *_: {})
        activate(able.root, release)
    folder = able.path("releases", release)
    store.engine_file.set_pass_aside(folder, "onnxruntime", sha256_of(os.path.join(folder, "model.onnx")))
    with pytest.raises(ReleaseError, match=r"verify: died of signal 11 \(SIGSEGV\)"):
        status(able.root, recover=True)
    with pytest.raises(VerifyError, match="model.onnx has not passed"):
        status(able.root, recover=True)


def test_a_pass_is_of_one_model_only(able):
    release = able.send()
    accept(able.root, release)
    able.verify(release)
    with open(able.path("releases", release, "model.onnx"), "wb") as file:
        file.write(model_bytes(WEIGHT, [b + 1 for b in BIAS], 24))
    with pytest.raises(ManifestError, match="model.onnx has "):
        activate(able.root, release)
    with pytest.raises(VerifyError, match="model.onnx has not passed"):
        store.engine_file.require_verified(able.path("releases", release), "onnxruntime")


def test_the_service_says_what_the_commands_take():
    with open(os.path.join(ROOT, "jetson", "edgedistill_device", "classify.service"), encoding="ascii") as file:
        lines = dict(line.rstrip("\n").split("=", 1) for line in file if re.match(r"^\w+=", line))
    before, serve = (shlex.split(lines[key]) for key in ("ExecStartPre", "ExecStart"))
    args = build_parser().parse_args(before[before.index("edgedistill_device") + 1 :])
    assert (args.verb, args.recover) == ("status", True)
    assert lines["WorkingDirectory"] == args.root + "/current"
    assert args.root in lines["ReadWritePaths"].split()
    assert before[1] == "--chdir=" + args.root + "/agent"
    assert build_parser().parse_args(serve[serve.index("edgedistill_device") + 1 :]).verb == "classify"


@pytest.mark.parametrize("gone", ["while it is read", "before it is weighed"])
def test_a_release_that_is_removed_while_status_looks_has_no_row(able, monkeypatch, gone):
    kept, removed = (able.send(serial=serial) for serial in (7, 8))
    for release in (kept, removed):
        accept(able.root, release)
    slow = "signed_manifest" if gone == "while it is read" else "bytes_in"
    real = getattr(store, slow)

    def meanwhile(*args):
        if removed in str(args):
            discard(str(able.root), "releases", removed)
            if gone == "while it is read":
                sha256_of(able.path("releases", removed, "model.onnx"))
        return real(*args)

    monkeypatch.setattr(store, slow, meanwhile)
    assert [row["id"] for row in status(able.root)["releases"]] == [kept]


def test_a_disk_that_fails_is_no_removed_release(able, monkeypatch):
    accept(able.root, able.send(serial=7))

    def broken(*args):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(store, "bytes_in", broken)
    with pytest.raises(OSError, match="Input/output"):
        status(able.root)


@pytest.mark.parametrize("verb", [["activate", "ID"], ["rollback"]])
@pytest.mark.parametrize("text", ["nan", "inf", "0", "-1", "soon"])
def test_a_health_check_has_a_time_in_which_it_must_answer(capsys, verb, text):
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([*verb, "--health-timeout-s", text])
    assert ended.value.code == 2
    assert "expected seconds, more than 0, got '%s'" % (text,) in capsys.readouterr().err
    assert build_parser().parse_args([*verb, "--health-timeout-s", "1.5"]).health_timeout_s == 1.5
