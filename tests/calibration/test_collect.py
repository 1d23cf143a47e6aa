import numpy as np
import pytest

from edgedistill_calibration.collect import Collector, sampled


def pieces():
    rng = np.random.RandomState(0)
    return [
        {
            "a": rng.normal(size=(3, 8, 40, 40)).astype(np.float32),
            "b": rng.normal(size=(3, 5)).astype(np.float32),
        }
        for _ in range(6)
    ]


def counts_of(collector):
    return {name: (h.counts.tolist(), h.amax) for name, h in collector.finish().items()}


def test_a_state_goes_on_where_it_was_saved(tmp_path):
    whole = Collector("ab", 18)
    for piece in pieces():
        whole.add(piece)
    path = str(tmp_path / "state.npz")
    now = [0.0]
    first = Collector("ab", 18, path, "key", lambda: now[0])
    for number, piece in enumerate(pieces()[:4]):
        now[0] = 2.0 * number  # saved by the third piece, at 4 s; the fourth is lost
        first.add(piece)
    second = Collector("ab", 18, path, "key")
    assert second.images == 9
    for piece in pieces()[3:]:
        second.add(piece)
    assert counts_of(second) == counts_of(whole)
    assert Collector("ab", 18, path, "another").images == 0


def test_a_damaged_state_counts_for_nothing(tmp_path):
    path = tmp_path / "state.npz"
    now = [0.0]
    first = Collector("ab", 18, str(path), "key", lambda: now[0])
    for piece in pieces()[:2]:
        now[0] += 9.0
        first.add(piece)
    good = path.read_bytes()
    at = good.find(b"PK\x01\x02")
    assert Collector("ab", 18, str(path), "key").images > 0
    for damaged in (b"", good[:400], good[: at + 8] + b"\xff" + good[at + 9 :]):
        path.write_bytes(damaged)
        second = Collector("ab", 18, str(path), "key")
        for piece in pieces():
            second.add(piece)
        assert second.images == 18


def test_large_images_are_sampled_by_row_and_every_place_is_seen():
    image = np.arange(2 * 8 * 28 * 28, dtype=np.float32).reshape(2, 8, 28, 28)
    seen = set()
    for first in range(0, 240, 4):
        found = sampled(image, first, 1000)
        assert 500 < len(found) / 2 <= 1000
        seen |= set(found.tolist())
    assert seen == set(image.ravel().tolist())
    assert np.array_equal(sampled(image, 3, 10000), image.ravel())


def test_the_amax_is_that_of_all_values_though_few_are_counted():
    collector = Collector("a", 1 << 20)
    image = np.zeros((2, 4, 64, 64), np.float32)
    image[1, 3, 62, 5] = -9.0
    collector.add({"a": image})
    collector.add({"a": image / 3})  # what came before stays the largest
    found = collector.finish()["a"]
    assert found.amax == 9.0
    assert found.counts.sum() < image.size / 2


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_the_image_and_the_tensor_that_are_not_finite_are_named(bad):
    collector = Collector("ab", 6)
    collector.add(pieces()[0])
    piece = pieces()[1]
    piece["b"][2, 1] = bad
    with pytest.raises(ValueError, match="image 5: tensor b: expected finite"):
        collector.add(piece)
