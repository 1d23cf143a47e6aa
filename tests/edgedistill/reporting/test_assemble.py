"""report.json from the stages: the arithmetic, what is unknown, what is warned of and advised."""

import json
import tomllib
from importlib import metadata, resources

import numpy as np
import pytest

from edgedistill.config.loading import recipe_from_table
from edgedistill.config.recipe import Recipe
from edgedistill.records.output_report import OutputReportRecord
from edgedistill.records.report import VERSION, ReportRecord, report_schema
from edgedistill.reporting.disagreements import disagreement
from edgedistill.reporting.provenance import toml_from_recipe
from edgedistill.reporting.summary import WIDTH
from record_factories import page_of, report_of, summary_of
from report_pages import looked_at, undrawn
from report_schemas import schema_validator


def with_keys(recipe: Recipe, **sections) -> Recipe:
    table = recipe.model_dump(mode="json")
    for section, keys in sections.items():
        table[section] |= keys
    return Recipe.model_validate(table)


@pytest.mark.parametrize("metric", ["top1_fraction", "balanced_accuracy_fraction"])
def test_retention_and_gain_are_of_the_recipe_s_metric(stages, recipe, metric):
    report = report_of(stages, with_keys(recipe, data={"metric": metric}))
    found = stages["evaluate"]
    student, teacher, baseline = (found[n][metric] for n in ("student", "teacher", "baseline"))
    assert report["retention_fraction"] == pytest.approx(student / teacher)
    assert report["gain_over_baseline_points"] == pytest.approx(100 * student - 100 * baseline)
    low, high = report["gain"]["interval_points"]
    assert low < report["gain_over_baseline_points"] < high
    assert report["gain"]["metric"] == metric


def test_ratios_are_teacher_over_student(stages, recipe):
    report = report_of(stages, recipe)
    assert report["size_ratio"] == pytest.approx(13_450_000 / 2_930_000)
    assert report["macs_ratio"] == pytest.approx(383.9 / 262.9)
    assert report["speedup"]["ratio"] == 7.0
    assert report["baseline"]["macs"] == report["student"]["macs"], "one network, two trainings"


def test_each_network_has_the_history_of_its_own_stage(stages, recipe):
    report = report_of(stages, recipe)
    for name, stage in (("teacher", "teacher"), ("baseline", "baseline"), ("student", "distill")):
        assert report["histories"][name] == stages[stage]["history"]
    assert len({json.dumps(rows) for rows in report["histories"].values()}) == 3, "told apart"


def test_gain_is_claimed_only_when_zero_lies_outside(made, recipe):
    better = report_of(made({"teacher": 3.0, "baseline": 1.5, "student": 2.7}), recipe)
    assert better["gain"]["shown"]
    assert better["gain"]["sentence"].startswith("the teacher helped")
    equal = report_of(made({"teacher": 3.0, "baseline": 2.4, "student": 2.4}), recipe)
    assert not equal["gain"]["shown"]
    assert equal["gain"]["sentence"].startswith("no gain shown: ")
    worse = report_of(made({"teacher": 3.0, "baseline": 2.7, "student": 1.5}), recipe)
    assert worse["gain"]["sentence"].startswith("the teacher lowered the accuracy")


def test_what_is_promised_is_there_and_json(stages, recipe):
    report = report_of(stages, recipe)
    for net in ("teacher", "baseline", "student"):
        assert {"top1_fraction", "parameters", "macs", "file_bytes", "provenance"} <= set(report[net])
    assert list(report["accuracy_ladder"]) == ["float", "onnx", "fp16", "int8"]
    assert (report["target"]["requested"], report["target"]["executed"]) == ("int8", "fp16")
    assert report["device"]["executed"] == "fp32"
    assert report["cost"]["teacher"] == stages["teacher"]["artifact"]["seconds"]
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report == report_of(stages, recipe)


def test_a_training_that_went_on_before_its_stage_is_told_with_its_seconds(stages, recipe):
    stages["distill"]["artifact"] |= {"seconds": 6.53, "cost": {"training_seconds": 115.27}}
    stages["baseline"]["artifact"] |= {"seconds": 120.6, "cost": {"training_seconds": 112.1}}
    report = report_of(stages, recipe)
    assert (report["cost"]["distill"], report["trained_before"]) == (6.53, {"distill": 115.27})
    table = " ".join(summary_of(report).split())
    assert "baseline 121, distill 7 (begun before, training 115), evaluate" in table


