"""Where networks part: counted by hand, and pictures that stay small and tell nothing but pixels."""

import itertools
import json

import cv2
import numpy as np

from edgedistill.records.report import Disagreement
from edgedistill.reporting.disagreements import MOST, MOST_BYTES, disagreement
from edgedistill.reporting.thumbnails import SIDE_PX, thumbnails
from record_factories import record_with

CLASSES = ["a", "b", "c"]


def test_counts_are_those_of_a_loop_over_the_images(rng):
    first, second = rng.normal(size=(2, 200, 3))
    labels = rng.integers(0, 3, 200)
    hashes = [f"{i:064x}" for i in range(200)]
    found = disagreement(("teacher", first), ("student", second), labels, CLASSES, hashes, hashes)
    kinds = dict.fromkeys(itertools.product((True, False), (True, False), (True, False)), 0)
    for x, y, label in zip(first.argmax(1), second.argmax(1), labels, strict=True):
        kinds[bool(x == label), bool(y == label), bool(x == y)] += 1
    assert found.both_right == kinds[True, True, True]
    assert found.first_only_right == kinds[True, False, False]
    assert found.second_only_right == kinds[False, True, False]
    assert found.both_wrong_alike == kinds[False, False, True]
    assert found.both_wrong_apart == kinds[False, False, False]
    assert found.apart == sum(n for (_, _, alike), n in kinds.items() if not alike)
    assert len(found.shown) == MOST


def test_the_clearest_disagreement_comes_first():
    first = np.array([[9.0, 0, 0], [2.0, 0, 0], [5.0, 0, 0], [0.1, 0, 0]])
    second = np.array([[9.0, 0, 0], [0, 2.0, 0], [0, 0, 5.0], [0, 9.0, 0]])
    labels = np.array([0, 1, 1, 0])
    found = disagreement(("float", first), ("int8", second), labels, CLASSES, ["h0", "h1", "h2", "h3"], list("wxyz"))
    assert [row.sha256 for row in found.shown] == ["h2", "h1", "h3"]
    row = found.shown[0]
    assert (row.label, row.first.class_name, row.second.class_name) == ("b", "a", "c")
    assert abs(row.first.probability - np.exp(5) / (np.exp(5) + 2)) < 1e-12


def test_a_network_that_overflowed_is_unsure_and_still_json():
    broken = np.array([[np.nan, 1.0, 0], [np.inf, 0, 0]])
    found = disagreement(("float", np.eye(3)[1:]), ("int8", broken), np.array([1, 2]), CLASSES, ["h", "i"], ["", ""])
    assert [row.second.probability for row in found.shown] == [0.0, 0.0]
    json.dumps(found.to_json(), allow_nan=False)


def test_networks_that_agree_show_nothing():
    logits = np.eye(3)
    found = disagreement(("float", logits), ("int8", logits), np.arange(3), CLASSES, ["x"] * 3, [""] * 3)
    assert (found.apart, found.both_right, found.shown) == (0, 3, [])
    assert thumbnails([found.shown], lambda image: np.zeros((4, 4, 3), np.uint8), 999) == {}
    assert thumbnails([], lambda image: np.zeros((4, 4, 3), np.uint8), 999) == {}


def test_thumbnails_are_small_upright_and_in_the_right_colours(rng):
    frame = np.zeros((300, 200, 3), np.uint8)
    frame[:150] = (250, 10, 10)
    found = record_with(Disagreement, {"shown": [{"position": 0, "sha256": "h"}]})
    jpeg = thumbnails([found.shown], lambda image: frame, MOST_BYTES)["h"]
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    assert image.shape == (SIDE_PX, 64, 3)
    assert image[10].mean(axis=0)[0] > 200
    assert image[10].mean(axis=0)[2] < 60
    assert b"Exif" not in jpeg


def test_a_page_of_noise_stays_within_its_budget_and_serves_both_pairs(rng):
    noise = rng.integers(0, 256, (500, 96, 96, 3), dtype=np.uint8)
    shown = [[{"position": i + 100 * pair, "sha256": f"{pair}-{i}"} for i in range(99)] for pair in range(2)]
    pairs = [record_with(Disagreement, {"shown": rows}) for rows in shown]
    kept = thumbnails([pair.shown for pair in pairs], lambda image: noise[image.position], MOST_BYTES)
    assert sum(map(len, kept.values())) <= MOST_BYTES
    of_first = sum(name.startswith("0-") for name in kept)
    assert abs(2 * of_first - len(kept)) <= 1


def test_an_image_in_two_lists_counts_twice_as_the_page_holds_it_twice(rng):
    noise = rng.integers(0, 256, (40, 96, 96, 3), dtype=np.uint8)
    pair = record_with(Disagreement, {"shown": [{"position": i, "sha256": f"{i}"} for i in range(40)]})
    kept = thumbnails([pair.shown, pair.shown], lambda image: noise[image.position], 100_000)
    assert 50_000 - 2 * len(kept["0"]) < sum(map(len, kept.values())) <= 50_000 + len(kept["0"])
