"""What stage `data` found, as JSON-able values and as lines for people."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from edgedistill.data.framing import Framing
from edgedistill.data.grouping import Grouping
from edgedistill.data.pool import POOL, Pool
from edgedistill.data.scan import Scan
from edgedistill.data.shapes import SEEN_ENOUGH, grey_levels, seen_fractions
from edgedistill.data.splits import leaks_between
from edgedistill.data.table import SPLITS

FEW_LEVELS = 64  # grey levels, below which the range of 16-bit values is asked about
LISTED = 50  # leaks and unreadable files named in the summary; the counts are whole


def summary_of(
    found: Scan, grouped: Grouping, classes: list[str], labels: np.ndarray, splits: np.ndarray,
    framing: Framing,
) -> dict[str, Any]:  # fmt: skip
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
        "seen_fraction": _seen_fraction(found.sizes, framing),
        **_grey_levels(found.values, framing),
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


def _seen_fraction(sizes: np.ndarray, framing: Framing) -> float:
    """Mean share of the pictures' area that the network is shown."""
    if framing.fit != "crop":
        return 1.0
    return round(float(seen_fractions(sizes, framing.size, framing.resize_px).mean()), 4)


def _grey_levels(values: np.ndarray, framing: Framing) -> dict[str, Any]:
    """Of pictures with 16 bits; nothing where there are none."""
    deep = values[values[:, 0] >= 0]
    if not len(deep):
        return {}
    low, high = int(deep[:, 0].min()), int(deep[:, 1].max())
    return {"sixteen_bit_images": len(deep), "sixteen_bit_values": [low, high],
            "grey_levels": grey_levels(low, high, framing.sixteen_bit)}  # fmt: skip


def _spread(values: np.ndarray) -> dict[str, int]:
    return {"min": int(values.min()), "median": int(np.median(values)), "max": int(values.max())}


def lines_from_summary(summary: dict[str, Any]) -> list[str]:
    """What a person should know of the images, a line at a time."""
    counts, classes = summary["counts"], summary["classes"]
    totals = {name: sum(counts[split][name] for split in SPLITS) for name in classes}
    lines = [f"{len(classes)} classes, " + ", ".join(
        f"{summary['images'][split]} {split}" for split in SPLITS) + " images"]  # fmt: skip
    lines += [f"  {name}: {total}" for name, total in totals.items()]
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
    if summary["seen_fraction"] < SEEN_ENOUGH:
        lines.append(f"the network is shown {summary['seen_fraction']:.0%} of the pictures' area: see data.fit and "
                     "data.image_px = [height, width]")  # fmt: skip
    if summary.get("grey_levels", 256) < FEW_LEVELS:
        low, high = summary["sixteen_bit_values"]
        lines.append(f"16-bit values {low} to {high} become {summary['grey_levels']} grey levels: see "
                     "data.sixteen_bit")  # fmt: skip
    if summary["leak_count"]:
        first = summary["leaks"][0]
        lines.append(
            f"LEAKS: {summary['leak_count']} pairs of alike images stand in different splits, first "
            f"{first[0]} and {first[1]} ({first[2]})"
        )
    if summary["unreadable_count"]:
        lines.append(f"{summary['unreadable_count']} unreadable, first: {summary['unreadable'][0]}")
    return lines


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
