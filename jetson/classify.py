"""Images in, one JSON line an image out."""

import os

import numpy as np

from jetson.errors import ImageError
from jetson.preprocess import read_image, to_input, view


def image_files(path):
    """A file, or all files of a folder in name order.

    Raises:
        ImageError: nothing there.
    """
    if os.path.isdir(path):
        files = [os.path.join(path, name) for name in sorted(os.listdir(path))]
        files = [name for name in files if os.path.isfile(name)]
        if not files:
            raise ImageError("%s: no files in this folder" % (path,))
        return files
    if not os.path.isfile(path):
        raise ImageError("%s: no such file or folder" % (path,))
    return [path]


def classify(path, manifest, runner, top):
    """One image's most likely classes.

    Returns:
        {"path", "top": [{"class", "probability"}, ...]}, most likely first.
    """
    logits = runner.infer(
        to_input(view(read_image(path), manifest.preprocess), manifest.preprocess)
    )
    shifted = np.exp(logits[0] - logits[0].max())
    probabilities = shifted / shifted.sum()
    order = np.argsort(-probabilities, kind="stable")[:top]
    return {
        "path": path,
        "top": [
            {"class": manifest.classes[i], "probability": float(probabilities[i])} for i in order
        ],
    }
