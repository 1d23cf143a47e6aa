"""The tasks that a student can have: one row of facts each, without torch, numpy and pydantic.

How outputs are measured and read stands in `edgedistill/evaluation/tasks.py`, the loss against labels in
`edgedistill/distillation/objectives.py` (`HARD_LOSSES`), both under the same names. Stages ask the task of
the recipe's student; nothing else compares `student.output`. docs/extend.md says how to add one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from edgedistill.config.training import StudentConfig

NO_LABEL = -1  # target of an image of the unlabelled pool


@dataclass(frozen=True)
class Task:
    """What a network is trained to do.

    Attributes:
        name: key of its functions.
        output: value of `student.output`, noted in weights files.
        targets: (label texts, class names) -> a target for each text; KeyError for a text that is no label.
        head_width: classes -> outputs of the head; 0 for a network without one.
        metrics: figures of 0..1 that `data.metric` can name.
        primary: the metric that the drop of a precision is counted in.
        learns_outputs: the student is taught the teacher's outputs and the labels, and not pooled features alone.
        deploys: the stages `quantize`, `bundle`, `deploy` and `report` apply.
        supervised_as: name of the task that teacher and baseline learn from the labels; "" for this one.
    """

    name: str
    output: str
    targets: Callable[[Sequence[str], Sequence[str]], list[int]]
    head_width: Callable[[int], int]
    metrics: tuple[str, ...]
    primary: str
    learns_outputs: bool = True
    deploys: bool = True
    supervised_as: str = ""

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


CLASSIFICATION = Task(
    name="classification",
    output="logits",
    targets=class_numbers,
    head_width=lambda classes: classes,
    metrics=("top1_fraction", "balanced_accuracy_fraction"),
    primary="top1_fraction",
)
EMBEDDING = Task(
    name="embedding",
    output="embedding",
    targets=class_numbers,
    head_width=lambda classes: 0,
    metrics=CLASSIFICATION.metrics,  # of the nearest neighbours' classes
    primary=CLASSIFICATION.primary,
    learns_outputs=False,
    deploys=False,
    supervised_as=CLASSIFICATION.name,
)
TASKS = (CLASSIFICATION, EMBEDDING)

_BY_NAME = {task.name: task for task in TASKS}
_BY_OUTPUT = {task.output: task for task in TASKS}
_METRICS = tuple(dict.fromkeys(metric for task in TASKS for metric in task.metrics))

if TYPE_CHECKING:
    OutputName = str
    Metric = str
else:
    OutputName = Literal[tuple(_BY_OUTPUT)]
    Metric = Literal[_METRICS]


def task_of(student: StudentConfig) -> Task:
    """The task of a recipe's student."""
    return _BY_OUTPUT[student.output]


def weights_note(task: Task) -> dict[str, str]:
    """What a weights file notes of the task; nothing for a classifier, as in files of older releases."""
    return {} if task is CLASSIFICATION else {"output": task.output}


def task_of_weights(about: Mapping[str, Any]) -> Task:
    """The task of a weights file, from what is noted in it; a classifier where the note is absent or unknown."""
    return next((task for task in TASKS if task.output == about.get("output")), CLASSIFICATION)
