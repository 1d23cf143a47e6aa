"""MODEL_CARD.md of each task: every cell of its tables, of records whose values are all different."""

import pytest

from edgedistill.bundles.card_parts import listed
from edgedistill.bundles.label_card import label_card
from edgedistill.bundles.model_card import model_card
from edgedistill.bundles.value_card import value_card
from edgedistill.config.loading import recipe_from_table
from edgedistill.records.decision import DecisionFigures
from edgedistill.records.evaluation import EmbeddingEvaluationRecord, EvaluationRecord
from edgedistill.records.gallery import GalleryRecord
from edgedistill.records.outputs import OutputEvaluationRecord, OutputQuantizationRecord
from edgedistill.records.quantization import QuantizationRecord
from record_factories import record_with

NETS = ("teacher", "student without the teacher", "student (this one)")


def recipe(**data):
    return recipe_from_table(
        {
            "data": {"train": "x", "image_px": [96, 160], "fit": "pad", **data},
            "teacher": {"model": "resnet50"},
            "student": {"model": "resnet18"},
            "distill": {"method": "kd"},
        },
        "r",
    )


def tables(card):
    """{heading: rows of cells, the head first} of the sections with a table."""
    found, heading = {}, None
    for line in card.splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif line.startswith("|") and not line.startswith("|---"):
            found.setdefault(heading, []).append([cell.strip() for cell in line[1:-1].split("|")])
    return found


def scores(top1, balanced, interval, **more):
    return {"top1_fraction": top1, "balanced_accuracy_fraction": balanced, "top1_interval": interval, **more}


def of_classes(student):
    return {
        "images": 61,
        "teacher": scores(0.8, 0.71, [0.72, 0.86], **{**student, "per_class_recall": {}, "confusion": []}),
        "baseline": scores(0.5, 0.43, [0.41, 0.59], **{**student, "per_class_recall": {}, "confusion": []}),
        "student": scores(0.6, 0.52, [0.51, 0.68], **student),
        "chance": {"top1_fraction": 0.34, "balanced_accuracy_fraction": 0.33, "majority_class": "cat"},
    }


STUDENT = {
    "per_class_recall": {"cat": 0.75, "dog": 0.45, "owl": None},
    "confusion": [[15, 5, 0], [11, 9, 1], [0, 0, 0]],
}


def of_precisions(cosine=None):
    step = {"mean_cosine": cosine}
    return {
        "requested": "int8",
        "executed": "fp16",
        "reason": "no INT8 there",
        "int8_gate": {"kept_float": ["a", "b"]},
        "ladder": {
            "float": {**scores(0.6, 0.5, [0.51, 0.68]), "drop_points": 0, "provenance": "measured: PyTorch", **step},
            "int8": {**scores(0.57, 0.49, [0.48, 0.65]), "drop_points": 3, "provenance": "simulated: Q/DQ", **step},
        },
    }


def test_a_card_of_classes():
    evaluated = record_with(EvaluationRecord, of_classes(STUDENT))
    card = model_card(recipe(), "a board", evaluated, record_with(QuantizationRecord, of_precisions()), 607)
    found = tables(card)
    assert found == {
        "Accuracy": [
            ["network", "top-1", "interval", "balanced"],
            [NETS[0], "80.0%", "72.0% to 86.0%", "71.0%"],
            [NETS[1], "50.0%", "41.0% to 59.0%", "43.0%"],
            [NETS[2], "60.0%", "51.0% to 68.0%", "52.0%"],
        ],
        "Precisions": [
            ["precision", "top-1", "interval", "change, points", "how"],
            ["float", "60.0%", "51.0% to 68.0%", "+0.0", "measured: PyTorch"],
            ["int8", "57.0%", "48.0% to 65.0%", "-3.0", "simulated: Q/DQ"],
        ],
        "Classes": [
            ["class", "recall of the student", "test images"],
            ["`cat`", "75.0%", "20"],
            ["`dog`", "45.0%", "21"],
            ["`owl`", "not measured", "0"],
        ],
    }
    for words in (
        "# resnet18 for a board",
        "An image classifier, 3 classes. It sees 96 x 160 px (height x width, the whole picture with grey bars).",
        "Its teacher was resnet50, the method `kd`; it learnt from 607 images.",
        "on 61 test images that nothing was trained or chosen on. Intervals are 95 %, by Wilson.",
        "It keeps 75.0% of the teacher's top-1 accuracy.",
        "Always saying `cat` gives 34.0%.",
        "Asked for: int8. The board is to execute: fp16: no INT8 there.",
        "- 2 layers are kept in float under INT8.",
        "- It names one of its classes for every image",
        "- 1 of 3 classes has fewer than 20 test images.",
    ):
        assert words in card


