"""The board's side for a long time: memory flat, no frame lost, no slower, and it ends when told to."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from bundles import make_bundle, pretend_verified
from rtsp_camera import RtspCamera
from suite_length import rounds

pytestmark = pytest.mark.slow

PYTHON = os.environ.get("EDGEDISTILL_PYTHON36", sys.executable)
SECONDS = rounds(2, 60, 1800)
FRAMES, CLIPS_A_SECOND = 300, 5  # of the video, which is given more often than it can be played
CAMERA_FPS = 30
MOST_GROWTH_MIB = 4.0  # of the line fitted from a fifth of the time on: allocators settle late
MOST_SLOWER = 1.25  # last third over first
MOST_LATE = 15  # frames that a camera has sent and nobody has read, when it ends
SHORT_S = 60  # with less, a clock tick and a neighbour decide: nothing is said of slopes and thirds


class Sample(NamedTuple):
    """What a process is, at one moment."""

    seconds: float
    frames: int
    mib: float  # resident
    cpu_s: float
    files: int
    threads: int


class Row(NamedTuple):
    """One line of the board's: what it is about, and milliseconds, if it is a frame."""

    about: object
    ms: float | None


def drawn(count):
    """Coloured blocks, 640 px wide."""
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 256, (count, 12, 16, 3), dtype=np.uint8)
    return [cv2.resize(each, (640, 480), interpolation=cv2.INTER_NEAREST) for each in blocks]


def video(path):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, (640, 480))
    assert writer.isOpened()
    for image in drawn(FRAMES):
        writer.write(image)
    writer.release()
    return path


class Classifying:
    """`python3 -m edgedistill_device classify` of a bundle, watched from outside."""

    def __init__(self, folder, sources):
        self._lines, self._stats = folder / "lines.jsonl", folder / "stats.json"
        command = [
            PYTHON,
            "-B",
            "-m",
            "edgedistill_device",
            "classify",
            "--backend",
            "onnxruntime",
            "--stats",
            str(self._stats),
            *sources,
        ]
        with open(self._lines, "wb") as out:
            self.process = subprocess.Popen(
                command, cwd=folder / "bundle", stdout=out, stderr=subprocess.PIPE, text=True
            )
        deadline = time.monotonic() + 60
        while not (self._stats.exists() and self._frames()) and time.monotonic() < deadline:
            time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()  # nothing, when it has ended
        self.process.wait()

    def _frames(self):
        return json.loads(self._stats.read_text())["frames"]

    def sample(self):
        place = Path(f"/proc/{self.process.pid}")
        fields = (place / "stat").read_text().rpartition(")")[2].split()
        ticks, pages, threads = int(fields[11]) + int(fields[12]), int(fields[21]), int(fields[17])
        return Sample(
            time.monotonic(),
            self._frames(),
            pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
            ticks / os.sysconf("SC_CLK_TCK"),
            len(os.listdir(place / "fd")),
            threads,
        )

    def watched(self, seconds):
        """A sample a second, or twenty in all."""
        samples, end = [self.sample()], time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(min(1.0, seconds / 20))
            assert self.process.poll() is None, self.process.stderr.read()
            samples.append(self.sample())
        return samples

    def ended(self):
        """(exit code, stderr, Rows, the summary or None), once it is told to."""
        errors, rows, summary = self.process.communicate(timeout=60)[1], [], None
        with open(self._lines, encoding="utf-8") as file:
            for line in map(json.loads, file):
                if "verb" in line:
                    summary = line
                else:
                    rows.append(Row(line.get("frame", os.path.basename(line.get("path", ""))), line.get("ms")))
        return self.process.returncode, errors, rows, summary


def thirds(values):
    size = len(values) // 3
    return values[:size], values[-size:]


