"""Curves in TensorBoard, and in real MLflow and Weights & Biases without a network, where they are installed."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

import edgedistill
from edgedistill.config.loading import recipe_from_table
from edgedistill.errors import RecipeError
from edgedistill.records.training import Epoch
from edgedistill.training import history, trackers
from edgedistill.training.history import HistoryWriter
from end_to_end import SOURCES, write_project
from optional_tools import imported, lacking

PLACE = "/data/secret-project"


def epoch(number):
    return Epoch(
        epoch=number,
        train_loss=1 / number,
        terms={"kd": 0.5},
        lr=0.1,
        eval_loss=2 / number,
        eval_top1_fraction=number / 10,
        eval_balanced_accuracy_fraction=number / 20,
    )


@pytest.fixture
def training(tmp_path, monkeypatch):
    """Call it with tools and epochs: a training in a run folder that tells them these, and what it says."""
    folder = tmp_path / "parts" / "distill.partial"
    folder.mkdir(parents=True)
    (tmp_path / "parts" / "recipe.json").write_text("{}")
    monkeypatch.chdir(tmp_path)

    def run(tools, numbers, tensorboard=False):
        table = {
            "data": {"train": f"{PLACE}/images"},
            "student": {"weights": f"{PLACE}/s.pth"},
            "deploy": {"hosts": ["nano.secret-project"], "sign_key": "a", "sign_command": ["kms", "secret-project"]},
            "run": {"trackers": tools, "tensorboard": tensorboard, "cache_dir": f"{PLACE}/cache"},
        }
        said = []
        writer = HistoryWriter(folder, "distill", recipe_from_table(table, "r"), said.append)
        for number in numbers:
            writer(epoch(number))
        writer.close()
        return said

    run.folder = folder
    return run


def leveldb_records(log, start, block=32768):
    """Records of a log in LevelDB's format, whose first block lacks `start` bytes: CRC, length, kind, data."""
    place, record = 0, b""
    while place < len(log):
        left = block - (start + place) % block
        if left < 7:  # no room for a piece: filled with zeros
            place += left
            continue
        length, kind = int.from_bytes(log[place + 4 : place + 6], "little"), log[place + 6]
        record += log[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or its last piece
            yield record
            record = b""


def installed(tool):
    if importlib.util.find_spec(tool) is None:
        lacking(tool, f"pip install 'edgedistill[{tool}]' from a checkout")


@pytest.mark.filterwarnings("ignore")  # SQLAlchemy's of MLflow
def test_mlflow_keeps_one_curve_over_a_resume_and_no_path(training, tmp_path, monkeypatch):
    installed("mlflow")
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    assert training(["mlflow"], [1, 2]) == []
    assert training(["mlflow"], [1, 2, 3]) == []  # a resumed training tells its first epochs again
    client = MlflowClient()
    (experiment,) = (found for found in client.search_experiments() if found.name == "parts")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("distill", "FINISHED")
    points = client.get_metric_history(run.info.run_id, "eval_top1")
    assert [(point.step, point.value) for point in points] == [(1, 10.0), (2, 20.0), (3, 30.0)]
    assert run.data.metrics["train_kd"] == 0.5
    assert run.data.params["student.weights"] == "s.pth"
    assert "secret-project" not in json.dumps([run.data.params, run.data.tags])


BESIDE = """
import pathlib, sys, time
import mlflow
from edgedistill.training.trackers import Tracked, Trackers
place, name = pathlib.Path.cwd(), sys.argv[1]
(place / name).mkdir()
while len(list(place.glob("training-*"))) < 2:
    time.sleep(0.01)
tools = Trackers(["mlflow"], Tracked(place / name, "parts", name, {"teacher": {"epochs": 1}}), print)
tools.log(1, {"train_loss": 1.0})
tools.close()
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # SQLAlchemy's of MLflow
def test_two_trainings_that_begin_at_once_share_one_new_database(tmp_path, monkeypatch):
    installed("mlflow")
    from mlflow import MlflowClient

    names, store = ["training-0", "training-1"], f"sqlite:///{tmp_path}/mlflow.db"
    children = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", BESIDE, name],
            cwd=tmp_path,
            env={**os.environ, "MLFLOW_TRACKING_URI": store, "PYTHONPATH": SOURCES},
            stdout=subprocess.PIPE,
        )
        for name in names
    ]
    assert [(child.communicate()[0], child.returncode) for child in children] == [(b"", 0)] * 2
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    client = MlflowClient()
    (experiment,) = (found for found in client.search_experiments() if found.name == "parts")
    assert sorted(run.info.run_name for run in client.search_runs([experiment.experiment_id])) == names


@pytest.mark.filterwarnings("ignore")  # its own
def test_wandb_keeps_its_curve_offline_and_no_path(training, tmp_path, monkeypatch):
    installed("wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_X_STATS_SAMPLING_INTERVAL", "0.1")
    assert training(["wandb"], [1, 2]) == []
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert json.loads((training.folder / "tracked.json").read_text())["wandb"] in file.name
    records, until = [], time.monotonic() + 30
    while not any(record.HasField("exit") for record in records) and time.monotonic() < until:
        # wandb's own process writes the file, and on a busy computer the last of it after `finish` has returned.
        time.sleep(0.1)
        records = [wandb_internal_pb2.Record.FromString(data) for data in leveldb_records(file.read_bytes()[7:], 7)]
    (run,) = (record.run for record in records if record.HasField("run"))
    assert (run.project, run.run_group, run.display_name) == ("edgedistill", "parts", "distill")
    rows = [
        {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.HasField("history")
    ]
    assert [(row["epoch"], row["eval_top1"], row["_step"]) for row in rows] == [(1, 10.0, 1), (2, 20.0, 2)]
    assert b"secret-project" not in file.read_bytes()
    assert run.host == "", "the computer's name"
    about_the_computer = {"environment", "stats", "files"}  # the command line too; `files`: what is installed
    assert not about_the_computer & {record.WhichOneof("record_type") for record in records}


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_tensorboard_is_told_where_it_is_wanted_and_installed(training, monkeypatch, wanted, there):
    asked = []
    monkeypatch.setattr(history.importlib.util, "find_spec", lambda name: name if there else None)
    monkeypatch.setattr(history, "Trackers", lambda tools, *_: asked.append(tools) or SimpleNamespace(close=list))
    training(["mlflow"], [], tensorboard=wanted)
    assert asked == [["tensorboard", "mlflow"] if wanted and there else ["mlflow"]]


def test_tensorboard_hides_the_first_curve_of_a_resumed_training(training):
    reader = imported("tensorboard.backend.event_processing.event_accumulator", "pip install tensorboard")
    training([], [1, 2], tensorboard=True)
    time.sleep(1.1)  # files are read in the order of their names, which tell whole seconds
    training([], [1, 2, 3], tensorboard=True)
    events = reader.EventAccumulator(str(training.folder / "tensorboard"), {"scalars": 0})
    events.Reload()
    assert [(point.step, round(point.value)) for point in events.Scalars("eval_top1")] == [(1, 10), (2, 20), (3, 30)]


def test_a_tool_that_fails_is_said_once_and_ends_no_training(training, monkeypatch):
    class Down:
        def __init__(self, tracked, first_epoch):
            pass

        def log(self, number, figures):
            if number == 2:
                raise ConnectionError("no route to the server\nmore")

        def close(self):
            raise AssertionError("it failed before")

    monkeypatch.setitem(trackers._TOOLS, "mlflow", Down)
    assert training(["mlflow"], [1, 2, 3]) == [
        "  mlflow: ConnectionError: no route to the server; the training goes on without it"
    ]
    assert (training.folder / "summary.csv").read_text().count("\n") == 4


def test_a_tool_that_is_not_installed_is_refused_before_the_training(tmp_path, monkeypatch):
    write_project(tmp_path, per_class=2)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "wandb" else find(name, *more))
    with pytest.raises(RecipeError, match="'wandb', which is not installed: pip install 'wandb>=0.19'"):
        edgedistill.plan(tmp_path / "r.toml", run_dir=tmp_path / "r", run={"trackers": ["wandb"]})
