"""Classes of images, or figures, from a trained student on this computer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgedistill.api.types import PathLike


def predict(
    source: PathLike,
    images: PathLike | Sequence[PathLike],
    /,
    *,
    top: int = 3,
    model: str = "student",
    annotate: PathLike | None = None,
    on_image: Callable[[dict[str, Any]], None] | None = None,
) -> list[dict[str, Any]]:
    """Classify images with a trained network, on this computer: `edgedistill predict`.

    Pixels are prepared by the code that the board runs, with the settings that are stored in the exported file.

    Args:
        source: a run folder, or a bundle folder.
        images: image files, and folders that are searched at any depth.
        top: how many classes of each image.
        model: of a run, `student` or `teacher`.
        annotate: a folder for copies of the images with class and probability drawn in.
        on_image: called with each row as soon as it is there.

    Returns:
        A row for each image: `path`; `top`, at most that many of `class` and calibrated `probability`, the most likely
        first, or of a regression `values`, each with `name`, `value` and `unit`; `reason`, why an image has no answer,
        or None. Of a student with promises or `unknown` also `class`, the
        answer, and `decided_by`: threshold, unknown or probability.

    Raises:
        UsageError: a network's name or an ONNX file in place of a folder, `top` below 1, or copies that would
            replace the images.
        BundleError: no exported network there.
        ExportError: an exported network that edgedistill did not write, or one that gives no classes.
        DataError: no images.
        RunFolderError: a copy cannot be written.
    """
    from edgedistill.data.find_images import find_images
    from edgedistill.errors import UsageError
    from edgedistill.onnx_model.classify import classify, network_of
    from edgedistill_device.inference.answers import line_of, shown_of

    _refuse_what_is_estimated(source)
    if top < 1:
        raise UsageError(f"--top {top}: expected at least 1 class")
    network = network_of(Path(source), model)
    named = [images] if isinstance(images, str | os.PathLike) else images
    folder = None if annotate is None else Path(annotate)
    image_files = find_images([Path(place) for place in named], leave_out=folder)
    copies: list[Path] = []
    if folder is not None:
        from edgedistill.data.annotate import places_of_copies, write_annotated

        copies = places_of_copies(folder, image_files)
    rows = []
    for number, one in enumerate(classify(network, (image.path for image in image_files), top)):
        if copies and shown_of(one.said) and one.image is not None:
            write_annotated(copies[number], one.image, line_of(one.said, digits=1))
        rows.append({"path": str(image_files[number].path), **one.said, "reason": one.reason})
        if on_image is not None:
            on_image(rows[-1])
    return rows


def _refuse_what_is_estimated(source: PathLike) -> None:
    """
    Raises:
        UsageError: `source` is what `edgedistill estimate` takes.
    """
    from edgedistill.errors import UsageError

    path = Path(source)
    if path.suffix == ".onnx" or not (path.exists() or len(path.parts) > 1):
        raise UsageError(
            f"{path} is no run or bundle folder. To classify images: edgedistill predict RUN IMAGES. The speed of a "
            f"network is estimated by: edgedistill estimate {path}"
        )
