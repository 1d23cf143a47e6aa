"""A run that never was, with figures that agree with each other: the stages' JSON, made here."""

import copy

import numpy as np
import pytest

from board_answers import deployed, on_board
from edgedistill.config.loading import recipe_from_table
from edgedistill.evaluation.classification import mcnemar_p, measures, paired
from edgedistill.records.sweep import SweepRecord, TrialResult
from edgedistill.reporting.sweep_results import swept_of
from record_factories import records_of

CLASSES = ["crease", "dent", "good", "oil spot", "scratch", "weld porosity"]
COUNTS = [60, 48, 210, 36, 90, 24]  # test images of each
LADDER = {
    "float": "measured: PyTorch on this computer",
    "onnx": "measured: ONNX Runtime on this computer",
    "fp16": "simulated: the float16 ONNX file in ONNX Runtime on this computer, not TensorRT",
    "int8": "simulated: the INT8 (QDQ) ONNX file in ONNX Runtime on this computer, not TensorRT",
}


def fake_logits(labels: np.ndarray, skill: float, seed: int) -> np.ndarray:
    """(N, C) logits of a network that is right the more often the higher its skill."""
    rng = np.random.default_rng(seed)
    shared = np.random.default_rng(99).normal(size=(len(labels), len(CLASSES)))  # hard images
    noise = 0.7 * shared + 0.7 * rng.normal(size=shared.shape)
    return noise + skill * np.eye(len(CLASSES))[labels]


def history(epochs: int, best: float, terms: dict[str, float], seed: int) -> list[dict]:
    rng = np.random.default_rng(seed)
    rows = []
    for epoch in range(1, epochs + 1):
        grown = 1 - np.exp(-epoch / (epochs / 5))
        value = float(np.clip(best * grown + rng.normal(scale=0.012), 0, 1))
        rows.append(
            {
                "epoch": epoch,
                "train_loss": 2.0 - grown,
                "lr": 1e-3,
                "terms": {name: start * float(1.15 - grown + rng.uniform(0, 0.05)) for name, start in terms.items()},
                "eval_loss": 1.8 - grown,
                "eval_top1_fraction": value,
                "eval_balanced_accuracy_fraction": value - 0.03,
            }
        )
    return rows


def trained(model: str, parameters: int, rows: list[dict]) -> dict:
    return {
        "model": model,
        "weights": "hub",
        "parameters": parameters,
        "epochs": len(rows),
        "training_images": 1000,
        "history": rows,
    }


def exported(file_bytes: int, macs: int) -> dict:
    return {
        "file_bytes": file_bytes,
        "macs": macs,
        "opset": 13,
        "ir": 7,
        "max_abs_difference": 7.6e-6,
        "max_relative_difference": 9.1e-7,
        "top1_agreement_fraction": 1.0,
    }


def evaluated(labels: np.ndarray, skills: dict[str, float]) -> dict:
    logits = {name: fake_logits(labels, skill, seed) for seed, (name, skill) in enumerate(skills.items())}
    compared = paired(logits["student"], logits["baseline"], labels)
    found = {name: measures(values, labels, CLASSES).to_json() for name, values in logits.items()}
    return {
        **found,
        "seeds": [
            {"seed": 0}
            | {
                name: {key: found[name][key] for key in ("top1_fraction", "balanced_accuracy_fraction")}
                for name in ("baseline", "student")
            }
        ],
        "images": len(labels),
        "teacher_agreement_fraction": float((logits["student"].argmax(1) == logits["teacher"].argmax(1)).mean()),
        "student_only_correct": compared["first_only_correct"],
        "only_correct_by_class": compared["by_class"],
        "baseline_only_correct": compared["second_only_correct"],
        "mcnemar_p": mcnemar_p(compared["first_only_correct"], compared["second_only_correct"]),
        "chance": {
            "majority_class": "good",
            "top1_fraction": max(COUNTS) / sum(COUNTS),
            "balanced_accuracy_fraction": 1 / len(CLASSES),
        },
    }


