"""Choose the images of the page that a person should look at, with what was said of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

import numpy as np

from edgedistill.core.text import printable
from edgedistill.data.heat import heated
from edgedistill.data.prepared import PreparedImages
from edgedistill.distillation.cached_outputs import CachedOutputs, image_list_digest
from edgedistill.errors import ExportError
from edgedistill.evaluation.look_closer import doubtful, softmax, suspect_labels, worst
from edgedistill.onnx_model.activation_maps import ActivationMaps, evidence
from edgedistill.onnx_model.exported_file import preprocess_from_onnx
from edgedistill.records.look_closer import ConfusionCell, HeatMaps, LookCloser, LookedAt, Said, SuspectLabels
from edgedistill_device.preprocess import to_input

MOST = 10  # images of the worst, and of the most doubtful
SUSPECTS = 20  # shown of them, of test and training images together
CELLS, OF_A_CELL = 60, 12  # confusions that are listed, and images of each
NAMES = 3  # parts of a path that are shown
MOST_BYTES = 300_000  # of all their thumbnails on a page, heat maps aside


@dataclass(frozen=True)
class Answers:
    """What the networks say of the images of one split; probabilities are (N, C).

    Attributes:
        split: train or test.
        labels: (N,) int.
        sha256, files: N hashes of the image files, and their names for the page.
        teacher: of each image.
        student: calibrated; (0, C) where it was not asked.
    """

    split: Literal["train", "test"]
    labels: np.ndarray
    sha256: Sequence[str]
    files: Sequence[str]
    teacher: np.ndarray
    student: np.ndarray


def look_closer(test: Answers, train: Answers | str, classes: list[str], temperature: float) -> LookCloser:
    """
    Args:
        test: of the test images, with the student's answers.
        train: of the training images, or why there are none.
        classes: C names.
        temperature: that calibrated the student's answers.

    Returns:
        Without heat maps: `with_heat` adds them.
    """
    return LookCloser(
        temperature=temperature,
        worst=[_looked_at(test, i, classes) for i in worst(test.student, test.labels, MOST)],
        doubtful=[_looked_at(test, i, classes) for i in doubtful(test.student, MOST)],
        confusions=list(_cells(test, classes)),
        suspects=_suspects(test, train, classes),
        heat=None,
        heat_reason="heat maps were not made",
    )


def lists_of(chosen: LookCloser) -> list[list[LookedAt]]:
    """The images as they stand on the page."""
    return [chosen.worst, chosen.doubtful, chosen.suspects.shown, *(cell.shown for cell in chosen.confusions)]


def with_heat(
    chosen: LookCloser, student: Path, frame: Callable[[LookedAt], np.ndarray], classes: list[str]
) -> tuple[LookCloser, dict[str, np.ndarray]]:
    """Add heat maps to the worst and the most doubtful images: what spoke for the class that the student answered.

    Args:
        student: exported ONNX file.
        frame: image -> (H, W, 3) uint8 RGB, as the network sees it.

    Returns:
        The same choice, which says of what kind the maps are or why there are none, and sha256 -> (H, W, 3) uint8 RGB.
    """
    pictures: dict[str, np.ndarray] = {}
    try:
        spec = preprocess_from_onnx(student)
        with ActivationMaps(student) as maps:
            for image in [*chosen.worst, *chosen.doubtful]:
                seen = frame(image)
                scores = maps.of(to_input(seen, spec))[1]
                if scores is not None:
                    said = classes.index(image.student[0].class_name)
                    pictures[image.sha256] = heated(seen, evidence(scores, said))
    except ExportError as error:
        return chosen.model_copy(update={"heat_reason": printable(str(error))}), {}
    if not pictures:
        return chosen.model_copy(
            update={"heat_reason": "there are no heat maps: the student's figures are not finite"}
        ), {}
    heat = HeatMaps(kind="exact" if maps.exact else "first order", rows=maps.places[0], columns=maps.places[1])
    return chosen.model_copy(update={"heat": heat, "heat_reason": ""}), pictures


def _cells(test: Answers, classes: list[str]) -> Iterator[ConfusionCell]:
    """The student's confusions, the most frequent first."""
    said = test.student.argmax(axis=1)
    counts = Counter((int(a), int(b)) for a, b in zip(test.labels, said, strict=True) if a != b)
    for (label, predicted), count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:CELLS]:
        inside = np.flatnonzero((test.labels == label) & (said == predicted))
        order = inside[np.argsort(test.student[inside, label], kind="stable")][:OF_A_CELL]
        yield ConfusionCell(
            label=classes[label],
            predicted=classes[predicted],
            images=count,
            shown=[_looked_at(test, i, classes) for i in order],
        )


