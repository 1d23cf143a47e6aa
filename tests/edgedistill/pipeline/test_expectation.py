"""Before the student is trained: a teacher that is no better than the student without it."""

import shlex

import pytest

from edgedistill.config.loading import apply_override
from edgedistill.config.recipe import Recipe
from edgedistill.pipeline.expectation import expectation
from edgedistill.records.training import BaselineRecord, TeacherRecord
from edgedistill_device.preprocess_spec import size_of
from record_factories import record_with


class Run:
    """As `RunFolder.folder` and `RunFolder.read`."""

    def __init__(self, path, fractions):
        self.path, self.records = path, {}
        for kind, fraction in zip((TeacherRecord, BaselineRecord), fractions, strict=True):
            if fraction is not None:
                (path / kind.stage).mkdir()
                (path / kind.stage / f"{kind.stage}.json").touch()
                validation = {"top1_fraction": fraction, "images": 50}
                self.records[kind] = record_with(kind, {"validation": validation, "mode": "finetune"})

    def folder(self, stage):
        return self.path / stage

    def read(self, kind):
        return self.records[kind]


def recipe(**distill):
    return Recipe.model_validate({"data": {"train": "images"}, "distill": distill})


@pytest.mark.parametrize(
    ("teacher", "baseline", "said"),
    [(0.9, 0.8, False), (0.8, 0.8, True), (0.7, 0.8, True), (0.7, None, False), (None, 0.8, False)],
)
def test_it_is_said_where_both_are_there_and_the_teacher_is_no_better(tmp_path, teacher, baseline, said):
    told = expectation(recipe(), Run(tmp_path, (teacher, baseline)))
    assert (told is not None) == said
    if said:
        assert f"top1_fraction {teacher:.3f} on 50 validation images, the student without it 0.800: expect no" in told
        assert "--set teacher." in told


def test_a_student_that_is_its_own_teacher_is_not_told(tmp_path):
    assert expectation(recipe(method="self"), Run(tmp_path, (0.1, 0.8))) is None


@pytest.mark.parametrize(
    ("image_px", "teacher", "setting"),
    [
        (96, {}, "--set teacher.image_px=192"),
        ([64, 112], {}, "--set 'teacher.image_px=[128, 224]'"),
        (160, {}, None),  # twice of it is beyond what ImageNet's weights have seen
        (96, {"image_px": 128}, None),
        (96, {"weights": "scratch"}, None),
    ],
)
def test_small_images_are_to_be_enlarged_for_the_teacher(tmp_path, image_px, teacher, setting):
    asked = Recipe.model_validate({"data": {"train": "images", "image_px": image_px}, "teacher": teacher})
    told = expectation(asked, Run(tmp_path, (0.7, 0.8)))
    assert ("teacher.image_px" in told) == (setting is not None)
    if setting:
        assert f"({setting})" in told
        table = {"data": {"train": "images", "image_px": image_px}}
        apply_override(table, shlex.split(setting)[1])
        height, width = asked.data.size
        assert size_of(Recipe.model_validate(table).teacher.image_px) == (2 * height, 2 * width)
