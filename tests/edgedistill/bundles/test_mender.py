"""The Mender update module: it installs and goes back, and nothing that a board's folder holds runs as root."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edgedistill.bundles.archive import write_archive
from edgedistill.bundles.device_code import copy_device_code
from edgedistill.bundles.keys import new_key
from edgedistill.bundles.signing import sign_bundle
from edgedistill_device.manifest import NAME, id_of
from end_to_end import ROOT
from optional_tools import lacking

pytestmark = pytest.mark.slow

MODULE = ROOT / "edgedistill" / "bundles" / "mender_module.sh"
IS_ROOT = os.getuid() == 0
OWNER = "nobody" if IS_ROOT else pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def as_root():
    """Mender runs as root."""
    if not IS_ROOT:
        lacking("right to give files away", "run as root, as Mender does")


@pytest.fixture
def place():
    """A folder that every user may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="edgedistill-mender-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def root(place):
    """A board's folder with an agent that says who runs it, and with what."""
    root = place / "root"
    (root / "agent").mkdir(parents=True)
    (root / "trusted.d").mkdir()
    (root / "releases").mkdir()
    (root / "board.json").write_text('{"backend": "onnxruntime"}')
    given_to(root, OWNER)
    return root


def given_to(root, owner):
    known = pwd.getpwnam(owner)
    for path in [root, *root.rglob("*")]:
        if IS_ROOT:
            os.chown(path, known.pw_uid, known.pw_gid, follow_symlinks=False)
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o022)


@pytest.fixture
def call(place, root):
    """`call(state, root)`: as Mender does; `python3` is a script that notes its user, words and environment."""
    (place / "bin").mkdir()
    (place / "noted").mkdir(mode=0o777)
    (place / "noted").chmod(0o777)
    script = f'#!/bin/sh\n{{ id -u; pwd; echo "$@"; env; }} > {place}/noted/call\necho \'{{"current": null}}\'\n'
    (place / "bin" / "python3").write_text(script)
    (place / "bin" / "python3").chmod(0o755)

    def called(root=root, state="ArtifactCommit", **environment):
        files = place / "files"
        (files / "tmp").mkdir(parents=True, exist_ok=True)
        (files / "tmp" / "edgedistill-id").write_text("0" * 16)
        done = subprocess.run(
            ["sh", MODULE, state, files],
            text=True,
            capture_output=True,
            check=False,
            env={"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "EDGEDISTILL_ROOT": str(root), **environment},
        )
        noted = place / "noted" / "call"
        lines = noted.read_text().splitlines() if noted.exists() else None
        return done, lines

    return called


def refused(found):
    """The one line of a refusal, after which nothing of the board has run."""
    done, noted = found
    assert done.returncode == 1
    assert noted is None
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_the_agent_runs_as_the_owner_and_with_nothing_of_root(call):
    done, noted = call(SECRET="token", HOME="/root", PYTHONHOME="/x", PYTHONPATH="/evil", LD_PRELOAD="")
    assert "does not serve 0000000000000000" in done.stderr
    assert noted[0] == str(pwd.getpwnam(OWNER).pw_uid)
    assert noted[1] == "/"
    names = {line.partition("=")[0] for line in noted[3:]}
    assert not names & {"SECRET", "PYTHONHOME", "LD_PRELOAD", "EDGEDISTILL_ROOT"}
    assert f"HOME={pwd.getpwnam(OWNER).pw_dir}" in noted
    assert "PYTHONPATH=/evil" not in noted
    assert "PYTHONDONTWRITEBYTECODE=1" in noted


@pytest.mark.usefixtures("as_root")
def test_of_a_link_the_folder_behind_it_says_whose_it_is(call, root, place):
    """stat of the link itself says root, who made it: the board's code then ran as root."""
    (place / "link").symlink_to(root)
    _, noted = call(place / "link")
    assert noted[0] == str(pwd.getpwnam(OWNER).pw_uid)


@pytest.mark.usefixtures("as_root")
def test_a_folder_of_root_is_refused_behind_a_link_too(call, root, place):
    given_to(root, "root")
    (place / "link").symlink_to(root)
    os.chown(place / "link", pwd.getpwnam("nobody").pw_uid, -1, follow_symlinks=False)
    for path in (root, place / "link", f"{root}/", f"{root}/agent/.."):
        assert "belongs to root, and no code of a board runs as root" in refused(call(path))


@pytest.mark.usefixtures("as_root")
def test_an_owner_whom_the_board_does_not_know_is_refused(call, root):
    os.chown(root, 123456, 123456)
    assert "belongs to uid 123456, which is no user of this board" in refused(call())


@pytest.mark.parametrize("part", ["", "agent", "trusted.d", "releases"])
@pytest.mark.parametrize("mode", [0o777, 0o757, 0o1777])
def test_a_folder_that_others_can_write_is_refused(call, root, part, mode):
    (root / part).chmod(mode)
    assert "can be changed by others than" in refused(call())


@pytest.mark.parametrize("name", ["agent/jetson.py", "trusted.d/a.pem"])
def test_a_file_of_the_agent_that_others_can_write_is_refused(call, root, name):
    (root / name).write_text("")
    given_to(root, OWNER)
    (root / name).chmod(0o666)
    line = refused(call())
    assert str(root / name) in line
    assert "chmod -R go-w" in line


@pytest.mark.usefixtures("as_root")
def test_a_key_that_another_user_put_there_is_refused(call, root):
    (root / "trusted.d" / "b.pem").write_text("")
    os.chown(root / "trusted.d" / "b.pem", 65533, 65533)
    assert "b.pem can be changed by others" in refused(call())


@pytest.mark.usefixtures("as_root")
def test_a_group_may_write_only_if_it_is_the_owners_private_one(call, root):
    """Ubuntu gives each user a group of their own and umask 002; `nogroup` is nobody's and others'."""
    root.chmod(0o775)
    assert "can be changed by others than" in refused(call())


def test_a_folder_above_that_others_can_write_is_refused(call, root, place):
    (place / "shared").mkdir()
    root.rename(place / "shared" / "root")
    (place / "shared").chmod(0o777)
    assert "and with it" in refused(call(place / "shared" / "root"))


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("root", "expected an absolute path"),
        ("/nowhere", "is no folder"),
        ("/etc/passwd", "is no folder"),
    ],
)
def test_what_is_no_folder_is_refused_in_one_line(call, named, said):
    assert said in refused(call(named))


