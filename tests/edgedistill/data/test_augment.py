import subprocess
import sys

import numpy as np
import pytest

from edgedistill.data.augment import TrainingView
from edgedistill.errors import RecipeError
from edgedistill.sections import AugmentConfig
from road import ROOT, draw

PROGRAM = """
import hashlib, numpy as np
from edgedistill.sections import AugmentConfig
from edgedistill.data.augment import TrainingView
image = (np.arange(60 * 50 * 3) % 251).astype(np.uint8).reshape(60, 50, 3)
view = TrainingView(32, AugmentConfig(), "area")
print(hashlib.sha256(b"".join(view(image, seed).tobytes() for seed in range(20))).hexdigest())
"""


def test_views_are_the_same_in_another_process():
    said = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
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


def test_the_description_tells_pipelines_apart():
    first = TrainingView(24, AugmentConfig(), "area").describe()
    assert first == TrainingView(24, AugmentConfig(), "area").describe()
    assert first != TrainingView(24, AugmentConfig(crop_scale_min=0.9), "area").describe()
    assert set(first) == {"albumentations", "opencv", "pipeline"}
