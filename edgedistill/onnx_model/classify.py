"""Image files through an exported network, with pixels prepared as the board prepares them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edgedistill.config.task import CLASSIFICATION, EMBEDDING, Task, labels_task
from edgedistill.core.files import sha256_of
from edgedistill.core.text import printable
from edgedistill.errors import BundleError, ExportError, RunFolderError, is_out_of_memory
from edgedistill.evaluation.tasks import answer_of
from edgedistill.onnx_model.exported_file import (
    classes_from_onnx,
    preprocess_from_onnx,
    task_from_onnx,
    values_from_onnx,
)
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.records.base import ArtifactRecord
from edgedistill.records.decision import DecisionRecord
from edgedistill.records.export import ExportRecord
from edgedistill.records.layout import GALLERY, STUDENT, TEACHER
from edgedistill_device.decision_spec import PLAIN, Decision, decision_from_json, decision_of
from edgedistill_device.decode import read_image
from edgedistill_device.errors import BackendError, GalleryError, ImageError, ManifestError
from edgedistill_device.inference.answers import answer_key
from edgedistill_device.inference.decide import has_rule
from edgedistill_device.inference.gallery import Gallery, digest_of, network_digest, place_of, read_gallery
from edgedistill_device.manifest import NAME, Manifest, read_manifest
from edgedistill_device.preprocess import Preparer
from edgedistill_device.preprocess_spec import Preprocess
from edgedistill_device.value_spec import Value

Artifact = TypeVar("Artifact", bound=ArtifactRecord)
FILES = {"student": STUDENT, "teacher": TEACHER}  # model -> its file in RUN/export


@dataclass(frozen=True)
class Network:
    """An exported file that answers with classes or with figures.

    Attributes:
        path: ONNX, one input (1, 3, H, W) float32.
        classes: index = logit position.
        preprocess: from decoded pixels to the input.
        decision: how logits in float become an answer; of a network without classes the enrolled images.
        values: what the outputs are where they are figures; none of classes.
        task: what the outputs mean.
    """

    path: Path
    classes: tuple[str, ...]
    preprocess: Preprocess
    decision: Decision | Gallery = PLAIN
    values: tuple[Value, ...] = ()
    task: Task = CLASSIFICATION


@dataclass(frozen=True)
class Classified:
    """One image.

    Attributes:
        image: (height, width, 3) uint8, RGB, as decoded; None where it cannot be read.
        logits: (classes,) float32, or None.
        said: as on the board: `top`, the most likely classes, `class` and `probability` each; or `values`; or `labels`.
        reason: why there is no answer, or None.
    """

    image: np.ndarray | None
    logits: np.ndarray | None
    said: dict[str, Any]
    reason: str | None


def network_of(folder: Path, model: str = "student") -> Network:
    """The network of a run folder or of a bundle folder.

    Args:
        model: of a run, `student` or `teacher`; a bundle has its student alone.

    Raises:
        BundleError: neither of them, a bundle that is not whole, or the teacher of a bundle.
        ExportError: an exported file that edgedistill did not write, or one whose network gives no classes.
    """
    if (folder / NAME).is_file():
        if model != "student":
            raise BundleError(f"{folder}: a bundle has no {model}; give the run folder")
        try:
            manifest = read_manifest(folder, compiled=True)
            decision = _decision_of_bundle(folder, manifest)
        except (ManifestError, GalleryError) as error:
            raise BundleError(f"{folder}: {error}") from None
        task = EMBEDDING if isinstance(decision, Gallery) else labels_task(manifest.task)
        return Network(folder / "model.onnx", manifest.classes, manifest.preprocess, decision, manifest.values, task)
    path = folder / "export" / FILES[model]
    if not path.is_file():
        raise BundleError(
            f"{folder}: expected a run folder with export/{FILES[model]}, or a bundle folder; "
            "`edgedistill run RECIPE.toml` makes both"
        )
    classes, values, task = classes_from_onnx(path), values_from_onnx(path), task_from_onnx(path)
    decision = _decision_of_run(folder, path, classes, task) if model == "student" and task.decides else PLAIN
    if isinstance(decision, Gallery):
        task = EMBEDDING
    return Network(path, classes, preprocess_from_onnx(path), decision, values, task)


def _decision_of_bundle(folder: Path, manifest: Manifest) -> Decision | Gallery:
    if manifest.task != EMBEDDING.name:
        return decision_of(manifest, "fp32")
    return read_gallery(place_of(str(folder))[1], digest_of(manifest)).served("fp32")


def _decision_of_run(folder: Path, path: Path, classes: tuple[str, ...], task: Task) -> Decision | Gallery:
    """What stage `decide` fitted for the exported student in float; PLAIN where it has not run since."""
    gallery = folder / DecisionRecord.stage / GALLERY
    if gallery.is_file():
        try:
            digest = network_digest(sha256_of(path), preprocess_from_onnx(path))
            return read_gallery(str(gallery), digest).served("fp32")
        except GalleryError as error:
            raise BundleError(f"{error}; `edgedistill run RECIPE.toml` makes it again") from None
    try:
        decided = _stored(DecisionRecord, folder)
        exported = _stored(ExportRecord, folder)
    except (OSError, ValueError, RunFolderError):
        return PLAIN
    if decided.stamp.inputs["artifacts"].get("export") != exported.stamp.digest:
        return PLAIN
    return decision_from_json(decided.board["fp32"].to_json(), classes, each=task.multiple)


def _stored(kind: type[Artifact], run: Path) -> Artifact:
    path = run / kind.stage / f"{kind.stage}.json"
    return kind.from_json(json.loads(path.read_text(encoding="utf-8")), str(path))


def classify(network: Network, files: Iterable[Path], top: int) -> Iterator[Classified]:
    """Each file in turn; one that cannot be read ends nothing.

    Raises:
        ExportError: ONNX Runtime does not take the network, or it gives something else than a logit a class.
    """
    prepare = Preparer(network.preprocess)
    task = network.task
    ranked = isinstance(network.decision, Decision) and not task.vectors
    ruled = task.enrols or (ranked and has_rule(network.decision))
    nothing: dict[str, Any] = {answer_key(task.name): []} | (dict.fromkeys(("class", "decided_by")) if ruled else {})
    with OnnxSession(network.path) as session:
        for path in files:
            try:
                image = read_image(path, network.preprocess.sixteen_bit)
            except ImageError as error:
                yield Classified(None, None, nothing, printable(str(error)))
                continue
            logits = _logits(session, prepare(image), network.path)
            if not task.enrols and len(logits) != task.head_width(len(network.classes)):
                raise ExportError(
                    f"{network.path}: expected a logit for each of {len(network.classes)} classes, got "
                    f"{len(logits)} figures; a student that gives embeddings names no class before stage decide has "
                    "enrolled images"
                )
            try:
                said = answer_of(task, logits, network.classes, top, network.decision, network.values)
            except BackendError:
                kind = "figure" if network.values else "label" if task.multiple else "class"
                yield Classified(
                    image, logits, nothing, f"{path}: the network gives NaN or infinity, which is no {kind}"
                )
                continue
            yield Classified(image, logits, said, None)


def _logits(session: OnnxSession, batch: np.ndarray, path: Path) -> np.ndarray:
    """(1, 3, H, W) float32 -> the network's figures, (N,)."""
    try:
        return session.run(batch)[0].reshape(-1)
    except Exception as error:  # ONNX Runtime's exception classes share no public base
        if is_out_of_memory(error):
            raise
        reason = printable(str(error).splitlines()[0])
        raise ExportError(f"{path}: ONNX Runtime does not take an image of {batch.shape}: {reason}") from None
