"""Classes of images, or figures, from a trained student on this computer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.api.types import PathLike

if TYPE_CHECKING:
    import numpy as np

    from edgedistill.data.find_images import FoundImage
    from edgedistill.onnx_model.classify import Classified, Network

    Writer = Callable[[int, np.ndarray, Classified], None]


def predict(
    source: PathLike,
    images: PathLike | Sequence[PathLike],
    /,
    *,
    top: int = 3,
    model: str = "student",
    annotate: PathLike | None = None,
    explain: PathLike | None = None,
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
        explain: a folder for heat maps: for each image what the network sees, and beside it in orange the places that
            spoke for the class that was answered (of `unknown`: the most likely one).
        on_image: called with each row as soon as it is there.

    Returns:
        A row for each image: `path`; `top`, at most that many of `class` and calibrated `probability`, the most likely
        first; `reason`, why an image has no answer, or None. Of a student with promises or `unknown` also `class`, the
        answer, and `decided_by`: threshold, unknown or probability. Of a student without classes `top` has `cosine` and
        `nearest`, the nearest enrolled image of the class, in place of the probability, and `decided_by` is nearest or
        unknown. Of a regression `values` in place of `top`, each with `name`, `value` and `unit`; of several labels an
        image `labels`, each with `label` and `probability`, those that reach their threshold.

    Raises:
        UsageError: a network's name or an ONNX file in place of a folder, `top` below 1, or copies that would
            replace the images.
        BundleError: no exported network there.
        ExportError: an exported network that edgedistill did not write, one that gives no classes, or, with `explain`,
            one that has no heat maps.
        DataError: no images.
        RunFolderError: a copy or a heat map cannot be written.
    """
    from edgedistill.data.find_images import find_images
    from edgedistill.errors import UsageError
    from edgedistill.onnx_model.classify import classify, network_of

    _refuse_what_is_estimated(source)
    if top < 1:
        raise UsageError(f"--top {top}: expected at least 1 class")
    network = network_of(Path(source), model)
    if not network.task.ranks and explain is not None:
        of_vectors = "several labels" if network.task.multiple else "figures"
        what = "the nearest enrolled image" if network.task.enrols else of_vectors
        raise UsageError(
            f"--explain shows which places spoke for a class, this network answers with {what}; leave it out"
        )
    named = [images] if isinstance(images, str | os.PathLike) else images
    folders = {"--annotate": annotate, "--explain": explain}
    asked = {option: Path(folder) for option, folder in folders.items() if folder is not None}
    image_files = find_images([Path(place) for place in named], leave_out=list(asked.values()))
    if len(asked) == 2 and asked["--annotate"].resolve() == asked["--explain"].resolve():
        raise UsageError(f"--annotate and --explain: both write to {asked['--explain']}; name two folders")
    rows = []
    with ExitStack() as open_files:
        writers = [_WRITERS[option](folder, image_files, network, open_files) for option, folder in asked.items()]
        for number, one in enumerate(classify(network, (image.path for image in image_files), top)):
            if one.reason is None and one.image is not None:
                for write in writers:
                    write(number, one.image, one)
            rows.append({"path": str(image_files[number].path), **one.said, "reason": one.reason})
            if on_image is not None:
                on_image(rows[-1])
    return rows


def _annotating(folder: Path, images: list[FoundImage], network: Network, open_files: ExitStack) -> Writer:
    from edgedistill.data.annotate import places_of_copies, write_annotated
    from edgedistill_device.inference.answers import line_of

    places = places_of_copies(folder, images)

    def write(number: int, image: np.ndarray, one: Classified) -> None:
        write_annotated(places[number], image, line_of(one.said, digits=1))

    return write


def _explaining(folder: Path, images: list[FoundImage], network: Network, open_files: ExitStack) -> Writer:
    from edgedistill.data.annotate import places_of_copies, write_annotated
    from edgedistill.data.heat import beside_its_heat
    from edgedistill.errors import ExportError
    from edgedistill.onnx_model.activation_maps import ActivationMaps, evidence
    from edgedistill_device.inference.answers import line_of
    from edgedistill_device.inference.decide import best_of
    from edgedistill_device.preprocess import to_input, view

    if network.task.vectors:
        raise ExportError(f"{network.path}: --explain shows what spoke for a class; this network answers with figures")
    places = places_of_copies(folder, images, "--explain")
    maps = open_files.enter_context(ActivationMaps(network.path))

    def write(number: int, image: np.ndarray, one: Classified) -> None:
        seen = view(image, network.preprocess)
        logits, scores = maps.of(to_input(seen, network.preprocess))
        if scores is None:
            return
        name = best_of(one.said)[0]
        said = network.classes.index(name) if name in network.classes else int(logits.argmax())
        write_annotated(places[number], beside_its_heat(seen, evidence(scores, said)), line_of(one.said, digits=1))

    return write


_WRITERS = {"--annotate": _annotating, "--explain": _explaining}


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