def test_states_that_need_nothing_need_no_board_either(call):
    for state, said in (("SupportsRollback", "Yes\n"), ("NeedsArtifactReboot", ""), ("Cleanup", "")):
        done, noted = call("/nowhere", state)
        assert (done.returncode, done.stdout, done.stderr, noted) == (0, said, "", None)


INSTALLED, SERVED = "0123456789abcdef", "fedcba9876543210"


@pytest.fixture
def verbs(place, root, call):
    """`verbs(state, current)`: the words of every verb that a state of the module says, and its result."""
    files, noted = place / "files", place / "noted" / "verbs"
    for part in ("files", "tmp"):
        (files / part).mkdir(parents=True)
    (files / "files" / "a.edb.tar").write_text("")

    def said(state, current):
        answer = json.dumps({"id": INSTALLED, "current": current})
        (place / "bin" / "python3").write_text(f"#!/bin/sh\nshift 2; echo \"$@\" >> {noted}\necho '{answer}'\n")
        noted.unlink(missing_ok=True)
        environment = {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "EDGEDISTILL_ROOT": str(root)}
        done = subprocess.run(
            ["sh", MODULE, state, files], text=True, capture_output=True, check=False, env=environment
        )
        return done, noted.read_text().splitlines() if noted.exists() else []

    return said


@pytest.mark.parametrize("word", ["opencv", "onnxruntime", "tensorrt", "a-backend-of-tomorrow"])
def test_a_release_is_built_for_the_backend_of_the_board_whatever_its_name(root, verbs, word):
    (root / "board.json").write_text(json.dumps({"version": 1, "backend": word, "target": "local"}))
    done, words = verbs("ArtifactInstall", None)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in words] == ["unpack", "accept", "build", "verify", "status", "activate"]
    assert [line.split()[-1] for line in words[2:4]] == [f"--backend={word}"] * 2


@pytest.mark.parametrize("board", ["{}", '{"backend": ""}', ""])
def test_a_board_without_a_backend_is_one_line(root, verbs, board):
    (root / "board.json").write_text(board)
    done, words = verbs("ArtifactInstall", None)
    assert done.returncode == 1
    assert done.stderr == (
        f'edgedistill-bundle: {root}/board.json: expected a "backend", found none: run edgedistill enrol again\n'
    )
    assert [line.split()[0] for line in words] == ["unpack", "accept"]