def test_a_card_of_many_classes_names_a_hundred():
    names = [f"c{number:03d}" for number in range(102)]
    for kept, more in ((102, "and 2 more: `classes.txt`."), (100, None)):
        recall = dict.fromkeys(names[:kept], 0.5)
        few = {"per_class_recall": recall, "confusion": [[20] + [0] * (kept - 1)] * kept}
        evaluated = record_with(EvaluationRecord, of_classes(few))
        card = model_card(recipe(), "a board", evaluated, record_with(QuantizationRecord, of_precisions()), 1)
        assert [row[0] for row in tables(card)["Classes"][1:]] == [f"`{name}`" for name in names[:100]]
        assert [line for line in card.splitlines() if "classes.txt" in line] == ([more] if more else [])
        assert "fewer than 20" not in card
    assert listed(names).endswith("`c099` and 2 more")
    assert listed(names[:100]).endswith(", `c099`")


@pytest.mark.parametrize("coverage", [None, 0.9])
def test_a_card_of_a_network_without_classes(coverage):
    values = of_classes({**STUDENT, "neighbours": 7, "width": 64})
    for name, recall in (("teacher", 0.9), ("baseline", 0.7), ("student", 0.8)):
        values[name]["recall_at_1"] = {"recall_at_1_fraction": recall, "interval": [recall - 0.1, recall + 0.05]}
    nearest = {"images": 61, "right_fraction": 0.77, "right_interval": [0.65, 0.86], "unknown_below": None, "kept": 61}
    gallery = record_with(
        GalleryRecord,
        {"images": 240, "classes": 5, "coverage": coverage, "executed": "fp16", "by_precision": {"fp16": nearest}},
    )
    card = model_card(
        recipe(),
        "a board",
        record_with(EmbeddingEvaluationRecord, values),
        record_with(QuantizationRecord, of_precisions(cosine=0.99)),
        607,
        gallery,
    )
    found = tables(card)
    assert found["Gallery"] == [
        ["network", "recall at 1 among the test images", "interval"],
        [NETS[0], "90.0%", "80.0% to 95.0%"],
        [NETS[1], "70.0%", "60.0% to 75.0%"],
        [NETS[2], "80.0%", "70.0% to 85.0%"],
    ]
    assert found["Precisions"][0][1] == "recall at 1"
    assert "the vote of the 7 nearest training images" in card
    assert "has 240 enrolled training images of 5 classes" in card
    assert gallery.sentence in card
    assert ("It names one of its classes for every image" in card) == (coverage is None)


def figure(name, output, value, low, high, unit=""):
    return {"name": name, "output": output, "value": value, "interval": [low, high], "unit": unit}


def errors(width_mm, share):
    return {
        "images": 61,
        "figures": [
            figure("mae", None, 0.5, 0.4, 0.6),
            figure("rmse", "width", 9.0, 8.0, 10.0, "mm"),
            figure("mae", "width", width_mm, width_mm - 0.25, width_mm + 0.5, "mm"),
            figure("r2", "width", 1 - width_mm / 8, 0.0, 1.0),
            figure("mae", "share", share, share / 2, share * 2),
            figure("r2", "share", share, 0.0, 1.0),
        ],
    }


