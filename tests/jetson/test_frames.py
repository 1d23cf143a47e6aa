"""`frames`: what may be made small is decided by the network's answers, and classify does that and no more."""

import json
import os
import re
import shutil

import cv2
import numpy as np
import pytest

from bundles import SPEC, make_bundle, pretend_verified, reddish_and_greenish, sign
from edgedistill_device.__main__ import main
from edgedistill_device.decode import read_image
from edgedistill_device.engine.runners import open_runner
from edgedistill_device.engine.verify import golden_images, golden_labels
from edgedistill_device.errors import StreamError
from edgedistill_device.inference import frame_verdicts, parity, picture, video
from edgedistill_device.inference.frame_path import Accepted, read_verdicts, write_verdicts
from edgedistill_device.inference.frame_verdicts import frames_verdict, jpeg_verdict
from edgedistill_device.inference.video import Scaled, golden_pipeline, padding_of
from edgedistill_device.manifest import read_manifest
from edgedistill_device.preprocess import resized_size

CAMERA = (160, 120, 30)
SIZE = CAMERA[1::-1]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A bundle whose goldens are JPEG files of a camera's size, larger than the input by five."""
    folder = tmp_path_factory.mktemp("photos") / "bundle"
    return pretend_verified(make_bundle(folder, reddish_and_greenish(20, SIZE), ".jpg"))


@pytest.fixture(autouse=True)
def decoding_is_what_costs(monkeypatch):
    """CPU time is counted in decoded numbers: a busy machine must not decide what is faster."""
    spent = [0.0]

    def counted(*arguments):
        picture = read_image(*arguments)
        spent[0] += picture.size * 1e-8
        return picture

    monkeypatch.setattr(frame_verdicts, "read_image", counted)
    monkeypatch.setattr(parity.time, "process_time", lambda: spent[0])


@pytest.fixture
def bundle(photos, tmp_path):
    """A copy to write into."""
    return str(shutil.copytree(photos, str(tmp_path / "bundle")))


@pytest.fixture(scope="module")
def runner(photos):
    with open_runner("onnxruntime", photos, read_manifest(photos)) as entered:
        yield entered


def verb(capsys, *words):
    capsys.readouterr()
    code = main(list(words))
    out, error = capsys.readouterr()
    assert code == 0, error
    return json.loads(out.splitlines()[-1]), out, error


def classified(capsys, monkeypatch, bundle, *words):
    monkeypatch.setattr("edgedistill_device.inference.progress.Progress.begin", lambda self: None)
    folder = os.path.join(bundle, "golden", "images")
    summary, out, error = verb(capsys, "classify", "--bundle", bundle, "--backend", "onnxruntime", *words, folder)
    return summary, [json.loads(line) for line in out.splitlines()[:-1]], error


def test_jpeg_files_are_decoded_small_once_that_was_tried(bundle, capsys, monkeypatch):
    whole, before, _ = classified(capsys, monkeypatch, bundle)
    assert whole["made_small"] == []
    verdicts, out, _ = verb(capsys, "frames", "--bundle", bundle, "--backend", "onnxruntime")
    assert verdicts["jpeg"]["accepted"] == {"times": 1}
    assert [candidate["images"] for candidate in verdicts["jpeg"]["candidates"]] == [20, 20]
    assert "JPEG files, 1x the needed size: 100.0 % of 20 first classes agree (at least 86.1 %); top-1 1.000, " in out
    small, after, error = classified(capsys, monkeypatch, bundle)
    assert small["made_small"] == ["JPEG files are decoded to no less than 1 times the size that is needed"]
    assert error.count("\n") == 1
    assert [line["path"] for line in after] == [line["path"] for line in before]
    assert [line["top"][0]["class"] for line in after] == ["red"] * 10 + ["green"] * 10
    changes = [abs(a["top"][0]["probability"] - b["top"][0]["probability"]) for a, b in zip(after, before)]
    assert 0 < max(changes) < 0.01  # other pixels, and hardly another answer
    assert classified(capsys, monkeypatch, bundle, "--whole")[1] == before


