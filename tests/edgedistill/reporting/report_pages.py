"""Names that try to break a page, stages that carry them, and pages without their drawings."""

import json
from contextlib import contextmanager

import numpy as np
import pytest

from edgedistill.evaluation.look_closer import softmax
from edgedistill.records.look_closer import HeatMaps, LookCloser
from edgedistill.reporting import page as pages
from edgedistill.reporting.look_closer import Answers, look_closer

HOSTILE = [
    "</script><script>alert(1)</script>",
    "\"quoted\" & 'single' <b>",
    "a" * 500,
    "\N{SNOWMAN} \u65e5\u672c \u202e\x1b",
    "$\\frac{1}{2}$ {{ 7 * 7 }}",
    'url(#x) id="y" #010101 <!-- -->',
]
RIGHT_TO_LEFT = "\u0634\u0642\u0648\u0642"  # cracks, in Arabic


def looked_at(classes: list[str], file: str, images: int = 60) -> LookCloser:
    """What a report shows of random answers on that many test and training images, all of one file name."""
    rng = np.random.default_rng(5)
    test, train = (
        Answers(
            split,
            np.arange(images) % len(classes),
            [f"{i:063x}{mark}" for i in range(images)],
            [file] * images,
            softmax(2 * rng.normal(size=(images, len(classes)))),
            softmax(rng.normal(size=(images if split == "test" else 0, len(classes)))),
        )
        for split, mark in (("test", 0), ("train", 1))
    )
    heat = HeatMaps(kind="first order", rows=3, columns=4)
    return look_closer(test, train, classes, 1.25).model_copy(update={"heat": heat, "heat_reason": ""})


@contextmanager
def undrawn():
    """Pages are made without their drawings, which take most of the time."""
    names = ("accuracy", "recall", "ladder", "curves", "students", "terms", "pareto", "rescue", "pool")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "_figures", lambda report: dict.fromkeys(names, ""))
        for name in ("histogram_figure", "trace_figure"):
            patch.setattr(pages.device_figures, name, lambda *_: None)
        yield


def renamed(stages: dict, names: list[str]) -> dict:
    """The same stages with other class names."""
    for old, new in zip(stages["data"]["classes"], names, strict=True):
        stages = json.loads(json.dumps(stages).replace(json.dumps(old), json.dumps(new)))
    return stages


def with_seeds_links_and_gate(stages: dict) -> dict:
    """The same stages of a run with three seeds, two networks between, a pool, and INT8 that was trained for."""
    stages = json.loads(json.dumps(stages))
    metrics = ("top1_fraction", "balanced_accuracy_fraction")
    evaluated = stages["evaluate"]
    evaluated["seeds"] += [
        {
            "seed": seed,
            **{
                net: {key: evaluated[net][key] - less for key in metrics}
                for net, less in (("baseline", 0.01 * seed), ("student", 0.03 * seed))
            },
        }
        for seed in (1, 2)
    ]
    evaluated["links"] = [
        {"model": model, "parameters": 5_000_000, "top1_fraction": top1, "balanced_accuracy_fraction": top1 - 0.07}
        for model, top1 in (("resnet18", 0.91), ("mobilenetv2_100", 0.88))
    ]
    stages["data"] |= {"pool_images": 444, "pool_of_train": 391}
    stages["distill"]["pool"] = {
        "images": 443,
        "kept": 317,
        "mean_confidence": 0.7364,
        "confidence_quantiles": {"0.1": 0.5497, "0.5": 0.7493, "0.9": 0.9073},
        "kept_by_class": {"good": 198, "dent": 119},
    }
    stages["curve"] = {
        "artifact": {**evaluated["artifact"], "seconds": 61.5},
        "metric": "balanced_accuracy_fraction",
        "labelled_images": 97,
        "points": [
            {
                "share": share,
                "pool_images": round(444 * share),
                "images": 97 + round(444 * share),
                "seed": 0,
                "top1_fraction": score + 0.013,
                "balanced_accuracy_fraction": score,
            }
            for share, score in ((0.0, 0.612), (0.25, 0.703), (1.0, 0.824))
        ],
        "exponent": 0.463,
        "expected": [
            {"times": times, "pool_images": 444 * times, "fraction": score, "interval": [score - 0.05, score + 0.031]}
            for times, score in ((2, 0.866), (5, 0.907))
        ],
    }
    quantize = stages["quantize"]
    quantize["executed"] = "fp32"  # nothing is published for it
    proof = {"images": 137, "ties": 4, "max_relative_logit_difference": 0.0041, "limit": 0.01}
    quantize["typed"] = [
        {**proof, "precision": "fp16", "passed": True, "why": "", "other_class": 0, "file_bytes": 1_480_000},
        {
            **proof,
            "precision": "int8",
            "passed": False,
            "why": "it is too far",
            "other_class": 9,
            "source_relative_logit_difference": 0.0034,
            "file_bytes": 790_000,
        },
    ]
    for number, step in enumerate(quantize["ladder"].values()):
        step["drop_interval_points"] = [-1.25 + number, 2.75 + number]
    quantize["qad"] = {
        "epochs": 4,
        "kept": True,
        "before": {"top1_fraction": 0.71},
        "after": {"top1_fraction": 0.76, "drop_points": 1.0},
    }
    quantize["ptq"] = {
        "fitted_images": 24,
        "held_out_images": 31,
        "sqnr_db": 17.2,
        "steps": [
            {"name": "equalisation", "kept": True, "sqnr_db": 19.5, "gain_db": 1.9},
            {"name": "bias correction", "kept": True, "sqnr_db": 20.1, "gain_db": 2.7},
            {"name": "rounding", "kept": False, "sqnr_db": 16.7, "gain_db": -3.6},
        ],
    }
    quantize["int8_gate"] |= {
        "max_drop_points": 3.0,
        "passed": True,
        "kept_float": ["conv1", "conv2"],
        "curve": [{"float_layers": 2, "drop_points": 2.25}],
    }
    return stages
