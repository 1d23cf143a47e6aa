"""Trainings at the same time: helpers train what the run then finds, to the same bits, and leave nothing behind."""

import io
import json
import os
import shutil
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from edgedistill.config.loading import load_recipe
from edgedistill.config.task import CLASSIFICATION
from edgedistill.core import prefetch
from edgedistill.core.files import locked
from edgedistill.pipeline import side_by_side, training_helper
from edgedistill.pipeline.context import StageContext
from edgedistill.pipeline.run_folder import UNFINISHED, RunFolder
from edgedistill.pipeline.runner import _why, run_stages
from edgedistill.pipeline.side_by_side import Helpers, NothingLeft, processes_for, trained_with_helpers
from edgedistill.pipeline.table import stage_named, stages_of
from edgedistill.progress.reporter import Talk
from edgedistill.training.fit import train_and_save
from end_to_end import command_words, write_project

SHORT = ["teacher.epochs=1", "distill.epochs=1", "distill.feature_weight=0", "distill.seeds=2", "run.tensorboard=false"]
STAGES = ("baseline", "distill")
TRAININGS = [(stage, number) for stage in STAGES for number in (0, 1)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A project whose run has everything that comes before the student."""
    folder = write_project(tmp_path_factory.mktemp("side"), per_class=9)
    run_stages(recipe_in(folder), folder / "begun", Talk(quiet=True), only="logits")
    return folder


def recipe_in(place, *settings):
    return load_recipe(place / "r.toml", [*SHORT, *settings])


@pytest.fixture
def quick_start(monkeypatch):
    """Helpers are forked from a Python that has loaded PyTorch."""
    monkeypatch.setattr("sys.executable", command_words()[0])


def begun(place, tmp_path, recipe, talk):
    """In a copy of the run, the folders that the trainings' stages work in; a helper for them."""
    run = RunFolder(shutil.copytree(place / "begun", tmp_path / "run"))
    jobs = {name: _why(stage_named(name), recipe, run, (), lambda: "")[0] for name in ("baseline", "distill")}
    for name, inputs in jobs.items():
        out = run.begin(name, inputs)
    return lambda: side_by_side._started(StageContext("baseline", recipe, run, out, talk), jobs, 2).child


class Listener(Talk):
    """Keeps events and lines."""

    def __init__(self):
        self.events, self.lines, self.threads = [], [], set()
        super().__init__(quiet=True, tell=self.keep)

    def keep(self, event):
        self.threads.add(threading.get_ident())
        self.events.append(event)

    def show(self, line, tone=""):
        self.lines.append(line)

    def trained(self):
        """Titles of all epochs, of this process's trainings and of helpers'."""
        self.tell_beside()
        return [event["title"] for event in self.events if event["event"] == "epoch"]


def weights(run_dir):
    names = {number: f"weights-{number}.safetensors" if number else "weights.safetensors" for number in (0, 1)}
    return {(stage, number): (run_dir / stage / names[number]).read_bytes() for stage, number in TRAININGS}


def finish(recipe, run_dir):
    """Run up to the student and the baseline; titles of the trainings that this process did."""
    talk = Listener()
    for stage in ("baseline", "distill"):
        run_stages(recipe, run_dir, talk, only=stage)
    return talk.trained()


@pytest.fixture(scope="module")
def alone(place):
    """Weights of a run without helpers."""
    run_dir = shutil.copytree(place / "begun", place / "alone")
    assert len(finish(recipe_in(place, "run.parallel_trainings=1"), run_dir)) == len(TRAININGS)
    return weights(run_dir)


@pytest.mark.slow
def test_a_helper_trains_all_but_what_another_process_has_taken_to_the_same_bits(place, alone, tmp_path, quick_start):
    recipe, talk = recipe_in(place), Listener()
    start = begun(place, tmp_path, recipe, talk)
    taken = tmp_path / "run" / "baseline.partial" / UNFINISHED
    taken.mkdir()
    with locked(taken / "training-0.lock", make=True):
        child = start()
        assert child.wait(120) == 0
        child.stdin.close()
    until(lambda: len(talk.trained()) == 3)
    assert [(event["stage"], event["title"]) for event in talk.events if event["event"] == "epoch"] == [
        ("baseline", "baseline seed 1"),
        ("distill", "distill"),
        ("distill", "distill seed 1"),
    ]
    assert finish(recipe, tmp_path / "run") == ["baseline"]
    assert weights(tmp_path / "run") == alone
    assert not list((tmp_path / "run").rglob("training-*.lock"))
    assert not list((tmp_path / "run").rglob(UNFINISHED))


def until(condition, seconds=20):
    """Wait for what another thread is about to do."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_a_run_with_a_helper_has_the_same_bits(place, alone, tmp_path, quick_start):
    """Whoever of the two takes which training."""
    run_dir, talk = shutil.copytree(place / "begun", tmp_path / "run"), Listener()
    run_stages(recipe_in(place, "run.parallel_trainings=2"), run_dir, talk, only="evaluate")
    assert weights(run_dir) == alone
    assert sum("2 trainings at a time, each on one core" in line for line in talk.lines) == 1
    assert sorted(talk.trained()) == ["baseline", "baseline seed 1", "distill", "distill seed 1"]
    assert prefetch._processes == 1
    assert talk.threads == {threading.get_ident()}, "a callback was called by a thread that its owner does not know"
    finished = json.loads((run_dir / "distill" / "distill.json").read_text())
    assert [row["seed"] for row in finished["seeds"]] == [0, 1]


@pytest.mark.slow
def test_a_helper_ends_when_its_run_is_killed_and_the_next_one_resumes(place, alone, tmp_path, quick_start):
    recipe, talk = recipe_in(place, "run.checkpoint_seconds=0.001"), Listener()
    child = begun(place, tmp_path, recipe, talk)()
    until(talk.trained)
    child.stdin.close()  # as the system closes it when the run is killed
    assert child.wait(20) == 1, "it went on"
    assert "distill" not in talk.trained(), "it was done before it was to end"
    trained = finish(recipe, tmp_path / "run")
    assert {"distill", "distill seed 1"} <= {*trained}
    assert weights(tmp_path / "run") == alone


def test_what_a_library_prints_in_a_helper_is_no_event(capfd):
    before = os.dup(1)
    try:
        tell = training_helper._teller()
        os.write(1, b"View run at a server\n")
        os.system("echo and a program, too")
        tell({"event": "message"})
    finally:
        os.dup2(before, 1)
        os.close(before)
    said = capfd.readouterr()
    assert said.out == '{"event": "message"}\n'
    assert said.err == "View run at a server\nand a program, too\n"


def context_in(place, tmp_path, recipe, stage="baseline", **more):
    out = tmp_path / f"{stage}.partial"
    out.mkdir(exist_ok=True)
    return StageContext(stage, recipe, RunFolder(place / "begun"), out, Talk(quiet=True), **more)


def test_a_training_that_a_helper_is_at_is_waited_for_and_then_loaded(place, tmp_path):
    context = context_in(place, tmp_path, recipe_in(place))
    context.unfinished.mkdir()
    order, held = [], threading.Event()

    def other():
        with locked(context.unfinished / "training-0.lock", make=True):
            held.set()
            while order != ["train 1"]:
                time.sleep(0.01)
            order.append("other ends")

    thread = threading.Thread(target=other)
    thread.start()
    held.wait()
    trained = trained_with_helpers(context, 2, lambda number: order.append(f"train {number}") or 10 * number)
    thread.join()
    assert trained == [0, 10]
    assert order == ["train 1", "other ends", "train 0"]


def test_a_helper_waits_for_nothing(place, tmp_path):
    context = context_in(place, tmp_path, recipe_in(place), helps=Talk(quiet=True))
    context.unfinished.mkdir()
    trained = []
    with locked(context.unfinished / "training-0.lock", make=True), pytest.raises(NothingLeft):
        trained_with_helpers(context, 2, trained.append)
    assert trained == [1]


def test_a_helper_takes_nothing_that_is_finished_or_that_the_run_has_put_away(place, tmp_path):
    """It may be so slow that the run has finished the whole stage when it comes to the next training."""
    context = context_in(place, tmp_path, recipe_in(place), helps=Talk(quiet=True))
    (context.out / "trained-0.json").touch()
    trained = []
    with pytest.raises(NothingLeft):
        trained_with_helpers(context, 2, trained.append)
    assert trained == [1]
    with pytest.raises(NothingLeft):
        trained_with_helpers(replace(context, wanted=lambda: False), 3, trained.append)
    assert trained == [1]


def test_no_folder_of_a_stage_is_made_by_a_training(tmp_path):
    """The run has renamed it: what was left there would pass for an interrupted stage."""
    gone = tmp_path / "baseline.partial"
    for number in (0, 1):
        subject = SimpleNamespace(number=number, title="", task=CLASSIFICATION)
        with pytest.raises(FileNotFoundError):
            train_and_save(None, subject, None, 1, None, gone, Talk(quiet=True))
        assert not gone.exists()


def test_what_helpers_tell_is_told_while_one_is_waited_for(place, tmp_path):
    told = []
    talk = Talk(quiet=True, tell=lambda event: told.append((event["event"], threading.get_ident())))
    context = replace(context_in(place, tmp_path, recipe_in(place)), talk=talk)
    context.unfinished.mkdir()
    held = threading.Event()

    def other():
        with locked(context.unfinished / "training-0.lock", make=True):
            held.set()
            talk.heard_beside({"event": "stage_kept"})
            until(lambda: told)

    thread = threading.Thread(target=other)
    thread.start()
    held.wait()
    assert trained_with_helpers(context, 1, lambda number: number) == [0]
    thread.join()
    assert told[0] == ("stage_kept", threading.get_ident())


GIB = 2**30


@pytest.mark.parametrize(
    ("settings", "cores", "trainings", "images", "available", "environment", "expected"),
    [
        ([], 2, 2, 10_000, 8 * GIB, {}, 2),
        ([], 16, 6, 10_000, 64 * GIB, {}, 6),
        ([], 4, 6, 10_000, 64 * GIB, {}, 4),
        ([], 2, 1, 10_000, 8 * GIB, {}, 1),
        ([], 2, 2, 9_999, 8 * GIB, {}, 1),
        ([], 1, 2, 10_000, 8 * GIB, {}, 1),
        ([], 16, 6, 10_000, 3 * GIB, {}, 4),  # each takes one GiB here
        ([], 16, 6, 10_000, GIB - 1, {}, 1),
        ([], 16, 6, 10_000, None, {}, 1),
        (["run.threads=4"], 16, 6, 10_000, 64 * GIB, {}, 4),
        (["run.threads=4"], 2, 6, 10_000, 64 * GIB, {}, 1),
        ([], 16, 6, 10_000, 64 * GIB, {"OMP_NUM_THREADS": "8"}, 2),
        ([], 16, 6, 10_000, 64 * GIB, {"OMP_NUM_THREADS": "4,2"}, 6),
        (["distill.minutes=5"], 16, 6, 10_000, 64 * GIB, {}, 1),
        (["distill.minutes=5", "run.parallel_trainings=2"], 16, 6, 10_000, 64 * GIB, {}, 2),
        (["run.parallel_trainings=1"], 16, 6, 10_000, 64 * GIB, {}, 1),
        (["run.parallel_trainings=3"], 1, 6, 10, None, {}, 3),
        (["run.parallel_trainings=8"], 16, 6, 10, None, {}, 6),
    ],
)
def test_as_many_at_a_time_as_have_cores_and_memory(
    tmp_path, monkeypatch, settings, cores, trainings, images, available, environment, expected
):
    (tmp_path / "r.toml").write_text('[data]\ntrain = "images"\n')
    recipe = load_recipe(tmp_path / "r.toml", settings)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(side_by_side, "cores", lambda: cores)
    monkeypatch.setattr(side_by_side, "available_memory_bytes", lambda: available)
    monkeypatch.setattr(side_by_side, "peak_memory_bytes", lambda: GIB)
    assert processes_for(recipe, trainings, images) == expected


def test_on_a_gpu_one_after_the_other(place, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(side_by_side, "available_memory_bytes", lambda: 64 * GIB)
    monkeypatch.setattr(side_by_side, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert processes_for(recipe_in(place), 4, 10**6) == 1
    assert processes_for(recipe_in(place, "run.device=cpu"), 4, 10**6) == 4


class Started:
    """Stands for a helper: notes what it was to do, and whether it was ended."""

    def __init__(self, context, stages, processes):
        self.stages, self.processes, self.ended = [*stages], processes, False

    def end(self):
        self.ended = True


@pytest.mark.parametrize(
    ("settings", "stage", "expected"),
    [
        ([], "baseline", ["baseline", "distill"]),
        ([], "distill", ["distill"]),
        (["distill.method=self", "distill.generations=2"], "baseline", ["baseline"]),  # `assist` comes between
    ],
)
def test_helpers_take_later_trainings_whose_inputs_are_finished_and_end_with_them(
    place, tmp_path, monkeypatch, settings, stage, expected
):
    recipe, started = recipe_in(place, "run.parallel_trainings=3", *settings), []
    monkeypatch.setattr(side_by_side, "_started", lambda *what: started.append(Started(*what)) or started[-1])
    run = RunFolder(shutil.copytree(place / "begun", tmp_path / "run"))
    stages = stages_of(recipe)
    names = [row.name for row in stages]

    def why(row):
        return _why(row, recipe, run, (), lambda: "")

    def before(name, inputs=None):
        inputs = inputs or why(stage_named(name))[0]
        context = StageContext(name, recipe, run, run.begin(name, inputs), Talk(quiet=True))
        helpers.before(context, inputs, stages[names.index(name) + 1 :], why)

    with Helpers() as helpers:
        before(stage)
        assert [child.stages for child in started] == [expected] * len(started)
        assert len(started) == min(3, 2 * len(expected)) - 1
        assert all((run.path / f"{name}.partial" / "inputs.json").exists() for name in expected)
        assert prefetch._processes == len(started) + 1
        for name in expected[1:]:
            before(name)
            assert not any(child.ended for child in started)
        before(expected[-1], {"other": "inputs"})
        assert started[0].ended, "it works on what nobody wants"
    assert all(child.ended for child in started)
    assert prefetch._processes == 1


def test_what_is_up_to_date_is_nobodys_work(place, tmp_path, monkeypatch):
    recipe, started = recipe_in(place, "run.parallel_trainings=2"), []
    monkeypatch.setattr(side_by_side, "_started", lambda *what: started.append([*what[1]]) or Started(*what))
    context = context_in(place, tmp_path, recipe)
    monkeypatch.setattr(RunFolder, "begin", lambda *_: None)
    with Helpers() as helpers:
        helpers.before(context, {"some": "inputs"}, [stage_named("distill")], lambda row: ({}, None))
        assert started == [["baseline"]]


def test_a_helper_trains_nothing_of_a_folder_that_is_gone(place, tmp_path, monkeypatch):
    run_dir = shutil.copytree(place / "begun", tmp_path / "run")
    recipe = recipe_in(place).model_dump(mode="json")
    job = {"run_dir": str(run_dir), "recipe": recipe, "stages": dict.fromkeys(STAGES, {}), "processes": 2}
    monkeypatch.setattr(training_helper, "_end_with_the_run", lambda: None)
    shared = []
    monkeypatch.setattr(training_helper, "share_cores", shared.append)
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(job) + "\n"))
    told = []
    training_helper.main(told.append)
    assert told == []
    assert shared == [2]
    names = sorted(path.name for path in run_dir.iterdir())
    assert names == sorted(path.name for path in (place / "begun").iterdir())
