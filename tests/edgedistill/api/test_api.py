"""`edgedistill.VERB(...)`: light to import, the CLI's words, and every example script executed."""

import importlib.util
import inspect
import json
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import edgedistill
from edgedistill.api import boards, predictions, questions, results, runs, terminal, types
from edgedistill.cli.main import build_parser
from edgedistill.config.recipe import Recipe
from edgedistill.pipeline.sweep_trials import Trials
from end_to_end import RECIPE, ROOT, write_images
from optional_tools import imported
from tiny_onnx import model_bytes

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "docs" / "examples"
SMALL = {"model": "lcnet_035", "weights": "scratch"}  # half of the layers of other students
PUBLIC = {
    name: module
    for module in (runs, results, predictions, boards, questions, terminal)
    for name, value in vars(module).items()
    if inspect.isfunction(value) and value.__module__ == module.__name__ and name[0] != "_"
    if name != "stages_of_file"  # what `runs` and `results` share
}
# Verbs without a function of their own, and why.
NO_FUNCTION = {
    **dict.fromkeys(("data", "schedule", "synthesise", "assist", "curve"), 'edgedistill.stage("NAME", ...)'),
}


@pytest.fixture
def copy(finished_run, tmp_path, monkeypatch):
    """The finished run's recipe beside a copy of its folder, in the working directory."""
    shutil.copytree(finished_run / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    text = RECIPE.replace('"images"', f'"{finished_run / "images"}"') + "tensorboard = false\n"
    (tmp_path / "r.toml").write_text(text)
    return "r.toml"


def test_importing_is_light_and_naming_a_verb_nearly_so():
    program = (
        "import sys, edgedistill; edgedistill.run; edgedistill.distill; edgedistill.EdgeDistillError\n"
        "print([m for m in ('torch', 'numpy', 'pydantic', 'onnx', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_function_is_offered_typed_and_documented():
    assert set(edgedistill.__all__) > PUBLIC.keys()
    assert (ROOT / "edgedistill" / "py.typed").exists()
    source = (ROOT / "edgedistill" / "__init__.py").read_text(encoding="utf-8")
    for name, module in PUBLIC.items():
        function = getattr(module, name)
        assert inspect.getdoc(function), name
        signature = inspect.signature(function)
        assert inspect.signature(getattr(edgedistill, name)) == signature
        assert signature.return_annotation is not inspect.Signature.empty
        assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())
        assert f"import {name} as {name}" in source, f"type checkers do not see {name}"
    with pytest.raises(AttributeError, match="has no attribute 'fly'; it has: "):
        edgedistill.fly  # noqa: B018


def test_no_package_bears_the_name_of_a_public_function():
    """Python binds a submodule to its name in the package, and the function would be hidden."""
    for name in set(edgedistill.__all__) - {"__version__"}:
        assert importlib.util.find_spec(f"edgedistill.{name}") is None, name


def test_the_words_are_those_of_the_command_line_and_of_the_recipe():
    parsers = next(a for a in build_parser()._actions if a.dest == "verb").choices
    ours = {"train_teacher": "teacher", "plan": "run", "recipe": "run", "stage": "run"}
    named = {ours.get(name, name) for name in PUBLIC}
    assert named | NO_FUNCTION.keys() == set(parsers)
    assert not named & NO_FUNCTION.keys()
    assert set(types.Sections.__annotations__) == set(Recipe.model_fields)


def test_a_function_has_the_options_of_its_verb():
    """What a person can say there can be said here, but for how the result is printed."""
    parsers = next(a for a in build_parser()._actions if a.dest == "verb").choices
    printed = {"help", "json", "csv", "quiet", "host"}
    needless = {"sweep": {"force"}}  # a trial that is done is not trained again
    plain = ("enrol", "status", "rollback", "compare", "sweep", "check", "students", "estimate", "predict", "published")
    for name in ("bench", *plain):
        options = {action.dest for action in parsers[name]._actions if action.option_strings}
        taken = set(inspect.signature(getattr(edgedistill, name)).parameters)
        assert options - printed - taken == needless.get(name, set()), name
    options = {action.dest for action in parsers["deploy"]._actions if action.option_strings}
    taken = {*types.DeployOptions.__annotations__, *inspect.signature(edgedistill.deploy).parameters}
    assert options - printed - taken == set()


def test_recipes_from_a_file_from_keywords_and_from_both(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "r.toml").write_text('[data]\ntrain = "x"\n[distill]\ntemperature = 2\nviews = 3\n')
    monkeypatch.chdir(tmp_path)
    made = edgedistill.recipe("there/r.toml", distill={"temperature": 5.0}, data={"val": ROOT / "v"})
    assert (made.distill.temperature, made.distill.views) == (5.0, 3)
    assert (made.data.train, made.data.val) == (str(tmp_path / "there" / "x"), str(ROOT / "v"))
    assert edgedistill.recipe(data={"train": "y"}).data.train == str(tmp_path / "y")
    with pytest.raises(edgedistill.EdgeDistillError, match="did you mean 'distill'"):
        edgedistill.run("there/r.toml", distil={"views": 2})
    with pytest.raises(edgedistill.EdgeDistillError, match="no such stage; there are: data"):
        edgedistill.plan("there/r.toml", force=["distil"])
    with pytest.raises(edgedistill.EdgeDistillError, match="no key 'until'"):
        edgedistill.run("there/r.toml", until="bench")
    with pytest.raises(edgedistill.EdgeDistillError, match="distill: expected a table, got 2"):
        edgedistill.recipe("there/r.toml", distill=2)
    with pytest.raises(edgedistill.EdgeDistillError, match="say run_dir="):
        edgedistill.run(data={"train": "y"})


def test_an_artifact_is_what_the_stage_left(copy):
    report = edgedistill.run(copy, quiet=True)
    assert report.stage == "report"
    assert report.values == json.loads(report.path.read_text())
    student = edgedistill.distill(copy, quiet=True)
    assert student.files["weights.safetensors"].stat().st_size > 1e6
    assert student.seconds > 0


def example(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]


def test_example_images_to_student(copy, finished_run, tmp_path, capsys):
    """With the finished run's own settings on top of the new recipe, whose label_error_fraction it does not have."""
    (tmp_path / "runs" / "r").rename(tmp_path / "runs" / "parts")
    settings = tomllib.loads(RECIPE)
    settings["data"].pop("train")
    settings["distill"]["peak_lr"] = edgedistill.recipe(copy).distill.peak_lr
    values = example("images_to_student")(str(finished_run / "images"), "parts.toml", **settings)
    assert set(values["accuracy_ladder"]) == {"float", "onnx", "fp16", "int8"}
    said = capsys.readouterr()
    assert said.err.count("up to date") == 4  # to the baseline
    assert "the page: runs/parts/report/report.html" in said.out


def test_example_solar_cells_as_figures(tmp_path, capsys):
    imported("elpv_dataset", "pip install elpv-dataset")
    figures = example("solar_cells_as_figures")(
        str(tmp_path / "cells"),
        90,
        data={"image_px": 32},
        teacher={**SMALL, "mode": "finetune", "epochs": 1},
        student=SMALL,
        distill={"epochs": 1, "views": 1},
        quantize={"calibration_images": 8, "ptq_images": 0},
        deploy={"allow_below_chance": True, "bench_runs": 10},
    )
    said = capsys.readouterr().out
    assert re.search(r"student +mean absolute error of defect_probability 0\.\d{3}", said)
    assert said.count("'name': 'defect_probability', 'value': ") == 3
    assert figures["data"]["quantities"][0]["high"] == 1.0


def test_example_tiles_with_labels(tmp_path, capsys):
    """On drawn images: discs are the background, squares and stripes the labels."""
    figures = example("tiles_with_labels")(
        str(write_images(tmp_path / "images", 12)),
        "disc",
        str(tmp_path / "tiles"),
        120,
        24,
        data={"image_px": 32},
        teacher={**SMALL, "epochs": 1},
        student=SMALL,
        distill={"epochs": 1, "views": 1},
        decide={"recall": {}},
        quantize={"calibration_images": 8, "ptq_images": 0, "max_int8_drop_points": None},
        deploy={"allow_below_chance": True, "bench_runs": 10},
    )
    said = capsys.readouterr().out
    assert re.search(r"student +mean average precision 0\.\d{3} \(", said)
    assert said.count("tiles/pictures/test") == 3
    assert figures["data"]["classes"] == ["square", "stripes"]
    assert figures["data"]["images"] == {"train": 84, "val": 18, "test": 18}


def test_example_watch_training(copy):
    curve = example("watch_training")(copy, "runs/r", distill={"temperature": 1.5})
    assert len(curve) == 4


def test_example_sweep(copy):
    best = example("sweep_settings")(copy, "runs/r", {"distill.temperature": [1.0, 2.0]})
    trials = json.loads(Path("runs/r/sweep/sweep.json").read_text())["trials"]
    assert sorted(trial["settings"]["distill.temperature"] for trial in trials) == [1.0, 2.0]
    most = max(trial["value"] for trial in trials)
    assert best in [trial["settings"] for trial in trials if trial["value"] == most]


def test_example_students_on_one_teacher(copy, tmp_path, monkeypatch, capsys):
    """The report knows that the sweep is there, and only then is it made again."""
    none_right = lambda self, context, images, subject, told: (0.5, 4, np.zeros(len(images.labels("val")), bool))  # noqa: E731
    monkeypatch.setattr(Trials, "_trained", none_right)
    kept = {row.stage: row.action for row in edgedistill.plan(copy)}
    assert kept["report"] == "keep"
    front = example("students_on_one_teacher")(copy, "mobilenetv3_small_050", "lcnet_035")
    report = json.loads((tmp_path / "runs" / "r" / "report" / "report.json").read_text())
    swept = report["swept"]
    assert [row["own"] for row in swept["students"]].count(True) == 1
    assert {row["model"] for row in swept["students"] if row["front"]} == set(front)
    assert "Students on this teacher" in (tmp_path / "runs" / "r" / "report" / "report.html").read_text()
    assert {row.action for row in edgedistill.plan(copy)} == {"keep"}
    assert example("compare_runs")(str(tmp_path / "c.html"), "runs/r") == ["r"]
    assert (tmp_path / "c.html").exists()


def test_example_bench_two_models(tmp_path, capsys, monkeypatch):
    found, bench = {}, edgedistill.bench
    monkeypatch.setattr(edgedistill, "bench", lambda *args, **more: found.update(bench(*args, **more)) or found)
    for name, px in (("small", 32), ("large", 512)):
        (tmp_path / f"{name}.onnx").write_bytes(model_bytes([[4.0, -1.0, 0.5], [-1.0, 3.0, 0.0]], [0.1, -0.2], px))
    paths = [str(tmp_path / f"{name}.onnx") for name in ("large", "small")]
    faster = example("bench_two_models")(*paths, runs=12)
    assert faster == found["ratio"]["host_ms"]["faster"] != "a"  # a busy computer may hide it
    assert found["ratio"]["host_ms"]["a_over_b"] > 1, "256 times the pixels"
    said = capsys.readouterr().out
    assert {"b": "the second is faster", None: "no difference was seen"}[faster] in said
    assert "(stand-in: ONNX Runtime" in said
    assert "first over second" in said
    with pytest.raises(edgedistill.EdgeDistillError, match=r"expected one network, or compare=\(a, b\)"):
        edgedistill.bench(paths[0], compare=paths)


def test_examples_that_only_look(copy, finished_run, tmp_path, capsys):
    folder = finished_run / "runs" / "r"
    redone = ("distill", "evaluate", "export", "quantize", "decide", "bundle", "deploy", "report")
    seconds = [json.loads((folder / name / f"{name}.json").read_text())["artifact"]["seconds"] for name in redone]
    assert example("what_would_be_redone")(copy, "1.5") == pytest.approx(sum(seconds))
    assert "keep     teacher" in capsys.readouterr().out
    assert example("cost_of_int8")(copy).keys() == {"float", "onnx", "fp16", "int8"}
    assert "executed as fp16" in capsys.readouterr().out
    int8 = finished_run / "runs" / "r" / "quantize" / "student_int8.onnx"
    assert example("check_and_mend_onnx")(str(int8), "jetson-nano", str(tmp_path / "m.onnx")) is False
    onnx = finished_run / "runs" / "r" / "export" / "student.onnx"
    assert example("check_and_mend_onnx")(str(onnx), "jetson-nano", str(tmp_path / "m.onnx")) is True
    assert "mobilenetv3_small_050" in example("pick_a_student")("jetson-nano", "2.0")
    assert (example("bundle_for_a_board")(copy) / "manifest.json").exists()


def test_no_example_is_left_out():
    modules = ("test_api.py", "test_api_board.py")
    tests = "".join((ROOT / "tests" / "edgedistill" / "api" / name).read_text(encoding="utf-8") for name in modules)
    for path in EXAMPLES.glob("*.py"):
        assert re.search(rf"\b{path.stem}\b", tests), path.name
