"""The recipe: one frozen, validated value made from a TOML file and `--set` overrides.

Every key has its unit or range beside it. Unknown keys are refused with the nearest right one;
all faults of a file are reported, one line each.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgedistill.errors import RecipeError

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Metric = Literal["top1_fraction", "balanced_accuracy_fraction"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DataConfig(_Section):
    """Where the images are and how they are split and framed."""

    train: str
    """folder with one folder per class, or a CSV / parquet file with a path and a label column"""
    val: str | None = None
    """the same, for choosing and gating; split off `train` when absent"""
    test: str | None = None
    """the same, for the figures in the report; split off `train` when absent"""
    path_column: str = "path"
    """CSV / parquet: column of image paths, relative to the file"""
    label_column: str = "label"
    """CSV / parquet: column of class names"""
    group_column: str | None = None
    """CSV / parquet: images with the same value never fall into different splits"""
    group_pattern: str | None = None
    """regular expression on the file name; images with the same first group stay together"""
    near_duplicate_similarity: Fraction = 0.9
    """correlation from which two images count as one and stay in one split; 0 turns it off"""
    val_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    """share of `train` split off when `val` is absent"""
    test_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.15
    """share of `train` split off when `test` is absent"""
    split_seed: int = 0
    """changes which images are split off"""
    skip_unreadable: bool = False
    """leave unreadable images out (they are listed) instead of stopping"""
    image_px: Annotated[int, Field(ge=32, le=1024)] = 224
    """height and width of the network's input"""
    crop_fraction: Annotated[float, Field(gt=0.5, le=1)] | None = None
    """image_px / short side after the resize; the student model's own when absent"""
    interpolation: Literal["area", "bilinear", "bicubic"] = "area"
    """of the resize; `area` is the one that does not alias when shrinking"""
    balance: Literal["none", "sample", "loss"] = "none"
    """meet imbalance by drawing rare classes more often, or by weighing their loss"""
    metric: Metric = "top1_fraction"
    """what retention and gain are computed from"""

    @property
    def images(self) -> dict[str, Any]:
        """What the decoded and split images depend on: all but how they are used later."""
        return self.model_dump(mode="json", exclude={"balance", "metric"})


class AugmentConfig(_Section):
    """Training views, made by albumentations from a stored seed."""

    crop_scale_min: Annotated[float, Field(gt=0, le=1)] = 0.5
    """smallest share of the image's area that a random crop keeps"""
    transforms: tuple[dict[str, Any], ...] = (
        {"name": "HorizontalFlip", "p": 0.5},
        {"name": "RandomBrightnessContrast", "p": 0.5},
    )
    """albumentations transforms after the crop, by name with their arguments"""


class TrainingConfig(_Section):
    """What every training has; the sections below set their own defaults."""

    epochs: Annotated[int, Field(ge=0)] = 10
    """passes over the training images"""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """images per optimizer step"""
    peak_lr: Positive = 1e-3
    """highest learning rate (AdamW), used as written, never rescaled by batch size"""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """AdamW's, on weights but not on biases and norms"""
    warmup_fraction: Fraction = 0.1
    """share of the steps in which the learning rate rises; it then falls as a cosine"""
    seed: int = 0
    """of initialisation, order of images and views"""


class TeacherConfig(TrainingConfig):
    """The network that teaches."""

    model: str = "tf_efficientnet_lite0"
    """any timm model name"""
    weights: str = "hub"
    """`hub`, `scratch`, `package:efficientnet_lite0`, or a .safetensors / .pth file"""
    epochs: Annotated[int, Field(ge=0)] = 5
    """fine-tuning passes; 0 uses the weights as they are"""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """of the hard labels; anything above 0 is known to make a worse teacher"""
    min_top1_fraction: Fraction = 0.0
    """below this on the validation images the run stops"""
    min_balanced_accuracy_fraction: Fraction = 0.0
    """the same for the mean of the per-class recalls"""

    @property
    def training(self) -> dict[str, Any]:
        """What the weights depend on: all but the gates."""
        gates = {"min_top1_fraction", "min_balanced_accuracy_fraction"}
        return self.model_dump(mode="json", exclude=gates)


class StudentConfig(_Section):
    """The network that goes onto the board."""

    model: str = "mobilenetv3_small_100"
    """a timm MobileNet (V1 to V4), EfficientNet-Lite/B0, or squeezenet1_0 / squeezenet1_1"""
    weights: str = "hub"
    """`hub`, `scratch`, or a .safetensors / .pth file"""


class DistillConfig(TrainingConfig):
    """How the student learns; the baseline takes the same recipe without the teacher's terms."""

    method: Literal["kd"] = "kd"
    """soft labels"""
    temperature: Positive = 4.0
    """softmax temperature of both networks"""
    kd_weight: Fraction = 0.9
    """of the soft-label term; the hard labels get 1 - kd_weight"""
    feature_weight: Annotated[float, Field(ge=0)] = 0.0
    """of the feature-matching term; 0 leaves it out"""
    feature_warmup_fraction: Fraction = 0.1
    """share of the steps in which feature_weight rises from 0"""
    epochs: Annotated[int, Field(ge=1)] = 30
    """passes over the training images"""
    views: Annotated[int, Field(ge=1, le=1000)] = 8
    """cached teacher views per image; epoch e trains on view e modulo views"""

    @property
    def cache_features(self) -> bool:
        """Whether the teacher's pooled features are cached beside its logits."""
        return self.feature_weight > 0


