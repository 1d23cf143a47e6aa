"""TensorRT's calibration cache: text, a header line, then `tensor: hex of float32 scale`.

Source: sampleEngines.cpp and EntropyCalibrator.h of NVIDIA/TensorRT 8.2.1. TensorRT skips a cache
whose header names another version, so the header is written on the board.
"""

import struct

LEVELS = 127.0


def header_number(version):
    """`8.2.1` -> 8201, `10.14.1` -> 101401, as TensorRT numbers itself in the header."""
    parts = (version.split(".") + ["0", "0"])[:3]
    if not all(part.isdigit() for part in parts):
        raise ValueError("expected a TensorRT version like 8.2.1, got %r" % (version,))
    major, minor, patch = (int(part) for part in parts)
    return major * (10000 if major >= 10 else 1000) + minor * 100 + patch


def text_from_amax(amax, version, algorithm="EntropyCalibration2"):
    """The cache's text.

    Args:
        amax: {tensor name: largest |x|}, >= 0.
        version: of TensorRT, like `8.2.1`.
        algorithm: must match the calibrator class that reads it.
    """
    rows = ["TRT-%d-%s" % (header_number(version), algorithm)]
    for tensor in sorted(amax):
        bits = struct.unpack(">I", struct.pack(">f", amax[tensor] / LEVELS))[0]
        rows.append("%s: %x" % (tensor, bits))
    return "\n".join(rows) + "\n"


def amax_from_text(text):
    """(header, {tensor: amax}); names may hold `: `, so the last one splits.

    Raises:
        ValueError: not such a file.
    """
    lines = text.splitlines()
    if not lines or not lines[0].startswith("TRT-"):
        raise ValueError("expected a calibration cache that starts with TRT-, got %r" % text[:20])
    amax = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        name, colon, bits = line.rpartition(": ")
        try:
            amax[name] = LEVELS * struct.unpack(">f", bytes.fromhex(bits.strip().zfill(8)))[0]
        except (ValueError, struct.error):
            colon = ""
        if not colon:
            raise ValueError("line %d: expected `tensor: hex`, got %r" % (number, line[:60]))
    return lines[0], amax
