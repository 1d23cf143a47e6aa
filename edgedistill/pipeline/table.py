"""The pipeline as a table. Stage `x` is edgedistill/stages/x.py, `edgedistill x`, and DIR/x/.

Importing this module is cheap: a stage's own module is imported when the stage runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from edgedistill.pipeline.gates import (
    int8_is_good_enough,
    recipe_suits_the_classes,
    student_beats_chance,
    teacher_is_good_enough,
)
from edgedistill.records.layout import SWEEP

if TYPE_CHECKING:  # pydantic costs more than all of `--help` may
    from edgedistill.config.recipe import Recipe


class Stage(NamedTuple):
    """One row.

    Attributes:
        name: module, verb and folder.
        reads: stages whose artifacts it reads.
        keys: recipe sections, or section.key, whose values its artifact depends on.
        version: raise it when the stage's code would give another artifact from the same inputs.
        help: for `edgedistill --help`.
        gate: asked with the recipe and the artifact's record before any later stage runs; raises.
        applies: whether a recipe has this stage at all.
        shared: whether all ranks work on it under `torchrun`; else the first one alone does.
        files: files of the run folder that no stage makes, and that it reads where there are any.
    """

    name: str
    reads: tuple[str, ...]
    keys: tuple[str, ...]
    version: int
    help: str
    gate: Callable[[Recipe, Any], None] | None = None
    applies: Callable[[Recipe], bool] = lambda recipe: True
    shared: bool = False
    files: tuple[str, ...] = ()


WEIGHED = frozenset(("teacher", "baseline", "assist", "distill", "curve"))  # start from weights that the recipe names
WITHOUT_TORCH = frozenset(("bundle", "deploy", "report"))  # the modules of all others import PyTorch
PRECISION = "run.precision"
_TRAINING = (
    "augment",
    "data.learnt_as",
    "data.balance",
    "distill.keep",
    "epoch_chosen_by",
    "run.device",
    "run.threads",
    PRECISION,
)
_FINETUNING = ("way_chosen_by", "weighed_smoothing")
_SCHEDULE = (
    "distill.epochs",
    "distill.batch_size",
    "distill.peak_lr",
    "distill.weight_decay",
    "distill.warmup_fraction",
    "distill.views",
    "distill.seed",
    "distill.min_steps",
    "distill.length",
)
_NEWER = frozenset(
    (
        "data.learnt_as",
        "distill.length",
        "distill.pooling",
        "distill.label_error_fraction",
        "teacher.answers",
        "epoch_chosen_by",
        "way_chosen_by",
        "weighed_smoothing",
    )
)  # left out where they are None: older artifacts were made without them
# Not named by older artifacts: what was chosen by the metric, and that cached answers were float32.
UNNOTED = frozenset(("epoch_chosen_by", "way_chosen_by", PRECISION))
_VIEWS = ("augment", "distill.views", "distill.seed", "distill.seeds", "distill.mixing", "distill.pool")
_STUDENT = (
    "student.model",
    "student.weights",
    "student.classes",
    *_SCHEDULE,
    "distill.seeds",
    "distill.mixing",
    "distill.pool",
    "distill.synthetic",
)
_SOFT_LABELS = (
    "distill.method",
    "distill.loss",
    "distill.temperature",
    "distill.standardise",
    "distill.dkd_beta",
    "distill.kd_weight",
    "distill.label_error_fraction",
    "distill.pooling",
)
_FEATURES = (
    "student.output",
    "distill.feature_weight",
    "distill.feature_warmup_fraction",
    "distill.feature_loss",
    "distill.student_taps",
    "distill.teacher_taps",
)
_CHAIN = (
    *_SCHEDULE,
    *_SOFT_LABELS,
    "student.model",
    "student.weights",
    "student.classes",
    "distill.mixing",
    "distill.pool",
    "distill.teachers",
    "distill.assistants",
    "distill.generations",
    "distill.seeds",
    "teaching",
)


def _has_chain(recipe: Recipe) -> bool:
    distill = recipe.distill
    if distill.method == "self":
        return distill.generations > 1
    return distill.method in {"ensemble", "progressive"}


def _is_data_free(recipe: Recipe) -> bool:
    return recipe.distill.method == "data_free"


def _has_time(recipe: Recipe) -> bool:
    return recipe.distill.minutes > 0


def _has_shares(recipe: Recipe) -> bool:
    return bool(recipe.distill.pool_shares)


def _deploys(recipe: Recipe) -> bool:
    from edgedistill.config.task import task_of  # not needed by `--help`

    return task_of(recipe).deploys


def _decides(recipe: Recipe) -> bool:
    from edgedistill.config.task import task_of

    task = task_of(recipe)
    return task.deploys and task.decides


STAGES = (
    Stage(
        "data",
        (),
        ("data.images", "student.model", "training_px"),
        2,
        "scan the images, group near-duplicates, split, decode once",
        gate=recipe_suits_the_classes,
    ),
    Stage(
        "schedule",
        ("data",),
        (
            "augment",
            "student.model",
            "distill.batch_size",
            "distill.epochs",
            "distill.min_steps",
            "distill.length",
            "distill.mixing",
            "distill.pool",
            "distill.synthetic",
            "run.device",
            "run.threads",
            PRECISION,
        ),
        1,
        "measure the student's first steps and plan how many fit into distill.minutes",
        applies=_has_time,
        shared=True,
    ),
    Stage(
        "teacher",
        ("data",),
        ("teaching", *_TRAINING, *_FINETUNING),
        5,
        "fine-tune the teacher and refuse one that is too weak",
        gate=teacher_is_good_enough,
        shared=True,
    ),
    Stage(
        "synthesise",
        ("data", "teacher"),
        ("distill.synthetic", "distill.synthetic_steps", "distill.seed", "run.device", "run.threads"),
        1,
        "make images from the teacher's weights alone",
        applies=_is_data_free,
    ),
    Stage(
        "logits",
        ("data", "teacher", "synthesise"),
        (*_VIEWS, "distill.cache_features", "teacher.answers", PRECISION),
        5,
        "cache the teacher's outputs for every training view",
        shared=True,
    ),
    Stage(
        "baseline",
        ("data", "schedule"),
        (*_STUDENT, *_TRAINING),
        5,
        "train the student without a teacher, for comparison",
        shared=True,
    ),
    Stage(
        "assist",
        ("data", "teacher", "synthesise", "logits"),
        (*_CHAIN, *_TRAINING, *_FINETUNING),
        4,
        "train the extra teachers (ensemble, assistants, earlier generations)",
        applies=_has_chain,
        shared=True,
    ),
    Stage(
        "distill",
        ("data", "schedule", "teacher", "synthesise", "logits", "assist"),
        (*_STUDENT, *_SOFT_LABELS, *_FEATURES, *_TRAINING),
        5,
        "train the student against the cached teacher",
        shared=True,
    ),
    Stage(
        "evaluate",
        ("data", "teacher", "baseline", "assist", "distill"),
        ("distill.seeds", "distill.method", "student.output", "teacher.answers"),
        5,
        "test teacher, baseline and student on images that nothing was trained or chosen on",
        gate=student_beats_chance,
    ),
    Stage(
        "curve",
        ("data", "schedule", "teacher", "logits", "assist", "distill"),
        (*_STUDENT, *_SOFT_LABELS, *_FEATURES, *_TRAINING, "distill.pool_shares", "data.metric"),
        1,
        "train the student on parts of the pool: accuracy against its size",
        applies=_has_shares,
        shared=True,
    ),
    Stage(
        "export",
        ("data", "teacher", "distill"),
        ("target.device", "target.tensorrt", "export"),
        2,
        "write ONNX, prove it equals PyTorch, check it for the board's TensorRT",
    ),
    Stage(
        "quantize",
        ("data", "distill", "evaluate", "export"),
        ("quantize", "target.device", "target.tensorrt", "target.precision"),
        6,
        "compute INT8 scales and measure what each precision costs",
        gate=int8_is_good_enough,
        applies=_deploys,
    ),
    Stage(
        "decide",
        ("data", "evaluate", "export", "quantize"),
        ("decide", "cost.currency"),
        1,
        "fit on validation images how logits become an answer",
        applies=_decides,
    ),
    Stage(
        "bundle",
        ("data", "teacher", "distill", "export", "quantize", "decide", "evaluate"),
        (
            "target.device",
            "target.tensorrt",
            "target.precision",
            "target.fps",
            "target.memory_mib",
            "deploy.golden_images",
            "deploy.sign_key",
            "smoothing",
        ),
        5,
        "collect everything the board needs in one folder",
        applies=_deploys,
    ),
    Stage(
        "deploy",
        ("export", "bundle"),
        ("deploy.hosts", "deploy.until", "deploy.root", "deploy.python", "deploy.bench_runs"),
        1,
        "verify and time the bundle on each host",
        applies=_deploys,
    ),
    Stage(
        "report",
        (
            "data",
            "schedule",
            "teacher",
            "synthesise",
            "logits",
            "baseline",
            "assist",
            "distill",
            "evaluate",
            "curve",
            "export",
            "quantize",
            "decide",
            "bundle",
            "deploy",
        ),
        ("data.metric", "target", "cost", "teacher.min_top1_fraction", "teacher.min_balanced_accuracy_fraction"),
        9,
        "write the results as one page and one JSON",
        applies=_deploys,
        files=(SWEEP,),
    ),
)


def stages_of(recipe: Recipe) -> tuple[Stage, ...]:
    """The stages that this recipe has, in order."""
    return tuple(stage for stage in STAGES if stage.applies(recipe))


def stages_read(stage: Stage, recipe: Recipe) -> tuple[str, ...]:
    """Names of the stages that a stage reads, of those that this recipe has."""
    present = {other.name for other in stages_of(recipe)}
    return tuple(name for name in stage.reads if name in present)


def stage_named(name: str) -> Stage:
    return next(stage for stage in STAGES if stage.name == name)


def recipe_values(stage: Stage, recipe: Recipe) -> dict[str, Any]:
    """The recipe values that a stage's artifact depends on, by dotted name; none of a section that is `off`.

    `run.precision = "mixed"` stands there as `fp32`, which it is on a CPU and which was the default of older releases;
    `plan.as_computed` says where it was something else.
    """
    values: dict[str, Any] = {}
    for key in stage.keys:
        value: Any = recipe
        for part in key.split("."):
            value = getattr(value, part)
        if hasattr(value, "model_dump"):
            dumped = {} if getattr(value, "off", False) else value.model_dump(mode="json")
            values |= {f"{key}.{name}": dumped[name] for name in sorted(dumped)}
        else:
            values[key] = _plain(value)
    if values.get(PRECISION) == "mixed":
        values[PRECISION] = "fp32"
    return {key: value for key, value in values.items() if value is not None or key not in _NEWER}


def _plain(value: Any) -> Any:
    """JSON-able: tuples as lists, sections as tables."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value