def figures_of(samples, rows):
    """What is said of a soak: pairs are of the first third and the last, ms are the board's own."""
    settled = samples[len(samples) // 5 :]
    slope = np.polyfit([s.seconds for s in settled], [s.mib for s in settled], 1)[0]
    parts = [(part[-1], part[0]) for part in thirds(samples)]
    return {
        "seconds": round(samples[-1].seconds - samples[0].seconds),
        "frames": len(rows),
        "fps": [round((b.frames - a.frames) / (b.seconds - a.seconds), 1) for b, a in parts],
        "cpu_ms": [round(1e3 * (b.cpu_s - a.cpu_s) / max(1, b.frames - a.frames), 3) for b, a in parts],
        "ms": [round(float(np.mean([row.ms for row in part if row.ms])), 3) for part in thirds(rows)],
        "mib": [round(samples[0].mib, 2), round(samples[-1].mib, 2)],
        "mib_fitted_growth": round(slope * (settled[-1].seconds - settled[0].seconds), 3),
        "mib_an_hour": round(slope * 3600, 2),
        "open_files": [min(s.files for s in part) for part in thirds(samples)],
        "threads": [min(s.threads for s in part) for part in thirds(samples)],
    }


def require_steady(found):
    """Memory, files and threads do not grow; a frame costs at the end what it cost at the beginning."""
    if found["seconds"] < SHORT_S - 1:
        assert found["mib"][1] - found["mib"][0] < 8 * MOST_GROWTH_MIB, found
        return
    assert found["mib_fitted_growth"] < MOST_GROWTH_MIB, found
    assert found["open_files"][1] <= found["open_files"][0], found
    assert found["threads"][1] <= found["threads"][0], found
    assert found["cpu_ms"][1] < MOST_SLOWER * found["cpu_ms"][0], found


@pytest.mark.timeout(SECONDS + 300)
def test_a_video_and_images_on_and_on_until_told_to_end(tmp_path, tried, said):
    """As fast as it goes; in between the files of a folder, so that both ways in are there."""
    bundle, clip = Path(pretend_verified(make_bundle(tmp_path / "bundle"))), video(tmp_path / "clip.avi")
    images = bundle / "golden" / "images"
    with Classifying(tmp_path, [str(clip), str(images)] * (30 + SECONDS * CLIPS_A_SECOND)) as board:
        samples = board.watched(SECONDS)
        board.process.send_signal(signal.SIGTERM)
        code, errors, rows, summary = board.ended()
    assert code == 0, errors
    round_of = [*range(FRAMES), *sorted(path.name for path in images.iterdir())]
    assert all(row.about == round_of[n % len(round_of)] for n, row in enumerate(rows)), "out of order"
    assert summary["stopped"]
    assert summary["dropped"] == 0
    lost = summary["frames"] - len(rows)
    tried("soak", f"frames of a video, and images, {python()}, SIGTERM", summary["frames"], abs(lost))
    found = figures_of(samples, rows)
    if SECONDS >= SHORT_S:
        said("video", found)
    assert lost == 0
    require_steady(found)


@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("end", ["SIGHUP", *rounds([], ["unplugged"], ["unplugged"])])
def test_a_camera_on_and_on_until_told_to_end(tmp_path, tried, said, end):
    """In real time over RTSP. A frame that came too early to be taken counts as dropped, not as lost."""
    pretend_verified(make_bundle(tmp_path / "bundle"))
    with RtspCamera(drawn(30), CAMERA_FPS) as camera, Classifying(tmp_path, [camera.url]) as board:
        samples = board.watched(SECONDS if end == "SIGHUP" else min(SECONDS, 10))
        if end == "SIGHUP":
            board.process.send_signal(signal.SIGHUP)
        else:
            camera.unplug()
        code, errors, rows, summary = board.ended()
        sent = camera.sent
    numbers = [row.about for row in rows]
    assert numbers == sorted(set(numbers)), "out of order"
    skipped = numbers[-1] + 1 - len(numbers)
    late = sent - numbers[-1] - 1
    if end == "SIGHUP":
        assert code == 0, errors
        assert summary["stopped"]
        lost = max(0, skipped - summary["dropped"]) + abs(summary["frames"] - len(numbers))
    else:
        assert code == 1
        assert "gives no more frames" in errors.strip().splitlines()[-1]
        assert "Traceback" not in errors
        lost = 0 if late <= MOST_LATE else late
    tried("soak", f"frames of an RTSP camera, {python()}, {end}", numbers[-1] + 1, lost)
    found = {**figures_of(samples, rows), "dropped": skipped}
    if SECONDS >= SHORT_S:
        said(f"camera, {end}", found)
    assert lost == 0
    assert 0 <= late <= MOST_LATE, (sent, numbers[-1])
    require_steady(found)
    if found["seconds"] >= SHORT_S:
        assert found["fps"][1] > found["fps"][0] / MOST_SLOWER, found


def python():
    code = "import platform; print(platform.python_version())"
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=True)
    return f"python {done.stdout.strip()}"
