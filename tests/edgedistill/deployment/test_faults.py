"""Whatever breaks and whenever: the board serves the old release or the new one, whole and verified; a rerun completes.

Each release meets four faults on its way, one in the copy, one in build, verify or bench, one anywhere
and one at the switch; each run goes on from where the one before was stopped, and the fifth has to end.

`EDGEDISTILL_FAULTS=100` for more than the 12 of each commit; `-s` shows the table. What breaks, and
when, comes from the fault's number alone. Each fault proves that it happened: one that came too late
is tried again on another release, earlier.
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

from board_behind_sshd import TestBoard, id_of, kill_script, make_keys, next_release, signed
from bundles import SPEC, expected_logits
from edgedistill.errors import DeviceError
from edgedistill_device.preprocess import to_input
from sshd import Cut, Sshd, need_sshd

pytestmark = pytest.mark.slow

FAULTS = int(os.environ.get("EDGEDISTILL_FAULTS", "12"))
COPY_BYTES, TALK_BYTES, ROAD_SECONDS = 25_000, 8_000, 2.5  # to the board; about, so that all of it is hit
VERB_SECONDS = 0.4
TRIES = 5  # of one fault, each earlier than the last
DISK_MIB = 96  # `want` leaves 64 free


class World:
    """One board, its sshd, and the release that it should serve.

    Args:
        python: interpreter there for whatever a fault may meet.
        forked: stands for it elsewhere.
    """

    def __init__(self, folder, python, forked):
        self.python, self.forked = python, forked
        self.folder, self.rows, self.number, self.new = folder, [], 1, None
        self.sooner = 1.0  # of the time or the bytes after which a fault comes
        self.disk = mounted(folder / "disk")
        self.server = Sshd(folder / "sshd")
        self.server.start()
        self.keys = make_keys(folder / "keys")
        self.board = TestBoard(folder / "disk" / "board", forked)
        self.board.enrol(self.server.config, self.keys)
        self.old = signed(folder / "1", self.keys)
        self.deploy(self.old)

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
def world(tmp_path_factory, board_python, forked_python):
    need_sshd()
    world = World(tmp_path_factory.mktemp("faults"), board_python, forked_python)
    yield world
    world.end()
    print("\nfault  what broke                                served  what it said")
    for row in world.rows:
        print("{:5}  {:40}  {:6}  {:.120}".format(*row))


# Each fault: (world, rng, new bundle, choices) -> context manager that yields
# (what, config or None, whether it happened: to be asked once the deployment has ended).


@contextlib.contextmanager
def cable(world, rng, bundle, most):
    """The connection breaks after so many bytes: in the handshake, the copy, or between two verbs."""
    after = int(rng.randrange(most) * world.sooner)
    with Cut(world.server.port, after) as broken:
        alias = f"[127.0.0.1]:{world.server.port}"
        config = world.server.config_with(world.folder, Port=broken.port, HostKeyAlias=alias)
        yield f"cable, after {after} bytes", config, lambda: broken.broke


@contextlib.contextmanager
def kill(world, rng, bundle, *verbs):
    """SIGKILL for one verb, some way into it."""
    verb, after = rng.choice(verbs), rng.uniform(0, VERB_SECONDS) * world.sooner
    killed = world.folder / "killed"
    killed.unlink(missing_ok=True)
    world.board.fault(verb, kill_script(after, killed))
    yield f"kill -9 {verb}, after {after:.2f} s", None, killed.exists


@contextlib.contextmanager
def power(world, rng, bundle):
    """sshd, its sessions and what they run are gone at once."""
    after, gone = rng.uniform(0, ROAD_SECONDS) * world.sooner, threading.Event()
    timer = threading.Timer(after, lambda: (gone.set(), world.server.stop()))
    timer.start()
    yield f"sshd and all below, after {after:.2f} s", None, gone.is_set
    timer.cancel()
    timer.join()
    world.server.stop()
    world.server.start()


@contextlib.contextmanager
def full(world, rng, bundle, *points):
    """No room: when a verb begins, or between `want` and the copy; without a disk of our own, for any file."""
    filler, point = world.board.root / "filler", rng.choice(points)
    fill = f"head -c {DISK_MIB}M /dev/zero > {filler} 2>/dev/null"
    if not world.disk:
        point = "want" if point == "copy" else point
        fill = "ulimit -f 0"
    elif point == "copy":
        fill = f'{world.python} "$@"; code=$?; {fill}; exit $code'
    world.board.fault("want" if point == "copy" else point, fill)
    yield f"disk full, {point}", None, lambda: world.board.fault_happened
    filler.unlink(missing_ok=True)


@contextlib.contextmanager
def flip(world, rng, bundle, *places):
    """One bit of one file: under way, or after it was accepted."""
    kind, verb = rng.choice(places)
    name = rng.choice(("model.onnx", "classes.txt", "golden/logits.npy", "manifest.json", "manifest.json.sig"))
    path = world.board.root / kind / id_of(bundle) / name
    at, bit = rng.randrange((bundle / name).stat().st_size), rng.randrange(8)
    world.board.fault(
        verb,
        f'{world.python} -c \'f = open("{path}", "r+b"); f.seek({at}); b = f.read(1)[0]; '
        f"f.seek({at}); f.write(bytes([b ^ {1 << bit}])); f.close()'",
    )
    yield f"bit {at}.{bit} of {name}, {verb}", None, lambda: world.board.fault_happened


PHASES = (
    ((cable, COPY_BYTES), (kill, "want", "accept"), (flip, ("incoming", "accept")), (full, "want", "copy", "accept")),
    ((kill, "build", "verify", "bench"), (full, "verify", "bench"), (flip, ("releases", "verify"))),
    ((cable, TALK_BYTES), (power,)),
    ((kill, "activate"), (kill, "activate"), (power,), (full, "activate"), (flip, ("releases", "activate"))),
)


@pytest.mark.parametrize("number", range(FAULTS))
def test_fault(number, world):
    phase, served = number % len(PHASES), None
    world.board.use(world.python)
    if phase == 0:
        world.new = world.next()
    for tried in range(TRIES):
        if tried:  # it came too late; what was deployed meanwhile is served now
            world.old, world.new = world.new if served == world.new else world.old, world.next()
        rng, world.sooner = random.Random(f"fault {number}"), 0.5**tried
        fault, *words = rng.choice(PHASES[phase])
        with fault(world, rng, world.new, *words) as (what, config, happened):
            try:
                world.deploy(world.new, config)
                said = "it went through"
            except DeviceError as error:
                said = str(error)
                assert "\n" not in said
            hit = happened()
            served = world.served(world.old, world.new)
        world.board.forget_faults()
        if hit:
            break
    assert hit, f"{what}: it never happened, in {TRIES} deployments"
    world.rows.append((number, what, "new" if served == world.new else "old", said))
    if phase == len(PHASES) - 1:
        world.board.use(world.forked)
        world.deploy(world.new)
        assert world.served(world.new) == world.new
        shutil.rmtree(world.old)
        world.old = world.new


def test_two_at_once(world):
    """A second deployment waits for the first verb's lock, and both end well."""
    bundle, errors = world.next(), []
    world.board.use(world.forked)

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
