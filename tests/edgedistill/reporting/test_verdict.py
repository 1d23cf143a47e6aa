"""The recipe's budget: only a board answers for the board; and what is listed as not measured."""

import re

import pytest

from edgedistill.config.recipe import Recipe
from edgedistill.errors import QuantizeError
from edgedistill.pipeline.gates import int8_is_good_enough
from record_factories import records_of, report_of


def asked(recipe: Recipe, **target) -> Recipe:
    table = recipe.model_dump(mode="json")
    table["target"] |= target
    return Recipe.model_validate(table)


def outcomes(report: dict) -> dict[str, str]:
    return {row["what"]: row["outcome"] for row in report["verdict"]["rows"]}


def test_no_budget_no_verdict(stages, recipe):
    verdict = report_of(stages, recipe)["verdict"]
    assert verdict["outcome"] is None
    assert "target.fps" in verdict["sentence"]


def test_a_stand_in_never_answers_for_the_board(stages, recipe):
    report = report_of(stages, asked(recipe, fps=1, memory_mib=100_000))
    assert outcomes(report) == {
        "FPS from the image file": "not measured",
        "memory of process and GPU driver": "not measured",
    }
    assert report["verdict"]["outcome"] == "open"
    fps = report["verdict"]["rows"][0]
    assert fps["found"] is None
    assert "others published 248 FPS and 229 FPS" in fps["provenance"]


@pytest.mark.parametrize(
    ("fps", "memory_mib", "expected"), [(64, 450.5, "met"), (64.1, 450.5, "missed"), (64, 450.4, "missed")]
)
def test_a_board_meets_or_misses_to_the_last_digit(stages, recipe, board, fps, memory_mib, expected):
    stages["deploy"]["hosts"].append(board(stages["deploy"]["hosts"][0]))
    report = report_of(stages, asked(recipe, fps=fps, memory_mib=memory_mib))
    assert report["verdict"]["outcome"] == expected
    assert report["device"]["host"] == "nano-3", "boards come first"
    assert "samples_ms" not in report["device"]
    assert [row["found"] for row in report["verdict"]["rows"]] == ["64.0 FPS", "450.5 MiB"]


def test_one_of_two_boards_that_misses_is_a_miss(stages, recipe, board):
    fast, slow = (board(stages["deploy"]["hosts"][0], name) for name in ("fast", "slow"))
    slow["bench"]["fps"]["end_to_end"] = 12.0
    stages["deploy"]["hosts"] = [fast, slow]
    report = report_of(stages, asked(recipe, fps=30))
    assert outcomes(report) == {"FPS from the image file on fast": "met", "FPS from the image file on slow": "missed"}
    assert report["verdict"]["sentence"].startswith("1 of 2 limits of the recipe met, 1 missed.")


def test_retention_and_teacher_are_judged_too(stages, recipe):
    table = recipe.model_dump(mode="json")
    table["target"]["min_retention_fraction"] = 1.0
    table["teacher"]["min_top1_fraction"] = 0.2
    report = report_of(stages, Recipe.model_validate(table))
    assert outcomes(report) == {"retention": "missed", "teacher's top-1 accuracy": "met"}


def test_int8_is_judged_by_its_gate(stages, recipe):
    curve = [
        {"float_layers": 0, "drop_points": 3.0, "drop_standard_error_points": 0.5},
        {"float_layers": 1, "drop_points": 0.5, "drop_standard_error_points": 0.2},
    ]
    stages["quantize"]["int8_gate"] |= {"max_drop_points": 1.0, "passed": True, "curve": curve}
    row = report_of(stages, recipe)["verdict"]["rows"][0]
    assert (row["limit"], row["found"], row["outcome"]) == ("at most 1 points", "0.50 points", "met")
    assert row["provenance"].startswith("simulated")


@pytest.mark.parametrize("metric", ["top1_fraction", "balanced_accuracy_fraction"])
def test_the_teacher_is_judged_by_the_metric_of_its_gate(stages, recipe, metric):
    """A limit between its two figures: one gate holds, the other does not."""
    found = stages["teacher"]["validation"]
    found |= {"top1_fraction": 0.7, "balanced_accuracy_fraction": 0.5}
    table = recipe.model_dump(mode="json")
    table["teacher"][f"min_{metric}"] = 0.6
    (row,) = report_of(stages, Recipe.model_validate(table))["verdict"]["rows"]
    expected = ("70.0 %", "met") if metric == "top1_fraction" else ("50.0 %", "missed")
    assert (row["found"], row["outcome"]) == expected


@pytest.mark.parametrize(("kept", "found"), [(True, "0.25 points"), (False, "3.00 points")])
def test_int8_that_was_retrained_is_judged_by_what_is_kept(stages, recipe, kept, found):
    step = {"float_layers": 0, "drop_points": 3.0, "drop_standard_error_points": 0.5}
    stages["quantize"]["int8_gate"] |= {"max_drop_points": 1.0, "passed": kept, "curve": [step]}
    after = {"top1_fraction": 0.8, "drop_points": 0.25 if kept else 4.0}
    stages["quantize"]["qad"] = {
        "epochs": 1,
        "kept": kept,
        "after": after,
        "before": {"top1_fraction": 0.7, "drop_points": 3.5},
    }
    assert report_of(stages, recipe)["verdict"]["rows"][0]["found"] == found


