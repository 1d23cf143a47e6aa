"""The recipe: one frozen, validated value made from a TOML file and `--set` overrides.

Unknown keys are refused with the nearest right one; all faults of a file are reported, one line
each.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError, model_validator

from edgedistill.errors import RecipeError
from edgedistill.prices import CostConfig
from edgedistill.printable import printable
from edgedistill.secret_values import shown_value, without_secrets
from edgedistill.sections import (
    AugmentConfig,
    DataConfig,
    DeployConfig,
    DistillConfig,
    ExportConfig,
    QuantizeConfig,
    RunConfig,
    Section,
    StudentConfig,
    TargetConfig,
    TeacherConfig,
    TrainingConfig,
)

# Keys that name files: relative to the recipe's own folder.
PATHS = {
    "data": ("train", "val", "test", "unlabelled"),
    "run": ("cache_dir",),
    "teacher": ("weights", "classes"),
    "student": ("weights", "classes"),
    "deploy": ("ssh_config",),
}
NETS = ("teachers", "assistants")  # keys of [distill] with tables that have a teacher's keys


class Recipe(Section):
    """One whole road."""

    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    teacher: TeacherConfig = TeacherConfig()
    student: StudentConfig = StudentConfig()
    distill: DistillConfig = DistillConfig()
    export: ExportConfig = ExportConfig()
    quantize: QuantizeConfig = QuantizeConfig()
    target: TargetConfig = TargetConfig()
    deploy: DeployConfig = DeployConfig()
    cost: CostConfig = CostConfig()
    run: RunConfig = RunConfig()

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
    def _method_has_what_it_needs(self) -> Recipe:
        distill = self.distill
        if distill.method == "ensemble" and not distill.teachers:
            raise ValueError("distill.method = 'ensemble' needs distill.teachers, the teachers beside [teacher]")
        for key, method in (("teachers", "ensemble"), ("assistants", "progressive")):
            if getattr(distill, key) and distill.method != method:
                raise ValueError(f"distill.{key} is for distill.method = {method!r}, got {distill.method!r}")
        if distill.standardise and distill.loss not in {"kd", "dkd"}:
            raise ValueError(f"distill.standardise is for loss kd or dkd, got {distill.loss!r}")
        if distill.feature_weight > 0 and distill.method not in {"kd", "data_free"}:
            raise ValueError(f"distill.feature_weight is for one teacher, got method {distill.method!r}; set it to 0")
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
        distill, pool = self.distill, self.data.unlabelled
        if distill.pool == "instead" and not pool:
            raise ValueError("distill.pool = 'instead' needs data.unlabelled, a folder of images")
        if distill.feature_loss == "relational" and distill.batch_size < 3:
            raise ValueError(
                "distill.feature_loss = 'relational' compares three images at a time, got "
                f"distill.batch_size = {distill.batch_size}"
            )
        if distill.method == "data_free" and pool:
            raise ValueError(
                "distill.method = 'data_free' makes its own images; leave data.unlabelled "
                "out, or take method 'kd' with distill.pool = 'instead'"
            )
        if self.student.output == "embedding" and not (
            distill.cache_features and distill.method in {"kd", "data_free"}
        ):
            raise ValueError(
                "student.output = 'embedding' learns from the teacher's pooled features: "
                "set distill.feature_weight above 0, distill.feature_loss to pooled or "
                "relational, distill.method to kd or data_free"
            )
        return self

    @model_validator(mode="after")
    def _a_command_signs_with_a_known_key(self) -> Recipe:
        if self.deploy.sign_command and self.deploy.sign_key is None:
            raise ValueError(
                "deploy.sign_command needs deploy.sign_key: the public key that its "
                "signature is checked with; edgedistill keys add NAME PUBLIC.pem"
            )
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
    def first_teacher(self) -> TeacherConfig:
        if self.distill.method != "self":
            return self.teacher
        schedule = {name: getattr(self.distill, name) for name in TrainingConfig.model_fields}
        gates = {name: getattr(self.teacher, name) for name in ("min_top1_fraction", "min_balanced_accuracy_fraction")}
        return TeacherConfig(
            model=self.student.model, weights=self.student.weights, classes=self.student.classes, **schedule, **gates
        )


def load_recipe(path: Path, overrides: Iterable[str] = (), settings: Mapping[str, Any] | None = None) -> Recipe:
    """Read a recipe file and apply `section.key=value` overrides on top, then `section.key` -> value.

    Paths in [data], [teacher] and [student] that are relative mean: relative to the recipe.

    Raises:
        RecipeError: unreadable file, unknown key, value out of range.
    """
    table = _table_from_file(path)
    base = path.parent.resolve()
    for override in overrides:
        apply_override(table, override)
    for name, value in (settings or {}).items():
        _set_key(table, name, value, f"{name} = {value!r}")
    return recipe_from_table(_with_absolute_paths(table, base), source=str(path))


def recipe_from_sections(sections: Mapping[str, Any], file: Path | None) -> Recipe:
    """Sections as Python values, on top of a file when there is one.

    Args:
        sections: name -> keys; relative paths in them mean: relative to the working directory.
        file: a recipe, whose own paths are relative to itself.

    Raises:
        RecipeError: as `load_recipe`.
    """
    table = {} if file is None else _with_absolute_paths(_table_from_file(file), file.parent.resolve())
    given = {
        name: {key: os.fspath(value) if isinstance(value, os.PathLike) else value for key, value in keys.items()}
        if isinstance(keys, Mapping)
        else keys
        for name, keys in sections.items()
    }
    for name, keys in _with_absolute_paths(given, Path.cwd()).items():
        below = table.get(name, {})
        table[name] = {**below, **keys} if isinstance(below, dict) and isinstance(keys, dict) else keys
    return recipe_from_table(table, source="recipe" if file is None else str(file))


def _table_from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe; make one with `edgedistill new --train DIR {path}`") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: not a readable TOML file: {error}") from None


def recipe_from_table(table: dict[str, Any], source: str) -> Recipe:
    """Validate a nested dict; `source` begins every error line."""
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        faults = [_fault_line(fault) for fault in error.errors(include_url=False)]
        raise RecipeError("\n".join(f"{printable(source)}: {fault}" for fault in faults)) from None


def apply_override(table: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    _, dot, key = name.strip().partition(".")
    (shown,) = without_secrets([override])
    if not (equals and dot and key):
        raise RecipeError(f"--set {shown}: expected section.key=value, like distill.temperature=2")
    _set_key(table, name.strip(), value_from_text(text), f"--set {shown}")


def _set_key(table: dict[str, Any], name: str, value: Any, said: str) -> None:
    section, _, key = name.partition(".")
    table.setdefault(section, {})
    if not isinstance(table[section], dict):
        raise RecipeError(f"{said}: [{section}] is not a section of the recipe")
    table[section][key] = value


def value_from_text(text: str) -> Any:
    """A TOML value; what is none is the text itself, so that words need no quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _with_absolute_paths(table: dict[str, Any], base: Path) -> dict[str, Any]:
    """Recipe paths are relative to the recipe file, so that a run can be started anywhere."""
    for section, keys in PATHS.items():
        values = table.get(section)
        if not isinstance(values, dict):
            continue
        for key in keys:
            value = values.get(key)
            if isinstance(value, str) and value and not (key == "weights" and _is_no_file(value)):
                values[key] = _absolute(value, base, f"{section}.{key}")
    distill = table.get("distill")
    for name in NETS if isinstance(distill, dict) else ():
        nets = distill.get(name)
        if isinstance(nets, list | tuple):
            distill[name] = [
                _with_absolute_paths({"teacher": dict(net)}, base)["teacher"] if isinstance(net, dict) else net
                for net in nets
            ]
    return table


