"""What INT8 costs with and without quantization-aware distillation (QAD), on the test images of trained runs.

    python benchmarks/qad.py RUN [RUN ...] [--epochs 5] [--target orin-nano-8gb]

RUN is a folder in which `edgedistill export` has ended. Stage `quantize` is made twice in it, without QAD and with
`quantize.qad_epochs`, of which a tenth of the student's steps is the most. INT8 is simulated in ONNX Runtime. A loss is
the difference of top-1 on the same test images, float less INT8, in points, with its standard error; `all` pools the
images of the runs above it. A file by QAD is in use only where it was better on the validation images.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from edgedistill.config.recipe import Recipe
from edgedistill.data.prepared import open_prepared
from edgedistill.onnx_model.exported_file import preprocess_from_onnx
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.pipeline.runner import run_stages
from edgedistill.progress.reporter import Talk
from edgedistill.records.layout import INT8
from edgedistill_device.preprocess import to_input


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--epochs", type=int, default=5, help="quantize.qad_epochs")
    parser.add_argument("--target", default="orin-nano-8gb", help="a board that executes INT8")
    args = parser.parse_args()
    print("| run | test images | float top-1, % | PTQ: loss | with QAD: loss | QAD's file in use | QAD, s |")
    print("|---|---|---|---|---|---|---|")
    losses: dict[str, list[np.ndarray]] = {"ptq": [], "qad": []}
    for run in args.runs:
        right = right_of(run, run / "export" / "student.onnx")
        _, ptq, seconds = quantized(run, args.target, 0)
        in_use, qad, seconds_with = quantized(run, args.target, args.epochs)
        losses["ptq"].append(right - ptq)
        losses["qad"].append(right - qad)
        cells = [f"{100 * right.mean():.1f}", points(right - ptq), points(right - qad), "yes" if in_use else "no"]
        print(f"| {run} | {len(right)} | {' | '.join(cells)} | {max(0.0, seconds_with - seconds):.0f} |", flush=True)
    pooled = {kind: np.concatenate(of_runs) for kind, of_runs in losses.items()}
    print(f"| all | {len(pooled['ptq'])} | | {points(pooled['ptq'])} | {points(pooled['qad'])} | | |")
    return 0


def quantized(run: Path, target: str, epochs: int) -> tuple[bool, np.ndarray, float]:
    """Whether the INT8 file is QAD's, which test images it has right, (n,) float32, and the stage's seconds."""
    recipe = recipe_of(run)
    of_board = recipe.target.model_copy(update={"device": target, "tensorrt": None})
    how = recipe.quantize.model_copy(update={"qad_epochs": epochs})
    started = time.monotonic()
    path = run_stages(
        recipe.model_copy(update={"target": of_board, "quantize": how}), run, Talk(quiet=True), only="quantize"
    )
    record = json.loads(path.read_text(encoding="utf-8"))
    in_use = bool((record["qad"] or {}).get("kept"))
    return in_use, right_of(run, path.parent / INT8), time.monotonic() - started


def recipe_of(run: Path) -> Recipe:
    return Recipe.model_validate(json.loads((run / "recipe.json").read_text(encoding="utf-8")), strict=False)


def right_of(run: Path, path: Path) -> np.ndarray:
    """(n,) float32: 1 where the file's largest logit of a test image is that of its label."""
    data = json.loads((run / "data" / "data.json").read_text(encoding="utf-8"))
    images, spec = open_prepared(run / "data", recipe_of(run), data["resize_px"]), preprocess_from_onnx(path)
    rows, labels = images.rows("test"), images.labels("test")
    with OnnxSession(path) as session:
        classes = [session.logits(to_input(images.pixels.frame(int(row)), spec)).argmax(1)[0] for row in rows]
    return (np.array(classes) == labels).astype(np.float32)


def points(losses: np.ndarray) -> str:
    error = losses.std(ddof=1) / np.sqrt(len(losses))
    return f"{100 * losses.mean():+.2f} +- {100 * error:.2f}"


if __name__ == "__main__":
    sys.exit(main())
