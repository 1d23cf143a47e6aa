"""Which temperature and which loss: students on one cached teacher, compared on validation images.

python sweep_settings.py RECIPE.toml RUN_DIR
"""

import sys

import edgedistill

OVER = {"distill.temperature": [1.0, 4.0], "distill.loss": ["kd", "dist"]}


def main(recipe: str, run_dir: str, over: dict | None = None) -> dict:
    found = edgedistill.sweep(recipe, over or OVER, run_dir=run_dir, quiet=True)
    for trial in found["trials"]:
        print(f"{trial['value']:.4f} {trial['settings']} ({trial['state']})")
    print(f"one seed each, by {found['metric']}; the best one is in {run_dir}/sweep/best.toml")
    return found["best"]["settings"]


if __name__ == "__main__":
    main(*sys.argv[1:])
