import cv2
import numpy as np
import pytest

from edgedistill.config.data import DataConfig
from edgedistill.data.duplicates import alike_pairs, groups_from_pairs, signature
from edgedistill.data.prepare import group, prepare, scan
from edgedistill.data.table import read_table
from end_to_end import draw


def tile(rng):
    """A surface with its own blobs under a grid that all tiles share."""
    image = np.full((96, 96), 110, np.float32)
    image[::24] -= 60
    for _ in range(12):
        x, y = (int(v) for v in rng.integers(8, 88, 2))
        cv2.circle(image, (x, y), int(rng.integers(3, 9)), float(rng.integers(40, 200)), -1)
    return image


def exposed(image, gain, offset, rng):
    noisy = image * gain + offset + rng.normal(0, 2, image.shape)
    return np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


EXPOSURES = [(1.0, 0), (0.5, 5), (1.2, 10), (0.8, -20)]


def test_one_tile_under_several_exposures_is_one_and_distinct_tiles_are_not(rng):
    tiles = [tile(rng) for _ in range(40)]
    images = [exposed(t, gain, offset, rng) for t in tiles for gain, offset in EXPOSURES]
    pairs = alike_pairs(np.stack([signature(image) for image in images]), 0.9)
    found = {(i, j) for i, j, _ in pairs}
    truth = {(i, j) for i in range(160) for j in range(i + 1, 160) if i // 4 == j // 4}
    assert found <= truth  # no two different tiles
    assert len(found) >= 0.95 * len(truth)


def test_jpeg_copies_are_found_and_flat_images_resemble_nothing(rng):
    image = draw("square", rng, side=96)
    again = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_COLOR)
    assert signature(image) @ signature(again) > 0.9
    flat = signature(np.full((50, 50, 3), 77, np.uint8))
    assert flat @ flat == 0


def test_pairs_equal_the_whole_correlation_matrix(rng, monkeypatch):
    monkeypatch.setattr("edgedistill.data.duplicates.BLOCK", 7)
    vectors = rng.normal(size=(40, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    whole = np.corrcoef(np.hstack([vectors, -vectors]))  # mean 0, so correlation is the dot product
    expected = {(i, j) for i in range(40) for j in range(i + 1, 40) if whole[i, j] >= 0.6}
    assert {(i, j) for i, j, _ in alike_pairs(vectors, 0.6)} == expected


@pytest.mark.parametrize("similarity", [0.4, 0.7, 0.9])
def test_sketches_leave_out_no_pair(rng, monkeypatch, similarity):
    """Families of more and less alike images, in more directions than a sketch has."""
    monkeypatch.setattr("edgedistill.data.duplicates.BLOCK", 32)
    monkeypatch.setattr("edgedistill.data.duplicates._SKETCH", 12)
    families, noise = rng.normal(size=(60, 300)), rng.normal(size=(300, 300)) * rng.uniform(0.05, 1.5, (300, 1))
    vectors = families[rng.integers(0, 60, 300)] + noise
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    assert (np.square(vectors @ _basis(vectors)).sum(axis=1) < 0.9).mean() > 0.5  # most of a vector is in its rest
    whole = np.triu(vectors @ vectors.T, 1)
    expected = dict(zip(zip(*np.nonzero(whole >= similarity), strict=True), whole[whole >= similarity], strict=True))
    found = {(i, j): alike for i, j, alike in alike_pairs(vectors, similarity)}
    assert len(expected) > 20
    assert found.keys() == expected.keys()
    assert all(found[pair] == pytest.approx(expected[pair], abs=1e-5) for pair in expected)


def _basis(vectors):
    return np.linalg.svd(vectors, full_matrices=False)[2][:12].T


def test_groups_are_the_connected_parts():
    assert groups_from_pairs(6, [(4, 2), (0, 5), (2, 3)]).tolist() == [0, 1, 2, 2, 2, 0]


def test_no_tile_stands_in_two_splits(tmp_path, rng):
    for number in range(40):
        folder = tmp_path / "images" / ("good" if number % 2 else "bad")
        folder.mkdir(parents=True, exist_ok=True)
        one = tile(rng)
        for shot, (gain, offset) in enumerate(EXPOSURES):
            cv2.imwrite(str(folder / f"{number}_{shot}.png"), exposed(one, gain, offset, rng))
    (tmp_path / "out").mkdir()
    data = DataConfig(train=str(tmp_path / "images"), val_fraction=0.2, test_fraction=0.2)
    prepare(data, 64, tmp_path / "out", lambda line: None)
    table = read_table(tmp_path / "out")
    splits = {}
    for path, split in zip(table.paths, table.splits, strict=True):
        splits.setdefault(path.name.split("_")[0], set()).add(str(split))
    torn = [number for number, where in splits.items() if len(where) > 1]
    assert len(torn) <= 1  # recall of the pairs is 95 %, chaining mends most of the rest


@pytest.mark.parametrize("source", ["pattern", "column"])
def test_named_groups_stay_together(tmp_path, rng, source):
    folder = tmp_path / "images"
    for kind in ("disc", "square"):
        (folder / kind).mkdir(parents=True)
        for number in range(40):
            cv2.imwrite(str(folder / kind / f"part{number // 4}_{number}.png"), draw(kind, rng))
    if source == "pattern":
        data = DataConfig(train=str(folder), group_pattern=r"^(part\d+)_")
    else:
        rows = ["path,label,part"] + [
            f"images/{p.parent.name}/{p.name},{p.parent.name},{p.name.split('_')[0]}"
            for p in sorted(folder.rglob("*.png"))
        ]
        (tmp_path / "list.csv").write_text("\n".join(rows))
        data = DataConfig(train=str(tmp_path / "list.csv"), group_column="part")
    scanned = scan(data, 32)
    groups = group(scanned, data).groups
    by_part = {}
    for item, number in zip(scanned.items, groups, strict=True):
        by_part.setdefault(item.path.name.split("_")[0], set()).add(int(number))
    assert len(by_part) == 10
    assert all(len(numbers) == 1 for numbers in by_part.values())


def blurred(image, sigma=3.0):
    """Gaussian, from its formula; the picture is mirrored at its rim without repeating its last pixels."""
    radius = int(4 * sigma)
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        padded = np.pad(image, [(radius, radius) if axis == side else (0, 0) for side in (0, 1)], "reflect")
        image = np.apply_along_axis(np.convolve, axis, padded, kernel, "valid")
    return image


def test_a_signature_is_what_its_text_says(rng):
    """Grey, blocks of 3 x 4 pixels, less the surroundings, less what a column and a row share, mean 0 and length 1."""
    image = rng.integers(0, 256, (96, 128, 3)).astype(np.float64)
    image = np.repeat(np.repeat(image[::3, ::4], 3, axis=0), 4, axis=1)  # blocks of one colour
    image += np.linspace(0, 60, 128)[None, :, None] + np.linspace(0, 40, 96)[:, None, None]
    image = image.clip(0, 255).astype(np.uint8)
    grey = image @ np.array([0.299, 0.587, 0.114])
    detail = np.array([[grey[3 * y : 3 * y + 3, 4 * x : 4 * x + 4].mean() for x in range(32)] for y in range(32)])
    detail -= blurred(detail)
    for number in range(32):
        detail[:, number] -= sum(detail[:, number]) / 32
    for number in range(32):
        detail[number] -= sum(detail[number]) / 32
    expected = detail.ravel() / np.sqrt((detail**2).sum())
    found = signature(image)
    np.testing.assert_allclose(found, expected, atol=1e-3)  # grey values are rounded twice on the way
    assert abs(found.sum()) < 1e-4
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
