"""How often `bench --against` gives a verdict on a bundle against itself, with real ONNX Runtime sessions.

    .venv/bin/python benchmarks/against_itself.py [--times 40] [--busy 2]

Two sessions of the device tests' tiny bundle, whose calls take some microseconds; `--busy` other processes
keep the cores and their caches at work meanwhile. At most one verdict in twenty is what
`edgedistill_device/benchmark/ab_bench.py` promises.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "tests", "jetson")]

import numpy as np  # noqa: E402

from bundles import make_bundle, pretend_verified  # noqa: E402
from edgedistill_device.benchmark import ab_bench  # noqa: E402
from edgedistill_device.engine.verify import golden_images  # noqa: E402
from edgedistill_device.manifest import read_manifest  # noqa: E402


def keep_busy():
    while True:
        np.random.rand(1 << 20).sort()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--busy", type=int, default=0)
    options = parser.parse_args()
    for _ in range(options.busy):
        multiprocessing.Process(target=keep_busy, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        bundle = make_bundle(os.path.join(folder, "bundle"))
        pretend_verified(bundle)
        side = bundle, read_manifest(bundle)
        verdicts = 0
        for _ in range(options.times):
            with ab_bench.both("onnxruntime", side, side) as (one, two):
                report = ab_bench.compare(bundle, (side[1], one), (side[1], two), golden_images(bundle), 60)
            verdicts += any(row["faster"] for row in report["ratio"].values() if row)
    print(
        f"{verdicts} of {options.times} comparisons of a bundle with itself gave a verdict, "
        f"{options.busy} other processes at work"
    )


if __name__ == "__main__":
    main()