def test_a_card_of_figures():
    ranges = [
        {"output": "width", "low": 1.5, "high": 20.25, "images": 30, "mae": 1.75, "bias": -0.5},
        {"output": "share", "low": 0.1, "high": 0.9, "images": 31, "mae": 0.125, "bias": 0.0625},
    ]
    evaluated = record_with(
        OutputEvaluationRecord,
        {
            "images": 61,
            "teacher": errors(1, 0.1),
            "baseline": errors(3, 0.3),
            "student": {**errors(2, 0.2), "ranges": ranges},
            "constant": errors(8, 0.4),
        },
    )
    changes = [figure("mae_change", "width", 0.25, 0.0, 0.5, "mm"), figure("mae_change", "share", -0.05, -0.1, 0.0)]
    step = {**errors(2.25, 0.15), "changes": changes, "provenance": "simulated: Q/DQ"}
    quantized = record_with(
        OutputQuantizationRecord,
        {
            "requested": "int8",
            "executed": "int8",
            "reason": "unused",
            "ladder": {"int8": step},
            "int8_gate": {"kept_float": []},
        },
    )
    values = [{"column": "width", "unit": "mm"}, {"column": "share"}]
    card = value_card(recipe(train="x.csv", task="regression", values=values), "a board", evaluated, quantized, 607)
    assert tables(card) == {
        "Errors": [
            ["network", "value", "mean absolute error", "interval", "R2"],
            [NETS[0], "`width`", "1 mm", "0.75 to 1.5", "0.875"],
            [NETS[0], "`share`", "0.1", "0.05 to 0.2", "0.100"],
            [NETS[1], "`width`", "3 mm", "2.75 to 3.5", "0.625"],
            [NETS[1], "`share`", "0.3", "0.15 to 0.6", "0.300"],
            [NETS[2], "`width`", "2 mm", "1.75 to 2.5", "0.750"],
            [NETS[2], "`share`", "0.2", "0.1 to 0.4", "0.200"],
            ["always the training mean", "`width`", "8 mm", "7.75 to 8.5", "0.000"],
            ["always the training mean", "`share`", "0.4", "0.2 to 0.8", "0.400"],
        ],
        "Precisions": [
            ["precision", "value", "mean absolute error", "change", "how"],
            ["int8", "`width`", "2.25 mm", "+0.25", "simulated: Q/DQ"],
            ["int8", "`share`", "0.15", "-0.05", "simulated: Q/DQ"],
        ],
        "Error by range": [
            ["value", "true value", "test images", "mean absolute error", "mean error"],
            ["`width`", "1.5 to 20.25", "30", "1.75", "-0.5"],
            ["`share`", "0.1 to 0.9", "31", "0.125", "+0.0625"],
        ],
    }
    assert "It answers an image with figures: `width`, `share`." in card
    assert "by the bootstrap over images" in card
    assert "Asked for: int8. The board is to execute: int8." in card
    assert "kept in float" not in card


def of_labels(whole, f1, exact, cat=None):
    figures = [
        figure("map", None, whole, whole - 0.1, whole + 0.05),
        figure("f1_macro", None, f1, 0.0, 1.0),
        figure("exact_match", None, exact, 0.0, 1.0),
    ]
    return {"images": 61, "figures": figures + ([] if cat is None else [figure("ap", "cat", cat, 0.0, 1.0)])}


def test_a_card_of_labels():
    evaluated = record_with(
        OutputEvaluationRecord,
        {
            "images": 61,
            "teacher": of_labels(0.8, 0.7, 0.6, cat=0.11),
            "baseline": of_labels(0.5, 0.4, 0.3, cat=0.12),
            "student": of_labels(0.65, 0.55, 0.45, cat=0.875),
            "constant": of_labels(0.2, 0.15, 0.125),
        },
    )
    steps = {
        name: {**of_labels(whole, 0.5, 0.4), "drop_points": drop, "provenance": how}
        for name, whole, drop, how in (
            ("float", 0.65, 0, "measured: PyTorch"),
            ("int8", 0.66, -1.25, "simulated: Q/DQ"),
        )
    }
    quantized = record_with(
        OutputQuantizationRecord,
        {"requested": "int8", "executed": "int8", "ladder": steps, "int8_gate": {"kept_float": ["a"]}},
    )
    promise = {"class": "cat", "promise": "recall", "asked": 0.6, "confidence": 0.95, "threshold": 0.31}
    rows = [
        {"class": "cat", "images": 40, "answers": 7, "precision": 0.9, "recall": 0.7, "threshold": 0.3125},
        {"class": "dog", "images": 0, "answers": 0, "precision": None, "recall": None, "threshold": 0.5},
    ]
    decided = record_with(DecisionFigures, {"precision": "int8", "classes": rows, "points": [promise]})
    card = label_card(recipe(), "a board", evaluated, quantized, decided, 607)
    assert tables(card) == {
        "Figures": [
            ["network", "mean average precision", "interval", "F1, mean over labels", "all labels right"],
            [NETS[0], "0.800", "0.700 to 0.850", "0.700", "0.600"],
            [NETS[1], "0.500", "0.400 to 0.550", "0.400", "0.300"],
            [NETS[2], "0.650", "0.550 to 0.700", "0.550", "0.450"],
            ["always the labels' frequencies", "0.200", "0.100 to 0.250", "", ""],
        ],
        "Labels, answered as the board does at INT8": [
            ["label", "test images", "average precision (float)", "threshold", "precision", "recall"],
            ["`cat`", "40", "0.875", "0.312", "0.900", "0.700"],
            ["`dog`", "0", "", "0.5", "", ""],
        ],
        "Precisions": [
            ["precision", "mean average precision", "change, points", "how"],
            ["float", "0.650", "+0.00", "measured: PyTorch"],
            ["int8", "0.660", "+1.25", "simulated: Q/DQ"],
        ],
    }
    assert "any number of 2 labels, none of them included: `cat`, `dog`." in card
    assert "A recall of 0.6 of 'cat' is promised with 95 % confidence" in card
    assert "- 1 layer is kept in float under INT8." in card
