"""The tasks that a student can have: one row of facts each, without torch, numpy and pydantic.

How outputs are measured and read stands in `edgedistill/evaluation/tasks.py`, the loss against labels in
`edgedistill/distillation/objectives.py` (`HARD_LOSSES`), both under the same names. Stages ask the task of
the recipe; nothing else compares `data.task` and `student.output`. docs/extend.md says how to add one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from edgedistill.config.recipe import Recipe

SEPARATOR = ";"  # of several figures in a label text
NO_LABEL = -1  # target of an image of the unlabelled pool


@dataclass(frozen=True)
class Task:
    """What a network is trained to do.

    Attributes:
        name: key of its functions; what a recipe names in `data.task`, except where `supervised_as` says otherwise.
        output: value of `student.output`, or of a task without one, the word that weights files note.
        targets: (label texts, class names) -> a target for each text: a class number, or with `vectors` a row of
            figures, one an output. KeyError or ValueError for a text that is no label.
        head_width: classes -> outputs of the head; 0 for a network without one.
        metrics: figures that `data.metric` can name, larger is better; the first one is its default.
        primary: what the drop of a precision is counted in, 100 points of it.
        lower_is_better: the primary figure is an error.
        learns_outputs: the student is taught the teacher's outputs and the labels, and not pooled features alone.
        deploys: the stages `quantize`, `bundle`, `deploy` and `report` apply.
        supervised_as: name of the task that teacher and baseline learn from the labels; "" for this one.
        vectors: a target is a row of figures, one an output, and no class.
        enrols: the answer is the nearest enrolled image, of a gallery that stage `decide` makes.
        multiple: an image has any number of the classes; with `vectors`, whose figures are then 0 and 1.
        decides: stage `decide` applies.
        unread: recipe keys that mean nothing here and are refused where they have another value than their default.
        points: what a point of the drop is, in words.
        balances: values that `data.balance` can have.
    """

    name: str
    output: str
    targets: Callable[[Sequence[str], Sequence[str]], list[Any]]
    head_width: Callable[[int], int]
    metrics: tuple[str, ...]
    primary: str
    lower_is_better: bool = False
    learns_outputs: bool = True
    deploys: bool = True
    supervised_as: str = ""
    vectors: bool = False
    enrols: bool = False
    multiple: bool = False
    decides: bool = True
    unread: tuple[str, ...] = ()
    points: str = "points of top-1"
    balances: tuple[str, ...] = ("none", "sample", "loss")

    @property
    def ranks(self) -> bool:
        """Whether an output is a class's score, so that the largest is the answer."""
        return not (self.vectors or self.enrols)

    @property
    def supervised(self) -> Task:
        """The task that teacher and baseline learn from the labels."""
        return _BY_NAME[self.supervised_as or self.name]


def class_numbers(texts: Sequence[str], classes: Sequence[str]) -> list[int]:
    """The position of each label among the classes; `NO_LABEL` for an empty text.

    Raises:
        KeyError: a text that is no class.
    """
    number = {"": NO_LABEL} | {name: index for index, name in enumerate(classes)}
    return [number[text] for text in texts]


def figure_rows(texts: Sequence[str], names: Sequence[str]) -> list[list[float]]:
    """The figures of each label text, `12.5` or `12.5;0.3` of two values; NaN for an empty text.

    Of several labels an image, `1.0;0.0`, each is 1 or 0; an image without any is all 0.

    Raises:
        ValueError: a text that is not one finite figure for each name.
    """
    rows = []
    for text in texts:
        row = [float(part) for part in text.split(SEPARATOR)] if text else [math.nan] * len(names)
        if len(row) != len(names) or (text and not all(map(math.isfinite, row))):
            raise ValueError(f"expected {len(names)} figures, got {text!r}")
        rows.append(row)
    return rows


