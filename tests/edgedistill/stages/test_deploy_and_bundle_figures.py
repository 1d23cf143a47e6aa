"""What a stage works out itself: how much faster the student is here, and how far a board's INT8 may be from ours."""

from types import SimpleNamespace

import numpy as np
import pytest

from edgedistill.stages import bundle, deploy


@pytest.mark.parametrize("runs", [1, 7])
def test_the_speedup_is_the_teachers_median_over_the_students_without_warm_up(monkeypatch, runs):
    """A clock by hand: the teacher takes 6 ms and the student 2, the first ten times a hundred times that, and once in
    seven something else runs."""
    now, turns, images = [50.0], {"teacher": 0, "student": 0}, []

    class Session:
        def __init__(self, path):
            self.name = path

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def logits(self, image):
            images.append(image)
            turns[self.name] += 1
            slow = 100 if turns[self.name] <= 10 else 9 if turns[self.name] == 12 else 1
            now[0] += slow * {"teacher": 0.006, "student": 0.002}[self.name]

    monkeypatch.setattr(deploy, "OnnxSession", Session)
    monkeypatch.setattr(deploy.time, "perf_counter", lambda: now[0])
    context = SimpleNamespace(
        recipe=SimpleNamespace(data=SimpleNamespace(size=(32, 48))),
        file=lambda stage, file: {"teacher.onnx": "teacher", "student.onnx": "student"}[file],
    )
    found = deploy._speedup_here(context, runs)
    assert (found.teacher_p50_ms, found.student_p50_ms) == (pytest.approx(6.0), pytest.approx(2.0))
    assert found.ratio == pytest.approx(3.0)
    assert turns == {"teacher": 10 + runs, "student": 10 + runs}
    assert {image.shape for image in images} == {(1, 3, 32, 48)}
    assert {image.dtype for image in images} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("lowest", "allowed"),
    [(1.0, 0.995), (0.9999, 0.995), (0.998, 0.992), (0.99, 0.96), (0.5, -1.0), (-0.2, -1.0), (None, -1.0)],
)
def test_a_boards_int8_embedding_may_be_twice_as_far_off_as_the_simulated_one(lowest, allowed):
    """1 minus the cosine of a small angle is half its square: twice the angle is four times that."""
    found = bundle._min_cosine(SimpleNamespace(lowest_cosine=lowest))
    assert found == {"fp32": 0.9999, "fp16": 0.995, "int8": pytest.approx(allowed, abs=1e-4)}


@pytest.mark.parametrize(("simulated", "allowed"), [(0.001, 0.03), (0.02, 0.04), (0.3, 0.6), (None, 0.03)])
def test_a_boards_int8_output_may_be_twice_as_far_off_and_never_nearer_than_fp16s(simulated, allowed):
    found = bundle._tolerance(SimpleNamespace(max_relative_logit_difference=simulated))
    assert found == {"fp32": 1e-3, "fp16": 0.03, "int8": pytest.approx(allowed, abs=1e-3)}