def test_a_report_tells_nothing_of_where_the_images_lie(stages, recipe):
    stages["teacher"]["weights"] = "/somewhere/of/mine/teacher.safetensors"
    text = json.dumps(report_of(stages, recipe))
    assert "of/mine" not in text
    assert '"teacher.safetensors"' in text


def test_no_folder_stands_in_a_list_of_the_recipe_either(stages, recipe):
    teachers = [{"model": "resnet18", "weights": "/somewhere/of/mine/second.safetensors"}]
    several = with_keys(recipe, distill={"method": "ensemble", "teachers": teachers})
    found = report_of(stages, several)["provenance"]["recipe"]["distill"]["teachers"]
    assert found[0]["weights"] == "second.safetensors"


def test_published_rows_stand_with_their_source_and_a_gap_is_told(stages, recipe):
    known = report_of(stages, recipe)["published"]
    assert sorted(row["fps"] for row in known["rows"]) == ["229", "248"]
    gap = report_of(stages, with_keys(recipe, data={"image_px": 128}))["published"]
    assert gap["rows"] == []
    assert {row["differs"] for row in gap["others"]} == {"224x224"}
    assert gap["reason"] == (
        "unknown: no published measurement for squeezenet1_1 at 128 px, FP16, TensorRT, on Jetson Nano 4GB"
    )


def test_what_was_not_timed_is_null_with_a_reason(stages, recipe):
    stages["deploy"] = {"hosts": [], "artifact": stages["deploy"]["artifact"]}
    report = report_of(stages, recipe)
    assert report["device"] is None
    assert report["speedup"]["ratio"] is None
    assert report["speedup"]["reason"]
    assert "Nothing was timed: deploy.hosts is empty." in report["warnings"]
    assert "nothing was timed" in summary_of(report)


def said(report: dict) -> str:
    return "\n".join(report["warnings"])


def test_warnings_of_every_run(stages, recipe):
    text = said(report_of(stages, recipe))
    assert "not measured on a board (stand-in: " in text
    assert "served as FP16." in text
    assert "Clocks and power mode" in text
    for absent in (
        "similar images",
        "Only",
        "no better than",
        "worse than",
        "unreadable",
        "fewer than",
    ):
        assert absent not in text


def test_warnings_of_bad_data(stages, recipe):
    stages["data"] |= {"leak_count": 4, "unreadable_count": 2}
    stages["data"]["counts"]["test"]["weld porosity"] = 3
    stages["evaluate"]["images"] = 120
    text = said(report_of(stages, recipe))
    assert "4 pairs of similar images in different splits." in text
    assert "2 unreadable" in text
    assert "Only 120 test images" in text
    assert "(weld porosity: 3)" in text


def test_warnings_of_weak_networks(made, recipe):
    text = said(report_of(made({"teacher": 0.4, "baseline": 2.0, "student": 0.2}), recipe))
    assert "The teacher is no better than always predicting 'good'" in text
    assert "The student is no better than always predicting 'good'" in text
    assert "The teacher is worse than the student trained without it" in text


def test_preflight_findings_are_told(stages, recipe):
    finding = {
        "level": "warning",
        "rule": "r",
        "node": "Resize_7",
        "why": "cubic",
        "mend": "linear",
    }
    stages["export"]["preflight"]["findings"] = [finding]
    assert "first Resize_7: cubic; linear." in said(report_of(stages, recipe))


def test_advice_comes_below_90_percent_in_order_and_every_command_is_a_valid_override(made, recipe):
    from edgedistill.config.loading import apply_override

    good = report_of(made({"teacher": 3.0, "baseline": 2.2, "student": 2.9}), recipe)
    assert good["retention_fraction"] >= 0.9
    assert good["advice"] == []
    poor = report_of(made({"teacher": 3.5, "baseline": 1.4, "student": 1.5}), recipe)
    assert poor["retention_fraction"] < 0.9
    tried = [step["try"].split()[0] for step in poor["advice"]]
    assert tried == ["A", "Another", "Feature", "More", "An"]
    for step in poor["advice"]:
        table = recipe.model_dump(mode="json")
        before = Recipe.model_validate(table)
        for setting in step["command"].split("--set ")[1:]:
            apply_override(table, setting.strip())
        assert Recipe.model_validate(table) != before, step


