"""Others cannot write into the board's folder, and one bad file does not end all trust."""

import json
import os
import shutil
import stat
import subprocess
import sys

import pytest

from board_root import BoardRoot, copied, served_twice, snapshot
from bundles import ROOT
from edgedistill_device.__main__ import main
from edgedistill_device.errors import ReleaseError, SignatureError
from edgedistill_device.releases.incoming import accept, want
from edgedistill_device.releases.root import INCOMING, discard
from edgedistill_device.releases.signature import trusted_keys
from edgedistill_device.releases.store import activate, status
from keys import new_key

pytestmark = pytest.mark.usefixtures("forked_children")


@pytest.fixture
def board(tmp_path):
    return BoardRoot(tmp_path).small()


@pytest.fixture
def umask():
    """Of a login that lets everybody write."""
    before = os.umask(0)
    yield
    os.umask(before)


def writable(root):
    """What group or others may write, less links."""
    found = []
    for place, folders, names in os.walk(root):
        for path in [place] + [os.path.join(place, name) for name in folders + names]:
            mode = os.lstat(path).st_mode
            if mode & 0o022 and not stat.S_ISLNK(mode):
                found.append(os.path.relpath(path, root))
    return sorted(set(found))


def test_whatever_the_umask_others_cannot_write_what_is_served(tmp_path, umask):
    board = BoardRoot(tmp_path)  # made with it, as a copy by sftp makes incoming/ID
    for name in (".", "trusted.d", os.path.join("trusted.d", "ours.pem")):
        os.chmod(board.path(name), stat.S_IMODE(os.stat(board.path(name)).st_mode) & ~0o022)
    release = board.send()
    root = ["--root", board.root]
    folder = board.path("releases", release)

    def jetson(*words):
        subprocess.check_output([sys.executable, "-m", "edgedistill_device"] + list(words), cwd=ROOT)

    jetson("accept", release, *root)
    jetson("verify", "--backend", "onnxruntime", "--bundle", folder)
    os.chmod(os.path.join(folder, "work"), 0o777)
    jetson("activate", release, *root)
    assert writable(board.root) == []


@pytest.mark.parametrize("name", [".", "trusted.d", "revoked"])
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_a_trust_store_that_others_can_write_is_refused(board, name, mode):
    release = board.send()
    path = board.path(name)
    if name == "revoked":
        open(path, "w").close()
    os.chmod(path, mode)
    path = board.root + "/." if name == "." else path
    for verb in (want, accept):
        with pytest.raises(SignatureError) as error:
            verb(board.root, release)
        assert "other users can write there (mode %04o)" % mode in str(error.value)
        assert "chmod go-w %s" % path.rstrip("/.") in str(error.value)
    assert "chmod go-w" in status(board.root)["warnings"][0]
    os.chmod(path, 0o700)
    assert accept(board.root, release)["already"] is False


def test_a_key_that_others_can_write_or_own_is_passed_over(board, tmp_path):
    release = board.send()
    path = board.path("trusted.d", "ours.pem")
    os.chmod(path, 0o666)
    with pytest.raises(SignatureError, match="ours.pem: other users can write there .mode 0666.*chmod go-w"):
        accept(board.root, release)
    os.chmod(path, 0o644)
    if os.geteuid() == 0:
        os.chown(path, 12345, -1)
        with pytest.raises(SignatureError, match=r"ours.pem: belongs to another user \(uid 12345\)"):
            accept(board.root, release)
        os.chown(path, 0, -1)
    assert accept(board.root, release)["already"] is False


def empty(path):
    open(path, "w").close()


def half(path):
    with open(path, "rb+") as file:
        file.truncate(60)


def rsa(path):
    subprocess.check_call(["openssl", "genrsa", "-out", path, "1024"], stderr=subprocess.DEVNULL)


