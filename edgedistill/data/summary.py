"""What stage `data` found, as JSON-able values and as lines for people."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from edgedistill.data.grouping import Grouping
from edgedistill.data.pool import POOL, Pool
from edgedistill.data.scan import Scan
from edgedistill.data.splits import leaks_between
from edgedistill.data.table import SPLITS

CLASSES_SHOWN = 20  # named a line each; of more, the largest and smallest quarter of that
LISTED = 50  # leaks and unreadable files named in the summary; the counts are whole


def summary_of(
    found: Scan, grouped: Grouping, classes: list[str], labels: np.ndarray, splits: np.ndarray
) -> dict[str, Any]:
    """Classes, counts, duplicates, groups, leaks, unreadable files of the labelled images."""
    counts = {}
    for name in SPLITS:
        of_class = np.bincount(labels[splits == name], minlength=len(classes))
        counts[name] = dict(zip(classes, of_class.tolist(), strict=True))
    pairs = grouped.near + [(i, j, 1.0) for i, j in grouped.exact]
    leak_counts, leaks = leaks_between(splits, sorted(set(pairs)))
    sizes = Counter(grouped.groups.tolist())
    test = counts["test"]
    return {
        "classes": classes,
        "images": {name: sum(of.values()) for name, of in counts.items()},
        "counts": counts,
        "majority_fraction": max(test.values()) / sum(test.values()),
        "unreadable_count": len(found.unreadable),
        "unreadable": found.unreadable[:LISTED],
        "exact_duplicates": len(grouped.exact),
        "near_duplicate_groups": sum(1 for size in sizes.values() if size > 1),
        "images_in_groups": sum(size for size in sizes.values() if size > 1),
        "near_duplicate_similarity": grouped.similarity,
        "leak_count": len(leaks),
        "leak_counts": dict(leak_counts),
        "leaks": [[str(found.items[i].path), str(found.items[j].path), round(s, 4)]
                  for i, j, s in leaks[:LISTED]],
        "grey_images": found.grey,
        "height_px": _spread(found.sizes[:, 0]),
        "width_px": _spread(found.sizes[:, 1]),
    }  # fmt: skip


def summary_of_pool(pool: Pool) -> dict[str, Any]:
    """What is added for the unlabelled pool. `pool_alike` pairs were left out, so they leak nothing."""
    return {
        "pool_images": len(pool.paths),
        "pool_dropped_copies": pool.copies,
        "pool_dropped_alike": len(pool.alike),
        "pool_alike_counts": dict(Counter(
            "/".join(sorted((POOL, split))) for _, _, split, _ in pool.alike)),
        "pool_alike": [[path, other, round(similarity, 4)]
                       for path, other, _, similarity in
                       sorted(pool.alike, key=lambda pair: -pair[3])[:LISTED]],
        "pool_unreadable_count": len(pool.unreadable),
        "pool_unreadable": pool.unreadable[:LISTED],
    }  # fmt: skip


def _spread(values: np.ndarray) -> dict[str, int]:
    return {"min": int(values.min()), "median": int(np.median(values)), "max": int(values.max())}


def lines_from_summary(summary: dict[str, Any]) -> list[str]:
    """What a person should know of the images, a line at a time."""
    counts, classes = summary["counts"], summary["classes"]
    totals = {name: sum(counts[split][name] for split in SPLITS) for name in classes}
    lines = [f"{len(classes)} classes, " + ", ".join(
        f"{summary['images'][split]} {split}" for split in SPLITS) + " images"]  # fmt: skip
    lines += lines_of_classes({name: str(total) for name, total in totals.items()}, totals)
    most, least = max(totals, key=totals.__getitem__), min(totals, key=totals.__getitem__)
    if totals[most] > 2 * totals[least]:
        lines.append(
            f"imbalance {totals[most] / totals[least]:.1f} to 1 ({most} / {least}): a net that "
            f"always says {most!r} has {summary['majority_fraction']:.0%} top-1; see data.balance"
        )
    lines.append(
        f"{summary['exact_duplicates']} exact copies; {summary['images_in_groups']} images in "
        f"{summary['near_duplicate_groups']} groups that stay in one split "
        f"(similarity >= {summary['near_duplicate_similarity']:.3f})"
    )
    if summary["leak_count"]:
        first = summary["leaks"][0]
        lines.append(
            f"LEAKS: {summary['leak_count']} pairs of alike images stand in different splits, first "
            f"{first[0]} and {first[1]} ({first[2]})"
        )
    if summary["unreadable_count"]:
        lines.append(f"{summary['unreadable_count']} unreadable, first: {summary['unreadable'][0]}")
    return lines


def lines_of_classes(shown: dict[str, str], totals: dict[str, int]) -> list[str]:
    """A line for each class; of many classes the largest and the smallest ones.

    Args:
        shown: class -> what is said of it.
        totals: class -> images.
    """
    if len(shown) <= CLASSES_SHOWN:
        return [f"  {name}: {text}" for name, text in shown.items()]
    by_size = sorted(totals, key=lambda name: -totals[name])
    ends = CLASSES_SHOWN // 4
    middle = sorted(totals.values())[len(totals) // 2]
    return [
        *(f"  {name}: {shown[name]}" for name in by_size[:ends]),
        f"  ... {len(shown) - 2 * ends} more classes, median {middle} images a class",
        *(f"  {name}: {shown[name]}" for name in by_size[-ends:]),
    ]


def line_from_pool(summary: dict[str, Any]) -> str:
    """What a person should know of the unlabelled pool."""
    line = (
        f"pool: {summary['pool_images']} images without labels; left out: "
        f"{summary['pool_dropped_copies']} copies of labelled images, "
        f"{summary['pool_dropped_alike']} look-alikes of validation or test images"
    )
    if summary["pool_alike"]:
        first = summary["pool_alike"][0]
        line += f" (first {first[0]} and {first[1]}, {first[2]})"
    if summary["pool_unreadable_count"]:
        line += f", {summary['pool_unreadable_count']} unreadable"
    return line
