"""The power goes at every single change of the disk, one after the other.

A forked process runs the command and dies (os._exit) just before its n-th call that changes the
disk or brings it onto the disk; then the board is looked at, and the command repeated. That the
calls before were enough on a real disk is `test_the_switch_comes_after_all_it_needs`.
"""

import errno
import multiprocessing
import os
import shutil
from typing import NamedTuple

import pytest

from board_root import BoardRoot
from edgedistill_device.engine import engine_file, verify
from edgedistill_device.errors import JetsonError, VerifyError
from edgedistill_device.manifest import read_manifest
from edgedistill_device.releases import store
from edgedistill_device.releases.incoming import accept, want
from edgedistill_device.releases.root import ids_in
from edgedistill_device.releases.store import activate, prune, rollback, status

pytestmark = pytest.mark.slow

CHANGES = ("replace", "rename", "symlink", "fsync", "mkdir", "remove", "unlink", "rmdir")
Runner = NamedTuple("Runner", [("backend", str), ("engine_sha256", str)])
DONE, DIED, REFUSED, LATE = 0, 9, 8, 7  # LATE: it ended well all the same


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """(board, ids): releases 0 (previous), 1 (current), 2 (verified), 3; 4 has just come."""
    board = BoardRoot(tmp_path_factory.mktemp("template")).small()
    patch, ids = pytest.MonkeyPatch(), []
    patch.setattr(store, "ask_current", lambda *_: {})
    for serial in range(1, 6):
        ids.append(board.send(serial=serial))
        if serial < 5:
            accept(board.root, ids[-1])
        if serial < 4:
            board.pretend_verified(ids[-1])
        if serial < 3:
            activate(board.root, ids[-1])
    patch.undo()
    status(board.root, recover=True)
    return board.root, ids


