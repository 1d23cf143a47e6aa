"""Enrolled images and the nearest of them: how a network without classes answers.

gallery.npz  embeddings (N, D) float32, each of length 1   labels (N,) int32, a position among the classes
             about (bytes,) uint8, JSON: version, network (see `network_digest`), classes, names of the N images,
             made_by (precision and place of each embedding), unknown_below (precision -> cosine), coverage

A bundle carries one, of the training images. What is added on the board goes into `work/gallery.npz`, which counts
instead of the bundle's as soon as it is there.
"""

import hashlib
import io
import json
import os
import zipfile
from typing import Any, Dict, NamedTuple, Optional, Tuple

import numpy as np

from edgedistill_device.decode import read_image
from edgedistill_device.errors import BackendError, GalleryError
from edgedistill_device.imports import line_of
from edgedistill_device.inference.decide import UNKNOWN
from edgedistill_device.json_text import json_text
from edgedistill_device.kept_file import write_kept
from edgedistill_device.manifest import WORK
from edgedistill_device.preprocess import Preparer
from edgedistill_device.preprocess_spec import dict_from_preprocess
from edgedistill_device.text import readable

NAME = "gallery.npz"
VERSION = 1
MAX_BYTES = 1 << 30

_Gallery = NamedTuple(
    "_Gallery",
    [
        ("embeddings", Any),
        ("labels", Any),
        ("network", str),
        ("classes", Tuple[str, ...]),
        ("names", Tuple[str, ...]),
        ("made_by", Tuple[str, ...]),
        ("unknown_below", Dict[str, float]),
        ("coverage", Optional[float]),
    ],
)
_FIELDS = ("version",) + _Gallery._fields[2:]  # of `about`


class Gallery(_Gallery):
    """
    Attributes:
        embeddings: (N, D) float32, each of length 1.
        labels: (N,) int32, in 0..classes-1.
        network: `network_digest` of what made them.
        classes: tuple of C names.
        names: tuple of N image names.
        made_by: tuple of N, such as "fp32, workstation".
        unknown_below: precision -> cosine with the nearest image under which the answer is UNKNOWN; {}: never.
        coverage: share of images of known classes that this keeps, or None.
        below: of the precision that computes here, or None.
    """

    below = None

    def served(self, executed):
        """The same with the limit of a precision in force: fp32, fp16 or int8."""
        gallery = Gallery(*self)
        gallery.below = self.unknown_below.get(executed)
        return gallery

    def answer(self, outputs, top):
        """What is said of one image.

        Args:
            outputs: (D,) float.
            top: at most so many classes.

        Returns:
            {"top": [{"class", "cosine", "nearest"}, ...], "class", "decided_by"}: the classes by their nearest enrolled
            image, nearest first; the answer, or UNKNOWN; "nearest" or "unknown".

        Raises:
            BackendError: an output is NaN or infinite.
            GalleryError: another number of outputs.
        """
        if not np.isfinite(outputs).all():
            raise BackendError(
                "the network gives NaN or infinity here, which is near no image; run: "
                "python3 -m edgedistill_device verify"
            )
        if len(outputs) != self.embeddings.shape[1]:
            raise GalleryError(
                "the network gives %d figures, the gallery's images have %d: it is another network's"
                % (len(outputs), self.embeddings.shape[1])
            )
        cosines = np.clip(self.embeddings.dot(unit_rows(np.asarray(outputs)[np.newaxis])[0]), -1, 1)
        rows, seen = [], set()
        for place in np.argsort(-cosines, kind="mergesort"):
            label = int(self.labels[place])
            if label not in seen:
                seen.add(label)
                row = {"class": self.classes[label], "cosine": float(cosines[place]), "nearest": self.names[place]}
                rows.append(row)
            if len(rows) == min(top, len(self.classes)):
                break
        known = self.below is None or rows[0]["cosine"] >= self.below
        said = (rows[0]["class"], "nearest") if known else (UNKNOWN, "unknown")
        return {"top": rows, "class": said[0], "decided_by": said[1]}

    def with_class(self, name, embeddings, names, made_by):
        """The gallery with images of one class added; those of the same name in it are replaced.

        Raises:
            GalleryError: a name that no class can have.
        """
        if not name.strip() or name == UNKNOWN or len(name) > 200 or not name.isprintable():
            raise GalleryError("a class cannot be called %r; give it a name of up to 200 printable letters" % (name,))
        label = self.classes.index(name) if name in self.classes else len(self.classes)
        again = [mine == label and image in names for mine, image in zip(self.labels, self.names)]
        kept = self._of(~np.array(again, bool))
        return kept._replace(
            classes=self.classes if name in self.classes else self.classes + (name,),
            embeddings=np.concatenate([kept.embeddings, unit_rows(embeddings)]),
            labels=np.concatenate([kept.labels, np.full(len(names), label, np.int32)]),
            names=kept.names + tuple(names),
            made_by=kept.made_by + (made_by,) * len(names),
        )

    def without_class(self, name):
        """The gallery without a class.

        Raises:
            GalleryError: no such class, or the last one.
        """
        if name not in self.classes or len(self.classes) == 1:
            why = "no other class is left" if name in self.classes else "it is not in the gallery"
            raise GalleryError("%s: %s; classes: %s" % (name, why, ", ".join(self.classes[:20])))
        label = self.classes.index(name)
        kept = self._of(self.labels != label)
        return kept._replace(
            classes=self.classes[:label] + self.classes[label + 1 :],
            labels=kept.labels - (kept.labels > label).astype(np.int32),
        )

    def _of(self, chosen):
        """Of the images that `chosen`, (N,) bool, says."""
        places = np.flatnonzero(chosen)
        return self._replace(
            embeddings=self.embeddings[places],
            labels=self.labels[places],
            names=tuple(self.names[place] for place in places),
            made_by=tuple(self.made_by[place] for place in places),
        )

    def neighbours_of_own_class(self, name):
        """(images of a class, how many of them have an image of the class as their nearest other one)."""
        label = self.classes.index(name)
        places = np.flatnonzero(self.labels == label)
        cosines = self.embeddings[places].dot(self.embeddings.T)
        cosines[np.arange(len(places)), places] = -2  # itself
        return len(places), int((self.labels[cosines.argmax(axis=1)] == label).sum())

    def counts(self):
        """Class -> number of its images."""
        return {name: int((self.labels == label).sum()) for label, name in enumerate(self.classes)}


