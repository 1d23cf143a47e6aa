"""Two processes under `torchrun` (gloo, CPU) against one: same trajectory, same files, after a kill too."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from edgedistill import ranks
from edgedistill.errors import RecipeError
from road import RECIPE, ROOT, edgedistill, write_images

# DIST looks at the whole batch, the projector stands beside DDP, the pool makes label counts differ.
SETTINGS = ("--set", "distill.loss=dist", "--set", "teacher.epochs=1", "--set", "distill.epochs=4",
            "--set", "distill.batch_size=30", "--set", "distill.mixup_alpha=0.4")  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    write_images(folder / "images", per_class=20)
    (folder / "r.toml").write_text(RECIPE)
    return folder


def torchrun(place, *words):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
               "--max-restarts", "1", "-m", "edgedistill", *map(str, words)]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=place, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def workers_of(process):
    listed = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    )
    return [int(pid) for pid in listed.stdout.split()]


def kill_one_worker(process, sign, seconds=200):
    """SIGKILL one of the two once `sign` is there."""
    deadline = time.monotonic() + seconds
    while not sign.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, f"{sign} never came"
        time.sleep(0.01)
    os.kill(workers_of(process)[1], signal.SIGKILL)


def test_two_processes_follow_one_even_after_a_kill(place):
    """The elastic agent starts both anew; they go on from the last step of the checkpoint."""
    edgedistill("distill", "r.toml", "--run-dir", "one", *SETTINGS, cwd=place)
    process = torchrun(place, "distill", "r.toml", "--run-dir", "two", *SETTINGS)
    kill_one_worker(process, place / "two" / "distill.partial" / "checkpoint.pt")
    said, errors = process.communicate(timeout=280)
    assert process.returncode == 0, errors
    assert said.strip() == "two/distill/distill.json"
    assert errors.count("] distill: ") >= 3, "it was not started anew"
    ours, theirs = (json.loads((place / run / "distill" / "distill.json").read_text())
                    for run in ("two", "one"))  # fmt: skip
    for stage in ("teacher", "distill"):
        rows = [json.loads((place / run / stage / f"{stage}.json").read_text())["history"]
                for run in ("two", "one")]  # fmt: skip
        for mine, his in zip(*rows, strict=True):
            assert mine["train_loss"] == pytest.approx(his["train_loss"], rel=2e-3)
            assert mine["terms"] == pytest.approx(his["terms"], rel=5e-3)
    assert ours["steps"] == theirs["steps"]
    assert ours["artifact"]["cost"]["processes"] == 2
    logits = [np.load(place / run / "logits" / "shard-00000.npy")["logits"].astype(np.float32)
              for run in ("two", "one")]  # fmt: skip
    assert np.abs(logits[0] - logits[1]).max() < 2e-2 * np.abs(logits[1]).max()
    assert not list((place / "two").rglob("*.tmp")) + list((place / "two").glob("*.partial"))


def test_a_batch_that_does_not_divide_is_one_line(monkeypatch):
    assert ranks.share_of(15) == slice(0, 15)
    monkeypatch.setattr(ranks, "world", lambda: 2)
    assert ranks.share_of(16) == slice(0, 8)
    with pytest.raises(RecipeError, match="a batch of 15 images does not divide by 2 processes"):
        ranks.share_of(15)
