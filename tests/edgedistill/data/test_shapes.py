"""What `new` says of shapes and bit depth, and what it proposes."""

import numpy as np
import pytest

from edgedistill.data.shapes import depth_findings, framing_findings, grey_levels, seen_fractions


def sizes_of(*sizes):
    return np.array([size for size in sizes for _ in range(10)])


@pytest.mark.parametrize(
    ("sizes", "seen", "keys"),
    [
        (sizes_of((200, 200)), 1.0, {}),
        (sizes_of((480, 640)), 0.75, {}),
        (sizes_of((1080, 1920)), 0.5625, {"image_px": [160, 288]}),
        (sizes_of((1920, 1080)), 0.5625, {"image_px": [288, 160]}),
        (sizes_of((200, 800)), 0.25, {"image_px": [128, 448]}),
        (sizes_of((1080, 1920), (1920, 1080)), 0.5625, {"fit": "pad"}),
        (sizes_of((100, 400), (400, 100)), 0.25, {"fit": "squash"}),
        (sizes_of((100, 3000)), 1 / 30, {"fit": "squash"}),  # no rectangle within 32 to 1024 px
    ],
)
def test_a_framing_is_proposed_where_much_is_lost(sizes, seen, keys):
    found = framing_findings(sizes, 224)
    assert found.values["seen_fraction"] == pytest.approx(seen, abs=0.001)
    assert found.keys == keys
    assert f"{seen:.0%}" in found.lines[0]
    assert len(found.lines) == (2 if keys else 1)


def test_the_seen_share_is_that_of_the_crop():
    sizes = np.array([[100, 100], [100, 200], [300, 100]])
    assert seen_fractions(sizes, 64).tolist() == pytest.approx([1, 0.5, 1 / 3])
    assert seen_fractions(sizes, 64, 80).tolist() == pytest.approx([0.64, 0.32, 0.64 / 3])
    assert seen_fractions(sizes, (64, 128)).tolist() == pytest.approx([0.5, 1, 1 / 6])


@pytest.mark.parametrize(
    ("values", "levels", "keys"),
    [
        ([[-1, -1]], None, {}),
        ([[0, 65535]], 256, {}),
        ([[0, 4095], [-1, -1], [12, 3000]], 16, {"sixteen_bit": 12}),
        ([[0, 1000]], 4, {"sixteen_bit": 10}),
        ([[0, 16000]], 63, {"sixteen_bit": 14}),
        ([[7000, 7800]], 4, {"sixteen_bit": [6920, 7880]}),
        ([[65000, 65535]], 4, {"sixteen_bit": [64947, 65535]}),
        ([[5, 5]], 1, {}),
    ],
)
def test_a_range_is_proposed_that_keeps_more_grey_levels(values, levels, keys):
    found = depth_findings(np.array(values))
    assert found.values.get("grey_levels") == levels
    assert found.keys == keys
    assert all(str(word) in " ".join(found.lines) for word in keys)


def test_grey_levels_are_what_the_mapping_gives():
    from edgedistill_device.decode import to_eight_bits

    for low, high, sixteen_bit in ((0, 4095, (0, 65535)), (7000, 7800, (0, 16383)), (3, 90, (0, 4095))):
        found = to_eight_bits(np.arange(low, high + 1, dtype=np.uint16), sixteen_bit)
        assert grey_levels(low, high, sixteen_bit) == len(np.unique(found))
