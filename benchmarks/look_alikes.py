"""Peak memory and time of the search for look-alikes, with every pair kept and with a forest.

    python benchmarks/look_alikes.py [--frames 20000] [--pairs-frames 4000]

Frames of one fixed camera are all alike: the number of pairs grows with the square of the frames. Each
way runs in a process of its own, so that its peak is its own; the signatures, 4 KiB a frame, are in both.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np

from edgedistill.data.duplicates import SIDE, alike_pairs, groups_from_pairs, look_alikes


def frames_of(count: int, scenes: int) -> np.ndarray:
    """(count, 1024) float32 signatures: each scene's own picture under noise; within a scene they correlate
    by 0.97 to 0.99."""
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(scenes, SIDE * SIDE)).astype(np.float32)
    found = np.empty((count, SIDE * SIDE), np.float32)
    for number in range(count):
        noise = rng.normal(size=SIDE * SIDE).astype(np.float32) * np.float32(rng.uniform(0.1, 0.17))
        found[number] = pictures[number * scenes // count] + noise
    found -= found.mean(axis=1, keepdims=True)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def measure(way: str, count: int, scenes: int) -> dict[str, float]:
    signatures = frames_of(count, scenes)
    before, start = peak_mib(), time.perf_counter()
    if way == "pairs":
        groups = groups_from_pairs(count, [pair[:2] for pair in alike_pairs(signatures, 0.9)])
        found = {"groups": len(set(groups.tolist()))}
    else:
        alike = look_alikes(signatures, 0.9, ["train"] * count, np.ones(count), max(8, 0.1 * count))
        found = {"groups": count - len(alike.pairs), "bar": alike.similarity}
    return {
        "way": way,
        "frames": count,
        "scenes": scenes,
        **found,
        "seconds": time.perf_counter() - start,
        "before_mib": before,
        "peak_mib": peak_mib(),
    }


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(way: str, count: int, scenes: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--only", way, "--frames", str(count), "--scenes", str(scenes)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    own = found["peak_mib"] - found["before_mib"]
    print(
        f"{way:6} {count:7} frames of {scenes:3} scene(s): {found['seconds']:7.1f} s, peak "
        f"{found['peak_mib']:7.0f} MiB, of them {own:7.0f} MiB above the signatures "
        f"({1024 * own / count:.1f} KiB a frame), {found['groups']} groups",
        flush=True,
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=20_000)
    parser.add_argument("--pairs-frames", type=int, default=4_000, help="for both ways side by side")
    parser.add_argument("--scenes", type=int, default=1)
    parser.add_argument("--only", choices=["pairs", "forest"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        print(json.dumps(measure(args.only, args.frames, args.scenes)))
        return
    few = {way: in_a_process(way, args.pairs_frames, args.scenes) for way in ("pairs", "forest")}
    own = {way: found["peak_mib"] - found["before_mib"] for way, found in few.items()}
    print(
        f"forest over pairs at {args.pairs_frames} frames: {own['forest'] / own['pairs']:.3f} of the memory, "
        f"{few['forest']['seconds'] / few['pairs']['seconds']:.3f} of the time",
        flush=True,
    )
    for scenes in sorted({args.scenes, 12}):
        in_a_process("forest", args.frames, scenes)


if __name__ == "__main__":
    main()