def test_advice_does_not_repeat_what_is_done(made, recipe):
    stages = made({"teacher": 3.5, "baseline": 1.4, "student": 1.5})
    done = with_keys(recipe, distill={"feature_weight": 0.5}, student={"model": "efficientnet_b0"})
    tried = " ".join(step["try"] for step in report_of(stages, done)["advice"])
    assert "Feature" not in tried
    assert "bigger" not in tried


def test_advice_knows_scratch_few_steps_and_the_command(made, recipe):
    from edgedistill.reporting.commands import Command

    stages = made({"teacher": 3.5, "baseline": 1.4, "student": 1.5})
    stages["distill"]["steps"] = 560
    scratch = with_keys(recipe, student={"weights": "scratch"})
    typed = "edgedistill quickstart --set 'data.metric=top1_fraction'"
    rows = report_of(stages, scratch, command=Command(typed))["advice"]
    assert rows[0]["command"] == f"{typed} --set student.weights=hub"
    assert rows[1] == {"try": "More steps: it was trained for 560", "command": f"{typed} --set distill.min_steps=1120"}
    assert all(row["command"].startswith(typed) for row in rows)


@pytest.mark.parametrize(
    "distill",
    [
        {"method": "ensemble", "teachers": [{"model": "resnet18"}], "feature_weight": 0},
        {"method": "self", "feature_weight": 0},
        {"loss": "mse"},
        {"method": "data_free"},
    ],
)
def test_advice_is_a_recipe_that_is_taken_whatever_the_method(made, recipe, distill):
    from edgedistill.config.loading import apply_override

    stages = made({"teacher": 3.5, "baseline": 1.4, "student": 1.5})
    stages["distill"]["steps"] = 560
    other = with_keys(recipe, distill=distill)
    rows = report_of(stages, other)["advice"]
    assert rows
    for row in rows:
        table = other.model_dump(mode="json")
        for setting in row["command"].split(" --set ")[1:]:
            apply_override(table, setting)
        assert recipe_from_table(table, "advice") != other
    if distill.get("loss") == "mse":
        assert not [row for row in rows if "temperature" in row["try"]]


def test_class_weights_and_the_kept_epoch_stand_in_the_report(stages, recipe):

    plain = report_of(stages, recipe)
    assert (plain["taught"]["class_weights"], plain["taught"]["best_epochs"]) == (None, None)
    stages["distill"] |= {"class_weights": {"ok": 0.625, "crack": 2.5}, "best": {"epoch": 3, "value": 0.9}}
    report = report_of(stages, recipe)
    with undrawn():
        page = page_of(report)
    assert report["taught"]["best_epochs"] == {"student": [3, stages["distill"]["epochs"]]}
    assert "crack</span> 2.50" in page
    assert f"student 3 of {stages['distill']['epochs']}" in page


def test_a_teacher_that_is_never_right_gives_no_ratio(stages, recipe):
    stages["evaluate"]["teacher"]["top1_fraction"] = 0.0
    report = report_of(stages, recipe)
    assert report["retention_fraction"] is None
    assert "unknown" in summary_of(report)


def test_summary_is_a_short_plain_table(stages, recipe):
    report = report_of(stages, recipe)
    text = summary_of(report)
    lines = text.splitlines()
    assert max(len(line) for line in lines if "https://" not in line) <= WIDTH  # an address is not broken
    assert len(lines) < 38
    assert text.isascii()
    for name in ("teacher", "baseline", "student"):
        row = next(line for line in lines if line.startswith(name))
        assert f"{report[name]['top1_fraction']:.1%}" in row
    assert f"{report['retention_fraction']:.1%} of the teacher's top-1 accuracy (measured)" in text
    assert "stand-in: ONNX Runtime" in text
    assert "248 FPS (published: https://github.com/NVIDIA-AI-IOT/" in " ".join(text.split())


@pytest.mark.parametrize(
    ("of_train", "words"),
    [
        (0, "444 without, which"),
        (391, "444 without, 391 of them by data.train_labels, which"),
        (444, "444 whose labels are not used (data.train_labels), which"),
    ],
)
def test_the_summary_says_what_the_student_alone_learnt_from(stages, recipe, of_train, words):
    stages["data"] |= {"pool_images": 444, "pool_of_train": of_train}
    report = report_of(stages, recipe)
    images = report["data"]["images"]
    said = f"images {images['train']} with a label; {words} the student alone learns from, with the teacher's answers; "
    assert f"{said}{images['test']} to test on (counted)" in " ".join(summary_of(report).split())