def _suspects(test: Answers, train: Answers | str, classes: list[str]) -> SuspectLabels:
    splits = [test] if isinstance(train, str) else [test, train]
    found = [suspect_labels(answers.teacher, answers.labels) for answers in splits]
    rows = [(answers, int(i)) for answers, positions in zip(splits, found, strict=True) for i in positions]
    rows.sort(key=lambda row: row[0].teacher[row[1], row[0].labels[row[1]]] - row[0].teacher[row[1]].max())
    return SuspectLabels(
        test_images=len(found[0]),
        train_images=None if isinstance(train, str) else len(found[1]),
        why=train if isinstance(train, str) else "",
        shown=[_looked_at(answers, i, classes) for answers, i in rows[:SUSPECTS]],
    )


def _looked_at(answers: Answers, i: int, classes: list[str]) -> LookedAt:
    return LookedAt(
        split=answers.split,
        position=int(i),
        sha256=answers.sha256[i],
        file=answers.files[i],
        label=classes[answers.labels[i]],
        student=_said(answers.student[i], classes) if len(answers.student) else [],
        teacher=_said(answers.teacher[i], classes)[0],
    )


def _said(probabilities: np.ndarray, classes: list[str]) -> list[Said]:
    order = np.argsort(-probabilities, kind="stable")[:2]
    return [Said(class_name=classes[i], probability=float(probabilities[i])) for i in order]


def answers_on_train(images: PreparedImages, cache: Path) -> Answers | str:
    """The teacher's cached answers on the training images, the mean over the views of each; or why there are none.

    Args:
        cache: folder of stage `logits`.
    """
    cached, rows = CachedOutputs(cache), images.rows("train")
    hashes = [images.table.sha256[row] for row in rows]
    pool = [images.table.sha256[row] for row in images.rows("unlabelled")]
    if "mixing" in cached.belongs_to["transform"]:
        return "the teacher was asked about mixtures of two training images (distill.mixing)"
    if cached.belongs_to["image list"] not in (image_list_digest(hashes), image_list_digest([*hashes, *pool])):
        return "the teacher was not asked about the training images themselves"
    return Answers(
        "train",
        images.labels("train"),
        hashes,
        shown_names([images.table.paths[row] for row in rows]),
        cached.mean_probabilities(cached.views)[: len(rows)],
        np.empty((0, len(images.classes))),
    )


def answers_on_test(images: PreparedImages, logits: dict[str, np.ndarray], temperature: float) -> Answers:
    """Both networks' stored answers on the test images.

    Args:
        logits: (N, C) of `teacher` and `student`.
        temperature: the student's.
    """
    rows = images.rows("test")
    return Answers(
        "test",
        images.labels("test"),
        [images.table.sha256[row] for row in rows],
        shown_names([images.table.paths[row] for row in rows]),
        softmax(logits["teacher"]),
        softmax(logits["student"], temperature),
    )


def shown_names(paths: Sequence[PurePath]) -> list[str]:
    """The end of each path: below the folder that all have in common, at most NAMES parts. Folders of this computer
    are no one else's business."""
    common = len(PurePath(os.path.commonpath([path.parent for path in paths])).parts) if paths else 0
    return [printable("/".join(path.parts[common:][-NAMES:])) for path in paths]
