"""What `edgedistill new` says of the images: a list of functions, each a finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgedistill.config.data import DataConfig
from edgedistill.config.training import DistillConfig
from edgedistill.core.text import plural
from edgedistill.data.grouping import Grouping, lines_of_groups, summary_of_groups
from edgedistill.data.labels import in_order
from edgedistill.data.prepare import foretell, fractions_of
from edgedistill.data.scan import Scan
from edgedistill.data.shapes import depth_findings, framing_findings
from edgedistill.data.sources import Listing
from edgedistill.data.summary import lines_of_classes
from edgedistill.data.table import SPLITS
from edgedistill.new_project.outlook import outlook
from edgedistill.new_project.recipe_text import IMBALANCED
from edgedistill.records.data import NamedGroups


@dataclass(frozen=True)
class Look:
    """What `new` looked at.

    Attributes:
        data: the sources and how they are read.
        scanned: all labelled images.
        grouped: which belong together.
        pool: the unlabelled images, None without a pool.
        proposal: why groups are proposed, None where none are.
    """

    data: DataConfig
    scanned: Scan
    grouped: Grouping
    pool: Listing | None
    proposal: str | None = None


def values_from_look(look: Look) -> dict[str, Any]:
    """What was found, JSON-able: what the recipe and the lines are made from."""
    scanned, grouped = look.scanned, look.grouped
    counts: dict[str, dict[str, int]] = {}
    for item, given in zip(scanned.items, scanned.given, strict=True):
        of_class = counts.setdefault(item.label, dict.fromkeys(SPLITS, 0))
        of_class[given] += 1
    sizes = np.bincount(grouped.groups)
    names = [str(item.path) for item in scanned.items]
    conflicts = [[names[i], names[j]] for i, j in grouped.exact if scanned.items[i].label != scanned.items[j].label]
    leaks = [
        [names[i], names[j], *sorted((scanned.given[i], scanned.given[j]), key=SPLITS.index)]
        for i, j, _ in grouped.leaks
    ]
    totals = [sum(of_class.values()) for of_class in counts.values()]
    refused, uneven = foretell(scanned, grouped, look.data)
    return {
        "counts": {name: counts[name] for name in in_order(counts)},
        "splits": sorted(set(scanned.given), key=SPLITS.index),
        "look_alikes_searched": look.data.near_duplicate_similarity > 0,
        "pool_images": len(look.pool.items) if look.pool else 0,
        "images": len(names),
        "training_images": _training_images(look),
        "imbalance": max(totals) / min(totals),
        "majority_fraction": max(totals) / sum(totals),
        "unreadable": scanned.unreadable,
        "grey": scanned.grey,
        "exact_duplicates": len(grouped.exact),
        "near_duplicate_groups": int((sizes > 1).sum()),
        "images_in_groups": int(sizes[sizes > 1].sum()),
        "label_conflicts": conflicts,
        "leaks": leaks,
        "leak_count": sum(grouped.leak_counts.values()),
        **_framing(look),
        "side_px": [int(value) for value in np.percentile(scanned.sizes.min(axis=1), (0, 50, 100))],
        "refused": refused,
        "uneven": uneven,
        **summary_of_groups(scanned, grouped).to_json(),
    }


def _training_images(look: Look) -> int:
    """About how many are left for training when `run` has split off what no source gives."""
    given = look.scanned.given
    return round(given.count("train") * (1 - sum(fractions_of(look.data, given).values())))


def _framing(look: Look) -> dict[str, Any]:
    """What the network would see: `framing_lines` for people, `framing_keys` for the recipe."""
    sizes = look.scanned.sizes
    image_px = int(min(224, max(64, int(np.median(sizes.min(axis=1))) // 32 * 32)))
    framing, depth = framing_findings(sizes, image_px), depth_findings(look.scanned.values)
    return {
        **framing.values,
        **depth.values,
        "framing_lines": [*framing.lines, *depth.lines],
        "framing_keys": {"image_px": image_px, **framing.keys, **depth.keys},
    }


def lines_from_look(look: Look, values: dict[str, Any]) -> list[str]:
    """All lines, in the order of FINDINGS."""
    return [line for finding in FINDINGS for line in finding(look, values)]


def _images(look: Look, values: dict[str, Any]) -> list[str]:
    smallest, median, largest = values["side_px"]
    return [
        *look.scanned.notes,
        f"{values['images']} images, {len(values['counts'])} classes, short side {smallest} to "
        f"{largest} px (median {median}), {values['grey']} grey",
    ]


def _shapes(look: Look, values: dict[str, Any]) -> list[str]:
    return list(values["framing_lines"])


def _classes(look: Look, values: dict[str, Any]) -> list[str]:
    totals = {name: sum(of_class.values()) for name, of_class in values["counts"].items()}
    shown = {}
    for name, of_class in values["counts"].items():
        given = ", ".join(f"{of_class[split]} of them {split}" for split in ("val", "test") if of_class[split])
        shown[name] = f"{totals[name]}" + (f" ({given})" if given else "")
    return lines_of_classes(shown, totals)


def _imbalance(look: Look, values: dict[str, Any]) -> list[str]:
    if values["imbalance"] <= IMBALANCED:
        return []
    return [
        f"imbalance {values['imbalance']:.1f} to 1: always naming the biggest class gives "
        f"{values['majority_fraction']:.0%} top-1, so the recipe uses balanced accuracy"
    ]


def _alike_names(look: Look, values: dict[str, Any]) -> list[str]:
    spelled: dict[str, list[str]] = {}
    for name in values["counts"]:
        spelled.setdefault(name.casefold(), []).append(name)
    return [
        f"classes that differ in upper and lower case only: {', '.join(map(repr, names))}"
        for names in spelled.values()
        if len(names) > 1
    ]


def _copies(look: Look, values: dict[str, Any]) -> list[str]:
    lines = [
        f"{plural(values['exact_duplicates'], 'exact copy', 'exact copies')}, {values['images_in_groups']} images in "
        f"{plural(values['near_duplicate_groups'], 'group')} of look-alikes that will stay in one split"
    ]
    if not values["look_alikes_searched"]:
        lines.append(
            f"{values['images']} images are too many to compare each with each: look-alikes were not searched (the "
            "recipe says so); "
            "if one part was shot several times, set data.group_pattern"
        )
    return lines


def _groups(look: Look, values: dict[str, Any]) -> list[str]:
    proposed = [look.proposal] if look.proposal else []
    uneven = [values["uneven"]] if values["uneven"] else []
    groups = NamedGroups(**{key: values[key] for key in NamedGroups.model_fields if key in values})
    return proposed + lines_of_groups(groups, values["images"]) + uneven


def _pool(look: Look, values: dict[str, Any]) -> list[str]:
    if look.pool is None:
        return []
    return [
        *(f"unlabelled: {line}" for line in look.pool.lines),
        f"{plural(values['pool_images'], 'image')} in the unlabelled pool",
    ]


def _outlook(look: Look, values: dict[str, Any]) -> list[str]:
    expected = outlook(values["training_images"], values["pool_images"], DistillConfig())
    return [expected] if expected else []


def _leaks(look: Look, values: dict[str, Any]) -> list[str]:
    if not values["leaks"]:
        return []
    one, other, *splits = values["leaks"][0]
    pairs = plural(values["leak_count"], "pair")
    return [f"LEAKS: {pairs} of look-alikes between {' and '.join(splits)}, first {one} and {other}"]


def _unreadable(look: Look, values: dict[str, Any]) -> list[str]:
    if not values["unreadable"]:
        return []
    return [f"UNREADABLE: {plural(len(values['unreadable']), 'file')}, first {values['unreadable'][0]}"]


def _refused(look: Look, values: dict[str, Any]) -> list[str]:
    """By the functions of stage `data`, so that both say the same."""
    lines = []
    if values["label_conflicts"]:
        one, other = values["label_conflicts"][0]
        images = plural(len(values["label_conflicts"]), "image")
        lines.append(f"CONFLICT: {images} under two labels, first {one} and {other}; the run will refuse them")
    return lines + [
        f"REFUSED: the run will stop at this: {line}"
        for line in values["refused"]
        if not (values["label_conflicts"] and line.startswith("the same image"))
    ]


Finding = Callable[[Look, dict[str, Any]], list[str]]

# To say one more thing, add a function here.
FINDINGS: tuple[Finding, ...] = (
    _images,
    _shapes,
    _classes,
    _alike_names,
    _imbalance,
    _copies,
    _groups,
    _pool,
    _outlook,
    _leaks,
    _unreadable,
    _refused,
)