@pytest.mark.parametrize(("cosine", "figure"), [(None, "top-1"), (0.98, "recall at 1")])
def test_int8_that_was_retrained_and_still_misses_has_one_number_everywhere(stages, recipe, cosine, figure):
    """The budget, the warning and the line that stops a run are about the file that is kept."""
    alike = {} if cosine is None else {"mean_cosine": cosine, "lowest_cosine": cosine}
    curve = [{"float_layers": layers, "drop_points": drop, **alike} for layers, drop in ((0, 3.1), (2, 2.25))]
    stages["quantize"]["int8_gate"] |= {"max_drop_points": 0.5, "passed": False, "kept_float": [], "curve": curve}
    stages["quantize"]["qad"] = {
        "epochs": 1,
        "kept": True,
        "before": {"drop_points": 3.1, **alike},
        "after": {"drop_points": 1.37, **alike},
    }
    report = report_of(stages, recipe)
    (row,) = (row for row in report["verdict"]["rows"] if "INT8" in row["what"])
    (warning,) = (line for line in report["warnings"] if "INT8 misses the gate" in line)
    table = recipe.model_dump(mode="json")
    table["quantize"]["max_int8_drop_points"] = 0.5
    with pytest.raises(QuantizeError) as refused:
        int8_is_good_enough(
            Recipe.model_validate(table), records_of(stages).quantize.model_copy(update={"executed": "int8"})
        )
    assert (row["what"], row["found"], row["outcome"]) == (f"{figure} lost by INT8", "1.37 points", "missed")
    assert f"loses 1.37 points of {figure} " in warning
    assert "quantization-aware distillation did not close the gap" in warning
    assert "INT8 costs 1.37 points" in str(refused.value)
    assert "after quantization-aware distillation, with 0 layers in float" in str(refused.value)


NUMBER = re.compile(r"\d+(?:\.\d+)?")


@pytest.mark.parametrize(
    ("part", "outcome"), [(1 + 4e-4, "missed"), (1 + 4e-7, "missed"), (1.0, "met"), (1 - 4e-4, "met")]
)
def test_no_row_is_belied_by_its_own_numbers(stages, recipe, board, part, outcome):
    """Limits a hair beside the figures, in turn on both sides: the numbers as written lead to the same verdict."""
    stages["deploy"]["hosts"] = [board(stages["deploy"]["hosts"][0])]
    step = {"float_layers": 0, "drop_points": 2.0}
    stages["quantize"]["int8_gate"] |= {"max_drop_points": 2.0 / part, "passed": outcome == "met", "curve": [step]}
    found = report_of(stages, recipe)
    table = recipe.model_dump(mode="json")
    table["target"] |= {
        "min_retention_fraction": found["retention_fraction"] * part,
        "fps": found["devices"][0]["fps"]["end_to_end"] * part,
        "memory_mib": 450.5 / part,
    }
    table["teacher"]["min_top1_fraction"] = stages["teacher"]["validation"]["top1_fraction"] * part
    report = report_of(stages, Recipe.model_validate(table))
    assert len(report["verdict"]["rows"]) == 5
    for row in report["verdict"]["rows"]:
        limit, figure = (float(NUMBER.search(row[key]).group()) for key in ("limit", "found"))
        kept = figure >= limit if row["limit"].startswith("at least") else figure <= limit
        assert (row["outcome"], kept) == (outcome, outcome == "met"), row
    assert all(line["found"] in report["status"]["sentences"][0] for line in report["verdict"]["rows"]) == (
        outcome == "missed"
    )


def test_the_limit_is_the_one_that_was_set(stages, recipe):
    for least, shown in ((0.9, "at least 90.0 %"), (0.9512, "at least 95.12 %"), (0.57, "at least 57.0 %")):
        (row,) = report_of(stages, asked(recipe, min_retention_fraction=least))["verdict"]["rows"]
        assert row["limit"] == shown


def test_what_nobody_measured_is_listed_with_its_reason(stages, recipe, board):
    without = {row["what"] for row in report_of(stages, recipe)["absent"]}
    assert {"speed, memory and power on Jetson Nano 4GB", "cost and saving"} <= without
    assert not any("this computer" in what for what in without), "a stand-in's gaps are no news"
    stages["deploy"]["hosts"] = [board(stages["deploy"]["hosts"][0])]
    present = {row["what"]: row["why"] for row in report_of(stages, recipe)["absent"]}
    assert present["over current events on nano-3"] == "no soctherm counters"
    assert "speed, memory and power on Jetson Nano 4GB" not in present
    assert not {"layer times on nano-3", "trace on nano-3"} & set(present)
    for key in ("layer_times", "trace"):
        del stages["deploy"]["hosts"][0]["bench"][key]
    older = {row["what"]: row["why"] for row in report_of(stages, recipe)["absent"]}
    assert older["layer times on nano-3"] == older["trace on nano-3"]
    assert "did not take them yet" in older["trace on nano-3"]
