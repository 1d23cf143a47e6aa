"""What `edgedistill new` says of the images: a list of functions, each a finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgedistill.config.data import DataConfig
from edgedistill.config.training import DistillConfig
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


def lines_from_look(look: Look, found: dict[str, Any]) -> list[str]:
    """All that is said, in the order of FINDINGS."""
    return [line for finding in FINDINGS for line in finding(look, found)]


def _images(look: Look, found: dict[str, Any]) -> list[str]:
    smallest, median, largest = found["side_px"]
    return [
        *look.scanned.said,
        f"{found['images']} images, {len(found['counts'])} classes, short side {smallest} to "
        f"{largest} px (median {median}), {found['grey']} grey",
    ]


def _shapes(look: Look, found: dict[str, Any]) -> list[str]:
    return list(found["framing_lines"])


def _classes(look: Look, found: dict[str, Any]) -> list[str]:
    totals = {name: sum(of_class.values()) for name, of_class in found["counts"].items()}
    shown = {}
    for name, of_class in found["counts"].items():
        given = ", ".join(f"{of_class[split]} of them {split}" for split in ("val", "test") if of_class[split])
        shown[name] = f"{totals[name]}" + (f" ({given})" if given else "")
    return lines_of_classes(shown, totals)


def _imbalance(look: Look, found: dict[str, Any]) -> list[str]:
    if found["imbalance"] <= IMBALANCED:
        return []
    return [
        f"imbalance {found['imbalance']:.1f} to 1: always naming the biggest class gives "
        f"{found['majority_fraction']:.0%} top-1, so the recipe uses balanced accuracy"
    ]


def _alike_names(look: Look, found: dict[str, Any]) -> list[str]:
    spelled: dict[str, list[str]] = {}
    for name in found["counts"]:
        spelled.setdefault(name.casefold(), []).append(name)
    return [
        f"classes that differ in upper and lower case only: {', '.join(map(repr, names))}"
        for names in spelled.values()
        if len(names) > 1
    ]


def _copies(look: Look, found: dict[str, Any]) -> list[str]:
    lines = [
        f"{found['exact_duplicates']} exact copies, {found['images_in_groups']} images in "
        f"{found['near_duplicate_groups']} groups of look-alikes that will stay in one split"
    ]
    if not found["look_alikes_searched"]:
        lines.append(
            f"{found['images']} images are too many to compare each with each: look-alikes were not searched (the "
            "recipe says so); "
            "if one part was shot several times, set data.group_pattern"
        )
    return lines


def _groups(look: Look, found: dict[str, Any]) -> list[str]:
    proposed = [look.proposal] if look.proposal else []
    uneven = [found["uneven"]] if found["uneven"] else []
    groups = NamedGroups(**{key: found[key] for key in NamedGroups.model_fields if key in found})
    return proposed + lines_of_groups(groups, found["images"]) + uneven


def _pool(look: Look, found: dict[str, Any]) -> list[str]:
    if look.pool is None:
        return []
    return [
        *(f"unlabelled: {line}" for line in look.pool.lines),
        f"{found['pool_images']} images in the unlabelled pool",
    ]


def _outlook(look: Look, found: dict[str, Any]) -> list[str]:
    expected = outlook(found["training_images"], found["pool_images"], DistillConfig())
    return [expected] if expected else []


def _leaks(look: Look, found: dict[str, Any]) -> list[str]:
    if not found["leaks"]:
        return []
    one, other, *splits = found["leaks"][0]
    return [
        f"LEAKS: {found['leak_count']} pairs of look-alikes between {' and '.join(splits)}, first {one} and {other}"
    ]


def _unreadable(look: Look, found: dict[str, Any]) -> list[str]:
    if not found["unreadable"]:
        return []
    return [f"UNREADABLE: {len(found['unreadable'])} files, first {found['unreadable'][0]}"]


def _refused(look: Look, found: dict[str, Any]) -> list[str]:
    """By the functions of stage `data`, so that both say the same."""
    lines = []
    if found["label_conflicts"]:
        one, other = found["label_conflicts"][0]
        lines.append(
            f"CONFLICT: {len(found['label_conflicts'])} images under two labels, first {one} and {other}; the run "
            "will refuse them"
        )
    return lines + [
        f"REFUSED: the run will stop at this: {line}"
        for line in found["refused"]
        if not (found["label_conflicts"] and line.startswith("the same image"))
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
