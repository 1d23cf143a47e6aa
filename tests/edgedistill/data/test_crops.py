"""Training crops: along the whole picture, for every fit and shape, and as sharp as they can be."""

import numpy as np
import pytest

from edgedistill.config.data import AugmentConfig, DataConfig
from edgedistill.data.augment import TrainingView
from edgedistill.data.crops import Draws, RandomCrop
from edgedistill.data.framing import framing_of
from edgedistill_device.preprocess import PAD_GREY

SHAPES = [(100, 100), (90, 160), (160, 90), (50, 200), (200, 50)]


def windows(fit, picture, size=(64, 64), scale_min=0.5, count=400):
    crop, rng = RandomCrop(size, scale_min, "area", fit), np.random.default_rng(0)
    return [crop.window(picture, rng) for _ in range(count)]


@pytest.mark.parametrize("size", [(64, 64), (32, 96), (96, 32)])
@pytest.mark.parametrize("picture", SHAPES)
@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_crops_differ_and_reach_the_whole_picture(fit, picture, size):
    """4:1 pictures gave one crop in 400."""
    found = windows(fit, picture, size)
    assert len(set(found)) > 300
    reached = np.zeros(picture, bool)
    for top, left, height, width in found:
        reached[max(top, 0) : top + height, max(left, 0) : left + width] = True
    assert reached.mean() > 0.99


@pytest.mark.parametrize("picture", SHAPES)
def test_a_crop_is_an_area_of_what_the_board_shows_with_a_bounded_distortion(picture):
    short, square = min(picture), min(picture) ** 2
    for top, left, height, width in windows("crop", picture):
        assert 0.47 * square <= height * width <= 1.03 * square
        assert 0.72 <= width / height <= 1.39
        assert 0 <= top <= picture[0] - height
        assert 0 <= left <= picture[1] - width
    for _, _, height, width in windows("squash", picture):
        assert 0.47 <= height * width / (picture[0] * picture[1]) <= 1.03
        assert 0.72 <= (width / picture[1]) / (height / picture[0]) <= 1.39
    for _, _, height, width in windows("pad", picture):
        assert 0.47 <= height * width / max(picture) ** 2 <= 1.03
        assert min(height, width) > 0.6 * short


@pytest.mark.parametrize("scale_min", [0.05, 0.5])
@pytest.mark.parametrize("picture", SHAPES)
def test_a_padded_crop_is_never_of_bars_alone(picture, scale_min):
    image = np.full((*picture, 3), 250, np.uint8)
    crop, rng = RandomCrop((64, 64), scale_min, "area", "pad"), np.random.default_rng(1)
    shares = []
    for _ in range(300):
        view = crop(image, rng)
        assert set(np.unique(view)) <= {PAD_GREY, 250}
        shares.append((view == 250).mean())
    assert min(shares) > 0.15


@pytest.mark.parametrize("size", [(16, 512), (512, 16), (224, 100), (32, 32)])
@pytest.mark.parametrize("picture", [(1, 1), (3, 2), (64, 1), (1, 64), (2, 100), (1000, 17)])
@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_pictures_of_a_pixel_give_views_of_any_input(fit, picture, size):
    """The largest window of the input's shape in them is narrower than half a pixel."""
    image = np.full((*picture, 3), 250, np.uint8)
    for scale_min in (0.01, 0.35, 1.0):
        crop = RandomCrop(size, scale_min, "area", fit)
        for seed in range(20):
            top, left, height, width = crop.window(picture, Draws(seed, b"crop"))
            view = crop(image, Draws(seed, b"crop"))
            assert (view.shape, view.dtype, view.max()) == ((*size, 3), np.uint8, 250)
            assert min(height, width) > 0
            if fit != "pad":
                assert top >= 0
                assert left >= 0
                assert top + height <= picture[0]
                assert left + width <= picture[1]


class Still:
    """A random stream that leaves the crop whole, undistorted and in the middle."""

    def uniform(self, low, high):
        return 1.0 if low > 0 else 0.0

    def integers(self, low, high):
        return (low + high - 1) // 2


