"""The text of the recipe that `edgedistill new` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomlkit

from edgedistill.config.data import DataConfig
from edgedistill.config.values import IMAGENET_PX
from edgedistill.training.schedule import BATCH, schedule_for
from edgedistill_device.preprocess_spec import size_of

IMBALANCED = 2.0  # most frequent class over rarest, from which the recipe meets it

# Keys of [data] that are written where they are not at their default, in this order.
_KEYS = (
    "unlabelled",
    "path_column",
    "label_column",
    "split_column",
    "group_column",
    "group_pattern",
    "group_by",
    "image_root",
    "suffix",
    "leave_out",
    "same_names",
    "small_classes",
    "min_class_images",
)


def recipe_text(values: dict[str, Any], data: DataConfig, target: str, name: str) -> str:
    """A commented recipe.

    Args:
        values: what `new` found: `training_images`, `pool_images`, `framing_keys`, `imbalance`, `side_px`, `images`,
            `unreadable`, `look_alikes_searched`, `splits`.
        data: sources and keys that were understood or named.
        target: a board's name.
        name: the recipe's file name.
    """
    imbalanced = values["imbalance"] > IMBALANCED
    median_px = values["side_px"][1]
    framing = dict(values["framing_keys"])
    image_px = _toml(framing.pop("image_px"))
    schedule = schedule_for(values["training_images"], values["pool_images"])
    lines = _split_lines(values, data) + _more_lines(values, data)
    lines += "".join(f"{key} = {_toml(value)}\n" for key, value in framing.items())
    metric = "balanced_accuracy_fraction" if imbalanced else "top1_fraction"
    shares = "# pool_shares = [0, 0.25, 0.5]   # accuracy against the size of the pool: three more trainings\n"
    group = (
        ""
        if data.group_pattern or data.group_column or data.group_by
        else ('# group_pattern = "^(part\\\\d+)_"   # file names with the same match stay in one split\n')
    )
    return f"""# edgedistill run {name}
# Hardware and result: none yet; `edgedistill run` writes them to runs/{Path(name).stem}/report/.

[data]
train = {_toml(data.train)}
{lines}image_px = {image_px:<15} # input side; median short side of your images: {median_px}
crop_fraction = 1.0        # fit = "crop": keep the whole short side; 0.875 crops like ImageNet
metric = "{metric}"
balance = "{"loss" if imbalanced else "none"}"           # none | loss | sample; yours: {values["imbalance"]:.1f} to 1
skip_unreadable = {_toml(bool(values["unreadable"]))}    # unreadable files found: {len(values["unreadable"])}
{group}
[augment]
crop_scale_min = 0.5
transforms = [             # any of albumentations, by name
    {{ name = "HorizontalFlip", p = 0.5 }},
    {{ name = "RandomBrightnessContrast", p = 0.5 }},
]

[teacher]
model = "tf_efficientnet_lite0"   # any timm model; resnet50 or bigger on a GPU
weights = "hub"            # hub | scratch | package:efficientnet_lite0 | a .safetensors or .pth file
mode = "auto"              # probe (a head on frozen features), finetune, or both and the better one
epochs = {schedule.teacher_epochs:<17} # few images need more passes: a network learns by steps
batch_size = {BATCH}
peak_lr = 5e-4
{_larger_line(values["framing_keys"]["image_px"])}min_{metric} = 0.0   # a teacher below this stops the run

[student]
model = "mobilenetv3_small_100"   # or another MobileNet, EfficientNet-Lite, squeezenet1_1
weights = "hub"

[distill]
temperature = 2.0
kd_weight = 0.9            # the hard labels get the rest
label_error_fraction = 0.02 # of your labels, a guess: where the teacher contradicts a label, the label has its say
feature_weight = 0.0       # above 0 matches pooled features too
epochs = {schedule.student_epochs}
batch_size = {BATCH}
peak_lr = 2e-3
views = {schedule.views:<18} # of each image, shown to the teacher once: few are learnt by heart, many cost time
{shares if values["pool_images"] else ""}
[target]
device = "{target}"
precision = "fp16"
"""


def _larger_line(image_px: int | tuple[int, int]) -> str:
    """Of a student that sees fewer pixels than half of what ImageNet weights were trained at; else nothing."""
    larger = [2 * side for side in size_of(image_px)]
    if max(larger) > IMAGENET_PX:
        return ""
    value = _toml(larger[0] if larger[0] == larger[1] else larger)
    return f"# image_px = {value:<12} # for the teacher alone, enlarged: often better, its answers cost 4 times\n"


def _split_lines(values: dict[str, Any], data: DataConfig) -> str:
    hints = {
        "val": '# val = "DIR"               # split off train when absent, look-alikes kept together\n',
        "test": '# test = "DIR"              # never trained or chosen on; split off train when absent\n',
    }
    lines = ""
    for name, hint in hints.items():
        path = getattr(data, name)
        if path is not None:
            lines += f"{name} = {_toml(path)}\n"
        elif name in values["splits"]:
            lines += f"# {name}: images that `train` itself calls so\n"
        else:
            lines += hint
    return lines


def _more_lines(values: dict[str, Any], data: DataConfig) -> str:
    lines = (
        ""
        if values["look_alikes_searched"]
        else (
            "near_duplicate_similarity = 0   # too many images to compare each with each\n"
            'store = "files"            # decode at each access; "decoded" keeps pixels on the disk\n'
        )
    )
    for key in _KEYS:
        value = getattr(data, key)
        if value != type(data).model_fields[key].default:
            lines += f"{key} = {_toml(value)}\n"
    return lines


def _toml(value: Any) -> str:
    """A string, number, boolean or list of them."""
    return tomlkit.item(value).as_string()
