"""Two processes under `torchrun` (gloo, CPU) against one: same trajectory, same files, after a kill too."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgedistill.core import distributed
from edgedistill.errors import RecipeError
from end_to_end import CHECKPOINTS, edgedistill, write_project
from torchrun import kill_one_worker, torchrun

pytestmark = pytest.mark.slow

# DIST looks at the whole batch, the projector stands beside DDP, the pool makes label counts differ. At the default
# learning rate the loss swings between 3 and 8, and a difference in the last bits grows a hundredfold in two epochs.
SETTINGS = (
    "--set",
    "distill.loss=dist",
    "--set",
    "teacher.epochs=1",
    "--set",
    "distill.epochs=4",
    "--set",
    "distill.batch_size=30",
    "--set",
    "distill.mixup_alpha=0.4",
    "--set",
    "distill.peak_lr=5e-4",
    "--set",
    "run.precision=fp32",  # bfloat16 would round a teacher that differs in its last digits to other answers
)

SEEDED_DEFECTS = Path(__file__).parent / "seeded_defects"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("ranks"), per_class=20)


def test_two_processes_follow_one_even_after_a_kill(place):
    """The elastic agent starts both anew; they go on from the last step of the checkpoint."""
    edgedistill("distill", "r.toml", "--run-dir", "one", *SETTINGS, cwd=place)
    process = torchrun("distill", "r.toml", "--run-dir", "two", *SETTINGS, *CHECKPOINTS, cwd=place)
    killed = kill_one_worker(process, (place / "two" / "distill.partial" / "checkpoint.pt").exists)
    said, errors = process.communicate(timeout=280)
    assert killed, errors
    assert process.returncode == 0, errors
    assert said.strip() == "two/distill/distill.json"
    assert errors.count("] distill: ") >= 3, "it was not started anew"
    ours, theirs = (json.loads((place / run / "distill" / "distill.json").read_text()) for run in ("two", "one"))
    for stage in ("teacher", "distill"):
        rows = [json.loads((place / run / stage / f"{stage}.json").read_text())["history"] for run in ("two", "one")]
        for mine, his in zip(*rows, strict=True):
            assert mine["train_loss"] == pytest.approx(his["train_loss"], rel=2e-3)
            assert mine["terms"] == pytest.approx(his["terms"], rel=5e-3)
    assert ours["steps"] == theirs["steps"]
    assert ours["artifact"]["cost"]["processes"] == 2
    logits = [
        np.load(place / run / "logits" / "shard-00000.npy")["logits"].astype(np.float32) for run in ("two", "one")
    ]
    assert np.abs(logits[0] - logits[1]).max() < 2e-2 * np.abs(logits[1]).max()
    assert not list((place / "two").rglob("*.tmp")) + list((place / "two").glob("*.partial"))


def test_a_loss_that_is_no_number_on_one_process_only_sends_both_back_and_then_stops_both(place):
    """The teacher meets it once and ends; the student meets it twice."""
    process = torchrun(
        "distill",
        "r.toml",
        "--run-dir",
        "failing",
        *SETTINGS,
        cwd=place,
        restarts=0,
        module="failing_rank",
        path=[SEEDED_DEFECTS],
    )
    said, errors = process.communicate(timeout=280)
    assert process.returncode == 1, errors
    assert not said
    lines = errors.splitlines()
    assert [line for line in lines if "teacher: the loss of process 1 is not finite at step 1 (" in line], errors
    went_back = json.loads((place / "failing/teacher/teacher.json").read_text())["went_back"]
    assert (went_back["from_step"], went_back["batch"]) == (1, "bad_batch-1-rank1.npz")
    one, other = (place / f"teacher-{rank}.sha256" for rank in (0, 1))
    assert one.read_text() == other.read_text()
    refusals = {line for line in lines if line.startswith("edgedistill distill: ")}
    assert len(refusals) == 1, errors
    assert "the loss of process 1 is not finite at step 3 (" in refusals.pop()
    partial = place / "failing" / "distill.partial"
    assert sorted(path.name for path in partial.glob("bad_batch-*")) == [
        "bad_batch-1-rank1.npz",
        "bad_batch-3-rank1.npz",
    ]
    with np.load(partial / "bad_batch-3-rank1.npz") as batch:
        assert len(batch["images"]) == len(batch["sha256"]) == 15


def test_what_the_first_does_alone_waits_for_nobody(monkeypatch):
    """Quantization-aware distillation trains in a stage that the others only wait for."""
    group = SimpleNamespace(
        is_available=lambda: True, is_initialized=lambda: True, get_world_size=lambda: 2, get_rank=lambda: 0
    )
    monkeypatch.setitem(sys.modules, "torch.distributed", group)
    assert distributed.world() == 2
    with distributed.alone():
        assert distributed.world() == 1
        assert distributed.share_of(15) == slice(0, 15)
        distributed.wait_for_all()
    assert distributed.world() == 2


def test_a_batch_that_does_not_divide_is_one_line(monkeypatch):
    assert distributed.share_of(15) == slice(0, 15)
    monkeypatch.setattr(distributed, "world", lambda: 2)
    assert distributed.share_of(16) == slice(0, 8)
    with pytest.raises(RecipeError, match="a batch of 15 images does not divide by 2 processes"):
        distributed.share_of(15)
