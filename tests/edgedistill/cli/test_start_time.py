"""Verbs that train nothing do not load a training framework, nor what else they do not need."""

import json
import os
import shutil
import subprocess
import sys

import pytest

import edgedistill
from edgedistill.pipeline import runner
from edgedistill.pipeline.table import STAGES, WITHOUT_TORCH
from end_to_end import ROOT, SOURCES
from terminals import Terminal

TRAINING = ("torch", "timm", "torchvision", "albumentations", "optuna")
CONSTANTS = ("onnxslim", "sympy")  # what folds constants, half of `check` before it was imported by --fix alone
DRAWING = ("matplotlib", "scipy")
MODEL, MODEL_FREE = "runs/r/export/student.onnx", ("onnx", "onnxruntime", "cv2", "numpy")
NOT_NEEDED = {
    ("--help",): (*TRAINING, *CONSTANTS, *DRAWING, *MODEL_FREE, "pydantic", "rich"),
    ("check", MODEL): (*TRAINING, *CONSTANTS, *DRAWING, "onnxruntime", "cv2"),
    ("estimate", "mobilenetv3_small_100"): (*TRAINING, *CONSTANTS, *DRAWING, *MODEL_FREE),
    ("estimate", MODEL): (*TRAINING, *CONSTANTS, *DRAWING, "onnxruntime", "cv2"),
    ("choose", "--fps", "30"): (*TRAINING, *CONSTANTS, *DRAWING, *MODEL_FREE),
    ("students",): (*TRAINING, *CONSTANTS, *DRAWING, *MODEL_FREE),
    ("bench", MODEL, "--runs", "10"): (*TRAINING, *CONSTANTS, *DRAWING),
    ("bundle", "r.toml"): (*TRAINING, *CONSTANTS, *DRAWING, "onnx", "onnxruntime", "cv2"),
    ("report", "r.toml"): (*TRAINING, *CONSTANTS, *DRAWING, "onnx", "onnxruntime", "cv2"),
    ("run", "r.toml"): (*TRAINING, *CONSTANTS, *DRAWING, "onnx", "onnxruntime", "cv2"),
}

TORCH_IS_ABSENT = """
import sys
sys.modules.update(torch=None, timm=None)
from edgedistill.cli.main import main
for stage in ("bundle", "deploy", "report"):
    code = main([stage, *sys.argv[1:], "--force", stage])
    if code:
        sys.exit(code)
"""


@pytest.mark.parametrize("words", NOT_NEEDED, ids=" ".join)
def test_a_verb_imports_only_what_it_needs(finished_run, words):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "edgedistill", *words],
        cwd=finished_run,
        env={**os.environ, "PYTHONPATH": SOURCES},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("|") for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line[2].strip() for line in lines if len(line) == 3}
    assert "edgedistill.cli.main" in imported  # importtime's form is the one that is read here
    assert imported.isdisjoint(NOT_NEEDED[words]), sorted(imported & set(NOT_NEEDED[words]))


NEEDS_TORCH = """
import importlib, sys
sys.modules["torch"] = None
for stage in sys.argv[1:]:
    try:
        importlib.import_module(f"edgedistill.stages.{stage}")
    except ImportError as error:
        if error.name != "torch":
            raise
        print(stage)
"""


def test_which_stages_need_torch():
    stages = [stage.name for stage in STAGES]
    words = [sys.executable, "-c", NEEDS_TORCH, *stages]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [stage for stage in stages if stage not in WITHOUT_TORCH]


def test_the_live_view_says_that_pytorch_is_loaded(finished_run, tmp_path):
    ours = tmp_path / "r"
    shutil.copytree(finished_run / "runs" / "r", ours)
    terminal = Terminal("evaluate", finished_run / "r.toml", "--run-dir", ours, "--force", "evaluate", cwd=tmp_path)
    terminal.until(r"evaluate  \d+ s\s+loading PyTorch")
    assert terminal.exit_code() == 0


def test_the_seconds_of_loading_are_those_of_the_first_stage(finished_run, tmp_path, monkeypatch):
    shutil.copytree(finished_run / "runs" / "r", tmp_path / "r")
    monkeypatch.chdir(finished_run)
    monkeypatch.setattr(runner, "_require_weights", lambda *_: 1000.0)
    told = []
    edgedistill.run("r.toml", run_dir=tmp_path / "r", force=("bundle", "report"), quiet=True, events=told.append)
    seconds = {event["stage"]: event["seconds"] for event in told if event["event"] == "stage_finished"}
    assert [stage for stage, value in seconds.items() if value > 1000] == ["bundle"]


def test_a_finished_run_needs_no_torch(finished_run, tmp_path):
    """An import of torch fails here, and its traceback names who wanted it."""
    ours = tmp_path / "r"
    shutil.copytree(finished_run / "runs" / "r", ours)
    made = [ours / stage / f"{stage}.json" for stage in ("bundle", "deploy", "report")]
    before = [json.loads(path.read_text()) for path in made]
    for path in made:
        path.unlink()
    words = [sys.executable, "-c", TORCH_IS_ABSENT, finished_run / "r.toml", "--run-dir", ours]
    done = subprocess.run([*map(str, words)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [json.loads(path.read_text()).keys() for path in made] == [values.keys() for values in before]
