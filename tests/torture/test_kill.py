"""SIGKILL at random instants and at single file operations; run again, everything is there, bit for bit."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from artifacts import bits_of, left_over
from edgedistill.stages import STAGES
from knobs import chance, rounds
from road import ROOT

NAMES = [stage.name for stage in STAGES if stage.name not in {"synthesise", "assist"}]
QUICK = ("data", "logits", "distill", "quantize", "bundle")  # in the short mode


def without(run, stage):
    """Take away a stage's artifact and all that comes after it."""
    for name in NAMES[NAMES.index(stage) :]:
        shutil.rmtree(run / name, ignore_errors=True)


@pytest.mark.parametrize("stage", [name for name in NAMES if rounds(name in QUICK, True, True)])
def test_a_stage_killed_anywhere_is_made_anew_with_the_same_bits(forks, small_run, copy_of_run, tried, stage):
    """At instants drawn over the stage's duration, and at single writes, renames and flushes."""
    run, draw, words = copy_of_run, chance(stage), (stage, "r.toml", "--run-dir", copy_of_run)
    expected = bits_of(small_run / "run")[stage]
    without(run, stage)
    whole = forks.run(*words, cwd=small_run, faults={"under": str(run)})
    assert whole.code == 0, whole.err
    by_time = [{"kill_after_s": draw.uniform(0, whole.seconds)} for _ in range(rounds(0, 3, 6))]
    by_event = [{"faults": {"under": str(run), "at": at, "kill": True}}
                for at in draw.sample(range(1, whole.events + 1), min(whole.events, rounds(1, 3, 10)))]  # fmt: skip
    kills, lost = 0, []
    for how in by_time + by_event:
        without(run, stage)
        killed = forks.run(*words, cwd=small_run, **how)
        assert killed.code in {0, -signal.SIGKILL}, killed.err
        kills += killed.code != 0
        again = forks.run(*words, cwd=small_run)
        if again.code != 0 or bits_of(run)[stage] != expected or left_over(run):
            lost.append((how, again.err, left_over(run)))
    tried("kill", f"stage {stage}", kills, len(lost))
    assert not lost, lost


def test_a_stage_asked_for_again_and_killed_leaves_nothing(forks, small_run, copy_of_run, tried):
    """--force, killed; then run without it: the artifact of before serves, no half is kept or taken."""
    run, draw, lost = copy_of_run, chance("force"), []
    before = bits_of(run)
    count = rounds(2, 6, 30)
    for _ in range(count):
        stage = draw.choice(["data", "logits", "distill", "quantize", "bundle"])
        words = (stage, "r.toml", "--run-dir", run)
        for _ in range(draw.choice((1, 2))):
            forks.run(*words, "--force", stage, cwd=small_run,
                      faults={"under": str(run), "at": draw.randrange(1, 40), "kill": True})  # fmt: skip
        again = forks.run(*words, cwd=small_run)
        if again.code != 0 or bits_of(run) != before or left_over(run):
            lost.append((stage, again.err, left_over(run)))
    tried("kill", "a stage under --force", count, len(lost))
    assert not lost, lost


@pytest.mark.skipif(rounds(True, False, False), reason="TORTURE=short")
def test_a_whole_run_killed_again_and_again(forks, small_run, tmp_path, tried):
    """From nothing to the bundle, through four kills."""
    draw, lost, kills = chance("run"), [], 0
    expected = bits_of(small_run / "run")
    for number in range(rounds(0, 2, 8)):
        words = ("bundle", "r.toml", "--run-dir", tmp_path / f"run{number}")
        for _ in range(4):
            killed = forks.run(*words, cwd=small_run, kill_after_s=draw.uniform(0.1, 4))
            kills += killed.code == -signal.SIGKILL
        done = forks.run(*words, cwd=small_run)
        found = bits_of(tmp_path / f"run{number}")
        if done.code != 0 or any(found[name] != expected[name] for name in found) or "bundle" not in found:
            lost.append((number, done.err))
        elif left_over(tmp_path / f"run{number}"):
            lost.append((number, left_over(tmp_path / f"run{number}")))
    tried("kill", "a whole run", kills, len(lost))
    assert not lost, lost


def trials_of(run):
    """What a sweep found: settings and value of each trial, and a hash of its weights."""
    rows = json.loads((run / "sweep" / "sweep.json").read_text(encoding="utf-8"))["trials"]
    weights = sorted(hashlib.sha256(path.read_bytes()).hexdigest()
                     for path in run.glob("sweep/trials/*/weights.safetensors"))  # fmt: skip
    return [(row["settings"], row["value"], row["state"]) for row in rows], weights


@pytest.mark.skipif(rounds(True, False, False), reason="TORTURE=short")
def test_a_sweep_killed_anywhere_finds_the_same(forks, small_run, copy_of_run, tried):
    run, draw, lost, kills = copy_of_run, chance("sweep"), [], 0
    words = ("sweep", "r.toml", "--run-dir", run, "--over", "distill.kd_weight=0.5,0.9")
    whole = forks.run(*words, cwd=small_run, faults={"under": str(run)})
    assert whole.code == 0, whole.err
    expected = trials_of(run)
    for _ in range(rounds(0, 4, 16)):
        shutil.rmtree(run / "sweep")
        killed = forks.run(*words, cwd=small_run, faults={
            "under": str(run), "at": draw.randrange(1, whole.events + 1), "kill": True})  # fmt: skip
        kills += killed.code == -signal.SIGKILL
        again = forks.run(*words, cwd=small_run)
        if again.code != 0 or trials_of(run) != expected or left_over(run):
            lost.append((again.err, left_over(run)))
    tried("kill", "sweep", kills, len(lost))
    assert not lost, lost


def torchrun(folder, run, kill=None):
    """Two processes; `kill(workers)` is called once training has begun. Gives (exit code, stderr)."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "2",
               "-m", "edgedistill", "distill", "r.toml", "--run-dir", str(run)]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with open(run.with_suffix(".said"), "w") as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
    if kill is not None:
        while not list(run.glob("*.partial/checkpoint.pt")) and process.poll() is None:
            time.sleep(0.02)
        listed = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout
        kill([int(pid) for pid in listed.split()])
    return process.wait(timeout=280), run.with_suffix(".said").read_text()


@pytest.mark.skipif(rounds(True, False, False), reason="TORTURE=short; tests/edgedistill/test_ranks.py has one")
def test_a_worker_of_two_killed_anywhere_ends_with_the_same_bits(small_run, tmp_path, tried):
    draw, lost, kills = chance("ranks"), [], rounds(0, 1, 5)
    code, said = torchrun(small_run, tmp_path / "whole")
    assert code == 0, said
    expected = bits_of(tmp_path / "whole")

    def kill(workers):
        time.sleep(draw.uniform(0, 2))
        with contextlib.suppress(ProcessLookupError):
            os.kill(draw.choice(workers), signal.SIGKILL)

    for number in range(kills):
        code, said = torchrun(small_run, tmp_path / f"run{number}", kill)
        if code != 0 or bits_of(tmp_path / f"run{number}") != expected or left_over(tmp_path / f"run{number}"):
            lost.append((code, said[-3000:]))
    tried("kill", "one of two workers under torchrun", kills, len(lost))
    assert not lost, lost
