"""USB and CSI cameras: what is asked of them, what they give, and what is said when that is nothing."""

import os
import struct
import subprocess

import cv2
import numpy as np
import pytest

from edgedistill_device.errors import StreamError
from edgedistill_device.inference import picture, v4l2, video
from edgedistill_device.inference.frames import Frames
from edgedistill_device.verbs.classify import FLIPS
from optional_tools import lacking, needs

CAMERA = (1280, 720, 30)
# A C270 and an ELP of the kind that most boards have: raw in small, JPEG in large.
WEBCAM = {
    "YUYV": {(640, 480): [(1, 30), (1, 15)], (1280, 720): [(1, 10), (2, 15)]},
    "MJPG": {(640, 480): [(1, 30)], (1280, 720): [(1, 30), (333667, 10000000)]},
    "H264": {(1920, 1080): [(1, 30)]},
}


class Driver(object):
    """Answers the kernel's questions for a camera: {fourcc: {(width, height): [(numerator, denominator)]}}."""

    def __init__(self, offers, stepwise=False):
        self._offers, self._stepwise = offers, stepwise

    def ioctl(self, handle, request, asked):
        index, second, third, fourth = struct.unpack_from("=IIII", asked)
        names = list(self._offers)
        if request == v4l2._ENUM_FMT:
            assert second == 1
            if index >= len(names):
                raise OSError(22, "Invalid argument")
            struct.pack_into("=I", asked, 44, struct.unpack("=I", names[index].encode())[0])
            return
        sizes = self._offers[struct.pack("=I", second).decode()]
        if request == v4l2._ENUM_FRAMESIZES:
            size = sorted(sizes)[index : index + 1]
            if not size or (self._stepwise and index):
                raise OSError(22, "Invalid argument")
            struct.pack_into("=III", asked, 8, 3 if self._stepwise else 1, *size[0])
            return
        rates = sizes[third, fourth][index : index + 1]
        if not rates:
            raise OSError(22, "Invalid argument")
        struct.pack_into("=III", asked, 16, 1, *rates[0])


@pytest.fixture
def camera(monkeypatch, tmp_path):
    """camera(offers): a device file whose driver answers so; its path."""
    path = tmp_path / "video0"
    path.write_bytes(b"")

    def plug(offers, **how):
        monkeypatch.setattr(v4l2.fcntl, "ioctl", Driver(offers, **how).ioctl)
        return str(path)

    return plug


def test_numbers_and_layouts_are_the_kernels(tmp_path):
    needs("cc", "gcc")
    if not os.path.exists("/usr/include/linux/videodev2.h"):
        lacking("header of the kernel", "apt install linux-libc-dev")
    source = tmp_path / "v.c"
    source.write_text(
        "#include <stdio.h>\n#include <stddef.h>\n#include <linux/videodev2.h>\nint main() { printf("
        '"%lx %lx %lx %zu %zu %zu %zu %zu", (unsigned long)VIDIOC_ENUM_FMT, (unsigned long)VIDIOC_ENUM_FRAMESIZES,'
        "(unsigned long)VIDIOC_ENUM_FRAMEINTERVALS, sizeof(struct v4l2_fmtdesc), sizeof(struct v4l2_frmsizeenum),"
        "sizeof(struct v4l2_frmivalenum), offsetof(struct v4l2_fmtdesc, pixelformat),"
        "offsetof(struct v4l2_frmivalenum, discrete)); }\n"
    )
    subprocess.check_call(["cc", str(source), "-o", str(tmp_path / "v")])
    said = subprocess.check_output([str(tmp_path / "v")]).decode().split()
    assert [int(word, 16) for word in said[:3]] == [
        v4l2._ENUM_FMT,
        v4l2._ENUM_FRAMESIZES,
        v4l2._ENUM_FRAMEINTERVALS,
    ]
    assert [int(word) for word in said[3:]] == [64, 44, 52, 44, 20]
    assert [struct.calcsize(layout) for layout in ("=III32sI16x", "=IIIII16x8x", "=IIIIIII16x8x")] == [64, 44, 52]


def test_a_camera_is_asked_for_what_it_offers(camera):
    path = camera(WEBCAM)
    assert v4l2.Mode("MJPG", 640, 480, (30.0,)) in v4l2.modes(path)
    assert v4l2.kinds(path, (1280, 720, 30)) == ["jpeg"]  # raw comes at 10 a second
    assert v4l2.kinds(path, (1280, 720, 10)) == ["raw"]
    assert v4l2.kinds(path, (640, 480, 30)) == ["raw", "jpeg"]
    with pytest.raises(StreamError) as error:
        v4l2.kinds(path, (1920, 1080, 30))
    assert str(error.value).endswith(
        "does not offer 1920x1080@30; name with --camera what it offers: 1280x720@10, 1280x720@30, 640x480@30"
    )