@pytest.mark.parametrize("size", [(64, 64), (32, 96), (96, 32)])
@pytest.mark.parametrize("picture", SHAPES)
@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
def test_with_nothing_random_left_a_view_is_the_boards_frame(fit, picture, size):
    rng = np.random.default_rng(2)
    coarse = rng.integers(0, 256, (5, 8, 3), dtype=np.uint8)
    image = np.kron(coarse, np.ones((40, 26, 1), np.uint8))[: picture[0], : picture[1]]
    view = RandomCrop(size, 1.0, "area", fit)(image, Still())
    data = DataConfig(train="x", image_px=list(size), fit=fit)
    board = framing_of(data, min(size)).frame(image)
    assert np.median(np.abs(view.astype(int) - board)) <= 2  # the window is of whole pixels


@pytest.mark.parametrize(("side", "method"), [(64, "INTER_LINEAR"), (96, "INTER_LINEAR"), (97, "INTER_AREA")])
def test_a_window_is_averaged_by_area_only_where_it_shrinks_much(side, method):
    import cv2

    image = np.random.default_rng(4).integers(0, 256, (side, side, 3), dtype=np.uint8)
    view = RandomCrop((64, 64), 1.0, "area", "crop")(image, Still())
    np.testing.assert_array_equal(view, cv2.resize(image, (64, 64), interpolation=getattr(cv2, method)))


@pytest.mark.parametrize(("interpolation", "method"), [("bilinear", "INTER_LINEAR"), ("bicubic", "INTER_CUBIC")])
def test_another_interpolation_is_taken_at_its_word(interpolation, method):
    import cv2

    image = np.random.default_rng(4).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    view = RandomCrop((64, 64), 1.0, interpolation, "crop")(image, Still())
    np.testing.assert_array_equal(view, cv2.resize(image, (64, 64), interpolation=getattr(cv2, method)))


def laplacian(image):
    import cv2

    return cv2.Laplacian(image.astype(np.float32)[..., 0], cv2.CV_32F).var()


def test_views_from_larger_pixels_are_sharper():
    rng = np.random.default_rng(3)
    image = np.repeat(rng.integers(0, 256, (400, 400, 1), dtype=np.uint8), 3, axis=2)
    view = TrainingView(100, AugmentConfig(crop_scale_min=0.4, transforms=()), "area")
    data = DataConfig(train="x", image_px=100)
    small, large = (framing_of(data, 100, px).keep(image).pixels for px in (100, 200))
    assert (small.shape, large.shape) == ((100, 100, 3), (200, 200, 3))
    sharpness = {
        name: np.mean([laplacian(view(pixels, seed)) for seed in range(20)])
        for name, pixels in (("small", small), ("large", large))
    }
    assert sharpness["large"] > 1.2 * sharpness["small"]


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("picture", [(400, 400), (60, 300), (300, 60), (30, 40)])
def test_pictures_are_never_enlarged_to_be_kept(fit, picture):
    image = np.zeros((*picture, 3), np.uint8)
    kept = framing_of(DataConfig(train="x", image_px=[64, 96], fit=fit), 64, 100).keep(image)
    assert kept.frame.shape == (64, 96, 3)
    assert all(kept_side <= side for kept_side, side in zip(kept.pixels.shape, picture, strict=False))


def test_draws_are_uniform_and_a_function_of_seed_and_stream():
    drawn = np.array(
        [[d.uniform(2, 5), d.integers(-3, 4), d.uniform(0, 1)] for d in (Draws(s, b"a") for s in range(4000))]
    )
    first, whole, _ = drawn.T
    assert 2 <= first.min() < 2.01
    assert 4.99 < first.max() < 5
    assert np.abs(np.histogram(first, 10, (2, 5))[0] - 400).max() < 80
    assert sorted(set(whole)) == [-3, -2, -1, 0, 1, 2, 3]
    assert np.abs(np.unique(whole, return_counts=True)[1] - 4000 / 7).max() < 100
    assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 0.06
    assert Draws(7, b"a").uniform(0, 1) == Draws(7, b"a").uniform(0, 1)
    assert Draws(7, b"a").uniform(0, 1) != Draws(7, b"b").uniform(0, 1)
    assert Draws(2**32 - 1, b"a").uniform(0, 1) < 1
