"""A full or broken disk, a read-only folder, no memory: one line, exit code 1, the previous artifact intact."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from artifacts import bits_of, left_over
from optional_tools import lacking
from suite_length import chance, rounds
from test_kill import NAMES, QUICK, without

pytestmark = pytest.mark.slow

SIGNED = ("--run-dir", "RUN", "--set", "deploy.sign_key=signer")
SAID = {"ENOSPC": "No space left on device", "EIO": "Input/output error"}


def refused(done, words):
    """Whether a command ended as one that a person can mend."""
    return done.code == 1 and "Traceback" not in done.err and any(w in done.last_line for w in words)


@pytest.mark.parametrize("stage", [name for name in NAMES if rounds(name in QUICK, True, True)])
def test_an_error_at_any_file_operation_leaves_the_previous_artifact(fork_client, small_run, copy_of_run, tried, stage):
    """The stage is asked for again: at the failure its artifact is there and must stay there."""
    run, draw = copy_of_run, chance(f"disk {stage}")
    words = (stage, "r.toml", "--run-dir", run, "--force", stage)
    before = bits_of(run)
    whole = fork_client.run(*words, cwd=small_run, faults={"under": str(run)})
    assert whole.code == 0, whole.err
    assert bits_of(run) == before
    count = min(whole.events, rounds(2, 8, whole.events))
    lost, happened = [], 0
    for at in draw.sample(range(1, whole.events + 1), count):
        error = draw.choice(sorted(SAID))
        done = fork_client.run(*words, cwd=small_run, faults={"under": str(run), "at": at, "error": error})
        happened += done.events >= at
        # What clears away may fail in silence, and ends well: the artifact is whole.
        if bits_of(run) != before or (done.code != 0 and not refused(done, [SAID[error]])):
            lost.append((at, error, done.err))
    again = fork_client.run(*words, cwd=small_run)
    assert again.code == 0, again.err
    tried("disk", f"ENOSPC or EIO, stage {stage}", happened, len(lost))
    assert not lost, lost
    assert bits_of(run) == before
    assert not left_over(run)


# Words of a command, and the folder in which it writes.
COMMANDS = {
    "new": (("new", "--train", "images", "OUT/r.toml"), "OUT"),
    "keys new": (("keys", "new", "mine", "--no-passphrase"), "KEYS"),
    "bundle --format archive": (("bundle", "--format", "archive", "--out", "OUT/b", "r.toml", *SIGNED), "OUT"),
    "bundle --format oci": (("bundle", "--format", "oci", "--out", "OUT/b", "r.toml", *SIGNED), "OUT"),
    "check --fix": (("check", "RUN/export/student.onnx", "--fix", "OUT/fixed.onnx"), "OUT"),
    "compare": (("compare", "RUN", "--out", "OUT/compare.html"), "OUT"),
    "choose --plot": (("choose", "--plot", "OUT/plot.svg"), "OUT"),
    "sweep": (("sweep", "r.toml", "--run-dir", "RUN", "--over", "distill.kd_weight=0.5"), "RUN/sweep"),
}
NEVER_OVER = {"new", "keys new"}  # what is there


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", [name for name in COMMANDS if rounds(name == "new", True, True)])
def test_an_error_at_any_file_operation_of_a_command(fork_client, small_run, copy_of_run, tmp_path, tried, command):
    """Outside the stages: what it wrote the time before is there, or nothing; half of it never is."""
    places = {"RUN": copy_of_run, "OUT": tmp_path / "out", "KEYS": tmp_path / "edgedistill"}
    words, under = COMMANDS[command]
    for name, place in places.items():
        words, under = [word.replace(name, str(place)) for word in words], under.replace(name, str(place))
    under, draw, lost, happened = Path(under), chance(command), [], 0
    job = {"cwd": small_run, "env": {"XDG_CONFIG_HOME": str(tmp_path)}}
    if command.startswith("bundle"):
        assert fork_client.run("keys", "new", "signer", "--no-passphrase", **job).code == 0

    def again(**faults):
        if command in NEVER_OVER:
            shutil.rmtree(under, ignore_errors=True)
        places["OUT"].mkdir(exist_ok=True)
        before = files_in(under) if under.exists() else {}
        return before, fork_client.run(*words, **job, faults={"under": str(under), **faults})

    first = again()[1]
    assert first.code == 0, first.err
    whole = again()[1]
    assert whole.code == 0, whole.err
    for at in draw.sample(range(1, whole.events + 1), min(whole.events, rounds(4, 8, whole.events))):
        error = draw.choice(sorted(SAID))
        before, done = again(at=at, error=error)
        happened += done.events >= at
        if done.code and not (refused(done, [SAID[error]]) and files_in(under) == before):
            lost.append((at, error, done.code, done.err, sorted(files_in(under)), sorted(before)))
    done = again()[1]
    tried("disk", f"ENOSPC or EIO, {command}", happened, len(lost))
    assert not lost, lost
    assert done.code == 0, done.err
    assert not [name for name in files_in(under) if name.endswith((".tmp", ".partial"))]


def test_a_limit_on_the_size_of_files_is_met_in_c_too(fork_client, small_run, copy_of_run, tried):
    """RLIMIT_FSIZE: every write beyond it fails, whoever makes it."""
    run, draw, lost, met = copy_of_run, chance("size"), [], 0
    sizes = [0, *(draw.randrange(1, 2_500_000) for _ in range(rounds(1, 8, 40)))]
    for size in sizes:
        stage = draw.choice(NAMES[:-2])
        without(run, stage)
        done = fork_client.run(stage, "r.toml", "--run-dir", run, cwd=small_run, limits={"RLIMIT_FSIZE": size})
        met += done.code != 0
        if done.code != 0 and not refused(done, ["File too large"]):
            lost.append((size, stage, done.err))
        assert not list(run.rglob("*.tmp"))
    done = fork_client.run("quantize", "r.toml", "--run-dir", run, cwd=small_run)
    tried("disk", "file size limit", met, len(lost))
    assert not lost, lost
    assert done.code == 0, done.err
    assert bits_of(run)["quantize"] == bits_of(small_run / "run")["quantize"]


@pytest.fixture
def small_disk(tmp_path):
    """`small_disk(mib)` mounts a tmpfs; needs root."""
    place = tmp_path / "disk"
    place.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
            lacking("right to mount a tmpfs", "run as root")
        return place

    yield mount
    subprocess.run(["umount", str(place)], capture_output=True)


def test_a_disk_that_fills_up(fork_client, small_run, small_disk, tried):
    """A whole run on a disk of few MiB, which grows until it fits: every refusal is one line."""
    place = small_disk("size=64k")
    lost, met, sizes = [], 0, [64, *range(1024, 20480, rounds(8192, 2048, 512))]
    for size in sizes:
        subprocess.run(["mount", "-o", f"remount,size={size}k", str(place)], check=True)
        done = fork_client.run("bundle", "r.toml", "--run-dir", place / "run", cwd=small_run)
        met += done.code != 0
        if done.code != 0 and not refused(done, ["No space left on device"]):
            lost.append((size, done.err))
        assert not list(place.rglob("*.tmp"))
    subprocess.run(["mount", "-o", "remount,size=256m", str(place)], check=True)
    done = fork_client.run("bundle", "r.toml", "--run-dir", place / "run", cwd=small_run)
    tried("disk", "tmpfs that fills up", met, len(lost))
    assert not lost, lost
    assert done.code == 0, done.err
    whole = bits_of(small_run / "run")
    assert bits_of(place / "run") == {name: whole[name] for name in NAMES[: NAMES.index("bundle") + 1]}


def test_a_read_only_folder(fork_client, small_run, copy_of_run, small_disk, tried):
    place = small_disk("size=64m")
    shutil.copytree(copy_of_run, place / "run")
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    lost, commands = (
        [],
        [
            ("run", "r.toml", "--run-dir", place / "run"),
            ("distill", "r.toml", "--run-dir", place / "new"),
            ("sweep", "r.toml", "--run-dir", place / "run", "--over", "distill.kd_weight=0.5"),
            ("new", "--train", small_run / "images", place / "new.toml"),
            ("check", place / "run/export/student.onnx", "--fix", place / "fixed.onnx"),
        ],
    )
    for words in commands:
        done = fork_client.run(*words, cwd=small_run)
        if not refused(done, ["Read-only file system"]):
            lost.append((words, done.code, done.err))
    tried("disk", "read-only folder", len(commands), len(lost))
    assert not lost, lost


# Without `data`: these images take less memory than the modules that it imports late, so no limit meets it.
@pytest.mark.parametrize("stage", [name for name in NAMES[1:-3] if rounds(name == "distill", True, True)])
def test_too_little_memory(fork_client, small_run, copy_of_run, tried, stage):
    """RLIMIT_AS above what the imports take; whatever the kernel's answer, it is told in one line."""
    run, draw, lost, met = copy_of_run, chance(f"memory {stage}"), [], 0
    limits = [draw.randrange(1 << 20, 1 << 28) for _ in range(rounds(2, 3, 10))]
    for limit in limits:
        without(run, stage)
        done = fork_client.run(stage, "r.toml", "--run-dir", run, cwd=small_run, limits={"RLIMIT_AS": limit})
        met += done.code != 0
        if done.code != 0 and not refused(done, ["memory"]):
            lost.append((limit, done.code, done.err[-1500:]))
    done = fork_client.run(stage, "r.toml", "--run-dir", run, cwd=small_run)
    tried("memory", f"RLIMIT_AS, stage {stage}", met, len(lost))
    assert not lost, lost
    assert done.code == 0, done.err
    assert bits_of(run)[stage] == bits_of(small_run / "run")[stage]
