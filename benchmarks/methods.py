"""Distillation methods side by side on one recipe: a table of test accuracies over seeds.

python benchmarks/methods.py RECIPE.toml RUN_DIR [--seeds 3] [--set section.key=value ...]

Every method takes the same images, teacher, epochs and seeds; the baseline is the student without
a teacher. The figures are the last epoch's on test images that nothing was chosen on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edgedistill.config.loading import load_recipe
from edgedistill.evaluation.intervals import over_seeds
from edgedistill.pipeline.runner import run_stages
from edgedistill.progress.reporter import Talk
from edgedistill.records.evaluation import EvaluationRecord

METHODS = {
    "kd, T = 4": ["loss=kd", "temperature=4"],
    "kd, T = 1, no labels": ["loss=kd", "temperature=1", "kd_weight=1"],
    "kd + pooled features": ["loss=kd", "temperature=4", "feature_weight=0.1"],
    "kd, standardised": ["loss=kd", "temperature=2", "standardise=true"],
    "dkd": ["loss=dkd", "temperature=4"],
    "dist": ["loss=dist", "temperature=1"],
    "wttm": ["loss=wttm", "temperature=4"],
    "mse": ["loss=mse", "kd_weight=0.5"],
    "self, 2 generations": ["method=self", "loss=kd", "temperature=4"],
    "progressive": ["method=progressive", "loss=kd", "temperature=4"],
    "ensemble with resnet18": [
        "method=ensemble",
        "temperature=4",
        'teachers=[{model = "resnet18", weights = "scratch"}]',
    ],
    "kd + relational": ["temperature=4", "feature_loss=relational", "feature_weight=0.1"],
    "kd + fitnet": ["temperature=4", "feature_loss=fitnet", "feature_weight=0.1"],
    "kd + attention": ["temperature=4", "feature_loss=attention", "feature_weight=0.1"],
    "kd + review": ["temperature=4", "feature_loss=review", "feature_weight=0.1"],
    "kd, T = 1, no labels, mixup + cutmix": ["temperature=1", "kd_weight=1", "mixup_alpha=0.2", "cutmix_alpha=1"],
    "data_free": ["method=data_free", "temperature=4", "kd_weight=1"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD")
    parser.add_argument("--set", dest="overrides", action="append", default=[])
    args = parser.parse_args()
    print("| method | teacher | baseline | student | gain | verdict |\n|---|---|---|---|---|---|")
    for name in args.only:
        settings = METHODS[name]
        own = [f"distill.{setting}" for setting in settings]
        own += [f"distill.seeds={args.seeds}", "deploy.allow_below_chance=true"]
        recipe = load_recipe(args.recipe, [*args.overrides, *own])
        # Self-distillation has another teacher: a folder of its own, or all others would be redone.
        folder = args.run_dir / ("self" if recipe.distill.method == "self" else "shared")
        path = run_stages(recipe, folder, Talk(quiet=True), only="evaluate")
        evaluated = EvaluationRecord.from_json(json.loads(path.read_text(encoding="utf-8")), str(path))
        print(row(name, evaluated, recipe.data.metric), flush=True)


def row(name: str, evaluated: EvaluationRecord, metric: str) -> str:
    found = over_seeds(
        [seed.baseline.metric(metric) for seed in evaluated.seeds],
        [seed.student.metric(metric) for seed in evaluated.seeds],
    )
    cells = [
        f"{found[key]['mean_points']:.1f} +- {found[key]['sd_points'] or 0:.1f}"
        for key in ("baseline", "student", "gain")
    ]
    return f"| {name} | {100 * evaluated.teacher.metric(metric):.1f} | {' | '.join(cells)} | {found['sentence']} |"


if __name__ == "__main__":
    main()
