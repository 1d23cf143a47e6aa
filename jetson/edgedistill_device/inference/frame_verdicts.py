"""Which cheaper ways of making pictures small the network bears: verdicts for `frame_path`, from golden pictures."""

import os
import tempfile

import numpy as np

from edgedistill_device import imports
from edgedistill_device.board.identity import is_jetson
from edgedistill_device.decode import divisor_for, jpeg_frame, read_image
from edgedistill_device.errors import StreamError
from edgedistill_device.inference import v4l2
from edgedistill_device.inference.classify import image_files
from edgedistill_device.inference.frame_path import frame_key, least_of
from edgedistill_device.inference.frames import Frames
from edgedistill_device.inference.parity import FEWEST, MOST_CHANGED, Looks, compared
from edgedistill_device.inference.picture import TURNS, Turned, Unpadded
from edgedistill_device.inference.video import (
    Scaled,
    frame_size,
    golden_pipeline,
    has_gstreamer,
    is_stream,
    kind_of,
    name_for_opencv,
    open_capture,
    parse_source,
)
from edgedistill_device.preprocess import centre_crop, covering_size, resize_to, resized_size

MOST = 128  # pictures of one verdict
APART = 15  # frames of a film or camera between two that are taken: half a second
# What is made small in the cheap way is larger than the network's input so many times; training's own resize does the
# rest. Once saves the most. Twice stays closest, because averaging by two is what training's `area` does too.
TIMES = (1, 2)
# nvvidconv's interpolation-method: bilinear, 5-tap, 10-tap, smart, nicest. 0, its default, takes the nearest pixel.
METHODS = (1, 2, 3, 4, 5)


def jpeg_verdict(paths, labels, spec, runner, most_changed=MOST_CHANGED):
    """Whether JPEG files much larger than the input may be decoded at a half, a quarter or an eighth of their sides.

    Args:
        paths: image files; those that are no JPEG or too small have no part in it.
        labels: (paths,) int, or None.
        most_changed: as for parity.compared.

    Returns:
        A verdict; see frame_path.
    """
    wanted = [least_of(spec, times) for times in TIMES]
    chosen = np.array([number for number, path in enumerate(paths) if _divisor(path, wanted[0]) > 1][:MOST], int)
    if len(chosen) < FEWEST:
        few = "%d of %d golden images are JPEG files of at least twice the size that is needed; a verdict needs %d"
        return _verdict([], few % (len(chosen), len(paths), FEWEST))
    files, candidates = [paths[number] for number in chosen], []
    whole = Looks.at((read_image(path, spec.sixteen_bit) for path in files), spec, runner)
    for times, least in zip(TIMES, wanted):
        part = np.array([number for number, path in enumerate(files) if _divisor(path, least) > 1], int)
        if len(part) >= FEWEST:
            small = Looks.at((read_image(files[number], spec.sixteen_bit, least) for number in part), spec, runner)
            part_labels = None if labels is None else np.asarray(labels)[chosen[part]]
            candidates.append(dict(compared(whole.of(part), small, part_labels, most_changed), how={"times": times}))
    return _verdict(candidates, None)


def _divisor(path, least):
    with open(path, "rb") as file:
        size = jpeg_frame(file.read())
    return divisor_for(size[:2], least) if size else 1


def frames_verdict(source, asked, pictures, spec, runner, most_changed=MOST_CHANGED):
    """Whether `nvvidconv` may scale the frames of a source before the CPU sees them.

    The pictures are put in the place of the camera or decoder, and go through both pipelines of `classify`.

    Args:
        source: `csi://`, `v4l2://`, `rtsp://` or a video.
        asked: (camera, flip) as for video.open_capture.
        pictures: (paths of golden images, labels); or (text, None) that names a film, camera, folder or image.
        most_changed: as for parity.compared.

    Returns:
        (frame_key, verdict).

    Raises:
        StreamError: no Jetson, an OpenCV without GStreamer, a source that cannot be opened, or frames that get lost.
    """
    if not is_jetson() or not has_gstreamer():
        raise StreamError(
            "%s: frames are scaled by nvvidconv, which is a Jetson's, through an OpenCV with GStreamer; here all stay "
            "whole, and nothing has to be tried" % (source,)
        )
    (camera, flip), (kind, size) = asked, _kind_and_size(source, *asked)
    key = frame_key(kind, size, flip)
    with tempfile.TemporaryDirectory() as folder:
        source_of_pictures, labels = pictures
        kept = _write_frames(folder, size, _pictures(source_of_pictures, camera, spec.sixteen_bit))
        labels = None if labels is None else np.asarray(labels)[kept]
        number = len(kept)
        if number < FEWEST:
            few = "%d pictures are as large as a frame, a verdict needs %d: name a film, folder or camera with --frames"
            return key, _verdict([], few % (number, FEWEST))

        def looks(scaled):
            return Looks.at(_through(folder, number, kind, flip, scaled), spec, runner, bgr=True)

        whole, candidates = looks(None), []
        for how in _ways(size, kind, flip, spec):
            scaled = Scaled(how["width"], how["height"], how["method"])
            try:
                candidates.append(dict(compared(whole, looks(scaled), labels, most_changed), how=how))
            except StreamError as error:  # nvvidconv of another JetPack may not know a method or a size
                candidates.append({"how": how, "passes": False, "why": str(error)})
    return key, _verdict(candidates, "%dx%d is not larger than what is needed" % size)