@pytest.mark.parametrize(
    ("before", "now", "back"),
    [
        (SERVED, INSTALLED, True),
        (None, INSTALLED, True),
        (INSTALLED, INSTALLED, False),  # by `edgedistill deploy`, or an earlier update: not for this one to take back
        (SERVED, SERVED, False),  # `activate` went back by itself
    ],
)
def test_only_what_this_update_switched_to_is_taken_back(root, verbs, before, now, back):
    assert verbs("ArtifactInstall", before)[0].returncode == 0
    done, words = verbs("ArtifactRollback", now)
    assert (done.returncode, done.stderr) == (0, "")
    expected = [f"rollback --root {root} --leave {INSTALLED}"] if back else []
    assert [line for line in words if line.startswith("rollback")] == expected


def test_an_update_that_never_came_to_its_switch_takes_nothing_back(place, verbs):
    (place / "files" / "tmp" / "edgedistill-id").write_text(INSTALLED)
    for content in (None, ""):  # the power went, before that file's bytes or its name were on the disk
        if content is not None:
            (place / "files" / "tmp" / "edgedistill-before").write_text(content)
        done, words = verbs("ArtifactRollback", INSTALLED)
        assert (done.returncode, done.stderr) == (0, "")
        assert not [line for line in words if line.startswith("rollback")]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    new_key("release", folder)
    return folder


@pytest.fixture
def signed(finished_run, tmp_path, keys):
    bundle = shutil.copytree(finished_run / "runs" / "r" / "bundle" / "bundle", tmp_path / "bundle")
    sign_bundle(bundle, "release", keys=keys)
    return bundle


@pytest.fixture
def board(place, keys):
    """A stand-in's ROOT after enrolment, and a call of the update module as Mender makes it.

    Root's own Python cannot be run by others where it lies in /root, so this `runuser` changes no user.
    """
    root = place / "board"
    (root / "trusted.d").mkdir(parents=True)
    shutil.copy(keys / "release.pem", root / "trusted.d")
    copy_device_code(root / "agent")
    pinned = {"version": 1, "target": "jetson-nano", "backend": "onnxruntime"}
    (root / "board.json").write_text(json.dumps(pinned))
    given_to(root, OWNER)
    (place / "bin").mkdir()
    words = f'[ "$1 $2 $3" = "-u {OWNER} --" ] || exit 9; shift 3; exec "$@"'
    for name, script in (("python3", f'exec {sys.executable} "$@"'), ("runuser", words)):
        (place / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (place / "bin" / name).chmod(0o755)

    def call(state, files):
        environment = {**os.environ, "EDGEDISTILL_ROOT": str(root), "PATH": f"{place / 'bin'}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["sh", MODULE, state, files], env=environment, capture_output=True, text=True, check=False
        )
        given_to(root, OWNER)  # what the stand-in of runuser left as root's
        return done

    return root, call


def files_of_mender(folder, bundle, name):
    """The folder that Mender's client hands to a module."""
    for part in ("files", "tmp"):
        (folder / part).mkdir(parents=True)
    write_archive(bundle, folder / "files" / f"{name}.edb.tar")
    return folder


def current(root):
    return os.path.basename(os.path.realpath(root / "current"))


def test_the_update_module_installs_commits_and_goes_back(signed, board, tmp_path, keys):
    root, call = board
    first = files_of_mender(tmp_path / "first", signed, "a")
    assert call("SupportsRollback", first).stdout == "Yes\n"
    done = call("ArtifactInstall", first)
    assert done.returncode == 0, done.stderr
    assert call("ArtifactCommit", first).returncode == 0
    served = id_of((signed / NAME).read_bytes())
    assert current(root) == served

    newer = shutil.copytree(signed, tmp_path / "newer")
    stored = json.loads((newer / NAME).read_text())
    (newer / NAME).write_text(json.dumps({**stored, "serial": stored["serial"] + 1}))
    sign_bundle(newer, "release", keys=keys)
    second = files_of_mender(tmp_path / "second", newer, "b")
    assert call("ArtifactInstall", second).returncode == 0
    assert current(root) == id_of((newer / NAME).read_bytes())
    assert call("ArtifactRollback", second).returncode == 0
    assert current(root) == served
    assert call("ArtifactCommit", second).returncode == 1

    forged = files_of_mender(tmp_path / "third", newer, "c")
    with open(forged / "files" / "c.edb.tar", "r+b") as file:
        file.seek(700)
        file.write(b"x")
    done = call("ArtifactInstall", forged)
    assert done.returncode == 1
    assert "the signature matches none of the keys" in done.stderr
    assert call("ArtifactRollback", forged).returncode == 0
    assert current(root) == served
