import random
import subprocess
import sys

import numpy as np
import pytest

from edgedistill.config.data import AugmentConfig
from edgedistill.data.augment import TrainingView, albumentations, refuse_unfit_transforms
from edgedistill.errors import RecipeError
from end_to_end import ROOT, draw

PROGRAM = """
import hashlib, numpy as np
from edgedistill.config.data import AugmentConfig
from edgedistill.data.augment import TrainingView
image = (np.arange(60 * 50 * 3) % 251).astype(np.uint8).reshape(60, 50, 3)
view = TrainingView(32, AugmentConfig(), "area")
print(hashlib.sha256(b"".join(view(image, seed).tobytes() for seed in range(20))).hexdigest())
"""


@pytest.mark.slow
def test_views_are_the_same_in_another_process():
    said = [
        subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert said[0] == said[1]
    assert len(said[0]) == 65


def test_views_have_the_nets_size_and_differ_between_seeds(rng):
    image = draw("square", rng)
    view = TrainingView(24, AugmentConfig(), "area")
    made = [view(image, seed) for seed in range(8)]
    assert {m.shape for m in made} == {(24, 24, 3)}
    assert all(m.dtype == np.uint8 for m in made)
    assert len({m.tobytes() for m in made}) > 4


PIPELINES = {
    "default": AugmentConfig().transforms,
    "none": (),
    "of both random streams": (
        {"name": "RandomResizedCrop", "size": [24, 24], "p": 0.5},
        {"name": "Affine", "rotate": [-20, 20], "translate_percent": 0.1, "p": 0.7},
        {"name": "ColorJitter", "p": 0.5},
        {"name": "GaussNoise", "p": 0.5},
        {"name": "CoarseDropout", "p": 0.5},
        {"name": "ElasticTransform", "p": 0.3},
        {"name": "GaussianBlur", "p": 0.3},
        {"name": "D4", "p": 1.0},
    ),
}


@pytest.mark.parametrize("name", PIPELINES)
def test_views_are_those_of_albumentations_own_pipeline(rng, name):
    """The whole of `Compose`, made anew for each view, with new generators of its seed."""
    augment = AugmentConfig(transforms=PIPELINES[name])
    view, cropped = TrainingView(24, augment, "area"), TrainingView(24, AugmentConfig(transforms=()), "area")
    for kind in ("disc", "square", "stripes"):
        image = draw(kind, rng)
        for seed in (*range(40), 2**32 - 1):
            arguments = [{k: tuple(v) if isinstance(v, list) else v for k, v in t.items()} for t in augment.transforms]
            made = [getattr(albumentations, given.pop("name"))(**given) for given in arguments]
            compose = albumentations.Compose(made)
            compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
            compose.py_random = random.Random(0)  # it asks for its own chance, which is 1, from the same stream
            expected = compose(image=cropped(image, seed))["image"]
            np.testing.assert_array_equal(view(image, seed), expected, err_msg=f"{kind} {seed}")


def test_two_transforms_of_one_chance_are_applied_apart_from_each_other(rng):
    """Of the default ones each is applied to half of the views, both to a quarter."""
    image = rng.integers(60, 180, (48, 48, 3), dtype=np.uint8)
    image[:, :24] //= 2  # tells the flip, whatever the brightness
    view = TrainingView(24, AugmentConfig(crop_scale_min=1.0), "area")
    plain = TrainingView(24, AugmentConfig(crop_scale_min=1.0, transforms=()), "area")
    counts = dict.fromkeys(((False, False), (False, True), (True, False), (True, True)), 0)
    for seed in range(400):
        made, cropped = view(image, seed), plain(image, seed)
        flipped = bool(made[:, :12].mean() > made[:, 12:].mean())
        counts[flipped, not np.array_equal(made[:, ::-1] if flipped else made, cropped)] += 1
    assert all(70 < count < 130 for count in counts.values()), counts


@pytest.mark.parametrize(
    ("transform", "line"),
    [
        (
            {"name": "HorizontalFlop"},
            "no transform 'HorizontalFlop'; did you mean 'HorizontalFlip'",
        ),
        ({"name": "HorizontalFlip", "prob": 1}, "HorizontalFlip takes no 'prob'; it takes: p"),
        (
            {"name": "RandomBrightnessContrast", "brightness_limit": "much"},
            "RandomBrightnessContrast: ",
        ),
    ],
)
def test_wrong_transforms_are_refused_by_name(transform, line):
    with pytest.raises(RecipeError, match=line):
        TrainingView(24, AugmentConfig(transforms=(transform,)), "area")


def declared(*names, **arguments):
    return AugmentConfig(transforms=tuple({"name": name, **arguments} for name in names))


RECTANGLE = (32, 48)
UNFIT = {
    "Normalize": "Normalize gives float32 (32, 48, 3) where a view is uint8 (32, 48, 3)",
    "ToFloat": "ToFloat gives float32 (32, 48, 3)",
    "FromFloat": "FromFloat gives float16",
    "ToTensorV2": "ToTensorV2 gives torch.uint8 (3, 32, 48)",
    "RandomScale": "RandomScale gives uint8 (",
    "PadIfNeeded": "PadIfNeeded gives uint8 (1024, 1024, 3)",
    "RandomCropFromBorders": "RandomCropFromBorders gives uint8 (",
    "RandomRotate90": "RandomRotate90 gives uint8 (48, 32, 3)",
    "Transpose": "Transpose gives uint8 (48, 32, 3)",
    "D4": "D4 gives uint8 (48, 32, 3)",
    "SquareSymmetry": "SquareSymmetry gives uint8 (48, 32, 3)",
    "MaskDropout": "MaskDropout: MaskDropout requires ['mask']",
    "Mosaic": "Mosaic: Mosaic requires",
    "OverlayElements": "OverlayElements: ",
    "BBoxSafeRandomCrop": "BBoxSafeRandomCrop: KeyError 'bboxes'",
    "RandomCropNearBBox": "RandomCropNearBBox: ",
    "CoarseDropout3D": "CoarseDropout3D: KeyError 'volume'",
    "CubicSymmetry": "CubicSymmetry: KeyError 'volume'",
    "Crop": "Crop: ",
    "Lambda": "Lambda: ",
    "FDA": "FDA: ",
    "HistogramMatching": "HistogramMatching: ",
    "PixelDistributionAdaptation": "PixelDistributionAdaptation: ",
    "DualTransform": "DualTransform: NotImplementedError",
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_transform_that_gives_no_view_is_refused_before_training(name):
    """Floats trained in silence on images that were nearly constant; the others ended in a traceback."""
    with pytest.raises(RecipeError) as refused:
        refuse_unfit_transforms(RECTANGLE, declared(name, p=0.1))
    assert str(refused.value).startswith(f"augment.transforms: {UNFIT[name]}")
    assert "\n" not in str(refused.value)


def test_transforms_that_give_views_are_not_refused():
    refuse_unfit_transforms(RECTANGLE, AugmentConfig())
    refuse_unfit_transforms(32, declared("D4", "RandomRotate90", "Transpose"))
    refuse_unfit_transforms(RECTANGLE, declared("Normalize", p=0))
    for name in PIPELINES:
        refuse_unfit_transforms(24, AugmentConfig(transforms=PIPELINES[name]))


def enlarge_and_cut(scale_p, cut_p):
    enlarge = {"name": "RandomScale", "scale_limit": [0.2, 0.5], "p": scale_p}
    cut = {"name": "RandomCrop", "height": 32, "width": 48, "p": cut_p}
    return AugmentConfig(transforms=(enlarge, {"name": "HorizontalFlip"}, cut))


def test_a_transform_may_make_good_for_an_earlier_one_where_it_always_does(rng):
    augment = enlarge_and_cut(0.5, 1.0)
    refuse_unfit_transforms(RECTANGLE, augment)
    view = TrainingView(RECTANGLE, augment, "area")
    assert {view(draw("disc", rng), seed).shape for seed in range(20)} == {(*RECTANGLE, 3)}
    with pytest.raises(RecipeError, match=r"RandomScale gives uint8 \("):
        refuse_unfit_transforms(RECTANGLE, enlarge_and_cut(1.0, 0.9))


@pytest.mark.parametrize("name", ["Normalize", "Mosaic"])
def test_training_stops_in_one_line_at_what_the_probe_did_not_meet(rng, name):
    view = TrainingView(RECTANGLE, declared(name, p=1.0), "area")
    with pytest.raises(RecipeError, match=rf"augment\.transforms: {name}"):
        view(draw("disc", rng), 1)


def test_the_description_tells_pipelines_apart():
    first = TrainingView(24, AugmentConfig(), "area").describe()
    assert first == TrainingView(24, AugmentConfig(), "area").describe()
    assert first != TrainingView(24, AugmentConfig(crop_scale_min=0.9), "area").describe()
    assert set(first) == {"albumentations", "opencv", "pipeline"}


def seen_in(view, side):
    """(height and width as shares of a picture's, upside down, mirrored) of a view of `where_it_is`."""
    across, down = (view[..., channel].astype(float).mean(axis=axis) for channel, axis in ((0, 0), (1, 1)))
    # The middles of the view's first and last pixel lie (n - 1) / n of the window apart.
    height, width = (abs(line[-1] - line[0]) / (1 - 1 / len(line)) / side for line in (down, across))
    return height, width, down[-1] < down[0], across[-1] < across[0]


@pytest.mark.parametrize("scale_min", [0.1, 0.5, 0.8])
def test_a_view_shows_the_share_and_the_flips_that_the_recipe_says(scale_min):
    """Read from the pixels: each of the picture's says where it is. By RandomCrop's own text, an area of
    `crop_scale_min` to 1, each as often, at most 4/3 wider or higher; flips as often as their p."""
    rows, columns = np.mgrid[:256, :256].astype(np.uint8)
    where_it_is = np.dstack([columns, rows, 0 * rows])
    flips = ({"name": "HorizontalFlip", "p": 0.3}, {"name": "VerticalFlip", "p": 0.8})
    augment = AugmentConfig(crop_scale_min=scale_min, transforms=flips)
    view, count = TrainingView(64, augment, "area"), 800
    found = np.array([seen_in(view(where_it_is, seed), 256) for seed in range(count)])
    areas, aspects = found[:, 0] * found[:, 1], found[:, 1] / found[:, 0]
    rounding = 1.5 / 256 / np.sqrt(scale_min)  # of a window's side to pixels, and of a pixel to uint8
    assert scale_min * (1 - 2 * rounding) <= areas.min() <= scale_min + 0.02
    assert 0.97 <= areas.max() <= 1 + 2 * rounding
    widest = min(4 / 3, 1 / scale_min)  # that still lies inside the picture
    assert (1 - 2 * rounding) / widest <= aspects.min() < 1.07 / widest
    assert widest / 1.07 < aspects.max() <= widest * (1 + 2 * rounding)
    # A window near area 1 fits only undistorted, so those are drawn again: never more than uniform there.
    tenth = scale_min + (1 - scale_min) / 10
    assert 0.1 <= (areas < tenth).mean() < 0.2
    for column, share in ((3, 0.3), (2, 0.8)):
        error = (share * (1 - share) / count) ** 0.5
        assert abs(found[:, column].mean() - share) < 3.5 * error


def with_chances(scale_p, *cut_ps):
    enlarge = {"name": "RandomScale", "scale_limit": [0.2, 0.5], "p": scale_p}
    cuts = [{"name": "RandomCrop", "height": 32, "width": 48, "p": chance} for chance in cut_ps]
    return AugmentConfig(transforms=(enlarge, *cuts))


@pytest.mark.parametrize("chances", [(1.0, 0.9), (0.5, 0.5, 0.5), (0.5, 0.5)])
def test_what_may_be_left_out_of_some_view_makes_good_for_nothing(chances):
    """A transform that needs another one, or either of two others, while each of these is left out of some views."""
    with pytest.raises(RecipeError, match=r"RandomScale gives uint8 \("):
        refuse_unfit_transforms(RECTANGLE, with_chances(*chances))


def test_a_transform_that_needs_one_of_several_is_let_through_where_one_is_always_applied():
    for chances in ((0.5, 1.0), (0.5, 0.5, 1.0), (1.0, 1.0, 0.5)):
        refuse_unfit_transforms(RECTANGLE, with_chances(*chances))
