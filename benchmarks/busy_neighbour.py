"""Training on the cores that another program leaves: images a second by threads, with and without a busy neighbour.

python benchmarks/busy_neighbour.py [--rounds 3] [--steps 20]

mobilenetv3_small_100, 128 px, batches of 32, forward, backward and AdamW; each figure is a process of its own, in turn
within a round. "measured" measures first, as a training does. The neighbour is one process that only computes. The last
line compares with one thread alone, for each core that the neighbour leaves.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

BATCH, PX, WARM_UP = 32, 128, 3
WAYS = {"one thread": "1", "a thread a core": str(os.cpu_count()), "measured": "0"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, help="train with so many in this process, and print images a second")
    args = parser.parse_args()
    if args.threads is not None:
        print(rate(args.threads, args.steps))
        return
    found: dict[tuple[str, bool], list[float]] = {(way, busy): [] for busy in (False, True) for way in WAYS}
    for _ in range(args.rounds):
        for (way, busy), rates in found.items():
            neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
            words = [sys.executable, __file__, "--threads", WAYS[way], "--steps", str(args.steps)]
            rates.append(float(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[-1]))
            if neighbour is not None:
                neighbour.kill()
                neighbour.wait()
    for (way, busy), rates in found.items():
        beside = "beside one busy process" if busy else "alone"
        print(f"{way:16} {beside:24} {statistics.median(rates):6.1f} images/s ({min(rates):.1f} to {max(rates):.1f})")
    left = max(1, (os.cpu_count() or 1) - 1)
    one, beside = (statistics.median(found[key]) for key in (("one thread", False), ("measured", True)))
    print(f"measured, beside, of {left} undisturbed cores: {beside / one / left:.2f}; load {os.getloadavg()[0]:.1f}")


def rate(threads: int, steps: int) -> float:
    """Images a second of this process."""
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the command line does
    os.environ.pop("OMP_NUM_THREADS", None)
    import torch

    from edgedistill.config.deployment import RunConfig
    from edgedistill.models.build import build_model, outputs
    from edgedistill.training.fit import device_of

    device_of(RunConfig(device="cpu", threads=threads), lambda line: print(line, file=sys.stderr))
    model = build_model("mobilenetv3_small_100", 10).to(memory_format=torch.channels_last)
    images = torch.randn(BATCH, 3, PX, PX).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for number in range(WARM_UP + steps):
        if number == WARM_UP:
            start = time.monotonic()
        optimizer.zero_grad()
        outputs(model, images)[0].square().mean().backward()
        optimizer.step()
    return steps * BATCH / (time.monotonic() - start)


if __name__ == "__main__":
    main()
