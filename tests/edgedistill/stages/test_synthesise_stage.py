"""Stage `synthesise` with batches by hand: what is asked of a batch, what is recorded, and what is refused."""

import hashlib
from types import SimpleNamespace

import numpy as np
import pytest
from torch import nn

from edgedistill.config.loading import recipe_from_table
from edgedistill.distillation.inversion import InversionSettings
from edgedistill.errors import TrainingError
from edgedistill.progress.reporter import Talk
from edgedistill.stages import synthesise

MOST = InversionSettings().batch_size


@pytest.fixture
def stage(tmp_path, monkeypatch):
    """`stage(images, fractions)`: the result of as many images, from batches that the teacher knows so much of."""
    monkeypatch.setattr(synthesise, "open_images", lambda context: SimpleNamespace(classes=["a", "b"]))
    monkeypatch.setattr(synthesise, "load_weights", lambda path: (nn.Identity(), {"model": "tf_efficientnet_lite0"}))

    def made(images, fractions):
        recipe = recipe_from_table(
            {
                "data": {"train": "x", "image_px": 32},
                "run": {"device": "cpu"},
                "student": {"model": "resnet18"},
                "distill": {"method": "data_free", "synthetic_images": images, "synthetic_steps": 9, "seed": 4},
            },
            "made up",
        )

        def batch(model, spec, settings, number, classes):
            assert (settings.steps, settings.seed, classes) == (9, 4, ["a", "b"])
            assert spec.mean == spec.std == (0.5, 0.5, 0.5), "the teacher's, not the student's"
            report = {"wanted_fraction": fractions[number], "images": settings.batch_size, "seconds": 1.5 + number}
            report |= {"bn_loss_first": 10.0 + number, "bn_loss_last": 1.0 + number}
            frames = np.full((settings.batch_size, 32, 32, 3), number, np.uint8)
            frames[:, 0, 0, 0] = np.arange(len(frames)) % 256
            return frames, np.arange(len(frames)) % 2, report

        monkeypatch.setattr(synthesise, "synthesise_batch", batch)
        file = SimpleNamespace(recipe=recipe, talk=Talk(quiet=True), out=tmp_path, file=lambda *name: tmp_path)
        return synthesise.run(file)

    return made


def test_as_many_are_kept_as_were_asked_for(stage):
    found = stage(MOST + 3, [0.75, 0.5])
    assert found.record.images == len(found.record.sha256) == len(set(found.record.sha256)) == MOST + 3
    last = np.full((32, 32, 3), 1, np.uint8)
    last[0, 0, 0] = 2
    assert found.record.sha256[-1] == hashlib.sha256(last.tobytes()).hexdigest()
    assert found.record.wanted_fraction == pytest.approx(0.625)
    assert (found.record.bn_loss_first, found.record.bn_loss_last) == (10, 1)
    assert found.cost == {"synthesis_seconds": 4.0}


def test_few_images_are_one_small_batch(stage):
    assert stage(5, [1.0]).record.images == 5


def test_half_of_what_was_wanted_is_enough(stage):
    assert stage(2 * MOST, [0.75, 0.25]).record.wanted_fraction == 0.5


def test_less_than_half_is_refused(stage, tmp_path):
    with pytest.raises(TrainingError, match="assigns 45% of the synthesised images to their intended class"):
        stage(2 * MOST, [0.9, 0.0])
    assert not (tmp_path / "pixels.u8").exists()
