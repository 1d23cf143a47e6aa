"""SIGKILL at random instants and at single file operations; run again, everything is there, bit for bit."""

import hashlib
import json
import shutil
import signal

import pytest

from artifacts import bits_of, left_over
from edgedistill.pipeline.table import STAGES
from suite_length import chance, rounds
from torchrun import kill_one_worker, torchrun

pytestmark = pytest.mark.slow

NAMES = [stage.name for stage in STAGES if stage.name not in {"schedule", "synthesise", "assist", "curve"}]
SHARED = [stage.name for stage in STAGES if stage.shared and stage.name in NAMES]
# Stages that only other methods have.
METHODS = {
    "schedule": ("distill.minutes=0.2",),
    "synthesise": ("distill.method=data_free", "distill.synthetic_images=6", "distill.synthetic_steps=3"),
    "assist": (
        "distill.method=ensemble",
        "distill.feature_weight=0.0",
        'distill.teachers=[{model = "resnet10t", weights = "scratch"}]',
    ),
}
# A teacher of two epochs does not know what it dreams of.
CONSTANTS = {"edgedistill.stages.synthesise.MIN_WANTED_FRACTION": 0.0}
LAUNCH_SECONDS = 1200  # an end, should it hang
QUICK = ("data", "logits", "distill", "quantize", "bundle")  # in the short mode


def without(run, stage):
    """Take away a stage's artifact and all that comes after it."""
    for name in NAMES[NAMES.index(stage) :] if stage in NAMES else [stage]:
        shutil.rmtree(run / name, ignore_errors=True)


@pytest.mark.parametrize("stage", [name for name in [*NAMES, *METHODS] if rounds(name in QUICK, True, True)])
def test_a_stage_killed_anywhere_is_made_anew_with_the_same_bits(fork_client, small_run, copy_of_run, tried, stage):
    """At instants drawn over the stage's duration, and at single writes, renames and flushes."""
    run, draw = copy_of_run, chance(stage)
    settings = [word for setting in METHODS.get(stage, ()) for word in ("--set", setting)]
    words = (stage, "r.toml", "--run-dir", run, *settings)
    job = {"cwd": small_run, "constants": CONSTANTS}
    without(run, stage)
    whole = fork_client.run(*words, **job, faults={"under": str(run)})
    assert whole.code == 0, whole.err
    expected = bits_of(run if settings else small_run / "run")[stage]
    by_time = [{"kill_after_s": draw.uniform(0, whole.seconds)} for _ in range(rounds(0, 3, 6))]
    by_event = [
        {"faults": {"under": str(run), "at": at, "kill": True}}
        for at in draw.sample(range(1, whole.events + 1), min(whole.events, rounds(1, 3, 10)))
    ]
    kills, lost = 0, []
    for how in by_time + by_event:
        without(run, stage)
        killed = fork_client.run(*words, **job, **how)
        assert killed.code in {0, -signal.SIGKILL}, killed.err
        kills += killed.code != 0
        again = fork_client.run(*words, **job)
        if again.code != 0 or bits_of(run)[stage] != expected or left_over(run):
            lost.append((how, again.err, left_over(run)))
    tried("kill", f"stage {stage}", kills, len(lost))
    assert not lost, lost


def test_a_stage_asked_for_again_and_killed_leaves_nothing(fork_client, small_run, copy_of_run, tried):
    """--force, killed; then run without it: the artifact of before serves, no half is kept or taken."""
    run, draw, lost = copy_of_run, chance("force"), []
    before = bits_of(run)
    kills = 0
    for _ in range(rounds(2, 6, 30)):
        stage = draw.choice(["data", "logits", "distill", "quantize", "bundle"])
        words = (stage, "r.toml", "--run-dir", run)
        for _ in range(draw.choice((1, 2))):
            killed = fork_client.run(
                *words,
                "--force",
                stage,
                cwd=small_run,
                faults={"under": str(run), "at": draw.randrange(1, 40), "kill": True},
            )
            kills += killed.code == -signal.SIGKILL
        again = fork_client.run(*words, cwd=small_run)
        if again.code != 0 or bits_of(run) != before or left_over(run):
            lost.append((stage, again.err, left_over(run)))
    tried("kill", "a stage under --force", kills, len(lost))
    assert not lost, lost


@pytest.mark.beyond_short
def test_a_whole_run_killed_again_and_again(fork_client, small_run, tmp_path, tried):
    """From nothing to the bundle, through four kills."""
    draw, lost, kills = chance("run"), [], 0
    expected = bits_of(small_run / "run")
    for number in range(rounds(0, 2, 8)):
        words = ("bundle", "r.toml", "--run-dir", tmp_path / f"run{number}")
        for _ in range(4):
            killed = fork_client.run(*words, cwd=small_run, kill_after_s=draw.uniform(0.1, 4))
            kills += killed.code == -signal.SIGKILL
        done = fork_client.run(*words, cwd=small_run)
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
    weights = sorted(
        hashlib.sha256(path.read_bytes()).hexdigest() for path in run.glob("sweep/trials/*/weights.safetensors")
    )
    return [(row["settings"], row["value"], row["state"]) for row in rows], weights


@pytest.mark.beyond_short
def test_a_sweep_killed_anywhere_finds_the_same(fork_client, small_run, copy_of_run, tried):
    run, draw, lost, kills = copy_of_run, chance("sweep"), [], 0
    words = ("sweep", "r.toml", "--run-dir", run, "--over", "distill.kd_weight=0.5,0.9")
    whole = fork_client.run(*words, cwd=small_run, faults={"under": str(run)})
    assert whole.code == 0, whole.err
    expected = trials_of(run)
    for _ in range(rounds(0, 4, 16)):
        shutil.rmtree(run / "sweep")
        killed = fork_client.run(
            *words, cwd=small_run, faults={"under": str(run), "at": draw.randrange(1, whole.events + 1), "kill": True}
        )
        kills += killed.code == -signal.SIGKILL
        again = fork_client.run(*words, cwd=small_run)
        if again.code != 0 or trials_of(run) != expected or left_over(run):
            lost.append((again.err, left_over(run)))
    tried("kill", "sweep", kills, len(lost))
    assert not lost, lost


@pytest.mark.beyond_short  # tests/edgedistill/core/test_distributed.py has one
def test_a_worker_of_two_killed_anywhere_ends_with_the_same_bits(small_run, tmp_path, tried, monkeypatch):
    """To the end of quantize, which one process trains in while the other waits."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    draw, lost, kills = chance("ranks"), [], 0

    def launch(run):
        return torchrun(
            "quantize", "r.toml", "--run-dir", run, "--set", "quantize.qad_epochs=1", cwd=small_run, restarts=2
        )

    process = launch(tmp_path / "whole")
    said = process.communicate(timeout=LAUNCH_SECONDS)[1]
    assert process.returncode == 0, said
    expected = bits_of(tmp_path / "whole")
    for number in range(rounds(0, 2, 10)):
        run = tmp_path / f"run{number}"
        process = launch(run)
        partial = draw.choice([*SHARED, "quantize"]) + ".partial"
        kills += kill_one_worker(process, (run / partial).exists, draw.randrange(2), draw.uniform(0, 1))
        said = process.communicate(timeout=LAUNCH_SECONDS)[1]
        if process.returncode != 0 or bits_of(run) != expected or left_over(run):
            lost.append((process.returncode, left_over(run), said[-3000:]))
    tried("kill", "one of two workers under torchrun", kills, len(lost))
    assert not lost, lost
