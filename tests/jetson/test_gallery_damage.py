"""A gallery.npz whose bytes are damaged: one line, on every release of Python and numpy, and nothing on stderr."""

import gc
import random

import numpy as np
import pytest

from edgedistill_device.errors import GalleryError
from edgedistill_device.inference.gallery import Gallery, gallery_bytes, read_gallery, unit_rows

NETWORK = "ab" * 32
HEADER_FLAGS, HEADER_METHOD = 8, 10  # offsets of an entry of a zip's central directory
WRITTEN_BY_US = "not a gallery that edgedistill wrote"


@pytest.fixture
def content():
    rows = unit_rows(np.random.RandomState(0).rand(6, 8))
    labels, names = np.array([0, 0, 1, 1, 2, 2], np.int32), tuple("123456")
    made_by = ("fp32, workstation",) * 6
    return gallery_bytes(Gallery(rows, labels, NETWORK, ("a", "b", "c"), names, made_by, {"fp32": 0.5}, 0.9))


def refusal(path, content):
    """The line that a file of these bytes is refused in; None: it is read."""
    path.write_bytes(bytes(content))
    try:
        read_gallery(str(path), NETWORK)
    except GalleryError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("offset", "flip"), [(HEADER_FLAGS, 1), (HEADER_FLAGS, 32), (HEADER_METHOD, 99)])
def test_one_that_seems_encrypted_or_packed_otherwise(content, tmp_path, capsys, offset, flip):
    changed = bytearray(content)
    changed[changed.find(b"PK\x01\x02") + offset] ^= flip
    line = refusal(tmp_path / "gallery.npz", changed)
    assert WRITTEN_BY_US in line
    assert "\n" not in line
    assert capsys.readouterr().err == ""


def test_one_that_would_not_fit_into_memory(content, tmp_path):
    changed = bytearray(content)
    at = changed.find(b"PK\x01\x02") + 24  # size of the content
    changed[at : at + 4] = (0xF0000000).to_bytes(4, "little")
    assert "larger than" in refusal(tmp_path / "gallery.npz", changed)


def test_no_damage_is_a_traceback(content, tmp_path, capsys):
    """Bytes changed, cut off and put in, as seeded."""
    draw, lines = random.Random(5), []
    for _ in range(500):
        changed = bytearray(content)
        for _ in range(draw.choice((1, 1, 2, 4))):
            place, how = draw.randrange(len(changed) - 4), draw.random()
            if how < 0.8:
                changed[place] = draw.choice((0, 1, 255, draw.randrange(256)))
            elif how < 0.9:
                del changed[place:]
                changed += bytes(8)
            else:
                changed[place:place] = bytes(bytearray(draw.randrange(256) for _ in range(4)))
        lines.append(refusal(tmp_path / "gallery.npz", changed))
    gc.collect()  # what complains when it is deleted has done so
    refused = [line for line in lines if line is not None]
    assert len(refused) > 100
    assert not [line for line in refused if "\n" in line]
    assert capsys.readouterr().err == ""
