"""INT8 of a finished run by edgedistill, ONNX Runtime's quantizer, ModelOpt and neural-compressor, on the same images.

    python benchmarks/int8_against_others.py RUN [--network teacher] [--calibrate 128] [--only ROWS] \
        [--modelopt PYTHON] [--neural-compressor PYTHON]

Calibrated on training images of the run, judged on its test images in ONNX Runtime; each is asked for symmetric ranges
and weights per channel, as TensorRT takes them. SQNR and agreement are against the float network. The last two
columns say whether `edgedistill check` has an error for the file on an Orin Nano with that TensorRT; no board is asked.
ModelOpt and neural-compressor are no dependencies: the options name interpreters that have nvidia-modelopt[onnx], and
neural-compressor 2 with onnx 1.15. Prints a table for docs/quantization.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np

from edgedistill.config.recipe import Recipe
from edgedistill.config.target import load_target
from edgedistill.data.prepared import PreparedImages, open_prepared
from edgedistill.errors import EdgeDistillError
from edgedistill.onnx_model.exported_file import preprocess_from_onnx
from edgedistill.onnx_model.preflight import check_onnx
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.quantization.accuracy import sqnr_db
from edgedistill.quantization.ptq import prepared_for_int8, split_images
from edgedistill.quantization.qdq import qdq_from_onnx
from edgedistill.quantization.ranges import Ranges, ranges_from_model
from edgedistill_calibration.select import choose
from edgedistill_device.preprocess import to_input

BINS = 2048  # of ONNX Runtime's entropy calibration, whose default is 128, as many as INT8 has levels
RELEASES = ("8.5", "10.3")
BY_MODELOPT = """
import sys, numpy as np
from modelopt.onnx.quantization import quantize
quantize(sys.argv[1], quantize_mode="int8", calibration_data={"image": np.load(sys.argv[2])}, calibration_eps=["cpu"],
         calibration_method=sys.argv[4], output_path=sys.argv[3], high_precision_dtype="fp32")
"""
BY_NEURAL_COMPRESSOR = """
import sys, numpy as np
from neural_compressor import PostTrainingQuantConfig, quantization
class Images:
    batch_size = 1
    def __init__(self): self.images = np.load(sys.argv[2])
    def __iter__(self): return ((image[None], 0) for image in self.images)
ours = {"scheme": ["sym"], "dtype": ["int8"]}
of_activations = dict(ours, granularity=["per_tensor"], algorithm=[sys.argv[4]])
config = PostTrainingQuantConfig(
    quant_format="QDQ",
    calibration_sampling_size=[len(Images().images)],
    op_type_dict={".*": {"activation": of_activations, "weight": dict(ours, granularity=["per_channel"])}},
)
quantization.fit(sys.argv[1], config, calib_dataloader=Images()).save(sys.argv[3])
"""

FOREIGN = {  # tool -> its script, and names of ways to calibrate
    "ModelOpt": (BY_MODELOPT, ("max", "entropy")),
    "neural-compressor": (BY_NEURAL_COMPRESSOR, ("minmax", "kl")),
}

Writer = Callable[[Path], None]  # writes the INT8 file


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run that has exported")
    parser.add_argument("--network", choices=("student", "teacher"), default="student")
    parser.add_argument("--calibrate", type=int, default=128, help="calibration images")
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--modelopt", metavar="PYTHON", help="which has nvidia-modelopt[onnx]")
    parser.add_argument("--neural-compressor", metavar="PYTHON", help="which has neural-compressor 2 and onnx 1.15")
    args = parser.parse_args()
    path = args.run / "export" / f"{args.network}.onnx"
    images = images_of(args.run)
    calibration, _ = drawn(images, path, "train", args.calibrate)
    test, labels = drawn(images, path, "test", len(images.rows("test")))
    reference = logits(path, test)
    print(f"{path}: {len(calibration)} calibration images, {len(test)} test images\n")
    print("| INT8 by | SQNR, dB | same class, % | top-1, % | seconds | 8.5 | 10.3 |\n|---|---|---|---|---|---|---|")
    print(f"| (float) | | | {percent(reference.argmax(1) == labels)} | | | |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "int8.onnx"
        foreign = {"ModelOpt": args.modelopt, "neural-compressor": args.neural_compressor}
        for name, write in writers(path, calibration, Path(folder), foreign):
            if args.only not in name:
                continue
            out.unlink(missing_ok=True)
            started = time.monotonic()
            try:
                write(out)
                seconds = time.monotonic() - started
                found = logits(out, test)
            except (EdgeDistillError, ValueError, RuntimeError, subprocess.CalledProcessError) as error:
                print(f"| {name} | failed: {str(error).splitlines()[0][:80]} | | | | | |", flush=True)
                continue
            noise = sqnr_db(reference, found)
            same = percent(found.argmax(1) == reference.argmax(1))
            print(
                f"| {name} | {noise:.1f} | {same} | {percent(found.argmax(1) == labels)} | {seconds:.0f} "
                f"| {' | '.join(verdict(out, release) for release in RELEASES)} |",
                flush=True,
            )
    return 0


def images_of(run: Path) -> PreparedImages:
    recipe = Recipe.model_validate(json.loads((run / "recipe.json").read_text(encoding="utf-8")), strict=False)
    data = json.loads((run / "data" / "data.json").read_text(encoding="utf-8"))
    return open_prepared(run / "data", recipe, data["resize_px"])


def drawn(images: PreparedImages, path: Path, split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3, H, W) float32 inputs and (n,) labels, evenly over the classes."""
    spec, rows, labels = preprocess_from_onnx(path), images.rows(split), images.labels(split)
    chosen = choose(labels.tolist(), count, 0)
    return np.concatenate([to_input(images.pixels.frame(int(rows[i])), spec) for i in chosen]), labels[chosen]


