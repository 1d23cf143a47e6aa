"""`edgedistill new`: look at a user's images, say what is there, write a commented recipe."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.callable_module import call_as_verb
from edgedistill.data.duplicates import MOST_IMAGES
from edgedistill.data.grouping import group
from edgedistill.data.scan import scan
from edgedistill.data.sources import list_items, list_pool
from edgedistill.data.table import SPLITS
from edgedistill.distill.schedule import BATCH, schedule_for
from edgedistill.errors import RecipeError, printable
from edgedistill.run_folder import write_bytes
from edgedistill.sections import DataConfig
from edgedistill.target import load_target

call_as_verb(__name__)

IMBALANCED = 2.0  # most frequent class over rarest, from which the recipe meets it


def inspect_and_write(
    train: Path,
    val: Path | None,
    target: str,
    recipe_path: Path,
    say: Callable[[str], None],
    unlabelled: Path | None = None,
) -> dict[str, Any]:
    """Scan the images, report, and write `recipe_path`.

    Args:
        train: folder per class, CSV, parquet or .tar shards.
        val: the same, or None.
        target: a board's name.
        recipe_path: must not exist.
        say: told what was found.
        unlabelled: a folder, CSV or shards of images without labels, or None.

    Returns:
        What was found, JSON-able.

    Raises:
        RecipeError: the recipe exists already, or no such target.
        DataError: no usable images.
    """
    if recipe_path.exists():
        raise RecipeError(f"{recipe_path} exists; remove it or choose another name")
    load_target(target)
    given = {"train": train, "val": val, "unlabelled": unlabelled}
    data = DataConfig(**{name: str(path.resolve()) for name, path in given.items() if path})
    count = sum(len(list_items(path.resolve(), data)) for path in (train, val) if path)
    if count > MOST_IMAGES:
        data = data.model_copy(update={"near_duplicate_similarity": 0.0})
    found = _findings(data)
    for line in _lines(found):
        say(printable(line))
    text = _recipe_text(found, data, target, recipe_path.name)
    try:
        content = text.encode()
    except UnicodeEncodeError:
        raise RecipeError(f"{train}: a recipe is UTF-8 and cannot name this folder; rename it") from None
    recipe_path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(recipe_path, content)
    return found


def _findings(data: DataConfig) -> dict[str, Any]:
    scanned = scan(data)
    grouped = group(scanned, data)
    counts: dict[str, dict[str, int]] = {}
    for item, given in zip(scanned.items, scanned.given, strict=True):
        of_class = counts.setdefault(item.label, dict.fromkeys(SPLITS, 0))
        of_class[given] += 1
    sizes = np.bincount(grouped.groups)
    names = [str(item.path) for item in scanned.items]
    conflicts = [[names[i], names[j]] for i, j in grouped.exact
                 if scanned.items[i].label != scanned.items[j].label]  # fmt: skip
    leaks = [[names[i], names[j]] for i, j, _ in grouped.near
             if scanned.given[i] != scanned.given[j]]  # fmt: skip
    totals = [sum(of_class.values()) for of_class in counts.values()]
    return {
        "counts": dict(sorted(counts.items())),
        "look_alikes_searched": data.near_duplicate_similarity > 0,
        "pool_images": len(list_pool(Path(data.unlabelled), data)) if data.unlabelled else 0,
        "images": len(names),
        "imbalance": max(totals) / min(totals),
        "majority_fraction": max(totals) / sum(totals),
        "unreadable": scanned.unreadable,
        "grey": scanned.grey,
        "exact_duplicates": len(grouped.exact),
        "near_duplicate_groups": int((sizes > 1).sum()),
        "images_in_groups": int(sizes[sizes > 1].sum()),
        "label_conflicts": conflicts,
        "leaks": leaks,
        "side_px": [int(value) for value in np.percentile(scanned.sizes.min(axis=1), (0, 50, 100))],
    }


def _lines(found: dict[str, Any]) -> list[str]:
    smallest, median, largest = found["side_px"]
    lines = [f"{found['images']} images, {len(found['counts'])} classes, short side {smallest} to "
             f"{largest} px (median {median}), {found['grey']} grey"]  # fmt: skip
    for name, of_class in found["counts"].items():
        split = f" ({of_class['val']} of them val)" if of_class["val"] else ""
        lines.append(f"  {name}: {sum(of_class.values())}{split}")
    if found["imbalance"] > IMBALANCED:
        lines.append(
            f"imbalance {found['imbalance']:.1f} to 1: always naming the biggest class gives "
            f"{found['majority_fraction']:.0%} top-1, so the recipe uses balanced accuracy"
        )
    lines.append(
        f"{found['exact_duplicates']} exact copies, {found['images_in_groups']} images in "
        f"{found['near_duplicate_groups']} groups of look-alikes that will stay in one split"
    )
    if not found["look_alikes_searched"]:
        lines.append(
            f"more than {MOST_IMAGES} images: look-alikes were not searched (the recipe says so); "
            "if one part was shot several times, set data.group_pattern"
        )
    if found["pool_images"]:
        lines.append(f"{found['pool_images']} images in the unlabelled pool")
    for key, text in (
        ("leaks", "LEAKS: {} pairs of look-alikes between train and val, first {}"),
        (
            "label_conflicts",
            "CONFLICT: {} images under two labels, first {}; the run will refuse them",
        ),
        ("unreadable", "UNREADABLE: {} files, first {}"),
    ):
        if found[key]:
            first = found[key][0]
            shown = first if isinstance(first, str) else " and ".join(first)
            lines.append(text.format(len(found[key]), shown))
    return lines


def _toml_text(text: str) -> str:
    """A TOML string: JSON's, which leaves one control character as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _recipe_text(found: dict[str, Any], data: DataConfig, target: str, name: str) -> str:
    imbalanced = found["imbalance"] > IMBALANCED
    image_px = int(min(224, max(64, found["side_px"][1] // 32 * 32)))
    schedule = schedule_for(round(found["images"] * (1 if data.val else 0.7)))  # the rest is split off
    val = f"val = {_toml_text(data.val)}\n" if data.val else (
        "# val = \"DIR\"               # split off train when absent, look-alikes kept together\n"
    )  # fmt: skip
    more = "" if found["look_alikes_searched"] else (
        "near_duplicate_similarity = 0   # too many images to compare each with each\n"
        "store = \"files\"            # decode at each access; \"decoded\" keeps pixels on the disk\n"
    )  # fmt: skip
    if data.unlabelled:
        more += f"unlabelled = {_toml_text(data.unlabelled)}\n"
    metric = "balanced_accuracy_fraction" if imbalanced else "top1_fraction"
    return f"""# edgedistill run {name}
# Hardware and result: none yet; `edgedistill run` writes them to runs/{Path(name).stem}/report/.

[data]
train = {_toml_text(data.train)}
{val}# test = "DIR"              # never trained or chosen on; split off train when absent
{more}image_px = {image_px:<15} # input side; median short side of your images: {found["side_px"][1]}
crop_fraction = 1.0        # keep the whole short side; 0.875 crops like ImageNet
metric = "{metric}"
balance = "{"loss" if imbalanced else "none"}"           # none | loss | sample; yours: {found["imbalance"]:.1f} to 1
skip_unreadable = {"true" if found["unreadable"] else "false"}    # unreadable files found: {len(found["unreadable"])}
# group_pattern = "^(part\\\\d+)_"   # file names with the same match stay in one split

[augment]
crop_scale_min = 0.5
transforms = [             # any of albumentations, by name
    {{ name = "HorizontalFlip", p = 0.5 }},
    {{ name = "RandomBrightnessContrast", p = 0.5 }},
]

[teacher]
model = "tf_efficientnet_lite0"   # any timm model; resnet50 or bigger on a GPU
weights = "hub"            # hub | scratch | package:efficientnet_lite0 | a .safetensors or .pth file
epochs = {schedule.teacher_epochs:<17} # few images need more passes: a network learns by steps
batch_size = {BATCH}
peak_lr = 5e-4
min_{metric} = 0.0   # a teacher below this stops the run

[student]
model = "mobilenetv3_small_100"   # or another MobileNet, EfficientNet-Lite, squeezenet1_1
weights = "hub"

[distill]
temperature = 2.0
kd_weight = 0.9            # the hard labels get the rest
feature_weight = 0.0       # above 0 matches pooled features too
epochs = {schedule.student_epochs}
batch_size = {BATCH}
peak_lr = 2e-3
views = 8                  # cached teacher views per image

[target]
device = "{target}"
precision = "fp16"
"""
