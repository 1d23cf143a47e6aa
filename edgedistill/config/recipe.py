"""The recipe: one frozen, validated value made from a TOML file and `--set` overrides.

Unknown keys are refused with the nearest right one; all faults of a file are reported, one line
each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import model_validator

from edgedistill.config.base import Section
from edgedistill.config.cost import CostConfig
from edgedistill.config.data import AugmentConfig, DataConfig
from edgedistill.config.decide import DecideConfig
from edgedistill.config.deployment import DeployConfig, ExportConfig, QuantizeConfig, RunConfig, TargetConfig
from edgedistill.config.methods import LOGIT_ROWS, logit_loss_row
from edgedistill.config.smoothing import SmoothingConfig
from edgedistill.config.task import CLASSIFICATION, labels_task, task_of
from edgedistill.config.training import DistillConfig, StudentConfig, TeacherConfig, TrainingConfig
from edgedistill.config.values import size_text
from edgedistill_device.preprocess_spec import size_of


class Recipe(Section):
    """A whole recipe: what one run does."""

    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    teacher: TeacherConfig = TeacherConfig()
    student: StudentConfig = StudentConfig()
    distill: DistillConfig = DistillConfig()
    export: ExportConfig = ExportConfig()
    quantize: QuantizeConfig = QuantizeConfig()
    decide: DecideConfig = DecideConfig()
    smoothing: SmoothingConfig = SmoothingConfig()
    target: TargetConfig = TargetConfig()
    deploy: DeployConfig = DeployConfig()
    cost: CostConfig = CostConfig()
    run: RunConfig = RunConfig()

    @model_validator(mode="before")
    @classmethod
    def _metric_is_of_the_task(cls, values: Any) -> Any:
        data = values.get("data") if isinstance(values, dict) else None
        if not isinstance(data, dict) or "metric" in data or data.get("task") is None:
            return values
        try:
            metric = labels_task(data["task"]).metrics[0]
        except (KeyError, TypeError):  # of no task: the field says so
            return values
        return {**values, "data": {**data, "metric": metric}}

    @model_validator(mode="after")
    def _keys_are_of_the_task(self) -> Recipe:
        task = task_of(self)
        if self.data.metric not in task.metrics:
            raise ValueError(
                f"data.metric = {self.data.metric!r} is no figure of {task.name}; it has: {', '.join(task.metrics)}"
            )
        if self.data.values and not task.vectors:
            raise ValueError('data.values names columns of figures: set data.task = "regression", or leave it out')
        for key in ("label_columns", "label_separator"):
            if getattr(self.data, key) and not task.multiple:
                raise ValueError(
                    f'data.{key} is for several labels an image: set data.task = "multilabel", or leave it out'
                )
        for name in task.unread:
            section, _, key = name.partition(".")
            given = getattr(self, section)
            # At its default it says nothing: the recipe of a report names every key.
            if (getattr(given, key) != type(given).model_fields[key].default) if key else given != type(given)():
                key_of_task = "student.output" if task.supervised_as else "data.task"
                raise ValueError(f"{key_of_task} = {task.name!r} has no use for {name}; leave it out")
        if task.vectors:
            allowed = {
                "data.balance": task.balances,
                "teacher.mode": ("finetune", "probe"),
                "distill.method": ("kd",),
            }
            for name, choices in allowed.items():
                section, _, key = name.partition(".")
                value = getattr(getattr(self, section), key)
                if value not in choices:
                    raise ValueError(
                        f"data.task = {task.name!r} takes {name} = {' or '.join(map(repr, choices))}, got {value!r}"
                    )
        return self

    @model_validator(mode="after")
    def _teacher_has_weights(self) -> Recipe:
        if self.teacher.weights == "scratch" and self.teacher.mode == "probe":
            raise ValueError(
                "teacher.mode = 'probe' reads the features of a trained network, "
                "teacher.weights = 'scratch' has none; set teacher.mode = 'finetune'"
            )
        if self.teacher.weights == "scratch" and self.teacher.epochs == 0:
            raise ValueError("teacher.weights = 'scratch' with teacher.epochs = 0 is a random teacher")
        return self

    @model_validator(mode="after")
    def _teacher_sees_what_the_student_sees(self) -> Recipe:
        if self.teacher.image_px is None:
            return self
        if self.distill.method == "self":
            raise ValueError("teacher.image_px: with distill.method = 'self' the student teaches itself; leave it out")
        (height, width), (teacher_height, teacher_width) = self.data.size, size_of(self.teacher.image_px)
        scales = teacher_height / height, teacher_width / width
        if min(scales) < 1 or max(scales) > 1.05 * min(scales):
            raise ValueError(
                f"teacher.image_px = {size_text(self.teacher.image_px)} is the side that the student's "
                f"{size_text(self.data.image_px)} px are enlarged to: expected the same shape, and none smaller"
            )
        return self

    @model_validator(mode="after")
    def _method_has_what_it_needs(self) -> Recipe:
        distill = self.distill
        if distill.method == "ensemble" and self.teacher.averages:
            raise ValueError(
                "teacher.mode = 'both' is a mean of two teachers already, distill.method = 'ensemble' takes one for "
                "each name; set teacher.mode to auto, probe or finetune"
            )
        if distill.method == "ensemble" and not distill.teachers:
            raise ValueError("distill.method = 'ensemble' needs distill.teachers, the teachers beside [teacher]")
        for key, method in (("teachers", "ensemble"), ("assistants", "progressive")):
            if getattr(distill, key) and distill.method != method:
                raise ValueError(f"distill.{key} is for distill.method = {method!r}, got {distill.method!r}")
        if distill.standardise and not logit_loss_row(distill.loss).standardises:
            able = " or ".join(row.name for row in LOGIT_ROWS if row.standardises)
            raise ValueError(f"distill.standardise is for loss {able}, got {distill.loss!r}")
        if distill.feature_weight > 0 and distill.method not in {"kd", "data_free"}:
            raise ValueError(f"distill.feature_weight is for one teacher, got method {distill.method!r}; set it to 0")
        return self

    @model_validator(mode="after")
    def _a_plan_is_for_the_student_s_own_steps(self) -> Recipe:
        distill = self.distill
        if distill.minutes == 0:
            return self
        if distill.method in {"progressive", "self"}:
            raise ValueError(
                f"distill.minutes plans one training, distill.method = {distill.method!r} has several in turn; "
                "set distill.steps, of each of them, and distill.minutes = 0"
            )
        if distill.matches_maps:
            raise ValueError(
                f"distill.minutes plans the student's own steps, with distill.feature_loss = {distill.feature_loss!r} "
                "the teacher runs beside it; set distill.steps and distill.minutes = 0, or take a cached feature loss"
            )
        return self

    @model_validator(mode="after")
    def _groups_are_named_in_one_way(self) -> Recipe:
        if self.data.group_by and (self.data.group_pattern is not None or self.data.group_column is not None):
            raise ValueError("data.group_by names groups by folder: leave data.group_pattern and data.group_column out")
        return self

    @model_validator(mode="after")
    def _only_a_crop_has_a_fraction(self) -> Recipe:
        data = self.data
        if data.fit != "crop" and data.crop_fraction not in (None, 1.0):
            raise ValueError(
                f"data.fit = {data.fit!r} shows the whole picture; leave out data.crop_fraction = {data.crop_fraction}"
            )
        return self

    @model_validator(mode="after")
    def _training_for_int8_normalises_outside(self) -> Recipe:
        if self.quantize.qad_epochs and self.export.normalise_in_graph:
            raise ValueError(
                "quantize.qad_epochs trains with normalised input, "
                "export.normalise_in_graph is for 0..255; use one of them"
            )
        return self

    @model_validator(mode="after")
    def _student_has_something_to_learn_from(self) -> Recipe:
        distill, pool = self.distill, self.data.has_pool
        if distill.pool == "instead" and not pool:
            raise ValueError(
                "distill.pool = 'instead' needs images without labels: set data.unlabelled, or data.train_labels"
            )
        if distill.pooling and not pool:
            raise ValueError(
                f"distill.{next(iter(distill.pooling))} is for images without a label: set data.unlabelled, or leave "
                "it out"
            )
        if distill.pool_shares:
            self._require_a_pool_to_share()
        if distill.pool_temperature is not None and logit_loss_row(distill.loss).whole_batch:
            raise ValueError(
                f"distill.pool_temperature: distill.loss = {distill.loss!r} compares the images of a batch with each "
                "other, so they have one temperature; leave it out, or take another loss"
            )
        if distill.feature_loss == "relational" and distill.batch_size < 3:
            raise ValueError(
                "distill.feature_loss = 'relational' compares three images at a time, got "
                f"distill.batch_size = {distill.batch_size}"
            )
        if distill.method == "data_free" and pool:
            raise ValueError(
                "distill.method = 'data_free' makes its own images; leave data.unlabelled and data.train_labels "
                "out, or take method 'kd' with distill.pool = 'instead'"
            )
        task = task_of(self)
        if not task.learns_outputs and not (distill.cache_features and distill.method in {"kd", "data_free"}):
            raise ValueError(
                f"student.output = {task.output!r} learns from the teacher's pooled features: "
                "set distill.feature_weight above 0, distill.feature_loss to pooled or "
                "relational, distill.method to kd or data_free"
            )
        return self

    def _require_a_pool_to_share(self) -> None:
        distill = self.distill
        if not self.data.has_pool or distill.pool != "beside":
            raise ValueError(
                "distill.pool_shares are parts of the images without a label beside labelled ones: set data.unlabelled "
                "and distill.pool = 'beside', or leave them out"
            )
        if len(set(distill.pool_shares)) < len(distill.pool_shares) or max(distill.pool_shares) >= 1:
            raise ValueError(
                f"distill.pool_shares: expected different shares below 1, the whole pool is measured anyway; got "
                f"{list(distill.pool_shares)}"
            )
        if not task_of(self).learns_outputs or task_of(self).vectors:
            raise ValueError("distill.pool_shares are for students with classes; leave them out")

    @model_validator(mode="after")
    def _a_command_signs_with_a_known_key(self) -> Recipe:
        if self.deploy.sign_command and self.deploy.sign_key is None:
            raise ValueError(
                "deploy.sign_command needs deploy.sign_key: the public key that its "
                "signature is checked with; edgedistill keys add NAME PUBLIC.pem"
            )
        return self

    @model_validator(mode="after")
    def _only_classes_are_smoothed(self) -> Recipe:
        task = task_of(self)
        if self.smoothing.by is not None and task is not CLASSIFICATION:
            raise ValueError(f"smoothing.by is for classes, task {task.name!r} gives none; leave it out")
        return self

    @model_validator(mode="after")
    def _prices_have_a_currency(self) -> Recipe:
        if (self.decide.miss_cost or self.decide.false_alarm_cost) and self.cost.currency is None:
            raise ValueError("decide.miss_cost and decide.false_alarm_cost need cost.currency, like 'EUR'")
        return self

    @property
    def training_px(self) -> int:
        """Short side of the pictures that training crops are cut from, pixels."""
        smallest = min(self.data.size) / self.augment.crop_scale_min**0.5
        return self.data.training_px or round(smallest)

    @property
    def teaching(self) -> dict[str, Any]:
        """What the first teacher's weights depend on: all of [teacher] but the gates.

        In self-distillation the teacher is the student itself, trained by the student's schedule.
        """
        return self.first_teacher.training

    @property
    def weighed_smoothing(self) -> str | None:
        """What a class weighs in a fine-tuned teacher's smoothed loss; None where nothing is smoothed or weighed.

        An earlier release weighed the smoothed mass by each class that it was on, and had no name for it.
        """
        teacher = self.first_teacher
        smooths = teacher.label_smoothing > 0 and teacher.epochs > 0 and "finetune" in teacher.tries
        return "images by their label" if smooths and self.data.balance == "loss" else None

    @property
    def epoch_chosen_by(self) -> str | None:
        """The metric by which `distill.keep = "best"` takes an epoch's weights; None where it takes the last ones."""
        return self.data.metric if self.distill.keep == "best" else None

    @property
    def way_chosen_by(self) -> str | None:
        """The metric by which teacher.mode `auto` or `both` chooses; None where it does not."""
        return self.data.metric if len(self.first_teacher.tries) > 1 else None

    @property
    def first_teacher(self) -> TeacherConfig:
        if self.distill.method != "self":
            return self.teacher
        schedule = {name: getattr(self.distill, name) for name in TrainingConfig.model_fields}
        gates = {name: getattr(self.teacher, name) for name in ("min_top1_fraction", "min_balanced_accuracy_fraction")}
        return TeacherConfig(
            model=self.student.model, weights=self.student.weights, classes=self.student.classes, **schedule, **gates
        )


def recipe_without_paths(recipe: Recipe) -> dict[str, Any]:
    """The recipe without what belongs to one computer: paths of images, hosts, keys, threads."""
    values = recipe.model_dump(mode="json", exclude={"run", "deploy"})
    for key in ("train", "val", "test", "unlabelled"):
        del values["data"][key]
    del values["decide"]["unknown"]
    distill = values["distill"]
    for net in (values["teacher"], values["student"], *distill["teachers"], *distill["assistants"]):
        for key in ("weights", "classes"):
            net[key] = net[key] and Path(net[key]).name
    return values
