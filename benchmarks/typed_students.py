"""Does TensorRT for RTX, which knows typed networks alone, build the typed files of every student?

    python benchmarks/typed_students.py [STUDENT ...]

Each student is exported with random weights and BatchNorm statistics, typed in FP16 and in INT8 with FP16 around it,
compared with float on random images in ONNX Runtime, held against the rules of the newest TensorRT, and built on this
CPU. One line a file; exit code 1 if one is not built. No board is asked. Random weights say nothing about accuracy or
overflow: `difference` is there to compare, and a network of random weights may miss the limit that a trained one keeps.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgedistill.config.target import load_target, releases
from edgedistill.models.families import STUDENTS
from edgedistill.models.students import IMAGE_PX, SEED
from edgedistill.onnx_model.compile import compile_onnx
from edgedistill.onnx_model.export import onnx_from_model
from edgedistill.onnx_model.preflight import check_onnx
from edgedistill.onnx_model.student_table import randomised
from edgedistill.quantization.fp16_range import largest_of_every_tensor
from edgedistill.quantization.qdq import qdq_from_onnx
from edgedistill.quantization.ranges import ranges_from_model
from edgedistill.quantization.typed import Proof, typed_fp16, typed_int8

IMAGES = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("students", nargs="*", default=STUDENTS, metavar="STUDENT")
    failed = 0
    print(
        f"{'student':34}{'file':6}{'MB':>7}{'of float':>9}{'float32 layers':>15}{'difference':>12}  verdict", flush=True
    )
    for name in parser.parse_args().students:
        for row in rows_of(name):
            failed += row["verdict"] != "builds"
            print(
                f"{name:34}{row['precision']:6}{row['bytes'] / 1e6:7.1f}{row['share']:9.0%}{row['float32_layers']:15}"
                f"{row['difference'] or float('nan'):12.1e}  {row['verdict']}",
                flush=True,
            )
    return int(failed > 0)


def rows_of(name: str, image_px: int = IMAGE_PX) -> Iterator[dict[str, Any]]:
    """A row for each typed file of a student: precision, bytes, share (of the float file), float32_layers (how many),
    difference (largest logit difference over the largest logit), verdict ("builds", or why not)."""
    images = np.random.default_rng(SEED).normal(size=(IMAGES, 3, image_px, image_px)).astype(np.float32)
    target = load_target("orin-nano-8gb", next(name for name, release in releases().items() if release.typed))
    with tempfile.TemporaryDirectory() as folder:
        path, int8, out = (Path(folder) / file for file in ("m.onnx", "q.onnx", "typed.onnx"))
        onnx_from_model(randomised(name), images[:2], path, {})
        ranges = ranges_from_model(path, lambda number: images[number : number + 1], IMAGES, "mse")
        qdq_from_onnx(path, ranges.kept, int8, int8_weights=True)
        proof = Proof(path, images)
        largest = largest_of_every_tensor(path, lambda number: images[number : number + 1], IMAGES)
        for precision in ("fp16", "int8"):
            made = typed_fp16(proof, largest, out) if precision == "fp16" else typed_int8(proof, int8, largest, out)
            faults = [finding.why for finding in check_onnx(out, target) if finding.level == "error"]
            built = {"verdict": "refused by the rules", "said": faults} if faults else compile_onnx(out)
            yield {
                "precision": precision,
                "bytes": out.stat().st_size,
                "share": out.stat().st_size / path.stat().st_size,
                "float32_layers": len(made.float32_layers),
                "difference": made.max_relative_logit_difference,
                "verdict": "; ".join([built["verdict"], *built["said"]]),
            }


if __name__ == "__main__":
    sys.exit(main())
