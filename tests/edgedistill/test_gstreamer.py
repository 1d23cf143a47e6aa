"""jetson's GStreamer pipelines in a real GStreamer.

NVIDIA's elements exist on a Jetson only. Here each is replaced by a stand-in that takes and gives frames
of the same caps (less the NVMM memory); the rest of the string is ours, letter by letter.
"""

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgedistill_device.inference import frame_verdicts
from edgedistill_device.inference.overlay import rtp_pipelines
from edgedistill_device.inference.video import Scaled, golden_pipeline, padding_of, pipeline
from edgedistill_device.preprocess_spec import Preprocess
from optional_tools import lacking, lacking_in_ci_too

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SIZE = (320, 240)
CAMERA = (*SIZE, 30)
FRAMES = 12
SINK = "appsink max-buffers=4 sync=false"
# videoscale's methods that come closest to nvvidconv's bilinear, 5-tap, 10-tap, smart and nicest; none is the same.
SCALE_METHODS = {1: 1, 2: 2, 3: 3, 4: 5, 5: 9}
SCALING = "videoconvert ! video/x-raw,format=BGRx ! videoscale add-borders=false method=%d"
NEEDED = (
    "avidemux",
    "jpegdec",
    "multifilesrc",
    "videobox",
    "videoscale",
    "rtph264pay",
    "rtph264depay",
    "udpsink",
    "rtspsrc",
    "v4l2src",
    "x264enc",
)
DEBIAN = "gstreamer1.0-tools gstreamer1.0-plugins-{base,good,ugly}"


@pytest.fixture(scope="module")
def gstreamer() -> None:
    missing = [] if shutil.which("gst-inspect-1.0") else ["gst-inspect-1.0"]
    missing = missing or [name for name in NEEDED if subprocess.run(["gst-inspect-1.0", "--exists", name]).returncode]
    if missing:
        lacking(", ".join(missing), f"apt install {DEBIAN}")


def stand_in(text: str) -> str:
    """The same string without what only a Jetson has."""
    replaced = (
        (r"nvvidconv interpolation-method=(\d)", lambda found: SCALING % SCALE_METHODS[int(found.group(1))]),
        (r"nvarguscamerasrc sensor-id=\d+", f"videotestsrc pattern=red num-buffers={FRAMES}"),
        (r"\(memory:NVMM\)", ""),
        (r"nvvidconv flip-method=2", "videoflip video-direction=180 ! videoconvert"),
        (r"nvvidconv", "videoconvert"),
        (r"nvv4l2h264enc bitrate=\d+ insert-sps-pps=true", "x264enc tune=zerolatency"),
        (r"omxh264enc bitrate=\d+", "x264enc tune=zerolatency"),
    )
    for pattern, instead in replaced:
        text = re.sub(pattern, instead, text)
    return text


def launch(text: str, timeout_s: float = 60) -> subprocess.CompletedProcess:
    """gst-launch-1.0 takes the very string that cv2 hands to gst_parse_launch."""
    return subprocess.run(["gst-launch-1.0", "-q", *text.split(" ")], capture_output=True, text=True, timeout=timeout_s)


def parsed(text: str) -> str:
    """What gst-launch says of a string whose source cannot be reached; it parses before it opens."""
    done = launch(stand_in(text).replace(SINK, "fakesink"))
    assert done.returncode != 0
    return done.stderr