def test_names_of_a_user_do_not_break_the_summary(stages, recipe):
    stages["evaluate"]["chance"]["majority_class"] = "x\n\x1b[31m" * 30
    stages["evaluate"]["student"]["top1_fraction"] = 0.0
    assert "\x1b" not in summary_of(report_of(stages, recipe))


def test_the_stored_schema_is_that_of_the_record():
    folder, how = resources.files("edgedistill.reporting"), "see docs/make_report_schema.py"
    for name, made in {
        "report.schema.json": report_schema(),
        "output_report.schema.json": report_schema(OutputReportRecord, "outputs"),
    }.items():
        stored = json.loads((folder / name).read_text(encoding="utf-8"))
        assert without_empty_promises(stored) == without_empty_promises(made), how


def without_empty_promises(schema):
    """Pydantic says from 2.11 on that an object of any values may have any."""
    if isinstance(schema, list):
        return [without_empty_promises(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if (key, value) != ("additionalProperties", True)}
    return {key: without_empty_promises(value) for key, value in kept.items()}


def test_every_kind_of_report_is_what_the_schema_says(stages, recipe, board, swept):
    check = schema_validator()
    assert check.schema["properties"]["version"] == {"const": VERSION}

    def validate(report):
        check.validate(report)
        assert json.dumps(ReportRecord.from_json(report, "report").to_json()) == json.dumps(report)

    validate(report_of(stages, recipe))
    with_cost = with_keys(recipe, cost={"currency": "EUR", "cloud_price_per_hour": 1})
    pair = disagreement(
        ("a", np.eye(6)),
        ("b", np.eye(6)[::-1]),
        np.arange(6),
        stages["data"]["classes"],
        [f"{i}" for i in range(6)],
        ["part.png"] * 6,
    )
    stages["deploy"]["hosts"].append(board(stages["deploy"]["hosts"][0]))
    looked = looked_at(stages["data"]["classes"], "a/part.png")
    validate(report_of(stages, with_cost, [pair], swept=swept(recipe, stages), look_closer=looked))
    stages["deploy"] = {"hosts": [], "artifact": stages["deploy"]["artifact"]}
    report = report_of(stages, recipe)
    validate(report)
    for fault in ({"version": 1}, {"surprise": 1}, {"retention_fraction": "high"}):
        assert not check.is_valid({**report, **fault}), fault


def test_the_report_of_a_real_run_is_what_the_schema_says(finished_run):
    path = finished_run / "runs" / "r" / "report" / "report.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    schema_validator().validate(report)
    for pair in report["disagreements"]:
        parts = ("both_right", "first_only_right", "second_only_right", "both_wrong_alike", "both_wrong_apart")
        assert sum(pair[part] for part in parts) == report["test_images"]
    teacher_and_student = report["disagreements"][0]
    alike = 1 - teacher_and_student["apart"] / report["test_images"]
    assert alike == pytest.approx(report["teacher_agreement_fraction"])
    int8 = report["disagreements"][1]
    assert 1 - int8["apart"] / report["test_images"] == pytest.approx(
        report["accuracy_ladder"]["int8"]["agreement_fraction"]
    )


def test_the_recipe_on_the_page_is_a_recipe(recipe):
    hard = with_keys(recipe, data={"group_pattern": 'a"b\\d\n\N{SNOWMAN}\x7f'})
    values = hard.model_dump(mode="json")
    again = recipe_from_table(tomllib.loads(toml_from_recipe(values)), "page")
    assert again == hard


def test_the_dependency_list_holds_what_direct_ones_require(stages, recipe):
    found = report_of(stages, recipe)["provenance"]["dependencies"]
    assert found["torch"] == metadata.version("torch")
    assert found["markupsafe"] == metadata.version("markupsafe"), "required by jinja2"
    assert "pytest" not in found


def test_test_images_of_few_groups_are_warned_of(stages, recipe):
    stages["data"] |= {
        "groups": {"train": 20, "val": 3, "test": 3},
        "copies_left_out": {"val": 0, "test": 2},
        "torn_groups": 1,
    }
    warnings = report_of(stages, recipe)["warnings"]
    assert any("test images belong to 3 groups" in line and "too narrow" in line for line in warnings)
    assert any("Left out of the figures: 2 exact copies of test images." in line for line in warnings)
    assert any("1 named group with images in several splits." in line for line in warnings)
