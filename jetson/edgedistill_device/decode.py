"""From the bytes of an image file to pixels: one function for the board and the workstation."""

import functools
import os
import re
import stat
import struct
import tempfile

import numpy as np

from edgedistill_device import MOST_PIXELS, imports
from edgedistill_device.errors import ImageError
from edgedistill_device.orientation import orientation_of
from edgedistill_device.preprocess_spec import FULL_RANGE

MOST_ASPECT = 64  # long over short side: the short one is brought to hundreds of pixels
DIVISORS = (8, 4, 2)  # of a JPEG's sides: libjpeg then computes fewer pixels of each block
_FLIPS = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}  # EXIF's orientation -> cv2.flip's axis, after 5 to 8 are transposed

_PNG, _IEND_CRC = b"\x89PNG\r\n\x1a\n", b"\xaeB`\x82"
# After entropy-coded data: any marker but a stuffed zero and the restart markers, from its last fill byte. A pattern
# that began with \xff+ would find the same in twenty times the time: `re` leaps to a first byte only.
_NEXT_MARKER = re.compile(b"\xff[^\x00\xff\xd0-\xd7]")
_NO_FILL = re.compile(b"[^\xff]")
_ALONE = frozenset([0x01] + list(range(0xD0, 0xD8)))  # JPEG markers without a segment
# What may stand between two scans: DHT, EOI, SOS, DQT, DNL, DRI, APPn, COM.
_BETWEEN_SCANS = frozenset([0xC4, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE] + list(range(0xE0, 0xF0)))


def read_image(path, sixteen_bit=FULL_RANGE, least=None):
    """Decode an image file; see `decode_image`.

    Raises:
        ImageError: unreadable, or what `decode_image` refuses.
    """
    try:
        if not stat.S_ISREG(os.stat(str(path)).st_mode):  # a pipe or a device may never end
            raise ImageError("%s: not a regular file" % (path,))
        with open(str(path), "rb") as file:
            content = file.read()
    except (IOError, OSError) as error:
        raise ImageError("%s: cannot be read: %s" % (path, error.strerror))
    return decode_image(content, path, sixteen_bit, least)


def decode_image(content, name, sixteen_bit=FULL_RANGE, least=None):
    """Decode the bytes of an image file to 8 bits a channel; see `decode_raw`.

    Args:
        content: of a file that OpenCV reads.
        name: for messages.
        sixteen_bit: (low, high), the 16-bit values that become 0 and 255; see `to_eight_bits`.
        least: as for `decode_raw`.

    Returns:
        (height, width, 3) uint8, RGB.

    Raises:
        ImageError: as `decode_raw`.
    """
    return to_eight_bits(decode_raw(content, name, least), sixteen_bit)


def to_eight_bits(image, sixteen_bit=FULL_RANGE):
    """The 8-bit image itself, or a 16-bit one mapped to 0..255 linearly.

    Args:
        image: uint8 or uint16.
        sixteen_bit: (low, high): low and all below becomes 0, high and all above 255, rounded
            down. The full range divides by 257.

    Returns:
        uint8, same shape.
    """
    if image.dtype == np.uint8:
        return image
    return _table(*sixteen_bit)[image]