@pytest.fixture(scope="module")
def light():
    """`light(function, *arguments)` calls it, with a MonkeyPatch first, in a process that has imported little: a fork
    of the other tests' process, which holds PyTorch, costs several times as much."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        yield lambda *work: pool.apply(patching, work)


def patching(function, *arguments):
    with pytest.MonkeyPatch.context() as patch:
        return function(patch, *arguments)


def at_change(number, trouble, verb, root, *arguments):
    """Exit code of a process that runs the verb and is in trouble from its `number`th change on."""
    child = os.fork()
    if child == 0:
        try:
            count = [0]

            def counted(name, call):
                def wrapper(*args, **named):
                    count[0] += 1
                    if count[0] >= number:
                        trouble(name)
                    return call(*args, **named)

                return wrapper

            for name in CHANGES:
                setattr(os, name, counted(name, getattr(os, name)))
            # also in the middle of the health check
            store.ask_current = counted("health", lambda *_: {})
            verb(root, *arguments)
            os._exit(DONE if count[0] < number else LATE)
        except JetsonError:
            os._exit(REFUSED)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] >> 8


def require_trouble(trouble, ended):
    """The trouble met the verb at each of its changes; a full disk is survived where only names go."""
    assert len(ended) > 8
    if trouble is power_cut:
        assert ended == [DIED] * (len(ended) - 1) + [DONE]
    else:
        assert ended.count(REFUSED) > 2, ended


def power_cut(name):
    os._exit(DIED)


def full_disk(name):
    """Nothing new finds room; names go and change as before, as on ext4."""
    if name in ("mkdir", "symlink", "fsync"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def look(root):
    """Id that is current, after everything that lies there was found whole."""
    for release in ids_in(root, "releases"):
        read_manifest(os.path.join(root, "releases", release))
    found = status(root)
    for link in ("current", "previous"):
        path = os.path.join(root, link)
        seen = os.path.basename(os.path.realpath(path)) if os.path.exists(path) else None
        assert seen == found[link]
        if seen is not None:
            engine_file.require_verified(path, "onnxruntime")
    return found


def unsigned_manifest_bytes(folder, root):
    """The signature has its own tests; here openssl would be most of the time."""
    with open(os.path.join(folder, "manifest.json"), "rb") as file:
        return file.read(), "key"


def nothing_served(root):
    os.remove(os.path.join(root, "live"))


def half_a_copy(root):
    (release,) = os.listdir(os.path.join(root, "incoming"))
    folder = os.path.join(root, "incoming", release)
    shutil.rmtree(os.path.join(folder, "golden"))
    os.remove(os.path.join(folder, "model.onnx"))
    for name in ("extra.py", os.path.join("work", "engine", "verified.json")):
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        with open(os.path.join(folder, name), "w") as file:
            file.write("x")


def unproven(root):
    with open(os.path.join(root, "switches", "0002", "unproven"), "w") as file:
        file.write("0001")
    shutil.copytree(
        os.path.join(root, "switches", "0002"),
        os.path.join(root, "switches", "0001"),
        symlinks=True,
    )
    for name in ("unproven", "previous", "current"):
        os.remove(os.path.join(root, "switches", "0001", name))
    previous = os.readlink(os.path.join(root, "switches", "0002", "previous"))
    os.symlink(previous, os.path.join(root, "switches", "0001", "current"))


# (trouble, verb, index of its release, what the disk is like before, current before and after)
CASES = {
    "want": (power_cut, want, 4, half_a_copy, 1, 1),
    "accept": (power_cut, accept, 4, None, 1, 1),
    "activate": (power_cut, activate, 2, None, 1, 2),
    "activate-first": (power_cut, activate, 2, nothing_served, None, 2),
    "activate-unproven": (power_cut, activate, 2, unproven, 1, 2),
    "rollback": (power_cut, rollback, 1, None, 1, 0),
    "prune": (power_cut, prune, None, None, 1, 1),
    "accept-full": (full_disk, accept, 4, None, 1, 1),
    "activate-full": (full_disk, activate, 2, None, 1, 2),
}


@pytest.mark.parametrize("case", sorted(CASES))
def test_the_old_or_the_new_is_served_and_a_rerun_completes(template, tmp_path, light, case):
    require_trouble(CASES[case][0], light(trouble_at_each_change, template, tmp_path, case))


def trouble_at_each_change(patch, template, folder, case):
    """How the verb of a case ended with trouble from its first change on, from its second on, and so forth."""
    patch.setattr(store, "ask_current", lambda *_: {})
    patch.setattr(store, "signed_manifest_bytes", unsigned_manifest_bytes)
    trouble, verb, which, prepare, old, new = CASES[case]
    original, ids = template
    arguments = [2] if which is None else [ids[which]]
    before, after = None if old is None else ids[old], ids[new]
    allowed = {before, after} | ({ids[0]} if prepare is unproven else set())
    ended = []
    while DONE not in ended:
        root = str(folder / str(len(ended)))
        shutil.copytree(original, root, symlinks=True)
        if prepare is not None:
            prepare(root)
        ended.append(at_change(len(ended) + 1, trouble, verb, root, *arguments))
        assert ended[-1] in (DONE, LATE, DIED if trouble is power_cut else REFUSED)
        found = look(root)
        assert found["current"] in allowed
        if ids[4] in ids_in(root, "releases"):  # no older one gets in from here on
            assert found["highest_serial"]["key"] == 5
        if ended[-1] in (DIED, REFUSED):
            found = status(root, recover=True)
            assert found["current"] in allowed
            assert found["proven"] == (found["current"] is not None)
            look(root)
            verb(root, *arguments)
            found = look(root)
        assert (found["current"], found["proven"]) == (after, True)
        assert (ids[4] in ids_in(root, "releases")) == (verb is accept)
        if verb is prune:
            assert ids_in(root, "releases") == sorted(ids[:2])
        shutil.rmtree(root)
    return ended


@pytest.mark.parametrize("trouble", [power_cut, full_disk])
def test_mending_what_is_served_can_be_repeated(template, tmp_path, light, trouble):
    """At every instant each file of it is what was signed or what was damaged, and nothing else."""
    require_trouble(trouble, light(trouble_at_each_change_of_mending, template, tmp_path, trouble))


def trouble_at_each_change_of_mending(patch, template, folder, trouble):
    patch.setattr(store, "signed_manifest_bytes", unsigned_manifest_bytes)
    release, ended, root = template[1][1], [], str(folder / "root")
    served, model = os.path.join(root, "current"), os.path.join(root, "current", "model.onnx")
    while DONE not in ended:
        shutil.copytree(template[0], root, symlinks=True)
        shutil.copytree(served, os.path.join(root, "incoming", release))
        shutil.rmtree(os.path.join(root, "incoming", release, "work"))
        with open(model, "rb+") as file:
            good = file.read()
            file.truncate(9)
        os.remove(os.path.join(served, "golden", "labels.json"))
        ended.append(at_change(len(ended) + 1, trouble, accept, root, release))
        found = status(root)
        assert (found["current"], found["proven"]) == (release, True)
        with open(model, "rb") as file:
            assert file.read() in (good, good[:9])
        if ended[-1] not in (DONE, LATE):
            accept(root, release)
        look(root)
        assert release not in ids_in(root, "incoming")
        shutil.rmtree(root)
    return ended


def verify_in(root, release):
    """What `verify` does there with an engine that `verify.compare` is told of."""
    folder = os.path.join(root, "releases", release)
    manifest = read_manifest(folder)
    runner = Runner("onnxruntime", manifest.files["model.onnx"].sha256)
    return verify.verify(folder, manifest, runner)


def disagrees(*_):
    raise VerifyError("logits differ")


@pytest.mark.parametrize("agrees", [True, False])
def test_a_verify_of_what_is_served_is_done_again(template, tmp_path, light, agrees):
    """Nothing is served without a pass, and what agrees is served again without anybody's help."""
    ended = light(power_cut_at_each_change_of_verify, template, tmp_path, agrees)
    assert len(ended) > 5
    assert ended == [DIED] * (len(ended) - 1) + [DONE]


