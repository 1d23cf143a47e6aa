import io
import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from bundles import make_bundle, pretend_verified
from edgedistill_device.__main__ import main
from edgedistill_device.engine.runners import open_runner
from edgedistill_device.errors import StreamError
from edgedistill_device.inference import overlay
from edgedistill_device.inference.classify import Asked, classify
from edgedistill_device.inference.decide import answer
from edgedistill_device.inference.frames import Frames
from edgedistill_device.inference.progress import Progress
from edgedistill_device.inference.video import (
    has_gstreamer,
    is_stream,
    name_for_opencv,
    open_capture,
    parse_source,
    pipeline,
)
from edgedistill_device.manifest import read_manifest
from optional_tools import lacking

CAMERA = (1280, 720, 30)
BGR = "videoconvert ! video/x-raw, format=BGR ! appsink max-buffers=4 sync=false"


@pytest.fixture
def bundle(tmp_path):
    return pretend_verified(make_bundle(tmp_path / "bundle"))


def write_video(path, frames=12):
    """Red, then green: the tiny bundle's two classes. Real Motion JPEG."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    assert writer.isOpened()
    for number in range(frames):
        frame = np.full((48, 64, 3), 30, np.uint8)
        frame[..., 2 if number < frames // 2 else 1] = 200
        writer.write(frame)
    writer.release()
    return str(path)


@pytest.mark.parametrize(
    ("source", "nvidia", "expected"),
    [
        (
            "csi://0",
            True,
            "nvarguscamerasrc sensor-id=0 ! video/x-raw(memory:NVMM), width=(int)1280, "
            "height=(int)720, framerate=(fraction)30/1, format=(string)NV12 ! nvvidconv ! "
            "video/x-raw, format=BGRx ! " + BGR,
        ),
        (
            "v4l2:///dev/video0",
            True,
            "v4l2src device=/dev/video0 ! image/jpeg, width=(int)1280, height=(int)720, "
            "framerate=(fraction)30/1 ! jpegdec ! " + BGR,
        ),
        (
            "rtsp://user:pw@host:554/live?a=1&b=2",
            True,
            'rtspsrc location="rtsp://user:pw@host:554/live?a=1&b=2" latency=200 ! decodebin ! '
            "nvvidconv ! video/x-raw, format=BGRx ! " + BGR,
        ),
        ("file:///a b/c.mp4", False, 'filesrc location="/a b/c.mp4" ! decodebin ! ' + BGR),
        ("c.mp4", False, 'filesrc location="c.mp4" ! decodebin ! ' + BGR),
    ],
)
def test_pipelines(source, nvidia, expected):
    assert pipeline(source, CAMERA, nvidia) == expected


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("http://x", "expected a path or one of csi://, v4l2://"),
        ("csi://a", "as csi://0"),
        ("csi://0 ! filesink location=x", "as csi://0"),
        ("v4l2:///etc/passwd", "expected v4l2:///dev/video"),
        ('rtsp://x" ! filesink location="y', "a quote, backslash or control character"),
        ("file://", "nothing after ://"),
        ("a\nb.mp4", "control character"),
    ],
)
def test_sources_that_are_refused(source, line):
    with pytest.raises(StreamError) as error:
        parse_source(source)
    assert line in str(error.value)


def test_a_name_that_is_no_utf8_never_reaches_opencv():
    """It would end in a segmentation fault."""
    assert name_for_opencv("clip.mp4") == "clip.mp4"
    with pytest.raises(StreamError, match="names in UTF-8 only"):
        name_for_opencv(os.fsdecode(b"caf\xe9.mp4"))


def test_what_is_a_stream():
    assert all(is_stream(source) for source in ("csi://0", "a.MP4", "file:///x.jpg"))
    assert not any(is_stream(source) for source in ("a.jpg", "folder", "mp4"))


def test_an_answer_by_hand():
    found = answer(np.log(np.array([1.0, 6.0, 3.0])), ("a", "b", "c"), 2)["top"]
    assert [row["class"] for row in found] == ["b", "c"]
    assert [row["probability"] for row in found] == pytest.approx([0.6, 0.3])


def run(bundle, sources, **options):
    manifest, out = read_manifest(bundle), io.StringIO()
    progress = options.pop("progress", None) or Progress()
    with open_runner("onnxruntime", bundle, manifest) as runner:
        classify(sources, manifest, runner, Asked(top=1, camera=CAMERA, **options), progress, out)
    return [json.loads(line) for line in out.getvalue().splitlines()], progress


def test_a_video_file_is_classified_frame_by_frame(bundle, tmp_path):
    video = write_video(tmp_path / "v.avi")
    lines, progress = run(bundle, [video, "file://" + video])
    assert [line["frame"] for line in lines] == list(range(12)) * 2
    assert [line["top"][0]["class"] for line in lines] == (["red"] * 6 + ["green"] * 6) * 2
    assert (progress.frames, progress.dropped) == (24, 0)
    assert all(line["ms"] > 0 for line in lines)


@pytest.mark.parametrize("suffix", [".avi", ".mp4"])
def test_the_overlay_has_every_frame_with_text(bundle, tmp_path, suffix):
    video, target = write_video(tmp_path / "v.avi"), str(tmp_path / ("o" + suffix))
    run(bundle, [video], overlay=target)
    before, after = cv2.VideoCapture(video), cv2.VideoCapture(target)
    assert after.get(cv2.CAP_PROP_FPS) == 10
    frames = 0
    while True:
        (there, plain), (also, drawn) = before.read(), after.read()
        assert there == also
        if not there:
            break
        frames += 1
        assert np.abs(drawn.astype(int) - plain).max() > 60  # white and black letters
    assert frames == 12


END = "rtph264pay config-interval=1 pt=96 ! udpsink host=laptop.local port=5000 sync=false"


def test_rtp_pipelines():
    (plain,) = overlay.rtp_pipelines("rtp://laptop.local:5000", nvidia=False)
    x264 = "video/x-raw, format=I420 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=4000 ! "
    assert plain == "appsrc ! videoconvert ! " + x264 + END
    nvmm = "appsrc ! videoconvert ! video/x-raw, format=BGRx ! nvvidconv ! video/x-raw(memory:NVMM), format=NV12 ! "
    assert overlay.rtp_pipelines("rtp://laptop.local:5000", nvidia=True) == [
        nvmm + "nvv4l2h264enc bitrate=4000000 insert-sps-pps=true ! " + END,
        nvmm + "omxh264enc bitrate=4000000 ! " + END,
        plain,
    ]
    assert overlay.parse_rtp("rtp://[fe80::1]:5000") == ("fe80::1", 5000)


@pytest.mark.parametrize(
    "address",
    [
        "rtp://laptop",
        "rtp://laptop:0",
        "rtp://laptop:70000",
        "rtp://:5000",
        "rtp://a b:5000",
        "rtp://x port=1 ! filesink location=y:5000",
        "rtp://laptop:5000/path",
        "rtp://-x:5000",
        "rtp://laptop:5000\n",
    ],
)
def test_addresses_that_are_refused(address):
    with pytest.raises(StreamError, match="expected rtp://HOST:PORT"):
        overlay.parse_rtp(address)


def test_an_overlay_that_this_opencv_cannot_send(bundle, tmp_path):
    video = write_video(tmp_path / "v.avi")
    with pytest.raises(StreamError, match="for RTSP, let a server such as MediaMTX take the RTP"):
        run(bundle, [video], overlay="rtsp://laptop:8554/x")
    if not has_gstreamer():
        with pytest.raises(StreamError, match="was built without GStreamer, which sends RTP"):
            run(bundle, [video], overlay="rtp://127.0.0.1:5000")


def test_an_overlay_that_cannot_be_written(bundle, tmp_path):
    video = write_video(tmp_path / "v.avi")
    with pytest.raises(StreamError, match="cannot be written"):
        run(bundle, [video], overlay=str(tmp_path / "none" / "o.avi"))


def test_a_file_that_is_no_video(bundle, tmp_path):
    (tmp_path / "v.mp4").write_bytes(b"no video at all")
    with pytest.raises(StreamError, match=r"v\.mp4: cannot be opened as a video"):
        run(bundle, [str(tmp_path / "v.mp4")])


def test_csi_without_gstreamer_is_one_line():
    if "GStreamer:                   NO" not in cv2.getBuildInformation():
        lacking("OpenCV without GStreamer", "pip install opencv-python-headless")
    with pytest.raises(StreamError, match="built without GStreamer, which CSI cameras need"):
        open_capture("csi://0", CAMERA)


class Camera(object):
    """Gives numbered frames at a rate, as `cv2.VideoCapture` does, then is unplugged."""

    def __init__(self, frames, period_s=0.0, hangs=False):
        self._left, self._period_s, self._hangs = frames, period_s, hangs
        self.given, self.reused, self.released = 0, 0, False

    def read(self, array=None):
        time.sleep(self._period_s)
        if self.given == self._left:
            while self._hangs and not self.released:
                time.sleep(0.01)
            return False, None
        if array is None:
            array = np.empty((4, 4, 3), np.uint8)
        else:
            self.reused += 1
        array[:] = self.given
        self.given += 1
        return True, array

    def release(self):
        self.released = True


def test_a_slow_reader_gets_the_newest_and_counts_the_rest():
    camera = Camera(60, period_s=0.005)
    frames, seen = Frames("csi://0", camera), []

    def use_all():
        for frame in frames:
            time.sleep(0.03)
            assert (frame.pixels == frame.number).all()  # nobody has written into the frame in hand
            seen.append(frame.number)
            frames.give_back(frame)

    with pytest.raises(StreamError, match="gives no more frames after 60; was it unplugged"):
        use_all()
    frames.close()
    assert seen == sorted(set(seen))
    assert frames.dropped > 20
    assert frames.dropped + len(seen) == camera.given == 60
    assert camera.reused >= 57  # three arrays for all of them
    assert camera.released


def test_a_frame_is_handed_on_when_it_comes_and_not_at_the_next_look():
    frames = Frames("csi://0", Camera(40, period_s=0.02))
    with pytest.raises(StreamError, match="gives no more frames after 40"):
        list(frames)
    frames.close()
    assert frames.dropped < 30, "of 40 in 0.8 s; looks are 0.5 s apart"


def test_a_camera_that_hangs_is_one_line():
    camera = Camera(1, hangs=True)
    frames = Frames("rtsp://x", camera, timeout_s=0.5)
    with pytest.raises(StreamError, match="rtsp://x: no frame for"):
        list(frames)
    frames.close()
    assert not camera.released  # its thread is still in the driver: releasing under it would crash
    camera.released = True


def test_a_stop_ends_a_camera_quietly():
    camera = Camera(10**6, period_s=0.001)
    progress = Progress()
    frames, count = Frames("csi://0", camera, progress.tick), 0
    for _ in frames:
        count += 1
        if count == 3:
            progress.stop()
    frames.close()
    assert count == 3
    assert camera.released


def test_stats_are_written_each_second_and_whole(tmp_path):
    now = [0.0]
    path = str(tmp_path / "s.json")
    progress = Progress(path, clock=lambda: now[0])

    def stored():
        with open(path) as file:
            return json.load(file)

    assert stored()["frames"] == 0
    for _ in range(5):
        now[0] += 0.25
        progress.one([{"class": "a"}])
    assert stored()["frames"] == 4  # at the first whole second
    assert stored()["fps"] == pytest.approx(4)
    assert progress.summary("x")["fps"] == pytest.approx(4)
    assert stored()["frames"] == 5


def test_stats_that_fail_later_complain_once(tmp_path, capsys):
    now = [0.0]
    folder = tmp_path / "f"
    folder.mkdir()
    progress = Progress(str(folder / "s.json"), clock=lambda: now[0])
    (folder / "s.json").unlink()
    folder.rmdir()
    for _ in range(3):
        now[0] += 2
        progress.one([])
    assert capsys.readouterr().err.count("cannot be written") == 1


def test_a_camera_that_vanishes_is_one_line_and_exit_code_one(bundle, monkeypatch, capsys):
    monkeypatch.setattr("edgedistill_device.inference.classify.open_capture", lambda *_: Camera(3))
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    try:
        code = main(["classify", "--bundle", bundle, "--backend", "onnxruntime", "csi://0"])
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), before):
            signal.signal(number, handler)
    out, error = capsys.readouterr()
    assert code == 1
    assert error.count("\n") == 1
    assert "csi://0: gives no more frames after 3; was it unplugged?" in error
    assert json.loads(out.splitlines()[-1])["verb"] == "classify"


def test_opencv_reads_into_the_array_that_it_is_given(tmp_path):
    capture = cv2.VideoCapture(write_video(tmp_path / "v.avi"))
    first = capture.read()[1]
    there, second = capture.read(first)
    capture.release()
    assert there
    assert np.shares_memory(first, second)


def test_a_reader_that_goes_away_is_no_traceback(bundle, tmp_path):
    video = write_video(tmp_path / "v.avi", frames=3000)
    process = subprocess.Popen(
        [sys.executable, "-m", "edgedistill_device", "classify", "--backend", "onnxruntime", video],
        cwd=bundle,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=""),
    )
    process.stdout.readline()
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 1
    assert b"Traceback" not in error
    assert b"BrokenPipeError" not in error


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_finishes_the_line_and_exits_with_zero(bundle, tmp_path, number):
    """The video is long: the process is in the middle of it when the signal comes."""
    video = write_video(tmp_path / "v.avi", frames=3000)
    process = subprocess.Popen(
        [sys.executable, "-m", "edgedistill_device", "classify", "--backend", "onnxruntime", video],
        cwd=bundle,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        env=dict(os.environ, PYTHONDONTWRITEBYTECODE="1", PYTHONPATH=""),
    )
    process.stdout.readline()
    process.send_signal(number)
    out, error = process.stdout.read(), process.stderr.read()  # communicate would lose the buffer
    process.stdout.close()
    process.stderr.close()
    assert process.wait(60) == 0, error
    summary = json.loads(out.splitlines()[-1])
    assert summary["stopped"] is True
    assert 0 < summary["frames"] < 3000
    assert "Traceback" not in error
    for line in out.splitlines():
        json.loads(line)
