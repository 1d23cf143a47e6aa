"""The frames with their class written in, into a video file or out as an RTP stream.

RTP is one-way UDP: nobody has to listen, and nobody is told. RTSP would need a server on the board
(gst-rtsp-server, which JetPack does not bring to Python): see docs/board.md.
"""

import re

from edgedistill_device import imports
from edgedistill_device.board.identity import is_jetson
from edgedistill_device.errors import StreamError
from edgedistill_device.inference.answers import line_of
from edgedistill_device.inference.video import has_gstreamer, name_for_opencv

RTP = "rtp://"
BITRATE = 4000000  # a second, as jetson-inference's default
# Tried in this order: which of them a board has depends on its JetPack and, on an Orin Nano, on a
# chip without an encoder. NVIDIA's take frames from NVMM memory, where nvvidconv puts them.
_NVMM = "video/x-raw, format=BGRx ! nvvidconv ! video/x-raw(memory:NVMM), format=NV12 ! "
ENCODERS = (
    ("nvv4l2h264enc", _NVMM + "nvv4l2h264enc bitrate=%d insert-sps-pps=true ! " % BITRATE),
    ("omxh264enc", _NVMM + "omxh264enc bitrate=%d ! " % BITRATE),
    (
        "x264enc",
        "video/x-raw, format=I420 ! x264enc tune=zerolatency speed-preset=ultrafast "
        "key-int-max=30 bitrate=%d ! " % (BITRATE // 1000),
    ),
)


def parse_rtp(address):
    """(host, port) of `rtp://HOST:PORT`.

    Raises:
        StreamError: no such address, or one that could break out of a GStreamer pipeline.
    """
    match = re.match(r"^rtp://([A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:]+\]):(\d{1,5})\Z", address)
    if not match or not 0 < int(match.group(2)) < 65536:
        raise StreamError("--overlay %s: expected rtp://HOST:PORT, as rtp://laptop:5000" % (address,))
    return match.group(1).strip("[]"), int(match.group(2))


def rtp_pipelines(address, nvidia):
    """GStreamer pipelines for `cv2.VideoWriter`, BGR frames to H.264 in RTP; the best first.

    Args:
        address: as for `parse_rtp`.
        nvidia: True on a Jetson.
    """
    host, port = parse_rtp(address)
    end = "rtph264pay config-interval=1 pt=96 ! udpsink host=%s port=%d sync=false" % (host, port)
    return ["appsrc ! videoconvert ! " + encoder + end for name, encoder in ENCODERS if nvidia or name == "x264enc"]


class Overlay(object):
    """Where the frames go: .mp4 (MPEG-4), .avi (Motion JPEG) or RTP, at the source's rate or 30."""

    def __init__(self, target, capture):
        cv2 = imports.opencv()

        rate = capture.get(cv2.CAP_PROP_FPS)
        self._rate = rate if 1 <= rate <= 240 else 30.0
        self._target, self._writer = target, None
        if target.startswith(RTP):
            parse_rtp(target)
            if not has_gstreamer():
                raise StreamError(
                    "--overlay %s: this OpenCV (%s) was built without GStreamer, which sends RTP; "
                    "JetPack's own OpenCV has it, or name a file" % (target, cv2.__version__)
                )
        elif "://" in target:
            raise StreamError(
                "--overlay %s: expected a file or rtp://HOST:PORT; for RTSP, let a server such as "
                "MediaMTX take the RTP" % (target,)
            )

    def write(self, frame, said):
        """Draws what `answers.answer_of` says of it into `frame`, the smoothed answer where there is one."""
        cv2 = imports.opencv()

        if self._writer is None:
            self._writer = self._open((frame.shape[1], frame.shape[0]))
        text = (said["smoothed"]["class"] or "-") if "smoothed" in said else line_of(said)
        scale = frame.shape[0] / 480.0
        place = (int(10 * scale) + 1, int(30 * scale) + 8)
        for colour, thick in (((0, 0, 0), 4), ((255, 255, 255), 1)):  # a dark rim, light inside
            width = max(1, int(thick * scale))
            cv2.putText(frame, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, width)
        self._writer.write(frame)

    def close(self):
        if self._writer is not None:
            self._writer.release()

    def _open(self, size):
        cv2 = imports.opencv()

        if self._target.startswith(RTP):
            nvidia = is_jetson()
            for pipeline in rtp_pipelines(self._target, nvidia):
                writer = cv2.VideoWriter(pipeline, cv2.CAP_GSTREAMER, 0, self._rate, size)
                if writer.isOpened():
                    return writer
            raise StreamError(
                "--overlay %s: no H.264 encoder opens; GStreamer's own is in gstreamer1.0-plugins-ugly"
                % (self._target,)
            )
        path = name_for_opencv(self._target)
        four = "MJPG" if self._target.lower().endswith(".avi") else "mp4v"
        writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*four), self._rate, size)
        if not writer.isOpened():
            raise StreamError("--overlay %s: cannot be written as .mp4 or .avi" % (self._target,))
        return writer