def unit_rows(embeddings):
    """(N, D) float -> float32, each row of length 1; a row of zeros stays."""
    embeddings = np.asarray(embeddings, np.float32)
    length = np.sqrt((embeddings * embeddings).sum(axis=1, keepdims=True))
    return embeddings / np.where(length > 0, length, np.float32(1))


def network_digest(onnx_sha256, preprocess):
    """What embeddings can be compared with each other, in hex: those of the same weights and the same framing.

    Args:
        onnx_sha256: of the float file, model.onnx, from which every precision is made.
        preprocess: Preprocess.
    """
    text = json_text([onnx_sha256, dict_from_preprocess(preprocess)])
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def digest_of(manifest):
    """`network_digest` of a bundle."""
    return network_digest(manifest.files["model.onnx"].sha256, manifest.preprocess)


def gallery_bytes(gallery):
    """The file of a Gallery."""
    fields = [VERSION] + [getattr(gallery, name) for name in _FIELDS[1:]]
    about = json_text(dict(zip(_FIELDS, fields))).encode("ascii")
    content = io.BytesIO()
    np.savez(
        content,
        embeddings=np.asarray(gallery.embeddings, np.float32),
        labels=np.asarray(gallery.labels, np.int32),
        about=np.frombuffer(about, np.uint8),
    )
    return content.getvalue()


def read_gallery(path, network):
    """The Gallery in a file.

    Args:
        network: digest of the network that will be asked.

    Raises:
        GalleryError: no such file, not a gallery, or another network's.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ValueError("larger than %d bytes" % (MAX_BYTES,))
    except (IOError, OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise GalleryError("%s: no gallery that can be read: %s" % (path, why))
    try:
        embeddings, labels, about = _arrays(content)
        gallery = _checked(embeddings, labels, bytes(bytearray(about)))
    except Exception as error:
        # Of damaged bytes zipfile, zlib and numpy make a dozen types, other ones in each release.
        why = line_of(error)
        raise GalleryError("%s: not a gallery that edgedistill wrote (%s); make it again" % (path, why))
    if gallery.network != network:
        raise GalleryError(
            "%s: made with another network (%s..., this bundle's is %s...): embeddings of two networks cannot be "
            "compared; add the photographs again with this bundle" % (path, gallery.network[:12], network[:12])
        )
    return gallery


def _arrays(content):
    """The three arrays of a gallery's bytes; without np.load, whose object of a damaged file complains on stderr."""
    with zipfile.ZipFile(io.BytesIO(content)) as stored:
        if sum(part.file_size for part in stored.infolist()) > MAX_BYTES:
            raise ValueError("larger than %d bytes" % (MAX_BYTES,))
        parts = [io.BytesIO(stored.read(name + ".npy")) for name in ("embeddings", "labels", "about")]
    return [np.lib.format.read_array(part, allow_pickle=False) for part in parts]