def test_a_camera_of_any_size_and_one_that_cannot_be_asked(camera, tmp_path):
    path = camera({"NV12": {(64, 64): []}}, stepwise=True)
    assert v4l2.kinds(path, CAMERA) == ["raw"]
    assert v4l2.modes(str(tmp_path / "none")) == []
    assert v4l2.kinds(str(tmp_path / "none"), CAMERA) == ["jpeg", "raw"]


def test_a_device_that_is_no_camera_is_tried_both_ways():
    assert v4l2.kinds("/dev/null", CAMERA) == ["jpeg", "raw"]


class Capture(object):
    """What cv2.VideoCapture is given, and whether it opens."""

    opened = ()
    asked = ()

    def __init__(self, text, api=None):
        Capture.asked += (text,)
        self._text = text

    def isOpened(self):
        return any(word in self._text for word in Capture.opened)

    def release(self):
        pass


@pytest.fixture
def opencv(monkeypatch):
    """OpenCV with GStreamer, which opens what has one of these words."""

    def opens(*words):
        Capture.opened, Capture.asked = words, ()

    monkeypatch.setattr(cv2, "VideoCapture", Capture)
    monkeypatch.setattr(video, "has_gstreamer", lambda: True)
    monkeypatch.setattr(video.os.path, "exists", lambda path: True)
    monkeypatch.setattr(video.v4l2, "kinds", lambda path, asked: ["jpeg", "raw"])
    return opens


def test_raw_is_tried_where_jpeg_does_not_open(opencv):
    opencv("video/x-raw, width")
    video.open_capture("v4l2:///dev/video0", CAMERA)
    assert ["jpegdec" in text for text in Capture.asked] == [True, False]
    assert not any("decodebin" in text for text in Capture.asked)
    opencv("jpegdec")
    video.open_capture("v4l2:///dev/video0", CAMERA)
    assert len(Capture.asked) == 1


def test_a_csi_camera_that_does_not_open_says_how_argus_is_freed(opencv):
    opencv()
    with pytest.raises(StreamError) as error:
        video.open_capture("csi://0", CAMERA)
    assert "'Failed to create CaptureSession' run: sudo systemctl restart nvargus-daemon" in str(error.value)
    assert str(error.value).endswith("does it offer --camera 1280x720@30?")
    frames = Frames("csi://0", Zeros(0))
    with pytest.raises(StreamError, match="no more frames after 0; .*restart nvargus-daemon"):
        list(frames)


def test_a_csi_camera_is_turned_by_nvvidconv_and_others_afterwards(opencv):
    opencv("!")
    assert isinstance(video.open_capture("csi://0", CAMERA, "rotate-180"), Capture)
    assert " ! nvvidconv flip-method=2 ! video/x-raw, format=BGRx ! " in Capture.asked[-1]
    assert isinstance(video.open_capture("v4l2:///dev/video0", CAMERA, "rotate-180"), picture.Turned)
    assert "flip" not in Capture.asked[-1]
    assert isinstance(video.open_capture("v4l2:///dev/video0", CAMERA), Capture)


@pytest.mark.parametrize("flip", list(FLIPS))
def test_turned_is_what_opencv_makes_of_it(flip):
    frame = np.random.RandomState(0).randint(0, 255, (4, 6, 3)).astype(np.uint8)
    expected = {
        "none": frame,
        "counterclockwise": cv2.rotate(frame, cv2.ROTATE_90_COUNTERCLOCKWISE),
        "rotate-180": cv2.rotate(frame, cv2.ROTATE_180),
        "clockwise": cv2.rotate(frame, cv2.ROTATE_90_CLOCKWISE),
        "horizontal": cv2.flip(frame, 1),
        "vertical": cv2.flip(frame, 0),
        "upper-left-diagonal": cv2.transpose(frame),
        "upper-right-diagonal": cv2.flip(cv2.transpose(cv2.flip(frame, 1)), 1),
    }[flip]
    found = picture.turned(frame, flip)
    assert found.tolist() == expected.tolist()
    assert found.flags["C_CONTIGUOUS"]


