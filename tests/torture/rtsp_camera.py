"""An RTSP camera of our own: Motion JPEG over RTP (RFC 2435) inside the one TCP connection (RFC 2326), in real time."""

import contextlib
import socket
import struct
import threading
import time

import cv2

CLOCK_HZ, PIECE_BYTES, PAYLOAD_TYPE = 90_000, 1400, 26
SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\na=control:video\r\n"


class RtspCamera:
    """`with RtspCamera(images, fps) as camera: read camera.url`; one viewer, from PLAY on.

    Args:
        images: (height, width, 3) uint8 each, sides divisible by 16; shown in turns.
        fps: frames a second of wall time, whether they are taken or not.
    """

    def __init__(self, images, fps):
        self._frames, self._fps = [parts_of(image) for image in images], fps
        self.sent, self._stop, self._sending = 0, threading.Event(), threading.Lock()

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/live"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def unplug(self):
        self._stop.set()

    def __exit__(self, *_):
        self.unplug()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self):
        with contextlib.suppress(OSError):
            viewer = self._listener.accept()[0]
            player = threading.Thread(target=self._play, args=(viewer,))
            with viewer, viewer.makefile("rb") as heard:
                while request := self._request(heard):
                    self._answer(viewer, *request)
                    if request[0] == "PLAY":
                        player.start()
            self._stop.set()
            if player.ident:
                player.join()

    def _request(self, heard):
        """(method, sequence number) of the next one; reports of the viewer in between are passed over."""
        while (first := heard.read(1)) == b"$":
            heard.read(struct.unpack(">xH", heard.read(3))[0])
        lines = [first + heard.readline()]
        while lines[-1].strip():
            lines.append(heard.readline())
        numbers = [line.split(b":")[1].strip() for line in lines if line.lower().startswith(b"cseq")]
        return (lines[0].split()[0].decode(), numbers[0].decode()) if numbers else None

    def _answer(self, viewer, method, number):
        more = {
            "OPTIONS": ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"],
            "DESCRIBE": ["Content-Type: application/sdp", f"Content-Length: {len(SDP)}"],
            "SETUP": ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1;timeout=60"],
        }.get(method, ["Session: 1"])
        text = "\r\n".join(["RTSP/1.0 200 OK", f"CSeq: {number}", *more, "", ""])
        self._send(viewer, (text + (SDP if method == "DESCRIBE" else "")).encode())

    def _send(self, viewer, content):
        with self._sending:
            viewer.sendall(content)

    def _play(self, viewer):
        start, counter = time.monotonic(), 0
        with contextlib.suppress(OSError):
            while not self._stop.wait(max(0.0, start + self.sent / self._fps - time.monotonic())):
                packets = packets_of(
                    self._frames[self.sent % len(self._frames)], counter, round(self.sent * CLOCK_HZ / self._fps)
                )
                counter += len(packets)
                self._send(viewer, b"".join(struct.pack(">cBH", b"$", 0, len(p)) + p for p in packets))
                self.sent += 1
        with contextlib.suppress(OSError):
            viewer.shutdown(socket.SHUT_RDWR)


def parts_of(image):
    """(width_px, height_px, quantisation tables, scan) of an image as baseline JPEG 4:2:0."""
    done, encoded = cv2.imencode(".jpg", image)
    assert done
    content, at, tables = encoded.tobytes(), 2, {}
    while True:  # from marker to marker, up to the scan
        marker, size = struct.unpack(">xBH", content[at : at + 4])
        body = content[at + 4 : at + 2 + size]
        at += 2 + size
        if marker == 0xDB:
            for start in range(0, len(body), 65):
                tables[body[start]] = body[start + 1 : start + 65]
        if marker == 0xDA:
            height, width = image.shape[:2]
            return width, height, tables[0] + tables[1], content[at:-2]


def packets_of(frame, counter, timestamp):
    """One frame as RTP packets."""
    width, height, tables, scan = frame
    pieces = range(0, len(scan), PIECE_BYTES)
    packets = []
    for number, start in enumerate(pieces):
        last = number == len(pieces) - 1
        rtp = struct.pack(
            ">BBHII", 0x80, PAYLOAD_TYPE | last << 7, (counter + number) & 0xFFFF, timestamp & 0xFFFFFFFF, 1
        )
        jpeg = struct.pack(">IBBBB", start, 1, 255, width // 8, height // 8)
        quantisation = struct.pack(">BBH", 0, 0, len(tables)) + tables if start == 0 else b""
        packets.append(rtp + jpeg + quantisation + scan[start : start + PIECE_BYTES])
    return packets
