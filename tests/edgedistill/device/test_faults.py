"""Whatever breaks and whenever: the board serves the old release or the new one, whole and verified; a rerun completes.

`EDGEDISTILL_FAULTS=100` for more rounds than the 20 of each commit; `-s` shows the table.
What breaks, and when, comes from the round's number alone.
"""

import contextlib
import os
import random
import shutil
import subprocess
import threading
import time

import numpy as np
import onnxruntime
import pytest

from board_behind_sshd import TestBoard, id_of, make_keys, next_release, signed
from bundles import expected_logits
from edgedistill.errors import DeviceError
from sshd import Cut, Sshd, need_sshd
from test_ssh import config_with

ROUNDS = int(os.environ.get("EDGEDISTILL_FAULTS", "20"))
ROAD_BYTES, ROAD_SECONDS = 45_000, 2.5  # to the board in one release; about, so that all of it is hit
VERB_SECONDS = 0.4
DISK_MIB, RESERVE_MIB = 96, 70  # `want` leaves 64 free


class World:
    """One board, its sshd, and the release that it should serve."""

    def __init__(self, folder, python):
        self.folder, self.rows, self.number = folder, [], 1
        self.disk = mounted(folder / "disk")
        self.server = Sshd(folder / "sshd")
        self.server.start()
        self.keys = make_keys(folder / "keys")
        self.board = TestBoard(folder / "disk" / "board", python)
        self.board.enrol(self.server.config, self.keys)
        self.old = signed(folder / "1", self.keys)
        self.deploy(self.old)
        self.python = python

    def end(self):
        self.server.stop()
        if self.disk:
            subprocess.run(["umount", "-l", str(self.folder / "disk")], check=True)

    def next(self):
        self.number += 1
        return next_release(self.old, self.folder / str(self.number), self.keys, serial=self.number)

    def deploy(self, bundle, config=None, **wanted):
        receipt = self.folder / f"{bundle.name}.json"
        return self.board.deploy(config or self.server.config, bundle, receipt, **wanted)

    def served(self, *allowed):
        """Which of the bundles is served: whole, verified there, and right by an oracle of ours."""
        found = [bundle for bundle in allowed if id_of(bundle) == self.board.current()]
        assert found, f"{self.board.current()!r} is served, neither the old release nor the new one"
        current = self.board.root / "current"
        assert self.board.served_equals(found[0])
        assert (current / "work" / "engine" / "verified-onnxruntime.json").is_file()
        session = onnxruntime.InferenceSession(str(current / "model.onnx"), providers=["CPUExecutionProvider"])
        images = np.load(current / "golden" / "inputs.npy")
        from bundles import SPEC
        from jetson.preprocess import to_input

        for image in images:
            got = session.run(None, {"image": to_input(image, SPEC)})[0][0]
            assert np.allclose(got, expected_logits(image), atol=1e-5)
        return found[0]


def mounted(folder):
    """A small disk that can be filled, where mounting is permitted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", str(folder)]
    return os.getuid() == 0 and subprocess.run(command, capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def world(tmp_path_factory, board_python):
    need_sshd()
    world = World(tmp_path_factory.mktemp("faults"), board_python)
    yield world
    world.end()
    print("\nround  fault                              served  what it said")
    for row in world.rows:
        print("{:5}  {:33}  {:6}  {:.110}".format(*row))


# Each fault: (world, rng, new bundle) -> context manager that yields (what, config or None).


@contextlib.contextmanager
def cable(world, rng, bundle):
    """The connection breaks after so many bytes: in the handshake, the copy, or between two verbs."""
    after = rng.randrange(ROAD_BYTES)
    with Cut(world.server.port, after) as broken:
        alias = f"[127.0.0.1]:{world.server.port}"
        yield f"cable, after {after} bytes", config_with(world.server, world.folder, Port=broken.port, HostKeyAlias=alias)


@contextlib.contextmanager
def kill(world, rng, bundle, verb=None):
    """SIGKILL for one verb, some way into it."""
    verb = verb or rng.choice(("want", "accept", "build", "verify", "bench"))
    after = rng.uniform(0, VERB_SECONDS)
    world.board.fault(verb, f"(sleep {after:.3f}; kill -9 $$) >/dev/null 2>&1 &")
    yield f"kill -9 {verb}, after {after:.2f} s", None


def kill_switch(world, rng, bundle):
    return kill(world, rng, bundle, "activate")


@contextlib.contextmanager
def power(world, rng, bundle):
    """sshd, its sessions and what they run are gone at once."""
    after = rng.uniform(0, ROAD_SECONDS)
    timer = threading.Timer(after, world.server.stop)
    timer.start()
    yield f"sshd and all below, after {after:.2f} s", None
    timer.cancel()
    timer.join()
    world.server.stop()
    world.server.start()


@contextlib.contextmanager
def full(world, rng, bundle):
    """No room: when `want` looks, when the copy writes, when a verb writes."""
    filler = world.board.root / "filler"
    point = rng.choice(("before", "copy", "accept", "verify")) if world.disk else "limit"
    if point == "limit":
        verb, blocks = rng.choice(("want", "accept", "verify", "activate")), rng.randrange(3)
        world.board.fault(verb, f"ulimit -f {blocks}")
        yield f"files of at most {blocks} blocks in {verb}", None
        return
    fill = f"head -c {DISK_MIB}M /dev/zero > {filler} 2>/dev/null"
    if point == "before":
        subprocess.run(["sh", "-c", fill])
    elif point == "copy":
        world.board.fault("want", f'{world.python} "$@"; code=$?; {fill}; exit $code')
    else:
        world.board.fault(point, fill)
    yield f"disk full, {point}", None
    filler.unlink(missing_ok=True)


@contextlib.contextmanager
def flip(world, rng, bundle):
    """One bit of one file: under way, or after it was accepted."""
    kind, verb = rng.choice((("incoming", "accept"), ("releases", "verify"), ("releases", "activate")))
    name = rng.choice(("model.onnx", "classes.txt", "golden/logits.npy", "manifest.json", "manifest.json.sig"))
    path = world.board.root / kind / id_of(bundle) / name
    at = rng.randrange((bundle / name).stat().st_size)
    bit = 1 << rng.randrange(8)
    world.board.fault(verb, f"{world.python} -c 'f = open(\"{path}\", \"r+b\"); f.seek({at}); b = f.read(1)[0]; "
                            f"f.seek({at}); f.write(bytes([b ^ {bit}])); f.close()'")  # fmt: skip
    yield f"bit {at}.{bit} of {name} before {verb}", None


KINDS = (cable, kill, kill_switch, power, flip, cable, kill, kill_switch, power, full)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_round(number, world):
    fault, rng, old, bundle = KINDS[number % len(KINDS)], random.Random(number), world.old, world.next()
    with fault(world, rng, bundle) as (what, config):
        try:
            world.deploy(bundle, config)
            said = "it went through"
        except DeviceError as error:
            said = str(error)
            assert "\n" not in said
        after_fault = world.served(old, bundle)
    world.board.forget_faults()
    world.rows.append((number, what, "old" if after_fault == old else "new", said))
    world.deploy(bundle)
    assert world.served(bundle) == bundle
    shutil.rmtree(old)
    world.old = bundle


def test_two_at_once(world):
    """A second deployment waits for the first verb's lock, and both end well."""
    bundle, errors = world.next(), []

    def go(name):
        try:
            world.board.deploy(world.server.config, bundle, world.folder / f"{name}.json")
        except DeviceError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=go, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
        time.sleep(0.2)
    for thread in threads:
        thread.join()
    assert world.served(bundle) == bundle
    assert not errors
    world.old = bundle