def test_bench_decodes_as_classify_does(bundle, capsys, monkeypatch):
    heights = set()

    def noted(*arguments):
        picture = read_image(*arguments)
        heights.add(picture.shape[0])
        return picture

    monkeypatch.setattr("edgedistill_device.benchmark.bench.read_image", noted)
    words = ("bench", "--bundle", bundle, "--backend", "onnxruntime", "--runs", "10")
    report, _, _ = verb(capsys, *words)
    assert heights == {SIZE[0]}
    assert not [line for line in report["warnings"] if "JPEG" in line]
    verb(capsys, "frames", "--bundle", bundle, "--backend", "onnxruntime")
    heights.clear()
    report, _, _ = verb(capsys, *words)
    assert heights == {SIZE[0] // 4}  # the smallest of a JPEG that the input of 24 fits in
    line = "JPEG files are decoded to no less than 1 times the size that is needed, as `classify` does"
    assert line in report["warnings"]


def test_what_was_tried_with_another_bundle_or_library_does_not_hold(bundle, runner, capsys, monkeypatch):
    jpeg = {"accepted": {"times": 2}, "why": None, "candidates": []}
    write_verdicts(bundle, runner, {"jpeg": jpeg})
    write_verdicts(bundle, runner, {"frames": {"csi 160x120 none": jpeg}})
    assert read_verdicts(bundle, runner) == ({"jpeg": jpeg, "frames": {"csi 160x120 none": jpeg}}, "")
    monkeypatch.setattr(cv2, "__version__", "4.9.9")
    why_not = read_verdicts(bundle, runner)[1]
    assert "was tried with another opencv; pictures stay whole until it is run again" in why_not
    monkeypatch.undo()
    sign(bundle, serial=2)
    pretend_verified(bundle)
    summary, _, error = classified(capsys, monkeypatch, bundle)
    assert summary["made_small"] == []
    assert "was tried with another manifest_sha256; pictures stay whole" in error


@pytest.mark.parametrize("content", ["", "[]", "{", '{"version": 2}', '{"version": 1, "tried_with": 3}'])
def test_a_record_that_is_none_is_as_none(bundle, runner, content):
    path = os.path.join(bundle, "work", "frame_path.json")
    with open(path, "w") as file:
        file.write(content)
    assert read_verdicts(bundle, runner)[0] is None


def test_files_that_are_no_jpeg_or_too_few_get_no_verdict(tmp_path, runner):
    other = make_bundle(tmp_path / "other", reddish_and_greenish(20, SIZE), ".png")
    verdict = jpeg_verdict(golden_images(other), golden_labels(other), SPEC, runner)
    assert verdict["accepted"] is None
    assert verdict["why"].startswith("0 of 20 golden images are JPEG files of at least twice the size")
    few = make_bundle(tmp_path / "few", reddish_and_greenish(15, SIZE), ".jpg")
    assert jpeg_verdict(golden_images(few), None, SPEC, runner)["why"].startswith("15 of 15 golden images")


@pytest.mark.parametrize(("gain", "accepted"), [(1, {"times": 2}), (100, None)])
def test_a_network_that_notices_gets_larger_ones_or_whole_ones(photos, gain, accepted):
    """It answers by the finest detail, of which one averaging loses a quarter and two gain a thirtieth."""

    class Fine(object):
        def infer(self, batch):
            detail = float(np.abs(np.diff(batch, axis=3)).mean()) / 0.0586  # 1.0 where decoded whole
            return np.array([[0.1, 1 + gain * (detail - 1)]])

    verdict = jpeg_verdict(golden_images(photos), golden_labels(photos), SPEC, Fine())
    assert verdict["accepted"] == accepted
    assert [candidate["passes"] for candidate in verdict["candidates"]] == [False, accepted is not None]
    if accepted is None:
        assert verdict["why"] == "no way of making them small keeps the network's answers and saves CPU time"


class Scaler(object):
    """Stands in for OpenCV's GStreamer and nvvidconv: the golden pipeline's files, averaged to its size.

    A whole frame takes 8 ms of CPU, a small one 2; methods of `broken` give nothing.
    """

    asked, clock, broken = (), [0.0], ()

    def __init__(self, text, api=None):
        Scaler.asked += (text,)
        folder, last = re.search(r'location="(.+)/%05d.jpg" start-index=0 stop-index=(\d+)', text).groups()
        self._files = [os.path.join(folder, "%05d.jpg" % number) for number in range(int(last) + 1)]
        scaled = re.search(r"interpolation-method=(\d) !.* width=\(int\)(\d+), height=\(int\)(\d+) !", text)
        self._method, self._size = 0, None
        if scaled:
            self._method, self._size = int(scaled.group(1)), tuple(int(side) for side in scaled.groups()[1:])

    def read(self, array=None):
        if not self._files or self._method in Scaler.broken:
            return False, None
        frame = cv2.imread(self._files.pop(0))
        Scaler.clock[0] += 0.008 if self._size is None else 0.002
        if self._size is None:
            return True, frame
        method = cv2.INTER_AREA if self._method == 5 else cv2.INTER_NEAREST
        small = cv2.resize(frame, self._size, interpolation=method)
        return True, cv2.copyMakeBorder(small, 0, 0, 0, padding_of(self._size[0]), cv2.BORDER_CONSTANT)

    def release(self):
        pass


@pytest.fixture
def jetson(monkeypatch):
    """A Jetson's OpenCV, as far as golden pipelines go."""
    Scaler.asked, Scaler.clock, Scaler.broken = (), [0.0], ()
    monkeypatch.setattr(cv2, "VideoCapture", Scaler)
    monkeypatch.setattr(parity.time, "process_time", lambda: Scaler.clock[0])
    for module in (video, frame_verdicts):
        monkeypatch.setattr(module, "has_gstreamer", lambda: True)
        monkeypatch.setattr(module, "is_jetson", lambda: True)


def tried(runner, photos, source="csi://0", flip="none", pictures=None):
    pictures = pictures or (golden_images(photos), golden_labels(photos))
    return frames_verdict(source, (CAMERA, flip), pictures, SPEC, runner)


def test_frames_are_scaled_where_the_network_bears_it(jetson, photos, runner, monkeypatch):
    offered = {("/dev/video0", CAMERA): ["jpeg", "raw"]}
    monkeypatch.setattr(frame_verdicts.v4l2, "kinds", lambda place, camera: offered[place, camera])
    for source, kind in (("csi://0", "csi"), ("v4l2:///dev/video0", "jpeg")):
        key, verdict = tried(runner, photos, source)
        assert key == kind + " 160x120 none"
        assert verdict["accepted"] == {"times": 1, "method": 5, "width": 37, "height": 28}
        assert len(verdict["candidates"]) == 10
        first = verdict["candidates"][0]
        assert (first["images"], first["cpu_ms_whole"], first["cpu_ms"]) == (20, pytest.approx(8), pytest.approx(2))
        assert first["top1_fraction"] == 1
    accepted = Accepted(SPEC, {"frames": {key: verdict}})
    assert accepted.scaled("jpeg", (160, 120), "none") == Scaled(37, 28, 5)
    for other in (("csi", (160, 120), "none"), ("jpeg", (320, 240), "none"), ("jpeg", (160, 120), "horizontal")):
        assert accepted.scaled(*other) is None
    assert Accepted(SPEC).scaled("jpeg", (160, 120), "none") is Accepted(SPEC).least() is None


def test_a_method_that_gives_no_frames_is_left_out_and_a_whole_path_that_gives_none_ends_it(jetson, photos, runner):
    Scaler.broken = (2, 5)
    verdict = tried(runner, photos)[1]
    assert verdict["accepted"]["method"] in (1, 3, 4)
    assert [c["how"]["method"] for c in verdict["candidates"] if "why" in c] == [2, 5, 2, 5]
    assert "0 of 20 golden frames came through GStreamer" in verdict["candidates"][1]["why"]
    Scaler.broken = (0,)
    with pytest.raises(StreamError, match="0 of 20 golden frames came through GStreamer"):
        tried(runner, photos)


def test_pictures_smaller_than_a_frame_are_no_golden_frames(jetson, tmp_path, photos, runner):
    """Enlarged they would lack the detail that scaling aliases, and pass where a camera's frames would not."""
    small = make_bundle(tmp_path / "small", reddish_and_greenish(20, (119, 160)), ".jpg")
    verdict = tried(runner, small)[1]
    assert verdict["why"] == (
        "0 pictures are as large as a frame, a verdict needs 16: name a film, folder or camera with --frames"
    )
    verdict = tried(runner, small, pictures=(os.path.join(photos, "golden", "images"), None))[1]
    assert verdict["accepted"] is not None
    assert verdict["candidates"][0]["top1_fraction"] is None


def test_frames_no_larger_than_what_is_needed_stay_whole(jetson, photos, runner):
    pictures = (golden_images(photos), None)
    key, verdict = frames_verdict("csi://0", ((36, 28, 30), "none"), pictures, SPEC, runner)
    assert (verdict["accepted"], verdict["why"]) == (None, "36x28 is not larger than what is needed")


@pytest.mark.parametrize(
    ("kind", "flip", "size"),
    [("csi", "none", (37, 28)), ("csi", "clockwise", (28, 37)), ("jpeg", "clockwise", (37, 28))],
)
def test_a_turned_picture_needs_another_size_and_a_csi_camera_is_turned_while_it_is_scaled(kind, flip, size):
    """The network sees 120 wide and 160 high where it is turned: 28 and 37."""
    way = frame_verdicts._ways((160, 120), kind, flip, SPEC)[0]
    assert (way["width"], way["height"]) == size
    assert resized_size((160, 120), SPEC) == (37, 28)


def test_only_a_jetson_has_frames_to_try(photos, runner, capsys):
    with pytest.raises(StreamError, match="csi://0: frames are scaled by nvvidconv, which is a Jetson's"):
        tried(runner, photos)
    assert main(["frames", "--bundle", photos, "--backend", "onnxruntime", "csi://0"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


GOLDEN = (
    'multifilesrc location="/t/%05d.jpg" start-index=0 stop-index=19 caps="image/jpeg, framerate=(fraction)30/1" '
    "! jpegdec ! "
)
NV12 = "nvvidconv ! video/x-raw(memory:NVMM), format=(string)NV12 ! "
END = "videoconvert ! video/x-raw, format=BGR ! appsink max-buffers=4 sync=false"
SCALED = Scaled(456, 256, 5)
BOTH = "width=(int)456, height=(int)256 ! "
PADDED = "videoconvert ! video/x-raw, format=BGR ! videobox right=-2 ! video/x-raw, format=BGR ! appsink "


@pytest.mark.parametrize(
    ("kind", "flip", "scaled", "expected"),
    [
        ("csi", "none", None, NV12 + "nvvidconv ! video/x-raw, format=BGRx ! "),
        (
            "csi",
            "rotate-180",
            SCALED,
            NV12 + "nvvidconv flip-method=2 interpolation-method=5 ! video/x-raw, format=BGRx, " + BOTH,
        ),
        ("raw", "none", None, "videoconvert ! video/x-raw, format=YUY2 ! "),
        ("jpeg", "none", None, ""),
        (
            "jpeg",
            "rotate-180",
            SCALED,
            "nvvidconv interpolation-method=5 ! video/x-raw(memory:NVMM), format=BGRx, "
            + BOTH
            + "nvvidconv ! video/x-raw, format=BGRx ! ",
        ),
    ],
)
def test_golden_pipelines(kind, flip, scaled, expected):
    assert golden_pipeline("/t", 20, kind, flip, scaled) == GOLDEN + expected + END


def test_rows_that_gstreamer_fills_up_are_filled_with_columns():
    """910 pixels are 2,730 bytes, and GStreamer's next row begins after 2,732."""
    text = golden_pipeline("/t", 20, "csi", "none", Scaled(910, 512, 1))
    assert text.endswith("width=(int)910, height=(int)512 ! " + PADDED + "max-buffers=4 sync=false")
    assert [padding_of(width) for width in (455, 456, 457, 458)] == [1, 0, 3, 2]


def test_the_columns_are_taken_away_and_the_array_is_used_again():
    class Padded(object):
        arrays = []

        def read(self, array=None):
            array = np.zeros((4, 8, 3), np.uint8) if array is None else array
            array[:, :6] = 7
            self.arrays.append(array)
            return len(self.arrays) < 4, array

    capture = picture.Unpadded(Padded(), 6)
    there, first = capture.read()
    assert there
    assert first.shape == (4, 6, 3)
    assert (first == 7).all()
    assert capture.read(first)[1].base is first.base
    assert capture.read()[1].base is not first.base
    assert capture.read(first)[0] is False