def _verdict(candidates, none):
    """The first way that passes; of several methods of one size, the one that moves the logits least.

    Args:
        none: why there is no candidate.
    """
    passed = [candidate for candidate in candidates if candidate["passes"]]
    if passed:
        first = passed[0]["how"]["times"]
        best = min((c for c in passed if c["how"]["times"] == first), key=lambda c: c["mean_logit_change"])
        return {"accepted": best["how"], "why": None, "candidates": candidates}
    why = "no way of making them small keeps the network's answers and saves CPU time" if candidates else none
    return {"accepted": None, "why": why, "candidates": candidates}


def _kind_and_size(source, camera, flip):
    """(video.kind_of, (width, height)) of a source; a file or stream is opened for it."""
    scheme, place = parse_source(source)
    if scheme in ("csi", "v4l2"):
        return kind_of(scheme, v4l2.kinds(place, camera)[0] if scheme == "v4l2" else None), tuple(camera[:2])
    capture = open_capture(source, camera)
    try:
        return kind_of(scheme, None), frame_size(capture)
    finally:
        capture.release()


def _ways(size, kind, flip, spec):
    """What is tried, the cheapest first: {"times", "method", "width", "height"} of the frames that nvvidconv gives.

    The size is to a pixel what training resizes to, or twice that: half a pixel beside it changes more than the method.
    """
    swap = flip in TURNS
    width, height = size[::-1] if swap else size
    ways = []
    for times in TIMES:
        high, wide = [times * side for side in resized_size((height, width), spec)]
        if wide >= width or high >= height:
            continue
        if swap and kind != "csi":  # turned only after it was read
            wide, high = high, wide
        ways += [{"times": times, "method": method, "width": wide, "height": high} for method in METHODS]
    return ways


def _write_frames(folder, size, pictures):
    """JPEG files of (width, height) for golden_pipeline; the places of the pictures that are as large."""
    cv2 = imports.opencv()
    kept = []
    for number, picture in enumerate(pictures):
        cover = covering_size(picture.shape[:2], size[::-1])
        if cover[0] > picture.shape[0] or cover[1] > picture.shape[1]:  # enlarged, it would lack a camera's detail
            continue
        frame = centre_crop(resize_to(picture, cover, "area"), size[::-1])
        cv2.imwrite(os.path.join(folder, "%05d.jpg" % len(kept)), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        kept.append(number)
        if len(kept) == MOST:
            break
    return kept


def _pictures(source, camera, sixteen_bit):
    """(height, width, 3) uint8, RGB, of image files, a folder, or every APART-th frame of a film or camera."""
    if isinstance(source, str) and is_stream(source):
        frames, due = Frames(source, open_capture(source, camera)), 0
        try:
            for frame in frames:
                if frame.number >= due:
                    due = frame.number + APART
                    yield frame.pixels[:, :, ::-1]
                frames.give_back(frame)
        finally:
            frames.close()
        return
    for path in image_files(source) if isinstance(source, str) else source:
        yield read_image(path, sixteen_bit)


def _through(folder, number, kind, flip, scaled):
    """The frames of a golden pipeline, BGR; arguments as for video.golden_pipeline.

    Raises:
        StreamError: it does not open, or not all of them arrive.
    """
    cv2 = imports.opencv()
    text = golden_pipeline(folder, number, kind, flip, scaled)
    capture, came = cv2.VideoCapture(name_for_opencv(text), cv2.CAP_GSTREAMER), 0
    capture = capture if scaled is None else Unpadded(capture, scaled.width)
    capture = capture if kind == "csi" else Turned(capture, flip)
    try:
        while True:
            there, pixels = capture.read()
            if not there:
                break
            came += 1
            yield pixels
    finally:
        capture.release()
    if came != number:
        raise StreamError("%d of %d golden frames came through GStreamer: %s" % (came, number, text))