@functools.lru_cache(maxsize=4)
def _table(low, high):
    """(65536,) uint8, in integers: the same on every machine."""
    values = np.clip(np.arange(65536, dtype=np.int64), low, high)
    return ((values - low) * 255 // (high - low)).astype(np.uint8)


def decode_raw(content, name, least=None):
    """Decode the bytes of an image file.

    Grey becomes three equal channels, alpha is dropped, EXIF orientation is applied, an animation
    gives its first frame, what follows the first image (the video of a motion photo) is left alone.
    A truncated JPEG or PNG is refused: OpenCV fills the rest with grey and reports nothing.

    Args:
        least: (height, width) -> (height, width), the least that a picture of that size may be decoded to: a JPEG then
            comes at half, a quarter or an eighth of its sides where that is enough, other formats whole. None: whole.

    Returns:
        (height, width, 3) uint8 or uint16, RGB.

    Raises:
        ImageError: truncated, no image, CMYK, neither 8 nor 16 bits a channel, a strip, or larger
            than OpenCV is let (`edgedistill_device.MOST_PIXELS`).
    """
    cv2 = imports.opencv()

    content = _first_image(name, content)
    height, width, channels = jpeg_frame(content) or (0, 0, None)
    if channels == 4:
        raise ImageError("%s: a CMYK JPEG; convert it to RGB" % (name,))
    divisor = 1 if least is None else divisor_for((height, width), least)
    orientation = orientation_of(content)
    as_stored = 0 if orientation is None else cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = _reduced(cv2, content, divisor, as_stored) if divisor > 1 else _whole(cv2, content, as_stored)
    except cv2.error as error:
        if "MAX_IMAGE" in str(error):
            raise ImageError(
                "%s: claims more than %s pixels (OPENCV_IO_MAX_IMAGE_PIXELS); make it smaller"
                % (name, os.environ.get("OPENCV_IO_MAX_IMAGE_PIXELS", "OpenCV's limit of"))
            )
        raise ImageError("%s: cannot be decoded: %s" % (name, str(error).splitlines()[0]))
    if image is None:
        raise ImageError("%s: not an image that OpenCV can decode" % (name,))
    if image.dtype not in (np.uint8, np.uint16):
        raise ImageError("%s: expected 8 or 16 bits a channel, got %s" % (name, image.dtype))
    height, width = image.shape[:2]
    if max(height, width) > MOST_ASPECT * min(height, width):
        raise ImageError(
            "%s: %dx%d is a strip; expected a long side of at most %d times the short one"
            % (name, height, width, MOST_ASPECT)
        )
    return _upright(cv2, cv2.cvtColor(image, cv2.COLOR_BGR2RGB), orientation)


def _upright(cv2, image, orientation):
    """The image turned and mirrored as EXIF's orientation, 1 to 8 or None, says."""
    if orientation in (5, 6, 7, 8):
        image = cv2.transpose(image)
    axis = _FLIPS.get(orientation)
    return image if axis is None else cv2.flip(image, axis)


def divisor_for(size, least):
    """1, or the largest of DIVISORS that leaves a JPEG as large as it may be decoded to.

    Args:
        size: (height, width) of its frame header; EXIF may turn what comes out.
        least: as for `decode_raw`.
    """
    if not 0 < size[0] * size[1] <= MOST_PIXELS:  # no JPEG's size, or one that OpenCV refuses to decode whole
        return 1
    turned = size[::-1]
    needed = [(side, need) for shape in (size, turned) for side, need in zip(shape, least(shape))]
    return next((n for n in DIVISORS if all(-(-side // n) >= need for side, need in needed)), 1)


def _whole(cv2, content, flags):
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR | flags)


def _reduced(cv2, content, divisor, flags):
    flag = {2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8}[divisor]
    flag |= flags
    if _imdecode_reduces():
        return cv2.imdecode(np.frombuffer(content, np.uint8), flag)
    with tempfile.NamedTemporaryFile() as file:  # gone before it reaches the disk
        file.write(content)
        file.flush()
        return cv2.imread(file.name, flag)


@functools.lru_cache(maxsize=1)
def _imdecode_reduces():
    """Whether OpenCV's `imdecode` takes the flags; in 4.1.1, JetPack 4's, only `imread` does."""
    cv2 = imports.opencv()
    small = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1]
    return cv2.imdecode(small, cv2.IMREAD_REDUCED_COLOR_2).shape[0] == 8


def _first_image(name, content):
    """The bytes of the first image, without what may follow it.

    Raises:
        ImageError: it is not whole.
    """
    if not content:
        raise ImageError("%s: an empty file" % (name,))
    if content[:2] == b"\xff\xd8":
        end = _jpeg_end(content)
        if end is None:
            raise ImageError("%s: a truncated JPEG, its end marker is missing" % (name,))
        return content[:end]
    if content[:8] == _PNG and content[12:16] == b"IHDR":
        end = _png_end(content)
        if end is None:
            raise ImageError("%s: a truncated PNG, its IEND chunk is missing" % (name,))
        return content[:end]
    return content


def _jpeg_end(content):
    """Where the first image ends: after the EOI that no segment holds; None where there is none.

    Thumbnails lie inside APPn segments, which are stepped over by their lengths. A scan's data has
    no length: it ends at the next marker. Source: ITU-T T.81, annex B.
    """
    position, scanned = 2, False
    while True:
        position = content.find(b"\xff", position)
        match = None if position < 0 else _NO_FILL.search(content, position)
        if match is None:
            return None
        marker, position = content[match.start()], match.end()
        if marker == 0xD9:
            return position if scanned else None
        if scanned and marker not in _BETWEEN_SCANS:  # the data was cut, and something follows
            return None
        if marker in _ALONE or marker == 0x00:
            continue
        length = int.from_bytes(content[position : position + 2], "big")
        if length < 2:
            return None
        position += length
        if marker == 0xDA:
            scanned = True
            match = _NEXT_MARKER.search(content, position)
            if match is None:
                return None
            position = match.start()


def _png_end(content):
    """Where the first image ends: after the IEND chunk; None where it is not whole."""
    position = 8
    while position + 12 <= len(content):
        kind = content[position + 4 : position + 8]
        if not kind.isalpha():  # the file was cut, and something follows
            return None
        position += 12 + int.from_bytes(content[position : position + 4], "big")
        if kind == b"IEND":
            return position if content[position - 4 : position] == _IEND_CRC else None
    return None


def jpeg_frame(content):
    """(height, width, colour channels) of a JPEG, from its frame header; None for other formats."""
    if content[:2] != b"\xff\xd8":
        return None
    position = 2
    while position + 9 < len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xFF:  # fill bytes may stand before a marker
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, position + 5)
            return height, width, content[position + 9]
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return None
