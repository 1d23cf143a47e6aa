"""The rows of config/task.py: what they say of each task, and that nothing else compares `student.output`."""

import ast
import re
import subprocess
import sys
import tomllib

import pytest
import torch

from edgedistill.config import task as task_module
from edgedistill.config.loading import recipe_from_table
from edgedistill.config.task import (
    CLASSIFICATION,
    EMBEDDING,
    MULTILABEL,
    NO_LABEL,
    REGRESSION,
    TASKS,
    class_numbers,
    task_of,
    task_of_weights,
    weights_note,
)
from edgedistill.distillation.objectives import HARD_LOSSES, hard_term
from edgedistill.errors import RecipeError
from edgedistill.evaluation.tasks import EVALUATORS, evaluator_of
from edgedistill.models.build import build_model
from edgedistill.pipeline.table import STAGES, stages_of
from edgedistill.records.artifacts import epoch_kind
from edgedistill.records.evaluation import Scores
from edgedistill.reporting.provenance import toml_from_recipe
from edgedistill.stages.evaluate import _RUNS
from edgedistill_device import manifest
from end_to_end import ROOT

MOST = 1  # places outside config/task.py that compare `student.output` or name its values: the board's TASKS


def recipe(task, **sections):
    if task.vectors:
        return recipe_from_table({"data": {"train": "x.csv", "task": task.name}, **sections}, "r")
    table = {"data": {"train": "x"}, "student": {"output": task.output}, "distill": {"feature_weight": 1.0}}
    return recipe_from_table({**table, **sections}, "r")


def test_rows_and_functions_name_the_same():
    names = [task.name for task in TASKS]
    assert names == list(EVALUATORS) == list(_RUNS)
    assert set(HARD_LOSSES) == {task.supervised.name for task in TASKS}


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_what_a_row_says_of_a_task_is_so(task):
    evaluator = evaluator_of(task)
    assert (evaluator.drop is not None) is (evaluator.answer is not None) is task.deploys
    assert (task.name in manifest.TASKS) is task.deploys, "the board runs what is deployed"
    assert (evaluator.hits is None) is task.vectors
    if not task.vectors:
        assert task.primary in task.metrics
        assert set(task.metrics) <= set(Scores.model_fields)
    assert {f"eval_{name}" for name in task.metrics} <= set(epoch_kind(task).model_fields)
    assert task.supervised.supervised is task.supervised  # labels alone teach it
    width = task.head_width(3)
    found = build_model("squeezenet1_1", width).eval()(torch.zeros(1, 3, 64, 64)).shape
    assert found == (1, width or 512)


def test_which_stages_a_task_has():
    of_classes, of_embeddings, of_figures, of_labels = (
        {stage.name for stage in stages_of(recipe(task))} for task in TASKS
    )
    assert of_classes == of_embeddings == of_labels < {stage.name for stage in STAGES}
    assert of_classes - of_figures == {"decide"}


def test_the_task_of_a_recipe_and_of_a_weights_file():
    for task in TASKS:
        assert task_of(recipe(task)) is task
        assert task_of_weights(weights_note(task)) is task
    assert weights_note(CLASSIFICATION) == {}  # byte for byte the files of before
    assert weights_note(EMBEDDING) == {"output": "embedding"}
    assert recipe(CLASSIFICATION).data.metric == "top1_fraction"
    assert recipe(REGRESSION).data.metric == "r2"
    assert recipe(MULTILABEL).data.metric == "map"
    assert task_of_weights({"output": ["damaged"]}) is CLASSIFICATION


def test_labels_become_the_positions_of_their_classes():
    assert class_numbers(["crack", "ok", "", "crack"], ["ok", "crack"]) == [1, 0, NO_LABEL, 1]
    with pytest.raises(KeyError, match="dent"):
        class_numbers(["dent"], ["ok", "crack"])


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"distill": {"loss": "mse"}}, "has no use for distill.loss; leave it out"),
        ({"decide": {"recall": {"crack": 0.9}}}, "has no use for decide; leave it out"),
        ({"teacher": {"min_top1_fraction": 0.5}}, "has no use for teacher.min_top1_fraction"),
        ({"teacher": {"mode": "auto"}}, "takes teacher.mode = 'finetune' or 'probe', got 'auto'"),
        ({"distill": {"method": "self"}}, "takes distill.method = 'kd', got 'self'"),
        ({"student": {"output": "embedding"}}, "leave out student.output = 'embedding'"),
    ],
)
def test_keys_of_classes_are_refused_where_figures_are_learnt(sections, line):
    with pytest.raises(RecipeError, match=re.escape(line)):
        recipe(REGRESSION, **sections)


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"decide": {"recall": {"crack": 0.9}}}, "student.output = 'embedding' has no use for decide.recall"),
        ({"quantize": {"qad_epochs": 2}}, "student.output = 'embedding' has no use for quantize.qad_epochs"),
    ],
)
def test_keys_of_logits_are_refused_where_embeddings_are_learnt(sections, line):
    with pytest.raises(RecipeError, match=re.escape(line)):
        recipe(EMBEDDING, **sections)
    assert recipe(EMBEDDING, decide={"unknown_coverage": 0.9}).decide.unknown_coverage == 0.9
    with pytest.raises(RecipeError, match="'classification' has no use for decide.enrol_per_class"):
        recipe(CLASSIFICATION, decide={"enrol_per_class": 10})


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"distill": {"loss": "dkd"}}, "has no use for distill.loss; leave it out"),
        ({"decide": {"unknown_coverage": 0.9}}, "has no use for decide.unknown_coverage; leave it out"),
        ({"smoothing": {"by": "votes"}}, "has no use for smoothing; leave it out"),
        ({"teacher": {"label_smoothing": 0.1}}, "has no use for teacher.label_smoothing; leave it out"),
        ({"quantize": {"qad_epochs": 1}}, "has no use for quantize.qad_epochs; leave it out"),
        ({"distill": {"method": "ensemble"}}, "takes distill.method = 'kd', got 'ensemble'"),
        ({"teacher": {"mode": "both"}}, "takes teacher.mode = 'finetune' or 'probe', got 'both'"),
    ],
)
def test_keys_of_one_class_are_refused_where_an_image_has_several_labels(sections, line):
    with pytest.raises(RecipeError, match=re.escape(line)):
        recipe(MULTILABEL, **sections)
    allowed = {"distill": {"temperature": 2.0, "mixup_alpha": 0.2}, "decide": {"recall": {"crack": 0.9}}}
    assert recipe(MULTILABEL, **allowed).distill.temperature == 2.0