class QuantizeConfig(_Section):
    """INT8 scales."""

    calibration_images: Annotated[int, Field(ge=8)] = 128
    """training images the activation ranges are taken from"""
    threshold: Literal["mse", "minmax", "percentile"] = "mse"
    """how a range is cut"""
    percentile: Annotated[float, Field(gt=50, le=100)] = 99.99
    """of |x|, for threshold = "percentile\""""
    seed: int = 0
    """chooses the calibration images"""


class TargetConfig(_Section):
    """The board."""

    device: str = "jetson-nano"
    """a file in edgedistill/targets, without .toml"""
    precision: Literal["fp32", "fp16", "int8"] = "fp16"
    """asked for; the report says what the board will really execute"""
    fps: Positive | None = None
    """wanted frames per second"""
    memory_mib: Positive | None = None
    """memory the process may take on the board, MiB"""


class DeployConfig(_Section):
    """Where the bundle is verified and timed."""

    hosts: tuple[Literal["local"], ...] = ("local",)
    """`local`: this computer with ONNX Runtime, a stand-in that is labelled as one"""
    golden_images: Annotated[int, Field(ge=1, le=512)] = 32
    """test images that travel in the bundle with the workstation's logits"""
    bench_runs: Annotated[int, Field(ge=10)] = 200
    """timed inferences, after warm-up"""


class RunConfig(_Section):
    """This computer."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where training runs"""
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads of PyTorch; 0 is one per core. Other counts give other last bits"""
    checkpoint_seconds: Positive = 20.0
    """time between two resumable checkpoints"""
    tensorboard: bool = True
    """also write TensorBoard event files"""


class Recipe(_Section):
    """One whole road."""

    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    teacher: TeacherConfig = TeacherConfig()
    student: StudentConfig = StudentConfig()
    distill: DistillConfig = DistillConfig()
    quantize: QuantizeConfig = QuantizeConfig()
    target: TargetConfig = TargetConfig()
    deploy: DeployConfig = DeployConfig()
    run: RunConfig = RunConfig()

    @model_validator(mode="after")
    def _teacher_has_weights(self) -> Recipe:
        if self.teacher.weights == "scratch" and self.teacher.epochs == 0:
            raise ValueError(
                "teacher.weights = 'scratch' with teacher.epochs = 0 is a random teacher"
            )
        return self


def load_recipe(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe file and apply `section.key=value` overrides on top.

    Paths in [data], [teacher] and [student] that are relative mean: relative to the recipe.

    Raises:
        RecipeError: unreadable file, unknown key, value out of range.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(
            f"{path}: no such recipe; make one with `edgedistill new --train DIR {path}`"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RecipeError(f"{path}: not a readable TOML file: {error}") from None
    base = path.parent.resolve()
    for override in overrides:
        apply_override(table, override)
    return recipe_from_table(_with_absolute_paths(table, base), source=str(path))


def recipe_from_table(table: dict[str, Any], source: str) -> Recipe:
    """Validate a nested dict; `source` begins every error line."""
    try:
        return Recipe.model_validate(table)
    except ValidationError as error:
        faults = [_fault_line(fault) for fault in error.errors(include_url=False)]
        raise RecipeError("\n".join(f"{source}: {fault}" for fault in faults)) from None


def apply_override(table: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    section, dot, key = name.strip().partition(".")
    if not (equals and dot and key):
        raise RecipeError(
            f"--set {override}: expected section.key=value, like distill.temperature=2"
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    table.setdefault(section, {})
    if not isinstance(table[section], dict):
        raise RecipeError(f"--set {override}: [{section}] is not a section of the recipe")
    table[section][key] = value


def _with_absolute_paths(table: dict[str, Any], base: Path) -> dict[str, Any]:
    """Recipe paths are relative to the recipe file, so that a run can be started anywhere."""
    paths = {"data": ("train", "val", "test"), "teacher": ("weights",), "student": ("weights",)}
    for section, keys in paths.items():
        values = table.get(section)
        if not isinstance(values, dict):
            continue
        for key in keys:
            value = values.get(key)
            names_a_file = isinstance(value, str) and (
                section == "data" or Path(value).suffix in {".safetensors", ".pth", ".pt", ".bin"}
            )
            if names_a_file and value:
                values[key] = str((base / Path(value).expanduser()).resolve())
    return table


def _fault_line(fault: Any) -> str:
    """One line for a person from one pydantic error."""
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
    return f"{where}: {message}, got {fault['input']!r}"


def _keys_of(parents: list[str]) -> list[str]:
    model: type[BaseModel] = Recipe
    for parent in parents:
        annotation = model.model_fields[parent].annotation
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return sorted(model.model_fields)
