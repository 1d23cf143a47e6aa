"""The board's side for a long time: memory flat, no frame lost, no slower, and it ends when told to."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from bundles import make_bundle
from knobs import rounds

PYTHON = os.environ.get("EDGEDISTILL_PYTHON36", sys.executable)
FRAMES, CLIPS_A_SECOND = 300, 5  # of the video, which is given more often than it can be played
SECONDS = rounds(2, 60, 1800)
MOST_GROWTH_MIB = 4.0  # from a fifth of the time on: allocators settle late
MOST_SLOWER = 1.5  # CPU time a frame, last third over first


def video(path):
    """Coloured blocks, 640 px wide."""
    rng = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (640, 480))
    assert writer.isOpened()
    for _ in range(FRAMES):
        blocks = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        writer.write(cv2.resize(blocks, (640, 480), interpolation=cv2.INTER_NEAREST))
    writer.release()
    return path


def state_of(pid):
    """(resident MiB, CPU seconds) of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20, ticks / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.timeout(SECONDS + 300)
def test_it_classifies_on_and_on_and_ends_when_told(tmp_path, number, tried):
    seconds = SECONDS if number == signal.SIGTERM else min(SECONDS, 10)
    bundle, clip = make_bundle(tmp_path / "bundle"), video(tmp_path / "clip.avi")
    command = [PYTHON, "-B", "-m", "jetson", "classify", "--backend", "onnxruntime", "--stats",
               str(tmp_path / "stats.json"), *[str(clip)] * (30 + seconds * CLIPS_A_SECOND)]  # fmt: skip
    lines = tmp_path / "lines.jsonl"
    with open(lines, "wb") as out:
        process = subprocess.Popen(command, cwd=bundle, stdout=out, stderr=subprocess.PIPE, text=True)
    stats, seen = tmp_path / "stats.json", []
    deadline = time.monotonic() + 60
    while not (stats.exists() and json.loads(stats.read_text())["frames"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    start = time.monotonic()
    while time.monotonic() - start < seconds and process.poll() is None:
        time.sleep(min(1.0, seconds / 20))
        seen.append((json.loads(stats.read_text())["frames"], *state_of(process.pid)))
    assert process.poll() is None, process.stderr.read()
    process.send_signal(number)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 0, errors
    with open(lines, encoding="utf-8") as file:
        rows = (json.loads(line) for line in file)
        *numbers, summary = [row.get("frame", row) for row in rows]
    assert summary["stopped"]
    assert summary["dropped"] == 0
    lost = summary["frames"] - len(numbers)
    assert all(number == place % FRAMES for place, number in enumerate(numbers)), "out of order"
    tried("soak", f"frames on {Path(PYTHON).name} {python_version()}, {signal.Signals(number).name} at the end",
          summary["frames"], abs(lost))  # fmt: skip
    assert lost == 0
    resident = [mib for _, mib, _ in seen]
    growth_mib = resident[-1] - resident[len(resident) // 5]
    assert growth_mib < (MOST_GROWTH_MIB if seconds >= 60 else 8 * MOST_GROWTH_MIB), resident
    if seconds >= 60:  # shorter, a clock tick decides
        third = len(seen) // 3
        cost = [(seen[b][2] - seen[a][2]) / max(1, seen[b][0] - seen[a][0])
                for a, b in ((0, third), (2 * third, len(seen) - 1))]  # fmt: skip
        assert cost[1] < MOST_SLOWER * cost[0], cost


def python_version():
    code = "import platform; print(platform.python_version())"
    return subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
