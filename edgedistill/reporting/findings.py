"""What a report says of its test images, its limits and its gain, whatever its student answers with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgedistill.core.text import plural
from edgedistill.records.report import OverSeeds, ReportData, StatusWord, Verdict
from edgedistill.reporting.class_recall import SMALL_CLASS

Finding = tuple[StatusWord, str, str]  # word, its cause in short or "", a sentence
SMALL_TEST = 200  # images; below it an interval is wider than most gains


def images_not_apart(data: ReportData) -> Iterator[Finding]:
    """`in doubt` where similar images, or a group that the user named, lie in several splits."""
    if not (data.leak_count or data.torn_groups):
        return
    what = plural(data.leak_count, "pair of similar images", "pairs of similar images")
    if not data.leak_count:
        what = plural(data.torn_groups, "named group")
    yield "in doubt", "test images are not apart", f"The test figures are too good: {what} in several splits."


def missed_limits(verdict: Verdict) -> Iterator[Finding]:
    """`limit missed`, with every limit that is."""
    missed = [row for row in verdict.rows if row.outcome == "missed"]
    if missed:
        which = "; ".join(f"{row.what} is {row.found}, wanted {row.limit}" for row in missed)
        yield "limit missed", "", f"{which[0].upper()}{which[1:]}."


def gain_not_shown(interval_points: Sequence[float], sentence: str, over_seeds: OverSeeds) -> Iterator[Finding]:
    """A loss by the teacher, or a gain that the test images or the seeds do not show.

    Args:
        interval_points: low and high of the 95 % interval of the gain, over the test images.
        sentence: the gain with that interval.
        over_seeds: of the same gain.
    """
    low, high = interval_points
    if high < 0:
        yield "worse than without a teacher", "", sentence
    elif low <= 0:
        yield "no gain shown", "", f"{sentence} It holds zero."
    elif over_seeds.shown is False:
        yield "no gain shown", "", _of_seeds(over_seeds)


def gain_shown(sentence: str, over_seeds: OverSeeds) -> Finding:
    """A good run. Of several seeds their mean is told: the first alone may be the luckiest.

    Args:
        sentence: the first seed's gain with its interval.
        over_seeds: of the same gain.
    """
    return "good", "", _of_seeds(over_seeds) if over_seeds.shown else sentence


def _of_seeds(over_seeds: OverSeeds) -> str:
    return f"{over_seeds.sentence[0].upper()}{over_seeds.sentence[1:]}."


def image_warnings(data: ReportData, test_images: int) -> Iterator[str]:
    """One sentence for each reason why the test images say less than their number, or more than they should."""
    if data.leak_count:
        yield f"The test figures are too good: {plural(data.leak_count, 'pair')} of similar images in different splits."
    if data.torn_groups:
        yield f"The test figures are too good: {plural(data.torn_groups, 'named group')} with images in several splits."
    groups = data.groups.get("test")
    if groups is not None and 2 * groups <= test_images:
        yield (
            f"The {test_images} test images belong to {plural(groups, 'group')}: the intervals treat every image as "
            "independent and are too narrow."
        )
    if copies := data.copies_left_out.get("test"):
        yield f"Left out of the figures: {plural(copies, 'exact copy', 'exact copies')} of test images."
    if test_images < SMALL_TEST:
        yield f"Only {plural(test_images, 'test image')}: rely on the intervals."
    if data.unreadable_count:
        yield f"Left out: {plural(data.unreadable_count, 'unreadable image')}."


def rare_warnings(counts: dict[str, int], figure: str, one: str, several: str) -> Iterator[str]:
    """Say for how many classes or labels a figure of their own is imprecise.

    Args:
        counts: class or label -> test images.
        figure: `Recall`.
        one, several: `class`, `classes`.
    """
    rare = {name: images for name, images in counts.items() if images < SMALL_CLASS}
    if rare:
        least = min(rare, key=rare.__getitem__)
        yield (
            f"{figure} is imprecise of {plural(len(rare), one, several)} with fewer than {SMALL_CLASS} test images "
            f"({least}: {rare[least]})."
        )
