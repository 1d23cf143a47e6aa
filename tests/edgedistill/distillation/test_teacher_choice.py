"""Which teacher is kept, by what both say of images that they have not learnt from."""

from types import SimpleNamespace

import numpy as np
import pytest

from edgedistill.distillation import teacher_choice
from edgedistill.distillation.teacher_choice import compared, line_from_choice, prefers_finetuned
from edgedistill.records.training import Tried

CLASSES = ["a", "b", "c"]


def logits_with(right, labels):
    """(N, 3) logits that name the label where `right`."""
    named = np.where(right, labels, (labels + 1) % len(CLASSES))
    return np.eye(len(CLASSES))[named]


@pytest.mark.parametrize(
    ("images", "probe", "finetuned", "kept"),
    [
        (100, 60, 90, "finetune"),
        (100, 90, 60, "probe"),
        (100, 80, 80, "probe"),
        (100, 80, 82, "probe"),  # two images are luck
        (2000, 1600, 1640, "finetune"),  # forty are not
        (6, 0, 6, "finetune"),
        (3, 1, 3, "probe"),
    ],
)
@pytest.mark.parametrize("metric", ["top1_fraction", "balanced_accuracy_fraction"])
def test_the_fine_tuned_network_must_be_better_beyond_chance(images, probe, finetuned, kept, metric):
    labels = np.arange(images) % len(CLASSES)
    order = np.random.default_rng(0).permutation(images)
    answers = (logits_with(np.isin(np.arange(images), order[:count]), labels) for count in (probe, finetuned))
    tried = compared(*answers, labels, CLASSES, metric, folds=2)
    if metric == "top1_fraction":
        assert (tried.probe, tried.finetune) == (probe / images, finetuned / images)
    assert tried.interval[0] <= tried.finetune - tried.probe <= tried.interval[1]
    if images > 6:  # by hand, with the normal distribution: 2 sqrt(b + c) / n
        assert prefers_finetuned(tried) == (kept == "finetune")
        assert (tried.finetune - tried.probe > 2 * np.sqrt(abs(finetuned - probe)) / images) == (kept == "finetune")
    line = line_from_choice(tried)
    assert ("kept the fine-tuned network" in line) == prefers_finetuned(tried)
    assert line.startswith(f"on {images} images of 2 fold(s) that were left out: probe ")


def test_the_metric_of_the_recipe_decides():
    """Fine-tuning gains on the big class what it loses on the small one."""
    labels = np.repeat([0, 1], [900, 60])
    probe = logits_with(np.concatenate([np.arange(900) < 800, np.arange(60) < 55]), labels)
    finetuned = logits_with(np.concatenate([np.arange(900) < 890, np.arange(60) < 20]), labels)
    given = (probe, finetuned, labels, CLASSES)
    assert prefers_finetuned(compared(*given, "top1_fraction", None))
    assert not prefers_finetuned(compared(*given, "balanced_accuracy_fraction", None))


def test_what_an_older_release_tried_has_no_interval():
    assert not prefers_finetuned(Tried(probe=0.5, finetune=0.9))


@pytest.mark.parametrize(("minutes", "count"), [(0.0, 0), (0.9, 0), (1.0, 1), (2.5, 2), (60.0, 3)])
def test_as_many_folds_as_the_time_allows(monkeypatch, minutes, count):
    from types import SimpleNamespace

    said = []
    monkeypatch.setattr(teacher_choice, "_seconds_of", lambda job, fold: 60.0)
    job = SimpleNamespace(
        teacher=SimpleNamespace(choice_minutes=minutes),
        images=SimpleNamespace(labels=lambda split: [0] * 18),
        talk=SimpleNamespace(say=said.append),
    )
    assert teacher_choice._affordable(job, [None] * 3) == count
    assert len(said) == (count < 3)
    assert all("18 validation images do not tell" in line for line in said)
    assert [line.startswith("  kept the probe: ") for line in said] == [count == 0] * len(said)


@pytest.mark.parametrize(("right", "averaged"), [(20, False), (52, True), (56, True), (60, False)])
def test_a_mean_is_taken_unless_one_of_the_two_is_worse_beyond_chance(monkeypatch, tmp_path, right, averaged):
    """60 images of two classes: the probe has 54 right, the other so many, and shouts ten times as loud."""
    labels = np.arange(60) % 2
    logits = {}
    for name, count, scale in (("probe", 54, 1.0), ("finetuned", right, 10.0)):
        answers = np.where(np.arange(60) < count, labels, 1 - labels)
        logits[tmp_path / name] = scale * np.eye(2, dtype=np.float32)[answers]
    job = SimpleNamespace(
        images=SimpleNamespace(
            recipe=SimpleNamespace(data=SimpleNamespace(metric="top1_fraction")),
            frames=lambda split: [],
            labels=lambda split: labels,
            classes=["a", "b"],
        ),
        subject=SimpleNamespace(name="net"),
        teacher=SimpleNamespace(averages=True),
        out=tmp_path,
        device=None,
        probe_file="probe",
        finetuned_file="finetuned",
    )
    monkeypatch.setattr(teacher_choice, "spec_for", lambda *_: None)
    monkeypatch.setattr(teacher_choice, "load_weights", lambda path: (path, None))
    monkeypatch.setattr(teacher_choice, "logits_of", lambda path, *_: logits[path])
    tried = teacher_choice.choice_on_validation(job)
    assert (tried.probe, tried.finetune) == (54 / 60, right / 60)
    assert tried.mean == (right / 60 if averaged else None)