class Zeros(object):
    """Frames of one colour, the last ones another picture where `then` says after how many."""

    def __init__(self, frames, colour=(0, 0, 0), then=None):
        self._left, self._colour, self._then, self._given = frames, colour, then, 0

    def read(self, array=None):
        if self._given == self._left:
            return False, None
        frame = np.empty((48, 64, 3), np.uint8)
        frame[:] = self._colour
        if self._then is not None and self._given >= self._then:
            frame[7, 9] = 200
        self._given += 1
        return True, frame

    def release(self):
        pass


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        ("csi://0", "is the lens covered? else: sudo systemctl restart nvargus-daemon"),
        ("v4l2:///dev/video0", "is the lens covered? else try another size with --camera"),
        ("rtsp://x/y", "does another player show it?"),
    ],
)
@pytest.mark.parametrize("colour", [(0, 0, 0), (0, 154, 0), (255, 255, 255)])
def test_a_camera_of_empty_frames_is_an_error(monkeypatch, source, advice, colour):
    monkeypatch.setattr(picture, "CONSTANT_S", 0.05)
    frames = Frames(source, Zeros(10**7, colour))
    with pytest.raises(StreamError) as error:
        list(frames)
    frames.close()
    said = "frames is one colour (blue %d, green %d, red %d)" % colour
    assert said in str(error.value)
    assert str(error.value).endswith("empty frames; " + advice)


def test_a_file_of_empty_frames_is_an_error_at_its_end():
    seen = iter(Frames("film.mp4", Zeros(8)))
    assert [next(seen).number for _ in range(8)] == list(range(8))
    with pytest.raises(StreamError, match=r"film.mp4: each of its first 8 frames is one colour"):
        next(seen)
    assert len(list(Frames("film.mp4", Zeros(8, then=7)))) == 8  # one that begins in the dark


def test_a_camera_that_begins_with_empty_frames_goes_on(monkeypatch):
    monkeypatch.setattr(picture, "CONSTANT_S", 1e9)
    frames = Frames("csi://0", Zeros(2000, then=20))
    with pytest.raises(StreamError, match="gives no more frames after 2000"):
        list(frames)


def test_two_seconds_and_five_frames_of_one_colour_are_too_many():
    now = [0.0]
    looked, frame = picture.Looked(lambda: now[0]), np.zeros((40, 40, 3), np.uint8)
    for number in range(30):
        looked.at(frame)
        assert looked.empty() is (number >= 20)
        now[0] += 0.1
    other = picture.Looked(lambda: now[0])
    for value in range(5):  # one colour each, and not the same
        other.at(frame + value)
    assert not other.ever()


class AcceptsAll(object):
    """Scaled frames of every kind and size; what was asked, and what came so."""

    def __init__(self):
        self.asked, self.came = [], []

    def scaled(self, kind, size, flip):
        self.asked.append((kind, size, flip))
        return video.Scaled(40, 28, 5)

    def scales(self, scaled):
        self.came.append(scaled)


@pytest.fixture
def jetson(opencv, monkeypatch):
    monkeypatch.setattr(video, "is_jetson", lambda: True)
    monkeypatch.setattr(video, "frame_size", lambda capture: (1920, 1080))
    monkeypatch.setattr(video.os.path, "isfile", lambda path: True)
    return opencv


SMALL = "width=(int)40, height=(int)28"


@pytest.mark.parametrize(
    ("source", "asked", "opened"),
    [
        ("csi://0", ("csi", (1280, 720), "none"), [True]),
        ("v4l2:///dev/video0", ("jpeg", (1280, 720), "none"), [True]),
        ("rtsp://host/live", ("decoded", (1920, 1080), "none"), [False, True]),  # its size is known once it is open
        ("film.mp4", ("decoded", (1920, 1080), "none"), [False, True]),
    ],
)
def test_accepted_sources_are_opened_scaled(jetson, source, asked, opened):
    jetson("!")
    accepted = AcceptsAll()
    video.open_capture(source, CAMERA, accepted=accepted)
    assert set(accepted.asked) == {asked}
    assert accepted.came == [video.Scaled(40, 28, 5)]
    assert [SMALL in text for text in Capture.asked] == opened
    assert all("interpolation-method=5 ! " in text for text in Capture.asked if SMALL in text)


def test_what_does_not_open_scaled_is_opened_whole(jetson):
    """A USB camera's format that nvvidconv does not take: videoconvert does."""
    jetson("jpegdec ! videoconvert")
    accepted = AcceptsAll()
    video.open_capture("v4l2:///dev/video0", CAMERA, accepted=accepted)
    assert [SMALL in text for text in Capture.asked] == [True, False]
    assert accepted.came == []


def test_without_a_jetson_or_where_nothing_is_accepted_frames_are_whole(opencv, jetson, monkeypatch):
    jetson("!")
    for source in ("csi://0", "film.mp4"):
        video.open_capture(source, CAMERA)
    monkeypatch.setattr(video, "is_jetson", lambda: False)
    accepted = AcceptsAll()
    video.open_capture("v4l2:///dev/video0", CAMERA, accepted=accepted)
    assert len(Capture.asked) == 3
    assert not any("interpolation-method" in text for text in Capture.asked)
    assert accepted.asked == []
