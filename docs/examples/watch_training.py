"""Train a student and be told of every epoch, for a dashboard or a notebook of your own.

python watch_training.py RECIPE.toml RUN_DIR
"""

import sys

import edgedistill


def main(recipe: str, run_dir: str, **sections) -> list[float]:
    curve = []

    def told(event: dict) -> None:
        if event["event"] == "epoch" and event["stage"] == "distill":
            curve.append(event["eval_top1_fraction"])
            print(f"epoch {event['epoch']}/{event['epochs']}: {curve[-1]:.3f}, best {event['best']:.3f}")

    edgedistill.distill(recipe, run_dir=run_dir, quiet=True, events=told, **sections)
    return curve


if __name__ == "__main__":
    main(*sys.argv[1:])
