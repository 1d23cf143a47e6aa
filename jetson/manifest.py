"""The bundle's manifest, version 1: one writer, one reader, no tolerance for the unknown.

bundle/ manifest.json   written last: every other file with its SHA-256
        model.onnx  model_int8.onnx  calibration.json  classes.txt
        golden/inputs.npy (n, px, px, 3) uint8   golden/logits.npy (n, classes) float32
        golden/labels.json   golden/images/NNNN.*
        jetson/  calibration/   the device code itself
"""

import hashlib
import json
import os
from typing import Any, Dict, NamedTuple, Tuple

from jetson.errors import ManifestError
from jetson.preprocess import Preprocess, dict_from_preprocess, preprocess_from_dict

VERSION = 1
NAME = "manifest.json"
MAX_BYTES = 4 << 20

Manifest = NamedTuple(
    "Manifest",
    [
        ("version", int),
        ("model", str),
        ("target", str),
        ("target_sm", int),  # compute capability, 53 for 5.3; 0: any
        ("target_tensorrt", str),  # release whose parser the ONNX file was checked for, or ""
        ("precision_requested", str),
        ("input_name", str),
        ("output_name", str),
        ("input_shape", Tuple[int, ...]),  # NCHW, static
        ("classes", Tuple[str, ...]),  # index = logit position
        ("preprocess", Preprocess),
        ("tolerance", Dict[str, float]),  # precision -> max logit difference / largest logit
        ("provenance", Dict[str, Any]),
        ("files", Dict[str, str]),  # path inside the bundle -> sha256, hex
    ],
)


def write_manifest(folder, manifest):
    """Write `manifest.json` beside and rename, then read it back as the board will.

    Args:
        folder: the bundle.
        manifest: its `files` is filled in here from what lies in the folder.
    """
    files = {name: sha256_of(os.path.join(folder, name)) for name in _names_in(folder)}
    stored = manifest._replace(
        files=files, preprocess=dict_from_preprocess(manifest.preprocess)
    )._asdict()
    text = json.dumps(stored, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    beside = os.path.join(folder, NAME + ".tmp")
    with open(beside, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(beside, os.path.join(folder, NAME))
    return read_manifest(folder)


def read_manifest(folder):
    """Check the whole bundle: every key, every file, nothing more.

    Raises:
        ManifestError: what is wrong and what to do, in one line.
    """
    path = os.path.join(str(folder), NAME)
    try:
        if os.path.getsize(path) > MAX_BYTES:
            raise ManifestError("%s: larger than %d bytes, not ours" % (path, MAX_BYTES))
        with open(path, encoding="utf-8") as file:
            stored = json.load(file)
    except (IOError, OSError):
        raise ManifestError("%s: no manifest; run this from the bundle's folder" % (path,))
    except ValueError as error:
        raise ManifestError("%s: not JSON (%s); copy the bundle again" % (path, error))
    manifest = _manifest_from_dict(stored, path)
    _check_files(str(folder), manifest.files)
    return manifest


def sha256_of(path):
    """Hex SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with open(str(path), "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def _manifest_from_dict(stored, path):
    if not isinstance(stored, dict) or stored.get("version") != VERSION:
        version = stored.get("version") if isinstance(stored, dict) else None
        raise ManifestError(
            "%s: version %r, this code reads %d; deploy bundle and jetson/ from the same commit"
            % (path, version, VERSION)
        )
    expected, got = set(Manifest._fields), set(stored)
    if expected != got:
        raise ManifestError(
            "%s: keys missing %s, unknown %s"
            % (path, sorted(expected - got), sorted(got - expected))
        )
    for key, kind in (("classes", list), ("files", dict), ("input_shape", list),
                      ("tolerance", dict), ("provenance", dict), ("model", str),
                      ("target", str), ("target_sm", int), ("target_tensorrt", str),
                      ("precision_requested", str)):  # fmt: skip
        if not isinstance(stored[key], kind):
            raise ManifestError(
                "%s: %s must be a %s, got %r" % (path, key, kind.__name__, stored[key])
            )
    try:
        stored["preprocess"] = preprocess_from_dict(stored["preprocess"])
    except (ValueError, TypeError) as error:
        raise ManifestError("%s: %s" % (path, error))
    stored["input_shape"] = tuple(stored["input_shape"])
    stored["classes"] = tuple(stored["classes"])
    return Manifest(**stored)


def _check_files(folder, files):
    root = os.path.realpath(folder)
    for name, expected in sorted(files.items()):
        path = os.path.realpath(os.path.join(root, name))
        if os.path.isabs(name) or not path.startswith(root + os.sep):
            raise ManifestError("%s: %r lies outside the bundle; refused" % (NAME, name))
        if not os.path.isfile(path):
            raise ManifestError("bundle: %s is missing; copy the bundle again" % (name,))
        found = sha256_of(path)
        if found != expected:
            raise ManifestError(
                "bundle: %s has sha256 %s..., manifest says %s...; copy the bundle again"
                % (name, found[:12], str(expected)[:12])
            )
    unlisted = sorted(set(_names_in(folder)) - set(files))
    if unlisted:
        raise ManifestError(
            "bundle: %s is not in the manifest; copy the bundle again into an empty folder"
            % (unlisted[0],)
        )


def _names_in(folder):
    """All files but the manifest and what Python and the verbs leave behind, sorted."""
    names = []
    for place, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if f not in ("__pycache__", "work")]
        for name in files:
            relative = os.path.relpath(os.path.join(place, name), folder)
            if relative not in (NAME, NAME + ".tmp"):
                names.append(relative.replace(os.sep, "/"))
    return sorted(names)