BAD = {
    "empty": empty,
    "fifo": os.mkfifo,
    "folder": os.mkdir,
    "another kind": rsa,
    "dangling": lambda path: os.symlink("nowhere", path),
}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_one_bad_key_file_does_not_end_all_trust(board, tmp_path, kind):
    BAD[kind](board.path("trusted.d", "a-bad-one.pem"))
    release = board.send()
    assert accept(board.root, release)["key_id"] == board.key_id
    assert list(trusted_keys(board.root)) == [board.key_id]
    (line,) = status(board.root)["warnings"]
    assert "a-bad-one.pem: " in line
    stranger = board.send(private=new_key(tmp_path, "theirs")[0], serial=5)
    with pytest.raises(SignatureError, match="matches none of the keys trusted here.*passed over: .*a-bad-one.pem: "):
        accept(board.root, stranger)
    half(board.path("trusted.d", "ours.pem"))
    with pytest.raises(SignatureError, match="no key is trusted on this board.*ours.pem: expected a P-256"):
        want(board.root, stranger)


DAMAGED = {
    "empty": b"",
    "cut": b'{"version": 1, "high',
    "not ours": b"[]",
    "no serials": b'{"version": 1}',
    "nan": b'{"version": 1, "highest_serial": {"0": NaN}}',
}


@pytest.mark.parametrize("kind", ["folder", "link", "file", "nothing"])
def test_whatever_has_the_name_of_a_copy_is_removed_and_what_a_link_leads_to_is_not(board, tmp_path, kind):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("x")
    os.makedirs(board.path(INCOMING), exist_ok=True)
    path = board.path(INCOMING, "a" * 16)
    if kind == "folder":
        shutil.copytree(str(elsewhere), path)
    elif kind == "link":
        os.symlink(str(elsewhere), path)
    elif kind == "file":
        shutil.copy(str(elsewhere / "kept"), path)
    discard(board.root, INCOMING, "a" * 16)
    assert os.listdir(board.path(INCOMING)) == []
    assert (elsewhere / "kept").read_text() == "x"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    return served_twice(tmp_path_factory.mktemp("template"))


@pytest.mark.parametrize("kind", sorted(DAMAGED))
def test_a_damaged_record_of_serials_is_mended_and_lets_no_older_bundle_in(template, tmp_path, kind, capsys):
    board, _, _ = copied(template, tmp_path)
    older = board.send(serial=1, model="older")
    new = board.send(serial=9)
    with open(board.path("state.json"), "wb") as file:
        file.write(DAMAGED[kind])
    for release in (older, new):
        with pytest.raises(ReleaseError, match="state.json.*; on the workstation: edgedistill enrol$"):
            accept(board.root, release)
    found = status(board.root, recover=True)  # the camera's service starts all the same
    assert (found["proven"], found["highest_serial"]) == (True, None)
    assert "state.json" in found["warnings"][0]
    assert main(["serials", "--rebuild", "--root", board.root]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["highest_serial"] == {board.key_id: 2}
    with pytest.raises(ReleaseError, match="has serial 1, and 2 of the same key"):
        accept(board.root, older)
    assert accept(board.root, new)["already"] is False


def test_the_copy_and_the_releases_each_bring_the_serials_back(template, tmp_path):
    from edgedistill_device.releases.serials import rebuild

    board, _, _ = copied(template, tmp_path)
    for lost in (["state.json"], ["state.json", "state.copy.json"], ["state.json", "releases"]):
        for name in lost:
            path = board.path(name)
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
        if lost != ["state.json"]:
            with open(board.path("state.json"), "w") as file:
                file.write("")
        if lost == ["state.json"]:  # nobody has to ask
            assert status(board.root)["highest_serial"] == {board.key_id: 2}
        assert rebuild(board.root)["highest_serial"] == {board.key_id: 2}
        before = snapshot(board.root)
        rebuild(board.root)
        assert snapshot(board.root) == before


def test_activating_needs_no_record_of_serials(template, tmp_path):
    board, previous, _ = copied(template, tmp_path)
    os.remove(board.path("state.json"))
    os.remove(board.path("state.copy.json"))
    assert activate(board.root, previous)["id"] == previous
