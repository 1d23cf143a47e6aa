"""The first line of the page: one word for each finding, and the gravest finding wins."""

import pytest

from edgedistill.config.recipe import Recipe
from record_factories import report_of, summary_of


def ladder(**step):
    return lambda stages: stages["quantize"]["ladder"]["fp16"].update(step)  # the Nano executes FP16


def student(**figures):
    return lambda stages: stages["evaluate"]["student"].update(figures)


def two_seeds_that_differ(stages):
    figures = {key: stages["evaluate"]["baseline"][key] for key in ("top1_fraction", "balanced_accuracy_fraction")}
    lower = {key: value - 0.2 for key, value in figures.items()}
    stages["evaluate"]["seeds"].append({"seed": 1, "baseline": figures, "student": lower})


def three_seeds_alike(stages):
    figures = [stages["evaluate"][name] for name in ("baseline", "student")]
    for seed, lost in ((1, 0.01), (2, 0.02)):
        worse = [
            {key: of[key] - lost * n for key in ("top1_fraction", "balanced_accuracy_fraction")}
            for n, of in enumerate(figures)
        ]
        stages["evaluate"]["seeds"].append({"seed": seed, "baseline": worse[0], "student": worse[1]})


CHANCE = 210 / 468  # top-1 of always naming the largest class, `good`
FOUND = {
    "good": (lambda stages: None, "With the teacher the student's top-1 accuracy changes by +10.7 points"),
    "not usable: below chance": (student(top1_fraction=0.4), "top-1 accuracy is 40.0 % on 468 test images"),
    "not usable: at chance": (student(top1_fraction=CHANCE), "always naming the largest class, 'good', gives 44.9 %"),
    "not usable: FP16 below chance": (ladder(top1_fraction=0.1), "The student's FP16 top-1 accuracy is 10.0 %"),
    "not usable: FP16 gives NaN or infinity": (ladder(finite=False), "Jetson Nano 4GB executes it."),
    "in doubt: not shown to be better than chance": (
        student(top1_interval=[0.44, 0.9]),
        "44.0 % to 90.0 %, holds the 44.9 %",
    ),
    "in doubt: test images are not apart": (
        lambda stages: stages["data"].update(leak_count=1),
        "1 pair of similar images in several splits",
    ),
    "no gain shown": (two_seeds_that_differ, "No gain shown over 2 seeds"),
}


@pytest.mark.parametrize("line", FOUND)
def test_each_finding_has_its_line_and_says_why(stages, recipe, line):
    change, why = FOUND[line]
    change(stages)
    status = report_of(stages, recipe)["status"]
    assert status["line"] == line
    assert status["word"] == line.partition(":")[0]
    assert why in status["sentences"][0]


def test_a_good_run_of_several_seeds_tells_their_mean_and_not_the_first_ones_gain(stages, recipe):
    three_seeds_alike(stages)  # 10.7, 9.7 and 8.7 points: t = 4.303 with two degrees of freedom
    status = report_of(stages, recipe)["status"]
    assert status["line"] == "good"
    half = 4.303 / 3**0.5
    assert status["sentences"][0] == (
        f"A gain over 3 seeds: the 95 % interval of the mean gain is +{9.683 - half:.1f} to +{9.683 + half:.1f} points."
    )
    assert not any("changes by" in sentence for sentence in status["sentences"])


@pytest.mark.parametrize(
    ("skills", "word", "sign"),
    [
        ({"teacher": 3.0, "baseline": 2.4, "student": 2.4}, "no gain shown", "It holds zero."),
        ({"teacher": 3.0, "baseline": 2.7, "student": 1.5}, "worse than without a teacher", "changes by -"),
    ],
)
def test_a_gain_is_held_against_the_baseline(made, recipe, skills, word, sign):
    status = report_of(made(skills), recipe)["status"]
    assert status["word"] == status["line"] == word
    assert sign in status["sentences"][0]


def test_the_gravest_finding_comes_first_and_the_others_follow(stages, recipe):
    """A limit that is missed, similar images in two splits, a student below chance."""
    table = recipe.model_dump(mode="json")
    table["target"]["min_retention_fraction"] = 1.0
    strict = Recipe.model_validate(table)
    assert report_of(stages, strict)["status"]["line"] == "limit missed"
    stages["data"]["leak_count"] = 2
    assert report_of(stages, strict)["status"]["word"] == "in doubt"
    stages["evaluate"]["student"]["top1_fraction"] = 0.1
    status = report_of(stages, strict)["status"]
    assert status["line"] == "not usable: below chance"
    for part, sentence in zip(("is 10.0 % on", "2 pairs of", "Retention is"), status["sentences"][:3], strict=True):
        assert part in sentence


def test_chance_is_that_of_the_recipe_s_metric(stages, recipe):
    """Top-1 below always naming the largest class, recall of every class far above one in six."""
    table = recipe.model_dump(mode="json")
    table["data"]["metric"] = "balanced_accuracy_fraction"
    stages["evaluate"]["student"]["top1_fraction"] = 0.4
    assert report_of(stages, Recipe.model_validate(table))["status"]["word"] == "good"


def test_good_says_what_was_not_measured(stages, recipe, board):
    assert "Speed and memory on Jetson Nano 4GB were not measured." in report_of(stages, recipe)["status"]["sentences"]
    stages["deploy"]["hosts"] = [board(stages["deploy"]["hosts"][0])]
    assert "not measured" not in " ".join(report_of(stages, recipe)["status"]["sentences"])


def test_it_stands_in_the_summary(stages, recipe):
    stages["evaluate"]["student"]["top1_fraction"] = 0.4
    summary = " ".join(summary_of(report_of(stages, recipe)).split())
    assert " status not usable: below chance. The student's top-1 accuracy is 40.0 % on " in summary