def _is_no_file(weights: str) -> bool:
    return weights in {"hub", "scratch"} or weights.startswith("package:")


def _absolute(value: str, base: Path, key: str) -> str:
    try:
        return str((base / Path(value).expanduser()).resolve())
    except (OSError, ValueError, RuntimeError) as error:  # a NUL, a loop, ~nobody
        raise RecipeError(f"{key} = {value!r} is no path: {error}") from None


def _fault_line(fault: Any) -> str:
    """One line for a person from one pydantic error."""
    return printable(_fault_text(fault))


def _fault_text(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        *parents, key = (str(part) for part in fault["loc"])
        known = _keys_of(parents)
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        meant = f"did you mean {near[0]!r}? " if near else ""
        place = f"[{'.'.join(parents)}]" if parents else "the recipe"
        return f"{place} has no key {key!r}; {meant}it has: {', '.join(known)}"
    if fault["type"] == "missing":
        return f"{where} is missing"
    if fault["type"] == "value_error":
        return f"{fault['ctx']['error']}"
    message = fault["msg"][0].lower() + fault["msg"][1:]
    return f"{where}: {message}, got {shown_value(where, fault['input'])}"


def _keys_of(parents: list[str]) -> list[str]:
    model: type[BaseModel] = Recipe
    for parent in parents:
        annotation = model.model_fields[parent].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return sorted(model.model_fields)
