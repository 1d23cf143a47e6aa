"""Names that try to break a page, and stages that carry them."""

import json

HOSTILE = [
    "</script><script>alert(1)</script>",
    "\"quoted\" & 'single' <b>",
    "a" * 500,
    "\N{SNOWMAN} \u65e5\u672c \u202e\x1b",
    "$\\frac{1}{2}$ {{ 7 * 7 }}",
    'url(#x) id="y" #010101 <!-- -->',
]
RIGHT_TO_LEFT = "\u0634\u0642\u0648\u0642"  # cracks, in Arabic


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
    stages["data"]["pool_images"] = 444
    quantize = stages["quantize"]
    quantize["executed"] = "fp32"  # nothing is published for it
    for number, step in enumerate(quantize["ladder"].values()):
        step["drop_interval_points"] = [-1.25 + number, 2.75 + number]
    quantize["qad"] = {
        "epochs": 4,
        "kept": True,
        "before": {"top1_fraction": 0.71},
        "after": {"top1_fraction": 0.76, "drop_points": 1.0},
    }
    quantize["int8_gate"] |= {
        "max_drop_points": 3.0,
        "passed": True,
        "kept_float": ["conv1", "conv2"],
        "curve": [{"float_layers": 2, "drop_points": 2.25}],
    }
    return stages