def power_cut_at_each_change_of_verify(patch, template, folder, agrees):
    patch.setattr(store, "signed_manifest_bytes", unsigned_manifest_bytes)
    release, ended, again = template[1][1], [], []

    def verify_current(root, backend, timeout_s):
        again.append(backend)
        return verify_in(root, release)

    patch.setattr(store, "verify_current", verify_current)
    while DONE not in ended:
        root = str(folder / str(len(ended)))
        shutil.copytree(template[0], root, symlinks=True)
        patch.setattr(verify, "compare", lambda *_: {"executed": "fp32"})
        ended.append(at_change(len(ended) + 1, power_cut, verify_in, root, release))
        passed = os.path.exists(os.path.join(root, "current", "work", "engine", "verified-onnxruntime.json"))
        assert (status(root)["current"], status(root)["proven"]) == (release, passed)
        patch.setattr(verify, "compare", lambda *_: {"executed": "fp32"} if agrees else disagrees())
        again.clear()
        if passed or agrees:
            assert status(root, recover=True)["proven"] is True
            look(root)
        else:
            for words in ("logits differ", "model.onnx has not passed"):  # the second time it is not tried
                with pytest.raises(VerifyError, match=words):
                    status(root, recover=True)
        assert again == ([] if passed else ["onnxruntime"])
    return ended


def content(path):
    with open(path, "rb") as file:
        return file.read()


def test_the_switch_comes_after_all_it_needs(template, tmp_path, monkeypatch):
    """What the rename makes visible lies on the disk before it; the rename, before it is proved."""
    root, ids = str(tmp_path / "root"), template[1]
    shutil.copytree(template[0], root, symlinks=True)
    happened, synced, changed, fsync, replace, remove = [], {}, [], os.fsync, os.replace, os.remove

    def say(what, path):
        happened.append((what, os.path.relpath(path, root)))

    def noted_fsync(handle):
        path = os.readlink("/proc/self/fd/%d" % handle)
        say("fsync", path)
        synced[path] = os.path.isfile(path) and content(path)
        fsync(handle)

    def noted_replace(source, to):
        say("replace", to)
        synced[to] = synced.pop(source, False)  # False: a link
        changed.extend(path for path in synced if synced[path] is not False and synced[path] != content(path))
        replace(source, to)

    def noted_remove(path):
        say("remove", path)
        remove(path)

    def asked(*_):
        say("health", root)
        return {}

    for name, call in (
        ("fsync", noted_fsync),
        ("replace", noted_replace),
        ("remove", noted_remove),
    ):
        monkeypatch.setattr(os, name, call)
    monkeypatch.setattr(store, "ask_current", asked)
    activate(root, ids[2])
    at = happened.index(("replace", "live"))
    before, after = happened[:at], happened[at + 1 :]
    model = os.path.join("releases", ids[2], "model.onnx")
    engine = os.path.join("releases", ids[2], "work", "engine")
    needed = [
        "switches",
        "switches/0003",
        "switches/0003/unproven",
        model,
        engine,
        os.path.join(engine, "verified-onnxruntime.json"),
    ]
    assert {("fsync", path) for path in needed} <= set(before)
    assert not changed, "written after it was brought onto the disk"
    assert after == [("fsync", "."), ("health", "."), ("remove", "switches/0003/unproven"), ("fsync", "switches/0003")]
