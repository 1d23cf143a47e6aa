import struct

import pytest

from edgedistill_calibration.cache import amax_from_text, header_number, text_from_amax
from edgedistill_calibration.select import choose


def test_the_choice_is_balanced_seeded_and_in_range():
    labels = ["a"] * 100 + ["b"] * 20 + ["c"] * 3
    chosen = choose(labels, 30, seed=1)
    assert len(set(chosen)) == 30
    counts = [sum(labels[i] == name for i in chosen) for name in "abc"]
    assert counts[2] == 3
    assert abs(counts[0] - counts[1]) <= 1
    assert choose(labels, 30, seed=1) == chosen
    assert choose(labels, 30, seed=2) != chosen
    assert choose(labels, 500, seed=1) == list(range(123))


def test_the_choice_is_this_one_on_every_python():
    """Written down once on 3.11; Python 3.6 must give the same."""
    assert choose([0, 1] * 10, 4, seed=0) == [4, 7, 15, 18]


def test_nothing_to_choose_from_is_refused():
    with pytest.raises(ValueError, match="at least one image"):
        choose([], 4, 0)


def test_hexadecimal_scales_as_a_real_cache_has_them():
    """3caa54fc is 0.0207925; times 127 the ImageNet input maximum."""
    text = "TRT-8201-EntropyCalibration2\nimage: 3caa54fc\n"
    assert amax_from_text(text)[1]["image"] == pytest.approx((1 - 0.406) / 0.225, rel=3e-4)
    assert text_from_amax(amax_from_text(text)[1], "8.2.1") == text


def test_a_cache_comes_back():
    rng_amax = {"a: b": 1.5, "zero": 0.0, "x": 3e-9}
    text = text_from_amax(rng_amax, "10.14.1")
    header, amax = amax_from_text(text)
    assert header == "TRT-101401-EntropyCalibration2"
    assert "zero: 0\n" in text
    for name, value in rng_amax.items():
        stored = struct.unpack(">f", struct.pack(">f", value / 127.0))[0] * 127.0
        assert amax[name] == pytest.approx(stored)


def test_versions_are_numbered_as_tensorrt_does():
    assert [header_number(v) for v in ("7.0.0", "8.2.3", "8.4.1", "10.14.1")] == [
        7000,
        8203,
        8401,
        101401,
    ]
    with pytest.raises(ValueError, match="version like"):
        header_number("8.2.1-rc")


@pytest.mark.parametrize("text", ["", "no header\n", "TRT-8201-X\nname without hex\n", "TRT-8201-X\na: zz\n"])
def test_other_files_are_refused(text):
    with pytest.raises(ValueError, match="expected"):
        amax_from_text(text)
