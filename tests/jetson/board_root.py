"""A board's folder with a trusted key, and signed bundles to bring to it."""

import copy
import functools
import hashlib
import json
import os
import shutil
import stat
import tempfile

import pytest

from bundles import make_bundle, pretend_verified, sign
from edgedistill_device.engine.runners import open_runner
from edgedistill_device.engine.verify import verify
from edgedistill_device.errors import JetsonError
from edgedistill_device.manifest import read_manifest
from edgedistill_device.releases import signature, store
from edgedistill_device.releases.incoming import accept
from keys import new_key, sign_manifest


@functools.lru_cache(maxsize=None)
def key_pair_as_bytes():
    with tempfile.TemporaryDirectory() as folder:
        content = []
        for path in new_key(folder, "ours"):
            with open(path, "rb") as file:
                content.append(file.read())
        return content


def one_key_pair(folder):
    """(private, public) PEM files; the same keys for every board of these tests."""
    paths = [os.path.join(folder, name) for name in ("ours.key", "ours.pem")]
    for path, content in zip(paths, key_pair_as_bytes()):
        with open(path, "wb") as file:
            file.write(content)
    return paths


class BoardRoot(object):
    """`root` is ROOT. Bundles are signed by the key that it trusts."""

    def __init__(self, folder, backend="onnxruntime"):
        self.root, keys = os.path.join(str(folder), "root"), os.path.join(str(folder), "keys")
        os.makedirs(os.path.join(self.root, "trusted.d"))
        os.mkdir(keys)
        self.private, public = one_key_pair(keys)
        os.rename(public, os.path.join(self.root, "trusted.d", "ours.pem"))
        self.key_id = signature.key_id_of(os.path.join(self.root, "trusted.d", "ours.pem"))
        with open(os.path.join(self.root, "board.json"), "w") as file:
            json.dump({"version": 1, "target": "local", "backend": backend}, file)
        self.bundle = make_bundle(os.path.join(str(folder), "bundle"))

    def small(self):
        """The bundle with a model and one golden file left, for what runs none of it."""
        for name in ("edgedistill_device", "edgedistill_calibration", os.path.join("golden", "images")):
            shutil.rmtree(os.path.join(self.bundle, name))
        for name in ("inputs.npy", "logits.npy"):
            os.remove(os.path.join(self.bundle, "golden", name))
        return self

    def path(self, *names):
        return os.path.join(self.root, *names)

    def send(self, private=None, files=(), **changes):
        """Put the bundle, changed and signed, into incoming; its id.

        Args:
            files: {name: bytes} written into the bundle before it is signed.
            changes: of the manifest.
        """
        for name, content in dict(files).items():
            with open(os.path.join(self.bundle, name), "wb") as file:
                file.write(content)
        sign(self.bundle, **changes)
        return self.send_as_it_is(private)

    def send_as_it_is(self, private=None):
        """Sign the manifest that lies there, whatever it says."""
        sign_manifest(self.bundle, private or self.private)
        with open(os.path.join(self.bundle, "manifest.json"), "rb") as file:
            release = hashlib.sha256(file.read()).hexdigest()[:16]
        shutil.copytree(self.bundle, self.path("incoming", release))
        return release

    def verify(self, release):
        """What `python3 -m edgedistill_device verify` does there."""
        folder = self.path("releases", release)
        manifest = read_manifest(folder)
        with open_runner("onnxruntime", folder, manifest) as runner:
            verify(folder, manifest, runner)

    def pretend_verified(self, release):
        """The record of a pass, for a release that need not run."""
        pretend_verified(self.path("releases", release))


def served_twice(folder):
    """(board, previous, current): bundles that run, both verified; nobody asked for their health."""
    board, ids, asked = BoardRoot(folder), [], store.ask_current
    store.ask_current = lambda *_: {}
    try:
        for serial in (1, 2):
            ids.append(board.send(serial=serial))
            accept(board.root, ids[-1])
            board.verify(ids[-1])
            store.activate(board.root, ids[-1])
    finally:
        store.ask_current = asked
    store.status(board.root, recover=True)  # sweeps away the switch before
    return board, ids[0], ids[1]


def copied(served, folder):
    """Another board in the same state, of what `served_twice` gives."""
    board = copy.copy(served[0])
    board.root = os.path.join(str(folder), "root")
    shutil.copytree(served[0].root, board.root, symlinks=True)
    return (board,) + served[1:]


def snapshot(root):
    """{path: (kind, content)} of all that lies there, but the lock."""
    found = {}
    for place, folders, names in os.walk(root):
        for name in folders + names:
            path = os.path.join(place, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                content = os.readlink(path)
            elif stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    content = file.read()
            else:
                content = None
            found[os.path.relpath(path, root)] = (stat.S_IFMT(mode), content)
    found.pop("lock", None)
    return found


def current(board):
    """As a program sees it that knows nothing of switches."""
    path = board.path("current")
    return os.path.basename(os.path.realpath(path)) if os.path.exists(path) else None


def said(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def refused(board, words, verb, *arguments, **options):
    """The verb is refused in those words, and nothing on the disk has changed."""
    before = snapshot(board.root)
    with pytest.raises(JetsonError) as error:
        verb(board.root, *arguments, **options)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert snapshot(board.root) == before
