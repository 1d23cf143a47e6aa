"""INT8 ranges against plain inference of the same images: time as a ratio, and memory.

python benchmarks/calibration_speed.py [--model mobilenetv3_small_100] [--px 224 128] [--images 512]

Plain is ONNX Runtime with the exported file, one image a call, all images, the session made
before. Quantizing is everything from the float file to the INT8 file: histograms, MSE thresholds,
Q/DQ. Both take random images that are made beforehand. Each time is the least of --repeats, taken in
turn; `cpu` is processor time of all threads, `wall` what a clock says. Memory is the peak of a
process of its own for each number of images.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from edgedistill.onnx_model.session import OnnxSession
from edgedistill.quantization.qdq import qdq_from_onnx
from edgedistill.quantization.ranges import histograms_from_model, ranges_from_histograms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mobilenetv3_small_100")
    parser.add_argument("--px", type=int, nargs="+", default=[224, 128])
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    rows = []
    for px in args.px:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "float.onnx"
            path.write_bytes(exported(args.model, px))
            images = drawn(px)
            plain, quantizing = [], []
            for _ in range(args.repeats):
                plain.append(timed(lambda: infer(path, images, args.images)))  # noqa: B023
                quantizing.append(timed(lambda: quantize(path, images, args.images)))  # noqa: B023
            row = {"model": args.model, "image_px": px, "images": args.images}
            for place, clock in enumerate(("wall", "cpu")):
                seconds = [min(found[place] for found in runs) for runs in (plain, quantizing)]
                row |= {
                    f"plain_{clock}_s": round(seconds[0], 3),
                    f"quantize_{clock}_s": round(seconds[1], 3),
                    f"{clock}_ratio": round(seconds[1] / seconds[0], 2),
                }
            row["peak_mib"] = {str(count): peak_mib(path, px, count) for count in (16, 256)}
            rows.append(row)
            print(row, file=sys.stderr)
    print(json.dumps(rows))


def exported(model: str, px: int) -> bytes:
    """The network with random weights: speed does not depend on them."""
    import torch

    from edgedistill.models.weights import model_from_weights
    from edgedistill.onnx_model.export import onnx_from_model

    torch.manual_seed(0)
    net = model_from_weights(model, "scratch", list("abcdef"), will_train=True).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        onnx_from_model(net, drawn(px)[:1], path, {})
        return path.read_bytes()


def drawn(px: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(16, 3, px, px)).astype(np.float32)


def infer(path: Path, images: np.ndarray, count: int) -> None:
    with OnnxSession(path) as session:
        for number in range(count):
            session.run(images[number % 16, np.newaxis])


def quantize(path: Path, images: np.ndarray, count: int) -> None:
    found = histograms_from_model(path, lambda number: images[number % 16, np.newaxis], count)
    ranges = ranges_from_histograms(path, found, "mse")
    qdq_from_onnx(path, ranges.kept, path.with_name("int8.onnx"))


def timed(work) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak_mib(path: Path, px: int, count: int) -> float:
    """Peak resident memory of a process that only quantizes (ru_maxrss would be its parent's)."""
    program = (
        "import sys, re; sys.path[:0] = sys.argv[1:3]; import calibration_speed as c; "
        "from pathlib import Path; c.quantize(Path(sys.argv[3]), c.drawn(int(sys.argv[4])), "
        "int(sys.argv[5])); "
        "print(re.search('VmHWM: *\\t*(.*) kB', open('/proc/self/status').read()).group(1))"
    )
    here = Path(__file__).resolve().parent
    words = [
        sys.executable,
        "-c",
        program,
        str(here),
        str(here.parent),
        str(path),
        str(px),
        str(count),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return round(int(done.stdout) / 1024, 1)


if __name__ == "__main__":
    main()
