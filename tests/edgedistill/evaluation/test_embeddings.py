"""Nearest neighbours against loops over Python floats, and numbers made by hand."""

import itertools
import math

import numpy as np
import pytest

from edgedistill.errors import DataError
from edgedistill.evaluation import embeddings
from edgedistill.evaluation.classification import measures, wilson_interval
from edgedistill.evaluation.embeddings import cosines, deployed_scores, knn_scores, nearest_other_scores, recall_at_1


def cosine(a, b):
    product = math.fsum(x * y for x, y in zip(a, b, strict=True))
    lengths = math.hypot(*a) * math.hypot(*b)
    return product / lengths if lengths else 0.0


def knn_oracle(gallery, labels, queries, classes, k):
    rows = []
    for query in queries:
        near = sorted(range(len(gallery)), key=lambda i: -cosine(query, gallery[i]))[:k]
        rows.append([0.0] * classes)
        for i in near:
            rows[-1][labels[i]] += max(0.0, cosine(query, gallery[i]))
    return rows


def recall_oracle(embeddings, labels):
    hits = []
    for i, label in enumerate(labels):
        if list(labels).count(label) < 2:
            continue
        others = [j for j in range(len(labels)) if j != i]
        hits.append(labels[max(others, key=lambda j: cosine(embeddings[i], embeddings[j]))] == label)
    return sum(hits) / len(hits)


@pytest.fixture(params=[1 << 22, 40], ids=["at once", "in chunks"])
def memory(request, monkeypatch):
    monkeypatch.setattr(embeddings, "_SIMILARITIES_AT_ONCE", request.param)


@pytest.mark.parametrize("k", [1, 4, 19])
def test_knn_scores_equal_sorting_in_loops(memory, rng, k):
    gallery, queries = rng.normal(size=(19, 6)), rng.normal(size=(11, 6))
    labels = rng.integers(4, size=19)
    got = knn_scores(gallery, labels, queries, 5, k)
    assert got == pytest.approx(np.array(knn_oracle(gallery, labels, queries, 5, k)), abs=1e-5)


def test_knn_scores_by_hand():
    """A neighbour at 0 degrees, one at 60, one at 45; two of the three vote."""
    gallery = np.array([[3.0, 0.0], [0.5, math.sqrt(0.75)], [1.0, 1.0]])
    scores = knn_scores(gallery, np.array([0, 1, 1]), np.array([[2.0, 0.0]]), 2, k=2)
    assert scores[0] == pytest.approx([1, math.sqrt(0.5)])
    three = knn_scores(gallery, np.array([0, 1, 1]), np.array([[2.0, 0.0]]), 2, k=3)
    assert three[0] == pytest.approx([1, math.sqrt(0.5) + 0.5])


def test_of_equally_near_images_the_first_vote_and_exactly_k_do():
    gallery = np.tile([[1.0, 2.0]], (6, 1))
    scores = knn_scores(gallery, np.array([2, 2, 0, 1, 1, 1]), gallery[:1], 3, k=3)
    assert scores[0] == pytest.approx([1, 0, 2])


def test_opposed_neighbours_and_zero_vectors_have_no_vote():
    gallery = np.array([[-1.0, 0.0], [0.0, 0.0]])
    assert not knn_scores(gallery, np.array([0, 1]), np.array([[1.0, 0.0]]), 2, k=2).any()
    assert not knn_scores(gallery, np.array([0, 1]), np.zeros((1, 2)), 2, k=1).any()


def test_scores_go_where_logits_go(rng):
    """Well separated classes: the one measure of accuracy says 1."""
    centres = 10 * np.eye(3)
    labels = np.arange(30) % 3
    images = centres[labels] + rng.normal(size=(30, 3))
    scores = knn_scores(images, labels, images + 0.1, 3, k=5)
    assert measures(scores, labels, ["a", "b", "c"]).top1_fraction == 1


def test_recall_at_1_equals_loops(memory, rng):
    labels = rng.integers(6, size=25)
    embeddings = rng.normal(size=(25, 3)) + np.eye(6)[labels][:, :3]
    got = recall_at_1(embeddings, labels)
    assert got.recall_at_1_fraction == pytest.approx(recall_oracle(embeddings, labels))
    assert 0 < got.recall_at_1_fraction < 1


