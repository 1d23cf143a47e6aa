"""Before the student is trained: a teacher that is no better than the student without it."""

import pytest

from edgedistill.config.recipe import Recipe
from edgedistill.pipeline.expectation import expectation
from edgedistill.records.training import BaselineRecord, TeacherRecord
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