CLASSIFICATION = Task(
    name="classification",
    output="logits",
    targets=class_numbers,
    head_width=lambda classes: classes,
    metrics=("top1_fraction", "balanced_accuracy_fraction"),
    primary="top1_fraction",
    unread=("decide.enrol_per_class",),
)
EMBEDDING = Task(
    name="embedding",
    output="embedding",
    targets=class_numbers,
    head_width=lambda classes: 0,
    metrics=CLASSIFICATION.metrics,  # of the nearest neighbours' classes
    primary=CLASSIFICATION.primary,
    learns_outputs=False,
    supervised_as=CLASSIFICATION.name,
    enrols=True,
    unread=(
        "quantize.qad_epochs",
        "decide.recall",
        "decide.precision",
        "decide.confidence",
        "decide.miss_cost",
        "decide.false_alarm_cost",
        "decide.unknown",
    ),
    points="points of recall at 1",
)
_OF_CLASSES = (
    "data.small_classes",
    "data.min_class_images",
    "teacher.min_top1_fraction",
    "teacher.min_balanced_accuracy_fraction",
    "teacher.label_smoothing",
    "distill.loss",
    "distill.standardise",
    "distill.dkd_beta",
    "distill.label_error_fraction",
    "distill.pool_temperature",
    "distill.pool_kd_weight",
    "distill.pool_min_confidence",
    "quantize.qad_epochs",
    "target.min_retention_fraction",
)
REGRESSION = Task(
    name="regression",
    output="values",
    targets=figure_rows,
    head_width=lambda values: values,
    metrics=("r2",),
    primary="mae",
    lower_is_better=True,
    vectors=True,
    decides=False,
    unread=(*_OF_CLASSES, "distill.temperature", "decide", "smoothing"),
    points="hundredths of a standard deviation of the values",
    balances=("none", "sample"),
)
MULTILABEL = Task(
    name="multilabel",
    output="labels",
    targets=figure_rows,
    head_width=lambda labels: labels,
    metrics=("map",),
    primary="map",
    vectors=True,
    multiple=True,
    unread=(
        *_OF_CLASSES,
        "data.values",
        "data.value_loss",
        "decide.unknown",
        "decide.unknown_coverage",
        "decide.miss_cost",
        "decide.false_alarm_cost",
        "smoothing",
    ),
    points="points of mean average precision",
)
TASKS = (CLASSIFICATION, EMBEDDING, REGRESSION, MULTILABEL)

_BY_NAME = {task.name: task for task in TASKS}
_LABELS = {task.name: task for task in TASKS if not task.supervised_as}  # that labels alone can teach
_BY_OUTPUT = {task.output: task for task in TASKS if not task.vectors}  # of class labels
_METRICS = tuple(dict.fromkeys(metric for task in TASKS for metric in task.metrics))

if TYPE_CHECKING:
    OutputName = str
    TaskName = str
    Metric = str
else:
    OutputName = Literal[tuple(_BY_OUTPUT)]
    TaskName = Literal[tuple(_LABELS)]
    Metric = Literal[_METRICS]


def task_of(recipe: Recipe) -> Task:
    """The task of a recipe: what its labels are, and for class labels what its student gives.

    Raises:
        ValueError: a student without classes where labels are figures.
    """
    task = labels_task(recipe.data.task)
    if not task.vectors:
        return _BY_OUTPUT[recipe.student.output]
    if recipe.student.output != CLASSIFICATION.output:
        raise ValueError(
            f"data.task = {task.name!r} has outputs of its own; leave out student.output = {recipe.student.output!r}"
        )
    return task


def labels_task(name: str) -> Task:
    """The task that the labels teach, by the value of `data.task`."""
    return _LABELS[name]


def weights_note(task: Task) -> dict[str, str]:
    """What a weights file notes of the task; nothing for a classifier, as in files of older releases."""
    return {} if task is CLASSIFICATION else {"output": task.output}


def task_of_weights(about: Mapping[str, Any]) -> Task:
    """The task of a weights file, from what is noted in it; a classifier where the note is absent or unknown."""
    return next((task for task in TASKS if task.output == about.get("output")), CLASSIFICATION)
