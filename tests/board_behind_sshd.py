"""A board behind a real sshd: its own root, a python that can be told to fail, bundles small enough to send often."""

import json
import shutil
from pathlib import Path

from bundles import make_bundle, sign
from edgedistill.bundles.keys import new_key
from edgedistill.bundles.signing import sign_bundle
from edgedistill.core.files import write_json
from edgedistill.deployment.board import Board
from edgedistill.deployment.deploy import Wanted, deploy, signed_bundle
from edgedistill.deployment.enrol import enrol
from edgedistill.deployment.ssh import Connection
from edgedistill.progress.reporter import Talk

RUNS = 10


class TestBoard:
    """One ROOT on this computer, reached by ssh.

    Args:
        folder: for the root and the python.
        python: the interpreter behind it.
        modules: a folder of modules that it has besides, such as fakes of TensorRT.

    `fault(verb, script)` makes the next `python -m edgedistill_device VERB` there run a line of shell first;
    in it, $$ is the process that then becomes Python.
    """

    __test__ = False

    def __init__(self, folder, python, modules=None):
        self.folder, self.root, self.python = folder, folder / "root", folder / "python"
        self._modules = modules
        self.root.mkdir(parents=True)
        self.use(python)

    def use(self, python):
        """Whatever begins there from now on is run by that interpreter."""
        self._interpreter, folder, more = python, self.folder, ""
        if self._modules is not None:
            more = f'export PYTHONPATH="$PYTHONPATH:{self._modules}" XDG_CACHE_HOME={folder}/cache'
        new = folder / "python.new"
        new.write_text(f"""#!/bin/sh
if [ -e {folder}/fault-"$3" ]; then
    mv {folder}/fault-"$3" {folder}/happened
    . {folder}/happened
fi
{more}
exec {python} "$@"
""")
        new.chmod(0o755)
        new.rename(self.python)

    def copy(self, folder, modules=None):
        """Another board in the same state; `modules`: as of one that is made."""
        board = TestBoard(folder, self._interpreter, modules)
        board.root.rmdir()
        shutil.copytree(self.root, board.root, symlinks=True)
        return board

    def write_receipt(self, path, board, receipt):
        """As if the deployment of that receipt, to the board that this is a copy of, had been to this one."""
        path.write_text(receipt.read_text().replace(str(board.root), str(self.root)))
        return path

    def fault(self, verb, script):
        (self.folder / f"fault-{verb}").write_text(script + "\n")

    def forget_faults(self):
        for path in [*self.folder.glob("fault-*"), *self.folder.glob("happened")]:
            path.unlink()

    @property
    def fault_happened(self):
        """Whether the script of a fault ran since they were forgotten."""
        return (self.folder / "happened").exists()

    def on(self, machine, said=None):
        return Board(machine, str(self.root), str(self.python), ([] if said is None else said).append)

    def enrol(self, config, keys, host="board", target="local", backend="onnxruntime"):
        with Connection(host, config) as machine:
            return enrol(self.on(machine), target, backend, keys.name, keys.public)

    def deploy(self, config, bundle, receipt, host="board", said=None, **wanted):
        talk = Talk(quiet=True)
        if said is not None:
            talk.say = said.append
        with Connection(host, config) as machine:
            board = self.on(machine, said)
            return deploy(board, signed_bundle(bundle), Wanted(**{"runs": RUNS, **wanted}), receipt, talk)

    def current(self):
        """Id of the release that is served, read from the links; "" when none."""
        path = self.root / "current"
        return path.resolve().name if path.exists() else ""

    def served_equals(self, bundle):
        """Every file of what is served is the bundle's, byte for byte."""
        there = self.root / "current"
        names = [str(p.relative_to(bundle)) for p in sorted(bundle.rglob("*")) if p.is_file()]
        return all((there / name).read_bytes() == (bundle / name).read_bytes() for name in names)


def written_again(path, form):
    """The bytes of a JSON file when it is read as a record and written."""
    again = path.with_name("again.json")
    write_json(again, form.from_json(json.loads(path.read_bytes()), path.name).to_json())
    try:
        return again.read_bytes()
    finally:
        again.unlink()


def kill_script(after_s, proof):
    """Shell for `TestBoard.fault`: SIGKILL for the verb, that much into it; `proof` is there if it hit."""
    return f"(sleep {after_s:.3f}; kill -9 $$ && : > {proof}) >/dev/null 2>&1 &"


def signed(folder, keys, serial=1, model="tiny", **changes):
    """A bundle of four images, signed."""
    folder = Path(make_bundle(folder))
    return sign_again(folder, keys, serial=serial, model=model, **changes)


def next_release(bundle, folder, keys, serial, **changes):
    """The same bundle with another class list: one file differs."""
    shutil.copytree(bundle, folder)
    (folder / "classes.txt").write_text(f"red\ngreen\n# {serial}\n")
    return sign_again(folder, keys, serial=serial, **changes)


def sign_again(folder, keys, **changes):
    sign(str(folder), **changes)
    (folder / "manifest.json.sig").unlink(missing_ok=True)
    sign_bundle(folder, keys.name, keys=keys.public.parent)
    return folder


def make_keys(folder, name="ours"):
    return new_key(name, folder)


def id_of(bundle):
    return signed_bundle(bundle).id