@pytest.mark.parametrize("among", ["its own", "another network's"])
def test_the_nearest_other_image_of_each_class_by_loops(memory, rng, among):
    labels = np.append(rng.integers(4, size=22), 5)  # the last one is alone in its class, and class 4 has none
    vectors = rng.normal(size=(23, 3))
    other = None if among == "its own" else vectors + 0.3 * rng.normal(size=(23, 3))
    enrolled = vectors if other is None else other
    expected = np.full((23, 6), -2.0)
    for i, j in itertools.permutations(range(23), 2):
        expected[i, labels[j]] = max(expected[i, labels[j]], cosine(vectors[i], enrolled[j]))
    assert nearest_other_scores(vectors, labels, 6, other) == pytest.approx(expected, abs=1e-5)
    scores, own, asked = deployed_scores(vectors, enrolled, labels, 6)
    assert scores == pytest.approx(expected[:22], abs=1e-5)
    assert own == pytest.approx(nearest_other_scores(enrolled, labels, 6)[:22])
    assert asked.tolist() == labels[:22].tolist()


def test_of_images_that_are_all_alone_in_their_class_all_are_asked(rng):
    vectors = rng.normal(size=(3, 4))
    assert deployed_scores(vectors, vectors, np.array([2, 0, 1]), 3)[2].tolist() == [2, 0, 1]


def test_a_figure_that_is_not_finite_counts_as_nought(rng):
    vectors, labels = rng.normal(size=(4, 3)), np.array([0, 0, 1, 1])
    broken, nought = vectors.copy(), vectors.copy()
    broken[[0, 1, 2], [0, 1, 2]], nought[[0, 1, 2], [0, 1, 2]] = [np.nan, np.inf, -np.inf], 0
    for given, same in ((broken, nought), (vectors, vectors)):
        scores, own, _ = deployed_scores(given, broken, labels, 2)
        expected, of_float, _ = deployed_scores(same, nought, labels, 2)
        assert np.array_equal(scores, expected)
        assert np.array_equal(own, of_float)
    alike = [cosine(row, kept) for row, kept in zip(nought, vectors, strict=True)]
    assert cosines(broken, vectors) == pytest.approx(np.array(alike), abs=1e-6)
    assert cosines(vectors, broken) == pytest.approx(np.array(alike), abs=1e-6)
    assert cosines(np.full((1, 3), np.nan), vectors[:1]) == 0


def test_an_image_alone_in_its_class_is_not_asked_about_but_may_be_met():
    """Images at 0, 10, 14 and 90 degrees: the lone one at 14 is nearest to that at 10."""
    degrees = np.radians([0.0, 10.0, 14.0, 90.0])
    embeddings = np.stack([np.cos(degrees), np.sin(degrees)], axis=1)
    assert recall_at_1(embeddings, np.array([7, 7, 3, 7])).to_json() == {
        "recall_at_1_fraction": pytest.approx(1 / 3),
        "images": 3,
        "interval": pytest.approx(wilson_interval(1, 3)),
        "left_out_images": 1,
    }


def test_an_image_is_not_its_own_neighbour_and_length_does_not_count():
    embeddings = np.array([[1.0, 0.0], [0.0, 1.0], [100.0, 1.0], [1.0, 100.0]])
    assert recall_at_1(embeddings, np.array([0, 1, 0, 1])).recall_at_1_fraction == 1
    assert recall_at_1(embeddings, np.array([0, 0, 1, 1])).recall_at_1_fraction == 0


def test_what_does_not_fit_is_refused():
    ones, labels = np.ones((3, 2)), np.array([0, 1, 2])
    with pytest.raises(ValueError, match=r"k must be in 1\.\.3"):
        knn_scores(ones, labels, ones, 3, k=4)
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.1, got 0\.\.2"):
        knn_scores(ones, labels, ones, 2, k=1)
    with pytest.raises(ValueError, match=r"queries must be \(N, 2\)"):
        knn_scores(ones, labels, np.ones((3, 4)), 3, k=1)
    with pytest.raises(ValueError, match="want embeddings"):
        recall_at_1(ones, labels[:2])
    with pytest.raises(DataError, match="needs a class with at least two images; none of the 3 images"):
        recall_at_1(ones, labels)
