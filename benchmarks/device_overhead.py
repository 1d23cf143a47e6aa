"""What our Python costs around one ONNX Runtime session: `infer` + `bench` against a bare loop.

Runs on the board's Python 3.6 too:
    .venv36/bin/python benchmarks/device_overhead.py [BUNDLE]
    .venv/bin/python benchmarks/device_overhead.py runs/quickstart/bundle/bundle

Without a bundle it makes the device tests' tiny one with a 512 px input: a network far lighter than
any that one would deploy, so its ratio is an upper bound. The loops take turns on one core, in
blocks of 10 calls; compared are the fastest blocks, as in timeit: a busy machine only adds. It also
times the preprocessing of a 1280x720 frame and the imports.
Limits (issue 6): 2 % over the bare loop, 50 ms for `import jetson` without numpy.
"""

import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "tests", "jetson")]

import numpy as np  # noqa: E402

from edgedistill_device.benchmark.bench import measure_ms  # noqa: E402
from edgedistill_device.engine.runners import open_runner  # noqa: E402
from edgedistill_device.manifest import read_manifest  # noqa: E402
from edgedistill_device.preprocess import Preparer, to_input, view  # noqa: E402
from edgedistill_device.preprocess_spec import Preprocess  # noqa: E402

BLOCKS, CALLS = 300, 10
IMPORT = (
    "import time, numpy; t = time.process_time(); import edgedistill_device.__main__; print(time.process_time() - t)"
)


def main():
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before ONNX Runtime counts cores
    with tempfile.TemporaryDirectory() as folder:
        overhead(sys.argv[1] if len(sys.argv) > 1 else tiny_bundle(folder))
    preprocessing()
    imports()


def tiny_bundle(folder):
    import bundles
    from tiny_onnx import model_bytes

    path = bundles.make_bundle(os.path.join(folder, "bundle"))
    spec = bundles.SPEC._replace(image_px=512, resize_px=512)
    with open(os.path.join(path, "model.onnx"), "wb") as file:
        file.write(model_bytes(bundles.WEIGHT, bundles.BIAS, 512))
    bundles.sign(path, preprocess=spec, input_shape=(1, 3, 512, 512))
    return path


def overhead(bundle):
    manifest = read_manifest(bundle)
    batch = np.random.RandomState(0).rand(*manifest.input_shape).astype(np.float32)
    names, feeds = [manifest.output_name], {manifest.input_name: batch}
    times = {"bare": [], "ours": []}
    with open_runner("onnxruntime", bundle, manifest) as runner:
        session = runner._session  # the very same one, or threads and arenas would be compared

        def bare():
            for _ in range(CALLS):
                session.run(names, feeds)

        def ours():
            measure_ms(lambda: runner.infer(batch), 0, CALLS)

        for block in range(BLOCKS):
            for loop in (bare, ours) if block % 2 else (ours, bare):
                start = time.perf_counter()
                loop()
                times[loop.__name__].append((time.perf_counter() - start) / CALLS * 1e3)
    low, high = (min(times[name]) for name in ("bare", "ours"))
    print(
        f"overhead of infer + bench: {(high - low) * 1e3:.2f} us a call on {low:.4f} ms, ratio "
        f"{high / low:.4f} (limit 1.02), {manifest.model}, Python {sys.version.split()[0]}"
    )


def preprocessing():
    spec = Preprocess(224, 256, "area", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    frame = np.random.RandomState(0).randint(0, 256, (720, 1280, 3)).astype(np.uint8)
    prepare = Preparer(spec, bgr=True)
    reused = np.median(measure_ms(lambda: prepare(frame), 3, 40))
    fresh = np.median(measure_ms(lambda: to_input(view(frame[:, :, ::-1].copy(), spec), spec), 3, 40))
    print(f"a 1280x720 frame to 224 px: {reused:.2f} ms into the same arrays, {fresh:.2f} ms into new")


def imports():
    taken = []
    for _ in range(5):
        command = [sys.executable, "-c", IMPORT]
        taken.append(float(subprocess.check_output(command, cwd=ROOT)))
    print(f"import jetson without numpy: {min(taken) * 1e3:.1f} ms of CPU (limit 50)")


if __name__ == "__main__":
    main()