def stages_of(skills: dict[str, float]) -> dict[str, dict]:
    labels = np.repeat(np.arange(len(CLASSES)), COUNTS)
    found = evaluated(labels, skills)
    top1, balanced = (found["student"][k] for k in ("top1_fraction", "balanced_accuracy_fraction"))
    steps = {
        name: {
            "top1_fraction": top1 - loss,
            "balanced_accuracy_fraction": balanced - 1.4 * loss,
            "agreement_fraction": 1 - 2 * loss,
            "provenance": LADDER[name],
            "finite": True,
            "top1_interval": found["student"]["top1_interval"],
            "drop_points": 100 * loss,
            "drop_standard_error_points": 60 * loss,
            "sqnr_db": 20.0 if loss else None,
        }
        for name, loss in zip(LADDER, (0.0, 0.0, 0.002, 0.013), strict=True)
    }
    rows = {
        "teacher": history(5, 0.93, {"label": 0.6}, 1),
        "baseline": history(30, 0.86, {"label": 0.9}, 2),
        "student": history(30, 0.9, {"kd": 1.6, "label": 0.9, "feature": 0.4}, 3),
    }
    stages = {
        "data": {
            "classes": CLASSES,
            "images": {"train": 5 * sum(COUNTS), "val": sum(COUNTS), "test": sum(COUNTS)},
            "counts": {
                split: {c: n * m for c, n in zip(CLASSES, COUNTS, strict=True)}
                for split, m in (("train", 5), ("val", 1), ("test", 1))
            },
            "majority_fraction": max(COUNTS) / sum(COUNTS),
            "exact_duplicates": 3,
            "near_duplicate_groups": 41,
            "images_in_groups": 97,
            "leak_count": 0,
            "leaks": [],
            "unreadable_count": 0,
        },
        "teacher": trained("tf_efficientnet_lite0", 3_378_000, rows["teacher"]),
        "logits": {"images": 5 * sum(COUNTS), "views": 8},
        "baseline": trained("squeezenet1_1", 725_600, rows["baseline"]),
        "distill": trained("squeezenet1_1", 725_600, rows["student"]),
        "evaluate": found,
        "export": {
            "teacher": exported(13_450_000, 383_900_000),
            "student": exported(2_930_000, 262_900_000),
            "preflight": {"target": "jetson-nano", "tensorrt": "8.2", "findings": []},
        },
        "quantize": {
            "ladder": steps,
            "fp16_findings": [],
            "qad": None,
            "int8_gate": {
                "max_drop_points": None,
                "passed": None,
                "kept_float": [],
                "curve": [],
                "sensitivity": [],
                "images": "validation",
            },
            "requested": "int8",
            "executed": "fp16",
            "reason": "Jetson Nano 4GB has no INT8 hardware, so it is served as FP16",
        },
        "decide": {
            "board": {name: {"temperature": 1.7} for name in ("fp32", "fp16", "int8")},
            "figures": {
                "precision": "fp16",
                "classes": [
                    {"class": c, "images": n, "answers": n + 3, "precision": 0.81, "recall": 0.85, "f1": 0.83}
                    for c, n in zip(CLASSES, COUNTS, strict=True)
                ],
                "calibration": {
                    "temperature": 1.7,
                    "fitted": True,
                    "validation_images": sum(COUNTS),
                    "test_images": sum(COUNTS),
                    "calibration_error_before": 0.083,
                    "calibration_error_after": 0.021,
                    "loss_before": 0.512,
                    "loss_after": 0.437,
                },
            },
        },
        "bundle": {"manifest_sha256": "5e" * 32, "signed": False},
        "deploy": deployed(),
    }
    for stage, name in (("teacher", "teacher"), ("baseline", "baseline"), ("distill", "student")):
        stages[stage]["validation"] = {**found[name], "calibration_error": 0.03}
    for number, values in enumerate(stages.values()):
        values["artifact"] = {
            "inputs": {},
            "files": {},
            "digest": f"{number:064x}",
            "seconds": 7.5 * number + 0.5,
            "finished": f"2026-11-24T12:{number:02d}:00+00:00",
        }
    return stages


_STAGES = stages_of({"teacher": 3.0, "baseline": 2.2, "student": 2.7})


@pytest.fixture
def stages():
    """Stage name -> its JSON; a copy that the test may change."""
    return copy.deepcopy(_STAGES)


@pytest.fixture(scope="session")
def stages_to_read():
    """The same for what is made once of them; not to be changed."""
    return copy.deepcopy(_STAGES)


@pytest.fixture(scope="session")
def board():
    """The function that turns the stand-in's answer into a board's."""
    return on_board


def swept_by(recipe, stages) -> dict:
    """Four networks on the run's own teacher, one of them stopped early, as `swept.swept_of` gives them."""
    trials = [
        ({"student.model": "mobilenetv3_small_050"}, 0.74, "complete", 8, 1_600_000),
        ({"student.model": "mobilenetv3_large_100"}, 0.93, "complete", 30, 4_210_000),
        ({"student.model": "efficientnet_b0", "distill.temperature": 4.0}, 0.7, "pruned", 3, 4_010_000),
        ({"student.model": "squeezenet1_1", "distill.loss": "dist"}, 0.80, "complete", 30, 725_600),
    ]
    rows = [
        {
            "settings": settings,
            "value": value,
            "state": state,
            "epochs": epochs,
            "parameters": parameters,
            "model": settings["student.model"],
        }
        for settings, value, state, epochs, parameters in trials
    ]
    trials = [TrialResult(**row) for row in rows]
    sweep = SweepRecord(
        metric="validation top1_fraction",
        images="validation, never test",
        seeds=1,
        artifacts={"teacher": "1"},
        trials=trials,
        best=trials[1],
    )
    return swept_of(sweep, {"teacher": "1"}, records_of(stages), recipe).to_json()


@pytest.fixture(scope="session")
def swept():
    """The function that makes the students of a sweep."""
    return swept_by


@pytest.fixture(scope="session")
def recipe():
    table = {
        "data": {"train": "/somewhere/of/mine/parts"},
        "student": {"model": "squeezenet1_1"},
        "target": {"device": "jetson-nano", "precision": "int8"},
    }
    return recipe_from_table(table, "made up")


@pytest.fixture
def made():
    """The function that makes stages from the three networks' skills."""
    return stages_of