def _checked(embeddings, labels, about):
    about = json.loads(about.decode("ascii"))
    if set(about) != set(_FIELDS) or about["version"] != VERSION:
        raise ValueError("version %r, this code reads %d" % (about.get("version"), VERSION))
    texts = [about["classes"], about["names"], about["made_by"], [about["network"]]]
    if not all(isinstance(text, str) for part in texts for text in part):
        raise ValueError("a name is no text")
    count, limits = len(labels), about["unknown_below"].values()
    counts = {len(embeddings), len(about["names"]), len(about["made_by"])}
    types = (embeddings.dtype, labels.dtype) == (np.float32, np.int32)
    if count == 0 or counts != {count} or embeddings.ndim != 2 or not types or not np.isfinite(embeddings).all():
        raise ValueError("embeddings %s for %d images" % (embeddings.shape, count))
    if not all(isinstance(limit, float) and abs(limit) <= 1 for limit in limits):
        raise ValueError("a limit is no cosine")
    if sorted(set(labels.tolist())) != list(range(len(about["classes"]))):
        raise ValueError("labels are not of %d classes" % (len(about["classes"]),))
    parts = [tuple(value) if isinstance(value, list) else value for value in (about[name] for name in _FIELDS[1:])]
    return Gallery(embeddings, labels, *parts)


def write_gallery(path, gallery):
    """A reader never sees half a file."""
    write_kept(path, gallery_bytes(gallery))


def place_of(bundle):
    """(what is added to, what is read) of a bundle's folder: `work/gallery.npz`, the bundle's own until it is there."""
    own = os.path.join(str(bundle), WORK, NAME)
    return own, own if os.path.exists(own) else os.path.join(str(bundle), NAME)


def embeddings_of(paths, manifest, runner):
    """(n, D) float32 of image files, by an entered runner.

    Raises:
        ImageError: one cannot be read.
        BackendError: an embedding is NaN or infinite.
    """
    prepare = Preparer(manifest.preprocess)
    rows = [runner.infer(prepare(read_image(path, manifest.preprocess.sixteen_bit)))[0].copy() for path in paths]
    if not np.isfinite(rows).all():
        raise BackendError("the network gives NaN or infinity here; run: python3 -m edgedistill_device verify")
    return np.array(rows, np.float32)


def gallery_of_photos(classes, manifest, runner):
    """A Gallery of photographs alone, without a limit for UNKNOWN.

    Args:
        classes: [(name, [paths])], at least one of each.
    """
    made = None
    for name, paths in classes:
        embeddings = embeddings_of(paths, manifest, runner)
        if made is None:
            empty = np.empty((0, embeddings.shape[1]), np.float32)
            made = Gallery(empty, np.empty(0, np.int32), digest_of(manifest), (), (), (), {}, None)
        made = made.with_class(name, embeddings, [image_name(path) for path in paths], made_here(runner))
    return made


def image_name(path):
    """How the gallery calls an image file."""
    return readable(os.path.basename(path))


def open_gallery(place, bundle, manifest, runner):
    """The Gallery that `classify` asks, with the limit of the executed precision.

    Args:
        place: a gallery.npz, or a folder with a folder of photographs for each class; None: see `place_of`.
        bundle: folder.
        runner: entered.

    Raises:
        GalleryError: none there, a damaged one, or another network's.
        ImageError: a photograph that cannot be read.
    """
    place = place_of(bundle)[1] if place is None else place
    if not os.path.isdir(place):
        return read_gallery(place, digest_of(manifest)).served(runner.executed)
    folders = [(readable(name), os.path.join(place, name)) for name in sorted(os.listdir(place))]
    classes = [(name, _files_in(folder)) for name, folder in folders if os.path.isdir(folder)]
    if not classes:
        raise GalleryError("%s: expected a folder of photographs for each class, %s/CLASS/*.jpg" % (place, place))
    return gallery_of_photos(classes, manifest, runner).served(runner.executed)


def _files_in(folder):
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if not name.startswith(".")]
    paths = [path for path in paths if os.path.isfile(path)]
    if not paths:
        raise GalleryError("%s: no photographs in it" % (folder,))
    return paths


def made_here(runner):
    """The `made_by` of embeddings that an entered runner gives."""
    return "%s, %s" % (runner.executed, runner.backend)