@pytest.mark.parametrize("task", [EMBEDDING, REGRESSION, MULTILABEL], ids=lambda task: task.name)
def test_the_recipe_of_a_report_loads_again(task):
    """It names every key with its value, those of classes too."""
    first = recipe(task)
    assert recipe_from_table(tomllib.loads(toml_from_recipe(first.model_dump(mode="json"))), "again") == first


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"task": "regression", "metric": "top1_fraction"}, "is no figure of regression; it has: r2"),
        ({"task": "regression", "balance": "loss"}, "takes data.balance = 'none' or 'sample'"),
        ({"task": "multilabel", "metric": "r2"}, "is no figure of multilabel; it has: map"),
        ({"task": "multilabel", "values": [{"column": "x"}]}, "has no use for data.values; leave it out"),
        (
            {"task": "regression", "label_columns": ["x"]},
            'is for several labels an image: set data.task = "multilabel"',
        ),
        ({"label_separator": ";"}, 'is for several labels an image: set data.task = "multilabel"'),
        ({"values": [{"column": "x"}]}, 'data.values names columns of figures: set data.task = "regression"'),
        ({"task": "regression", "values": [{"column": "x", "low": 2, "high": 1}]}, "the range of 'x' is empty"),
        ({"task": "ranking"}, "data.task"),
    ],
)
def test_a_recipe_that_mixes_tasks_is_refused(data, line):
    with pytest.raises(RecipeError, match=re.escape(line)):
        recipe_from_table({"data": {"train": "x.csv", **data}}, "r")


def test_a_task_without_a_loss_against_labels_is_refused():
    with pytest.raises(
        ValueError,
        match=r"'embedding' has no loss against labels.* classification, regression, multilabel; take task\.su",
    ):
        hard_term(EMBEDDING, None, 1.0, torch.device("cpu"))


def test_the_rows_need_neither_torch_nor_numpy_nor_pydantic():
    code = (
        "import sys, edgedistill.config.task; "
        "sys.exit(', '.join({'torch', 'numpy', 'pydantic'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _last_name(node):
    """`student` of `student` and of `recipe.student`."""
    return getattr(node, "attr", None) or getattr(node, "id", None)


def _comparisons(text):
    """Lines that read `student.output`, name the value "embedding", compare with "logits", or give `output` as text."""
    lines = []
    for node in ast.walk(ast.parse(text)):
        reads = isinstance(node, ast.Attribute) and node.attr == "output" and _last_name(node.value) == "student"
        if reads or (isinstance(node, ast.Constant) and node.value == EMBEDDING.output):
            lines.append(node.lineno)
        elif isinstance(node, ast.Compare):
            sides = [side for part in (node.left, *node.comparators) for side in ast.walk(part)]
            named = any(isinstance(side, ast.Constant) and side.value == CLASSIFICATION.output for side in sides)
            lines += [node.lineno] if named else []
        elif isinstance(node, ast.arguments):
            plain, named = [*node.posonlyargs, *node.args], node.kwonlyargs
            defaults = [
                *zip(plain[::-1], node.defaults[::-1], strict=False),
                *zip(named, node.kw_defaults, strict=True),
            ]
            lines += [
                value.lineno
                for argument, value in defaults
                if argument.arg == "output" and isinstance(value, ast.Constant) and value.value == CLASSIFICATION.output
            ]
    return lines


def test_nothing_else_compares_the_output_of_the_student():
    found = []
    for package in ("edgedistill", "jetson", "calibration"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.samefile(task_module.__file__):
                continue
            found += [f"{path.relative_to(ROOT)}:{line}" for line in _comparisons(path.read_text("utf-8"))]
    assert len(found) == MOST, f"ask the task of the recipe's student instead (config/task.py): {', '.join(found)}"


@pytest.mark.parametrize(
    "text",
    [
        'recipe.student.output == "x"',
        "student.output",
        'kind = "embedding"',
        'if name in ("logits", "x"): pass',
        'def f(output="logits"): pass',
        'def f(*, output="logits"): pass',
    ],
)
def test_the_count_sees(text):
    assert _comparisons(text) == [1]


def test_the_count_leaves_stages_and_graphs_alone():
    assert _comparisons('node.output[0]; folder("logits"); "student.output"; args.output') == []
