"""SIGKILL at random instants and at single file operations; run again, everything is there, bit for bit."""

import shutil
import signal

import pytest
from artifacts import bits_of, left_over
from knobs import chance, rounds

from edgedistill.stages import STAGES

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