@pytest.fixture
def video(tmp_path) -> Path:
    """Red frames, then green ones; Motion JPEG as a board's OpenCV writes it."""
    path = tmp_path / "a b.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30.0, SIZE)
    for number in range(FRAMES):
        frame = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        frame[..., 2 if number < FRAMES // 2 else 1] = 220
        writer.write(frame)
    writer.release()
    return path


def raw_frames(text: str, path: Path, size: tuple[int, int] = SIZE) -> np.ndarray:
    """(frames, height, width in whole four bytes, 3) of what arrives at our sink, which a file takes the place of."""
    assert text.endswith(SINK)
    done = launch(stand_in(text).replace(SINK, f"filesink location={path}"))
    assert (done.returncode, done.stderr) == (0, "")
    return np.fromfile(path, np.uint8).reshape(-1, size[1], size[0] + padding_of(size[0]), 3)


def test_a_csi_camera_gives_blue_green_red(gstreamer, tmp_path):
    frames = raw_frames(pipeline("csi://0", CAMERA, nvidia=True), tmp_path / "raw")
    assert len(frames) == FRAMES
    assert frames[..., 2].min() > 200  # red is the last of the three
    assert frames[..., :2].max() < 60


def test_a_csi_camera_is_turned(gstreamer, tmp_path):
    """The stand-in's picture is dark above and bright below."""
    frames = []
    for flip in ("none", "rotate-180"):
        text = pipeline("csi://0", CAMERA, True, flip).replace(
            "nvarguscamerasrc sensor-id=0", "videotestsrc pattern=gradient num-buffers=1"
        )
        frames.append(raw_frames(text, tmp_path / flip)[0].astype(int))
    assert abs(frames[0][::-1, ::-1] - frames[1]).max() <= 2
    assert abs(frames[0] - frames[1]).max() > 200


@pytest.mark.parametrize(
    ("kind", "gives"),
    [
        ("jpeg", "video/x-raw,format=I420 ! jpegenc quality=95"),
        ("raw", "video/x-raw,format=YUY2 ! identity"),
    ],
)
def test_a_usb_camera_gives_blue_green_red(gstreamer, tmp_path, kind, gives):
    """A camera's place is taken by frames of its format; from there on the string is ours."""
    text = pipeline("v4l2:///dev/video0", CAMERA, nvidia=True, kind=kind)
    assert "decodebin" not in text
    camera = f"videotestsrc pattern=red num-buffers={FRAMES} ! {gives}"
    frames = raw_frames(text.replace("v4l2src device=/dev/video0", camera), tmp_path / "raw")
    assert len(frames) == FRAMES
    assert frames[..., 2].min() > 200
    assert frames[..., :2].max() < 60


@pytest.mark.parametrize("nvidia", [False, True])
def test_a_file_gives_every_frame(gstreamer, tmp_path, video, nvidia):
    """Its name has a blank; gst-launch would split it, so a quoted link takes its place."""
    link = tmp_path / "v.avi"
    link.symlink_to(video)
    frames = raw_frames(pipeline(f"file://{link}", CAMERA, nvidia), tmp_path / "raw")
    assert len(frames) == FRAMES
    assert frames[: FRAMES // 2, ..., 2].min() > 180
    assert frames[FRAMES // 2 :, ..., 1].min() > 180


@pytest.mark.parametrize("nvidia", [False, True])
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("v4l2:///dev/video99", "Cannot identify device '/dev/video99'"),
        ("rtsp://127.0.0.1:9/live?a=1&b=2", "Could not open resource"),
        ("file:///none/film.mp4", "No such file"),
    ],
)
def test_sources_are_parsed_before_they_fail(gstreamer, source, said, nvidia):
    error = parsed(pipeline(source, CAMERA, nvidia))
    assert said in error
    assert "erroneous pipeline" not in error


def test_a_misspelt_element_would_be_found(gstreamer):
    text = pipeline("file:///none/film.mp4", CAMERA, False).replace("videoconvert", "videoconvrt")
    assert "erroneous pipeline: no element" in parsed(text)
    text = pipeline("v4l2:///dev/video99", CAMERA, False).replace("device=", "devise=")
    assert "erroneous pipeline: no property" in parsed(text)


@pytest.fixture
def golden_frames(tmp_path) -> Path:
    """JPEG files of a gradient, from left to right in red and from above in green."""
    folder = tmp_path / "golden"
    folder.mkdir()
    for number in range(FRAMES):
        across, down = np.meshgrid(np.linspace(40, 210, SIZE[0]), np.linspace(40, 210, SIZE[1]))
        frame = np.stack([np.full_like(across, 5 * number), down, across], -1)
        cv2.imwrite(str(folder / f"{number:05d}.jpg"), frame.astype(np.uint8))
    return folder


@pytest.mark.parametrize("kind", ["csi", "decoded", "jpeg", "raw"])
def test_golden_frames_arrive_whole_and_scaled(gstreamer, tmp_path, golden_frames, kind):
    """What `frames` compares: the same pictures through the end of both pipelines. The scaler is a stand-in.

    A width of 62 has rows of 186 bytes, which are filled up.
    """
    whole = raw_frames(golden_pipeline(str(golden_frames), FRAMES, kind), tmp_path / "whole")
    assert len(whole) == FRAMES
    assert abs(whole[3].astype(int) - cv2.imread(str(golden_frames / "00003.jpg"))).mean() < 3
    text = golden_pipeline(str(golden_frames), FRAMES, kind, scaled=Scaled(62, 48, 1))
    small = raw_frames(text, tmp_path / "small", (62, 48))
    assert len(small) == FRAMES
    average = cv2.resize(whole[3], (62, 48), interpolation=cv2.INTER_AREA)
    assert abs(small[3, :, :62].astype(int) - average).mean() < 3
    assert small.shape[2] == 64
    assert not small[:, :, 62:].any()


def test_a_csi_camera_is_scaled_before_this_program_sees_it(gstreamer, tmp_path):
    frames = raw_frames(pipeline("csi://0", CAMERA, True, scaled=Scaled(64, 48, 1)), tmp_path / "raw", (64, 48))
    assert len(frames) == FRAMES
    assert frames[..., 2].min() > 200


class GstCapture:
    """OpenCV with GStreamer in the place of pip's without: gst-launch runs the very string, less NVIDIA's elements."""

    folder: Path
    runs = 0

    def __init__(self, text: str, api: int) -> None:
        assert api == cv2.CAP_GSTREAMER
        GstCapture.runs += 1
        size = re.findall(r"width=\(int\)(\d+), height=\(int\)(\d+) !", text)
        size = tuple(int(side) for side in size[-1]) if size else SIZE
        self._frames = iter(raw_frames(text, self.folder / "capture", size))

    def read(self) -> tuple[bool, np.ndarray | None]:
        frame = next(self._frames, None)
        return frame is not None, frame

    def release(self) -> None:
        pass


class MeanColour:
    def infer(self, batch: np.ndarray) -> np.ndarray:
        return 4 + batch.mean(axis=(2, 3))


def test_the_gate_runs_through_a_real_gstreamer(gstreamer, tmp_path, monkeypatch):
    """From pictures to a verdict; what the figures are worth is told by the board's own nvvidconv alone."""
    rng = np.random.default_rng(0)
    for number in range(frame_verdicts.FEWEST):
        picture = cv2.resize(rng.integers(0, 256, (9, 16, 3), dtype=np.uint8), (640, 480))
        picture[..., 2 if number % 2 else 1] |= 128
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    GstCapture.folder, GstCapture.runs = tmp_path, 0
    monkeypatch.setattr(cv2, "VideoCapture", GstCapture)
    for name in ("is_jetson", "has_gstreamer"):
        monkeypatch.setattr(frame_verdicts, name, lambda: True)
    spec = Preprocess(48, 56, "area", (0.5,) * 3, (0.25,) * 3)
    paths = sorted(str(path) for path in tmp_path.glob("*.png"))
    key, verdict = frame_verdicts.frames_verdict("csi://0", (CAMERA, "none"), (paths, None), spec, MeanColour())
    assert key == "csi 320x240 none"
    assert GstCapture.runs == 1 + 2 * len(SCALE_METHODS)
    assert [candidate["images"] for candidate in verdict["candidates"]] == [frame_verdicts.FEWEST] * 10
    sizes = [(c["how"]["times"], c["how"]["width"], c["how"]["height"]) for c in verdict["candidates"]]
    assert sizes == [(1, 75, 56)] * 5 + [(2, 150, 112)] * 5
    bilinear = {c["how"]["times"]: c for c in verdict["candidates"] if c["how"]["method"] == 1}
    assert 0 < bilinear[2]["mean_pixel_difference"] < 1  # a row or column that is off by one gives several times that
    assert all(candidate["mean_logit_change"] < 0.01 for candidate in verdict["candidates"])


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def receiver(port: int, path: Path) -> subprocess.Popen:
    """What docs/board.md tells to run on the laptop, into a file instead of a window."""
    command = (
        f"udpsrc port={port} caps=application/x-rtp,media=video,clock-rate=90000,"
        f"encoding-name=H264,payload=96 ! rtph264depay ! "
        f"video/x-h264,stream-format=byte-stream ! filesink location={path} buffer-mode=2"
    )
    process = subprocess.Popen(["gst-launch-1.0", "-q", *command.split(" ")])
    deadline = time.monotonic() + 20
    while f":{port:04X} " not in Path("/proc/net/udp").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


def received(process: subprocess.Popen, path: Path) -> list[np.ndarray]:
    """The frames that FFmpeg (pip's OpenCV) decodes of what GStreamer received."""
    seen, deadline = -1, time.monotonic() + 20
    while time.monotonic() < deadline:
        size = path.stat().st_size if path.exists() else 0
        if size and size == seen:
            break
        seen = size
        time.sleep(0.3)
    process.terminate()
    process.wait()
    capture, frames = cv2.VideoCapture(str(path)), []
    while (answer := capture.read())[0]:
        frames.append(answer[1])
    return frames


@pytest.mark.parametrize("number", range(3), ids=["nvv4l2h264enc", "omxh264enc", "x264enc"])
def test_the_overlay_arrives_by_rtp(gstreamer, tmp_path, number):
    port = free_port()
    text = rtp_pipelines(f"rtp://127.0.0.1:{port}", nvidia=True)[number]
    frames = f"videotestsrc pattern=red num-buffers={FRAMES} ! video/x-raw,format=BGR,width={SIZE[0]},height={SIZE[1]}"
    path = tmp_path / "seen.h264"
    process = receiver(port, path)
    try:
        done = launch(stand_in(text).replace("appsrc", frames))
        assert (done.returncode, done.stderr) == (0, "")
        seen = received(process, path)
    finally:
        process.kill()
    assert len(seen) == FRAMES
    blue, green, red = seen[-1].reshape(-1, 3).mean(axis=0)
    assert red > 180
    assert max(blue, green) < 80


SYSTEM = """
import sys
import numpy as np
from edgedistill_device.inference.frames import Frames
from edgedistill_device.inference.overlay import Overlay
from edgedistill_device.inference.video import open_capture
capture = open_capture(sys.argv[1], (320, 240, 30))
frames, overlay = Frames(sys.argv[1], capture), Overlay(sys.argv[2], capture)
for number, frame, _ in frames:
    print(number, frame.shape, int(frame[..., 1].mean()), int(frame[..., 2].mean()))
    overlay.write(frame, {"class": "cell", "probability": 0.5})
frames.close()
overlay.close()
"""


def test_debians_opencv_reads_and_sends_through_the_same_code(gstreamer, tmp_path, video):
    """python3-opencv has GStreamer, as JetPack's OpenCV; CI, whose time it would double, does without."""
    probe = "import cv2, sys; sys.exit('GStreamer:                   YES' not in cv2.getBuildInformation())"
    python = "/usr/bin/python3"
    if not os.path.exists(python) or subprocess.run([python, "-Ic", probe], capture_output=True).returncode:
        lacking_in_ci_too("OpenCV with GStreamer", "apt install python3-opencv")
    port, path = free_port(), tmp_path / "seen.h264"
    process = receiver(port, path)
    try:
        done = subprocess.run(
            [python, "-c", SYSTEM, str(video), f"rtp://127.0.0.1:{port}"],
            cwd=ROOT,
            text=True,
            capture_output=True,
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert done.returncode == 0, done.stderr
        seen = received(process, path)
    finally:
        process.kill()
    lines = [line.split(" (240, 320, 3) ") for line in done.stdout.splitlines()]
    assert [int(number) for number, _ in lines] == list(range(FRAMES))
    colours = [[int(value) for value in rest.split()] for _, rest in lines]
    assert all(green < 40 and red > 180 for green, red in colours[: FRAMES // 2])
    assert all(green > 180 and red < 40 for green, red in colours[FRAMES // 2 :])
    assert len(seen) == FRAMES
    assert np.abs(seen[0].astype(int) - seen[0][-1, -1]).max() > 60  # letters on it
