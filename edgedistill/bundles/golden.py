"""Golden images without metadata: a bundle is handed on, and a photo's metadata names place, time and camera.

EXIF, GPS, XMP, IPTC, thumbnails, comments, colour profiles and data after the image are removed. What
stays is proved: it is decoded as the board decodes it, and every pixel is that of the original.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator

import cv2
import numpy as np

from edgedistill.errors import BundleError
from edgedistill_device.decode import decode_image
from edgedistill_device.errors import ImageError

_SOI, _EOI, _SOS, _JFIF, _ADOBE = 0xD8, 0xD9, 0xDA, 0xE0, 0xEE
# ITU-T T.81 table B.1: frames, Huffman and arithmetic tables, quantisation, restart interval, lines.
_DECODING = {*range(0xC0, 0xD0), _SOS, 0xDB, 0xDC, 0xDD} - {0xC8}
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}  # PNG specification, section 11
_WEBP_CHUNKS = {b"VP8 ", b"VP8L", b"ALPH"}
_WEBP_ALPHA = 0x10  # the flag of VP8X that stays


def pixels_only(content: bytes, name: str) -> tuple[bytes, str]:
    """An image file without metadata, and the suffix of its format.

    JPEG, PNG and WebP keep their compressed data; everything else, and what cannot be kept so, becomes
    a PNG of the decoded pixels.

    Args:
        content: of a file that `decode_image` reads.
        name: for messages.

    Raises:
        ImageError: not such a file.
        BundleError: nothing that was tried gives the same pixels.
    """
    pixels = decode_image(content, name)
    for stripped, suffix in _candidates(content, pixels):
        with contextlib.suppress(ImageError):
            if np.array_equal(decode_image(stripped, name), pixels):
                return stripped, suffix
    raise BundleError(f"{name}: it cannot be written without its metadata; convert it to PNG")


def _candidates(content: bytes, pixels: np.ndarray) -> Iterator[tuple[bytes, str]]:
    with contextlib.suppress(struct.error, ValueError, IndexError):  # not as the standard says: pixels then
        if content[:2] == b"\xff\xd8":
            segments = list(_jpeg_segments(content))
            # Which way up is told by EXIF alone; which of the eight it is, the proof finds.
            yield from ((_jpeg(segments, orientation), ".jpg") for orientation in range(1, 9))
        elif content[:8] == _PNG:
            yield _png(content), ".png"
        elif content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            yield _webp(content), ".webp"
    grey = (pixels == pixels[:, :, :1]).all()
    written, encoded = cv2.imencode(".png", pixels[:, :, 0] if grey else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    if written:
        yield encoded.tobytes(), ".png"


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, payload) of what a decoder needs, the compressed data with the scan's header."""
    at = 2
    while True:
        if content[at] != 0xFF:
            raise ValueError("no marker")
        while content[at] == 0xFF:  # fill bytes may stand before a marker
            at += 1
        marker, at = content[at], at + 1
        if marker == _EOI:
            return
        (size,) = struct.unpack_from(">H", content, at)
        payload, at = content[at + 2 : at + size], at + size
        if marker == _SOS:
            end = _end_of_scan(content, at)
            payload, at = payload + content[at:end], end
        if marker == _JFIF and payload[:5] == b"JFIF\0":
            yield marker, payload[:12] + b"\0\0"  # no thumbnail
        elif marker == _ADOBE and payload[:5] == b"Adobe":
            yield marker, payload[:12]  # which colours the channels are
        elif marker in _DECODING:
            yield marker, payload


def _end_of_scan(content: bytes, at: int) -> int:
    """Position of the next marker: 0xFF 0x00 is data, 0xD0 to 0xD7 restart within the scan."""
    while True:
        at = content.index(b"\xff", at)
        if content[at + 1] not in {0x00, *range(0xD0, 0xD8)}:
            return at
        at += 2


def _jpeg(segments: list[tuple[int, bytes]], orientation: int) -> bytes:
    out = [b"\xff\xd8"]
    head = sum(marker == _JFIF for marker, _ in segments[:1])  # JFIF stands first
    exif = [] if orientation == 1 else [(0xE1, _exif(orientation))]
    for marker, payload in [*segments[:head], *exif, *segments[head:]]:
        size = len(payload)
        if marker == _SOS:  # of which only the header counts
            size = 2 * payload[0] + 4
        out += [bytes((0xFF, marker)), struct.pack(">H", size + 2), payload]
    return b"".join([*out, b"\xff\xd9"])


def _exif(orientation: int) -> bytes:
    """One IFD with one entry: tag 0x0112, a SHORT."""
    return b"Exif\0\0" + struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def _png(content: bytes) -> bytes:
    out, at = [_PNG], 8
    while True:
        size, kind = struct.unpack_from(">I4s", content, at)
        if at + 12 + size > len(content):
            raise ValueError("cut")
        if kind in _PNG_CHUNKS:
            out.append(content[at : at + 12 + size])
        at += 12 + size
        if kind == b"IEND":
            return b"".join(out)


def _webp(content: bytes) -> bytes:
    """Source: RFC 9649. An animation becomes a PNG of its first frame."""
    chunks, at = [], 12
    end = 8 + struct.unpack_from("<I", content, 4)[0]
    while at + 8 <= end:
        kind, size = struct.unpack_from("<4sI", content, at)
        data = content[at + 8 : at + 8 + size]
        if kind == b"VP8X":
            data = bytes((data[0] & _WEBP_ALPHA, 0, 0, 0)) + data[4:10]
        if kind == b"VP8X" or kind in _WEBP_CHUNKS:
            chunks.append(struct.pack("<4sI", kind, len(data)) + data + b"\0" * (len(data) % 2))
        at += 8 + size + size % 2
    body = b"WEBP" + b"".join(chunks)
    return struct.pack("<4sI", b"RIFF", len(body)) + body
