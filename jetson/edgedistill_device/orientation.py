"""Which way up an image file says it is: EXIF's tag 0x0112, read here because releases of OpenCV differ.

OpenCV 4.1.1 and 4.5.5 pass over an Exif segment that stands behind XMP or fill bytes, and read none in PNG and WebP;
4.11 and 5 read more of them. The same file must be the same picture on the board and on the workstation.

Sources: Exif 2.32, 4.5 and 4.6.4; PNG, third edition, 11.3.4.3 (eXIf); RFC 9649 (WebP).
"""

import struct

UPRIGHT = 1
_TAG, _SHORT, _LONG = 0x0112, 3, 4
_APP1, _SOS, _EOI, _FILL = 0xE1, 0xDA, 0xD9, 0xFF
_HEADER = b"Exif\0\0"
_PNG = b"\x89PNG\r\n\x1a\n"
_WEBP_HAS_EXIF = 0x08  # of VP8X's flags


def orientation_of(content):
    """Orientation of a JPEG, PNG or WebP; None for other formats, whose decoders turn by themselves.

    Args:
        content: bytes of the file.

    Returns:
        1 to 8, as EXIF has them; 1 where the file says nothing, or where what it says is damaged.
    """
    if content[:2] == b"\xff\xd8":
        exif = _exif_of_jpeg(content)
    elif content[:8] == _PNG:
        exif = _exif_of_png(content)
    elif content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        exif = _exif_of_webp(content)
    else:
        return None
    try:
        return UPRIGHT if exif is None else _orientation_in(exif)
    except struct.error:  # it ends before it says so
        return UPRIGHT


def _exif_of_jpeg(content):
    """The TIFF structure of the first Exif segment before the pixels, or None."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == _FILL:
            at += 1
            continue
        if marker in (_SOS, _EOI):
            return None
        length = int.from_bytes(content[at + 2 : at + 4], "big")
        if marker == _APP1 and content[at + 4 : at + 10] == _HEADER:
            return content[at + 10 : at + 2 + length]
        at += 2 + length
    return None


def _exif_of_png(content):
    at = 8
    while at + 12 <= len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        if kind == b"eXIf":
            return _without_header(content[at + 8 : at + 8 + size])
        if kind == b"IEND":
            return None
        at += 12 + size
    return None


def _exif_of_webp(content):
    if content[12:16] != b"VP8X" or not content[20:21] or not content[20] & _WEBP_HAS_EXIF:
        return None
    at = 12
    while at + 8 <= len(content):
        kind, size = struct.unpack_from("<4sI", content, at)
        if kind == b"EXIF":
            return _without_header(content[at + 8 : at + 8 + size])
        at += 8 + size + size % 2
    return None


def _without_header(exif):
    """Some writers keep the six bytes that only a JPEG needs."""
    return exif[len(_HEADER) :] if exif.startswith(_HEADER) else exif


def _orientation_in(exif):
    """
    Raises:
        struct.error: the structure is cut.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return UPRIGHT
    (at,) = struct.unpack_from(order + "I", exif, 4)
    (entries,) = struct.unpack_from(order + "H", exif, at)
    for entry in range(at + 2, at + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", exif, entry)
        if tag == _TAG:
            if kind not in (_SHORT, _LONG) or count != 1:
                return UPRIGHT
            (value,) = struct.unpack_from(order + ("H" if kind == _SHORT else "I"), exif, entry + 8)
            return value if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT
