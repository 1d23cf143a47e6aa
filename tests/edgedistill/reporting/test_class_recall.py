"""Classes that got worse although the overall metric did not: who is told of, and who is not."""

import re
from statistics import NormalDist

import pytest

from edgedistill.config.recipe import Recipe
from edgedistill.records.report import ReportRecord
from edgedistill.reporting.class_recall import class_warnings, weakest_class
from record_factories import page_of, records_of, report_of, summary_of
from report_pages import undrawn


def sentences(classes, recipe=None):
    """Of classes given as name -> (right by both, by the student alone, by the baseline alone, images)."""
    networks = {
        net: {
            "per_class_recall": {
                name: (both + alone[which]) / n if n else None for name, (both, *alone, n) in classes.items()
            }
        }
        for which, net in enumerate(("student", "baseline"))
    }
    evaluated = {**networks, "only_correct_by_class": [list(row[1:]) for row in classes.values()]}
    table = {"data": {"train": "x"}, **(recipe or {})}
    return class_warnings(records_of({"evaluate": evaluated}).evaluate, list(classes), Recipe.model_validate(table))


GOOD = (180, 10, 4, 200)


def test_a_class_that_fell_is_told_with_its_figures_and_what_helps():
    (line,) = sentences({"good": GOOD, "defective": (45, 7, 30, 108)})
    assert line == (
        "The student finds 48.1 % of the test images of 'defective' (108), its baseline 69.4 %: with the teacher this "
        "class got worse. `[decide] recall` trades it against false alarms."
    )


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ((70, 2, 12, 100), "10 points less are not more than 10"),
        ((15, 0, 4, 19), "19 images are too few"),
        ((10, 3, 7, 22), "18 points less, and the images differ by chance"),
        ((60, 5, 3, 100), "better than before"),
        ((0, 0, 0, 0), "no image of it"),
    ],
)
def test_who_is_not_told_of(row, why):
    assert sentences({"good": GOOD, "other": row}) == [], why


def test_a_weak_class_is_told_of_even_where_the_baseline_was_no_better():
    (line,) = sentences({"good": GOOD, "other": (8, 1, 0, 20), "third": (20, 20, 1, 100)})
    assert (
        "40.0 % of the test images of 'third' (100), its baseline 21.0 %: less than half, as of 1 other class." in line
    )


def test_the_class_that_fell_most_comes_first_and_the_others_are_counted():
    fell = {"a": (60, 0, 30, 100), "b": (40, 0, 40, 100), "c": (30, 0, 45, 100), "good": GOOD}
    (line,) = sentences(fell)
    assert "of 'c' (100), its baseline 75.0 %: with the teacher this class and 2 others got worse." in line
    (line,) = sentences(fell, {"distill": {"method": "self"}})
    assert "by learning from itself this class and" in line


def test_what_the_recipe_promises_already_is_not_proposed():
    (line,) = sentences({"good": GOOD, "defective": (45, 7, 30, 108)}, {"decide": {"recall": {"defective": 0.8}}})
    assert line.endswith("got worse.")


def test_of_many_classes_none_is_told_of_that_chance_explains():
    """At the level of one class it would be: the interval of 1 of 50 classes is 3.3 standard errors wide, not 2."""
    row, images = (30, 6, 22, 60), 60
    first, second = (row[1] + 1) / (images + 2), (row[2] + 1) / (images + 2)
    error = ((first + second - (first - second) ** 2) / (images + 2)) ** 0.5
    told = {count: (second - first) / error > NormalDist().inv_cdf(1 - 0.025 / count) for count in (1, 2, 5, 20, 50)}
    assert set(told.values()) == {True, False}
    for count, expected in told.items():
        found = sentences({"other": row, **{f"good {n}": GOOD for n in range(count - 1)}})
        assert bool(found) == expected, count


def fallen(stages):
    """The student's recall of `dent`, 48 test images, falls to 12.5 %; that of its baseline is set to 62.5 %."""
    index = stages["data"]["classes"].index("dent")
    for net, recall in (("student", 0.125), ("baseline", 0.625)):
        stages["evaluate"][net]["per_class_recall"]["dent"] = recall
    stages["evaluate"]["only_correct_by_class"][index] = [0, 24, 48]
    return stages


def test_it_stands_before_the_other_reasons_to_doubt_and_the_status_stays(stages, recipe):
    before = report_of(stages, recipe)
    report = report_of(fallen(stages), recipe)
    assert report["status"] == before["status"], "the status is of the overall metric"
    assert report["warnings"][0].startswith("The student finds 12.5 % of the test images of 'dent' (48), its baseline")
    assert report["warnings"][1:] == before["warnings"]
    with undrawn():
        page = re.sub("<[^>]+>|\xa0", " ", page_of(report).partition("Before you rely on these figures")[2])
    assert "The student finds 12.5 % of the test images of &#39;dent&#39; (48)" in page.partition("budget")[0]


def test_the_weakest_class_has_a_row_in_the_summary(stages, recipe):
    text = " ".join(summary_of(report_of(fallen(stages), recipe)).split())
    assert " weakest class dent: recall 12.5% on 48 test images, the baseline's 62.5% (measured) " in text


def test_no_class_of_few_images_is_the_weakest(stages, recipe):
    stages = fallen(stages)
    stages["data"]["counts"]["test"] = dict.fromkeys(stages["data"]["classes"], 19)
    report = report_of(stages, recipe)
    assert weakest_class(ReportRecord.from_json(report, "report.json")) is None
    assert "weakest class" not in summary_of(report)


def test_the_weakest_of_the_classes_with_enough_images_is_named(stages, recipe):
    """By hand: `rare` is lower on 19 images, `weak` has 20 and the lowest of the others, `best` comes first by name."""
    report = ReportRecord.from_json(report_of(stages, recipe), "report.json")
    names = list(report.data.counts["test"])
    recalls = dict(zip(names, (0.9, 0.2, 0.45, 0.6, None, 0.5), strict=True))
    counts = dict(zip(names, (100, 19, 20, 200, 20, 50), strict=True))
    report.data.counts["test"].update(counts)
    report.student.per_class_recall.update(recalls)
    report.baseline.per_class_recall.update(dict.fromkeys(names, 0.7))
    assert weakest_class(report).startswith(f"{names[2]}: recall 45.0% on 20 test images, the baseline's 70.0%")