def logits(path: Path, images: np.ndarray) -> np.ndarray:
    with OnnxSession(path) as session:
        return session.logits(images)


def writers(
    path: Path, images: np.ndarray, folder: Path, foreign: dict[str, str | None]
) -> Iterator[tuple[str, Writer]]:
    yield "edgedistill, ranges alone", lambda out: by_us(path, images, folder, out, False)
    yield "edgedistill", lambda out: by_us(path, images, folder, out, True)
    for method in ("MinMax", "Entropy", "Percentile"):
        for types in (["Conv"], None):
            named = "Conv only" if types else "all operators"
            yield (
                f"ONNX Runtime, {method}, {named}",
                lambda out, method=method, types=types: by_onnxruntime(path, images, out, method, types),
            )
    for tool, (script, methods) in FOREIGN.items():
        python = foreign[tool]
        for method in methods if python else ():
            yield f"{tool}, {method}", partial(by_another_python, python, script, path, images, method)


def by_us(path: Path, images: np.ndarray, folder: Path, out: Path, better: bool) -> None:
    """With the recipe's defaults."""

    def calibrate(model: Path) -> Ranges:
        return ranges_from_model(model, lambda number: images[number : number + 1], len(images), "mse")

    ranges, weights = calibrate(path), path
    if better:
        fit, held_out = split_images(len(images), 32, images[0, 0].size)
        made = prepared_for_int8(path, ranges, calibrate, images[fit], images[held_out], folder)
        print(f"  {made.record.line}", file=sys.stderr)
        ranges, weights = made.ranges, made.path
    qdq_from_onnx(weights, ranges.kept, out)


def by_onnxruntime(path: Path, images: np.ndarray, out: Path, method: str, types: list[str] | None) -> None:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader, create_calibrator

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(images)

        def get_next(self):
            image = next(self._left, None)
            return None if image is None else {"image": image[np.newaxis]}

    def with_bins(*words, **options):
        if method != "MinMax":
            options["extra_options"] = {**options.get("extra_options", {}), "num_bins": BINS}
        return create_calibrator(*words, **options)

    module = sys.modules[quantize_static.__module__]
    # It passes no number of bins on, and prints.
    with patch.object(module, "create_calibrator", with_bins), redirect_stdout(sys.stderr):
        quantize_static(
            path,
            out,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=types,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[method],
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "AddQDQPairToWeight": True,
            },
        )


def by_another_python(python: str, script: str, path: Path, images: np.ndarray, method: str, out: Path) -> None:
    given = out.with_name("calibration.npy")
    np.save(given, images)
    words = [Path(python).absolute(), "-c", script, path.absolute(), given, out, method]
    subprocess.run(words, check=True, capture_output=True, cwd=out.parent)


def verdict(path: Path, release: str) -> str:
    """`taken`, or the rules that refuse the file."""
    errors = [one for one in check_onnx(path, load_target("orin-nano-8gb", release)) if one.level == "error"]
    rules = sorted({one.rule for one in errors})
    return "refused: " + ", ".join(rules) if rules else "taken"


def percent(hits: np.ndarray) -> str:
    return f"{100 * float(np.mean(hits)):.1f}"


if __name__ == "__main__":
    sys.exit(main())
