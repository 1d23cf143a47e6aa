"""What stage `data` found, as JSON-able values and as lines for people."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import numpy as np

from edgedistill.core.text import plural
from edgedistill.data.duplicates import LISTED
from edgedistill.data.framing import Framing
from edgedistill.data.grouping import Grouping, lines_of_groups, summary_of_groups
from edgedistill.data.pool import POOL, Pool
from edgedistill.data.scan import Scan
from edgedistill.data.shapes import SEEN_ENOUGH, grey_levels, seen_fractions
from edgedistill.data.table import MEASURED, SPLITS, first_of_copies
from edgedistill.data.targets import Targets
from edgedistill.records.data import DataSummary, Spread, ValueSummary

CLASSES_SHOWN = 20  # named a line each; of more, the largest and smallest quarter of that
FEW_LEVELS = 64  # grey levels, below which the range of 16-bit values is asked about
UNEVEN = 0.1  # of a class that its training share may lie off what was asked for


def summary_of(
    scanned: Scan,
    grouped: Grouping,
    targets: Targets,
    splits: np.ndarray,
    framing: Framing,
) -> DataSummary:
    """Classes, counts, duplicates, groups, leaks, unreadable files of the labelled images."""
    rows_of, copies, groups = {}, {}, {}
    for name in SPLITS:
        rows = np.flatnonzero(splits == name)
        groups[name] = len(np.unique(grouped.groups[rows]))
        if name in MEASURED:
            first = first_of_copies(scanned.sha256, rows)
            copies[name], rows = int((~first).sum()), rows[first]
        rows_of[name] = rows
    counts = {name: targets.counts(rows) for name, rows in rows_of.items()}
    sizes = Counter(grouped.groups.tolist())
    test = counts["test"]
    return DataSummary(
        classes=targets.names,
        images={name: len(rows) for name, rows in rows_of.items()},
        counts=counts,
        copies_left_out=copies,
        groups=groups,
        majority_fraction=max(test.values()) / len(rows_of["test"]),
        test_sha256=_sha256_of(scanned, targets, rows_of["test"]),
        unreadable_count=len(scanned.unreadable),
        unreadable=scanned.unreadable[:LISTED],
        exact_duplicates=len(grouped.exact),
        near_duplicate_groups=sum(1 for size in sizes.values() if size > 1),
        images_in_groups=sum(size for size in sizes.values() if size > 1),
        near_duplicate_similarity=grouped.similarity,
        leak_count=sum(grouped.leak_counts.values()),
        leak_counts=dict(grouped.leak_counts),
        leaks=[
            [str(scanned.items[i].path), str(scanned.items[j].path), round(s, 4)] for i, j, s in grouped.leaks[:LISTED]
        ],
        grey_images=scanned.grey,
        height_px=_spread(scanned.sizes[:, 0]),
        width_px=_spread(scanned.sizes[:, 1]),
        **summary_of_groups(scanned, grouped).given(),
        seen_fraction=_seen_fraction(scanned.sizes, framing),
        **_grey_levels(scanned.values, framing),
    )


def summary_of_pool(pool: Pool, of_train: int) -> dict[str, Any]:
    """Fields of `DataSummary` that an unlabelled pool adds. `pool_alike` pairs were left out, so they leak nothing.

    Args:
        of_train: training images whose labels are not used, which are of the pool too.
    """
    return {
        "pool_images": len(pool.paths) + of_train,
        "pool_of_train": of_train,
        "pool_dropped_copies": pool.copies,
        "pool_dropped_alike": len(pool.alike),
        "pool_alike_counts": dict(Counter("/".join(sorted((POOL, split))) for _, _, split, _ in pool.alike)),
        "pool_alike": [
            [path, other, round(similarity, 4)]
            for path, other, _, similarity in sorted(pool.alike, key=lambda pair: -pair[3])[:LISTED]
        ],
        "pool_unreadable_count": len(pool.unreadable),
        "pool_unreadable": pool.unreadable[:LISTED],
    }


def _sha256_of(scanned: Scan, targets: Targets, rows: np.ndarray) -> str:
    """Hex, over some images and their targets: equal wherever the images lie and whatever they are called."""
    shown = targets.labels if targets.figures is None else targets.figures
    lines = sorted(f"{scanned.sha256[row]} {shown[row].tolist()}" for row in rows)
    return hashlib.sha256("\n".join([*targets.names, *lines]).encode()).hexdigest()


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
    return {
        "sixteen_bit_images": len(deep),
        "sixteen_bit_values": [low, high],
        "grey_levels": grey_levels(low, high, framing.sixteen_bit),
    }


def _spread(values: np.ndarray) -> Spread:
    return Spread(min=int(values.min()), median=int(np.median(values)), max=int(values.max()))


def lines_from_summary(summary: DataSummary) -> list[str]:
    """Lines for people on the images."""
    counts = summary.counts
    kinds = list(counts["train"])
    totals = {name: sum(counts[split][name] for split in SPLITS) for name in kinds}
    what = f"{len(kinds)} classes" if not summary.quantities else ", ".join(map(text_of_value, summary.quantities))
    if summary.labels_per_image is not None:
        what = f"{len(summary.classes)} labels, {summary.labels_per_image:.2f} an image"
    lines = [f"{what}, " + ", ".join(f"{summary.images[split]} {split}" for split in SPLITS) + " images"]
    shown = {name: ", ".join(f"{counts[split][name]} {split}" for split in SPLITS) for name in kinds}
    lines += lines_of_classes(shown, totals)
    copies = {name: count for name, count in summary.copies_left_out.items() if count}
    if copies:
        lines.append(
            "exact copies count once in figures: "
            + " and ".join(f"{count} left out of {name}" for name, count in copies.items())
        )
    most, least = max(totals, key=totals.__getitem__), min(totals, key=totals.__getitem__)
    if totals[most] > 2 * totals[least] and not summary.quantities and summary.labels_per_image is None:
        lines.append(
            f"imbalance {totals[most] / totals[least]:.1f} to 1 ({most} / {least}): a net that "
            f"always says {most!r} has {summary.majority_fraction:.0%} top-1; see data.balance"
        )
    lines.append(
        f"{plural(summary.exact_duplicates, 'exact copy', 'exact copies')}; {summary.images_in_groups} images in "
        f"{plural(summary.near_duplicate_groups, 'group that stays', 'groups that stay')} in one split "
        f"(similarity >= {summary.near_duplicate_similarity:.3f})"
    )
    lines += lines_of_groups(summary, sum(summary.images.values()) + sum(copies.values()))
    lines += _lines_of_dependence(summary)
    if summary.seen_fraction < SEEN_ENOUGH:
        lines.append(
            f"the network is shown {summary.seen_fraction:.0%} of the pictures' area: see data.fit and "
            "data.image_px = [height, width]"
        )
    if summary.sixteen_bit_images and summary.grey_levels < FEW_LEVELS:
        low, high = summary.sixteen_bit_values
        lines.append(f"16-bit values {low} to {high} become {summary.grey_levels} grey levels: see data.sixteen_bit")
    if summary.leak_count:
        first = summary.leaks[0]
        pairs = plural(summary.leak_count, "pair of alike images stands", "pairs of alike images stand")
        lines.append(f"LEAKS: {pairs} in different splits, first {first[0]} and {first[1]} ({first[2]})")
    if summary.unreadable_count:
        lines.append(f"{summary.unreadable_count} unreadable, first: {summary.unreadable[0]}")
    return lines


def text_of_value(value: ValueSummary) -> str:
    """`width 3.1 to 48 mm (mean 20.2)` of the training images."""
    unit = f" {value.unit}" if value.unit else ""
    return f"{value.name} {value.smallest:.4g} to {value.largest:.4g}{unit} (mean {value.mean:.4g})"


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


def _lines_of_dependence(summary: DataSummary) -> list[str]:
    """Splits whose images are shots of few things."""
    return [
        f"{split}: {summary.images[split]} images of {plural(summary.groups[split], 'group')}; figures on them "
        "are about as sure as on that many images"
        for split in MEASURED
        if 2 * summary.groups[split] <= summary.images[split]
    ]


def line_of_uneven_classes(counts: dict[str, dict[str, int]], fractions: dict[str, float]) -> str | None:
    """One line when classes are too small, or in too few groups, for the shares that were asked for.

    Args:
        counts: split -> class -> images.
        fractions: split -> share asked for, of those that are split off `train`.
    """
    train, uneven = 1 - sum(fractions.values()), []
    for name in counts["train"]:
        total = counts["train"][name] + sum(counts[split][name] for split in fractions)
        if abs(counts["train"][name] / total - train) > UNEVEN:
            uneven.append(name)
    if not fractions or not uneven:
        return None
    first = min(uneven, key=lambda name: counts["train"][name])
    got = "/".join(str(counts[split][first]) for split in ("train", *fractions))
    are = "is" if len(uneven) == 1 else "are"
    asked = "/".join(f"{100 * share:.0f}" for share in (train, *fractions.values()))
    return (
        f"{len(uneven)} of {len(counts['train'])} classes {are} too small, or in too few groups, for {asked} % "
        f"({'/'.join(('train', *fractions))}): {first} got {got} images"
    )


def line_from_pool(summary: DataSummary) -> str:
    """A line for people on the unlabelled pool."""
    line = f"pool: {plural(summary.pool_images, 'image')} without labels"
    if summary.pool_of_train:
        line += f", {summary.pool_of_train} of them training images whose labels are not used (data.train_labels)"
    if summary.pool_images == summary.pool_of_train:
        return line
    line += (
        f"; left out: {plural(summary.pool_dropped_copies, 'copy', 'copies')} of labelled images, "
        f"{plural(summary.pool_dropped_alike, 'look-alike')} of validation or test images"
    )
    if summary.pool_alike:
        first = summary.pool_alike[0]
        line += f" (first {first[0]} and {first[1]}, {first[2]})"
    if summary.pool_unreadable_count:
        line += f", {summary.pool_unreadable_count} unreadable"
    return line
