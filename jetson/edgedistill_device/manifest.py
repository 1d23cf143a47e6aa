"""The bundle's manifest, version 2: one writer, one reader, no tolerance for the unknown.

bundle/ manifest.json   written last: every other file with its SHA-256 and its size
        manifest.json.sig   where the bundle is signed, see releases/signature.py
        model.onnx  model_int8.onnx  model_int8_weights.onnx  model_fp16.onnx  calibration.json  classes.txt
        golden/inputs.npy (n, px, px, 3) uint8   golden/logits.npy (n, classes) float32
        golden/labels.json   golden/images/NNNN.*
        gallery.npz   of an embedding, see inference/gallery.py
        edgedistill_device/  edgedistill_calibration/   the device code itself
"""

import hashlib
import json
import os
import re
from typing import Any, Dict, NamedTuple, Optional, Tuple

from edgedistill_device.errors import ManifestError
from edgedistill_device.preprocess_spec import Preprocess, dict_from_preprocess, preprocess_from_dict
from edgedistill_device.value_spec import Value, value_from_json

VERSION = 2
NAME = "manifest.json"
SIGNATURE = NAME + ".sig"
WORK, COMPILED = "work", "__pycache__"
MAX_BYTES = 4 << 20
MAX_FILES, MAX_FILE_BYTES = 10000, 2 << 30
CLASSIFICATION, EMBEDDING, REGRESSION, MULTILABEL = "classification", "embedding", "regression", "multilabel"
TASKS = (CLASSIFICATION, REGRESSION, EMBEDDING, MULTILABEL)  # whose outputs this code can read
DECISIONS = "decisions"  # key of the provenance, see decision_spec.py
# Left out with this value, so that agents that do not know the key read the manifest.
_DEFAULTS = {"memory_budget_mib": None, "task": CLASSIFICATION, "values": []}
# One spelling a file: no "..", no "a//b", no backslash, no control or non-ASCII character.
_NAME = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.+=@-]*(/[A-Za-z0-9_][A-Za-z0-9_.+=@-]*)*\Z")
_SHA256 = re.compile(r"^[0-9a-f]{64}\Z")

Entry = NamedTuple("Entry", [("sha256", str), ("bytes", int)])  # sha256 in hex

Manifest = NamedTuple(
    "Manifest",
    [
        ("version", int),
        ("serial", int),  # rises from bundle to bundle: a board refuses a lower one
        ("model", str),
        ("target", str),
        ("target_sm", int),  # compute capability, 53 for 5.3; 0: any
        ("target_tensorrt", str),  # release whose parser the ONNX file was checked for, or ""
        ("precision_requested", str),
        ("input_name", str),
        ("output_name", str),
        ("input_shape", Tuple[int, ...]),  # NCHW, static
        ("classes", Tuple[str, ...]),  # of a regression the names of its values; index = position of the output
        ("preprocess", Preprocess),
        ("tolerance", Dict[str, float]),  # precision -> max logit difference / largest logit
        ("latency_budget_ms", Optional[float]),  # median from the file, for the health check
        ("memory_budget_mib", Optional[float]),  # of the process
        ("task", str),  # one of TASKS
        ("values", Tuple[Value, ...]),  # what the outputs of a regression are, one for each of `classes`
        ("provenance", Dict[str, Any]),
        ("files", Dict[str, Entry]),  # path inside the bundle, "/" between folders -> Entry
    ],
)

_KINDS = (
    ("classes", list),
    ("files", dict),
    ("input_shape", list),
    ("tolerance", dict),
    ("serial", int),
    ("provenance", dict),
    ("model", str),
    ("target", str),
    ("target_sm", int),
    ("input_name", str),
    ("target_tensorrt", str),
    ("precision_requested", str),
    ("output_name", str),
    ("latency_budget_ms", (int, float, type(None))),
    ("memory_budget_mib", (int, float, type(None))),
    ("task", str),
    ("values", list),
)


def write_manifest(folder, manifest):
    """Write `manifest.json` beside and rename, then read it back as the board will.

    Args:
        folder: the bundle.
        manifest: its `files` is filled in here from what lies in the folder.
    """
    files = {
        name: {"sha256": sha256_of(path), "bytes": os.path.getsize(path)}
        for name, path in ((name, os.path.join(folder, name)) for name in names_in(folder))
    }
    values = [dict(value._asdict()) for value in manifest.values]
    stored = manifest._replace(
        files=files, values=values, preprocess=dict_from_preprocess(manifest.preprocess)
    )._asdict()
    stored = {key: value for key, value in stored.items() if key not in _DEFAULTS or value != _DEFAULTS[key]}
    text = json.dumps(stored, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    beside = os.path.join(folder, NAME + ".tmp")
    with open(beside, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(beside, os.path.join(folder, NAME))
    return read_manifest(folder, compiled=True)


def id_of(content):
    """The name of a bundle on every board, of the bytes of its manifest."""
    return hashlib.sha256(content).hexdigest()[:16]


def read_manifest(folder, compiled=False):
    """Check the whole bundle: every key, every file, nothing more but one `work` folder at the top.

    Args:
        compiled: pass over `__pycache__`, which a workstation's Python leaves in a folder of its own;
            for who copies files by their names and runs none.

    Raises:
        ManifestError: what is wrong and what to do, in one line.
    """
    path = os.path.join(str(folder), NAME)
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (IOError, OSError):
        raise ManifestError("%s: no manifest; run this from the bundle's folder" % (path,))
    manifest = manifest_from_bytes(content, path)
    check_files(str(folder), manifest.files, compiled)
    return manifest


def manifest_from_bytes(content, path=NAME):
    """The manifest alone; the files it names are not looked at.

    Raises:
        ManifestError: too large, not JSON, a key twice, a key or a value that is not ours.
    """
    if len(content) > MAX_BYTES:
        raise ManifestError("%s: larger than %d bytes, the limit of a manifest" % (path, MAX_BYTES))
    try:
        stored = json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_finite)
    except (ValueError, RecursionError) as error:
        raise ManifestError("%s: not JSON (%s); copy the bundle again" % (path, error))
    return _manifest_from_dict(stored, path)


def _once(pairs):
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key comes twice")
    return values


def _finite(word):
    raise ValueError("%s is not a JSON number" % (word,))


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
            "%s: version %r, this code reads %d; deploy bundle and edgedistill_device/ from the same commit"
            % (path, version, VERSION)
        )
    stored = dict(_DEFAULTS, **stored)
    expected, got = set(Manifest._fields), set(stored)
    if expected != got:
        raise ManifestError("%s: keys missing %s, unknown %s" % (path, sorted(expected - got), sorted(got - expected)))
    for key, kind in _KINDS:
        if not isinstance(stored[key], kind) or isinstance(stored[key], bool):
            raise ManifestError("%s: %s is %.80r, which edgedistill does not write" % (path, key, stored[key]))
    inside = (("classes", str), ("input_shape", int), ("tolerance", (int, float)))
    for key, kind in inside:
        values = stored[key].values() if isinstance(stored[key], dict) else stored[key]
        if not all(isinstance(value, kind) and not isinstance(value, bool) for value in values):
            raise ManifestError("%s: %s is %.80r, which edgedistill does not write" % (path, key, stored[key]))
    if stored["task"] not in TASKS:
        raise ManifestError(
            "%s: task %.80r; this code runs %s; deploy bundle and edgedistill_device/ from the same commit"
            % (path, stored["task"], ", ".join(TASKS))
        )
    try:
        stored["preprocess"] = preprocess_from_dict(stored["preprocess"])
    except (ValueError, TypeError) as error:
        raise ManifestError("%s: %s" % (path, error))
    stored["values"] = _values(stored, path)
    stored["files"] = _entries(stored["files"], path)
    stored["input_shape"] = tuple(stored["input_shape"])
    stored["classes"] = tuple(stored["classes"])
    return Manifest(**stored)


def _values(stored, path):
    """A Value for each output of a regression; none for other tasks."""
    try:
        values = tuple(value_from_json(row) for row in stored["values"])
        names = [value.name for value in values]
        if names != (stored["classes"] if stored["task"] == REGRESSION else []):
            raise ValueError("expected one for each output")
    except (KeyError, TypeError, ValueError) as error:
        raise ManifestError(
            "%s: values are %.80r, which edgedistill does not write (%s)" % (path, stored["values"], error)
        )
    return values


def _entries(stored, path):
    if len(stored) > MAX_FILES:
        raise ManifestError("%s: %d files, expected at most %d" % (path, len(stored), MAX_FILES))
    entries = {}
    for name, entry in stored.items():
        if not _NAME.match(name) or name in (NAME, SIGNATURE):
            raise ManifestError("%s: %.80r is not a file name that a bundle may have; refused" % (path, name))
        if not isinstance(entry, dict) or set(entry) != {"sha256", "bytes"}:
            raise ManifestError("%s: %s: expected sha256 and bytes, got %.80r" % (path, name, entry))
        digest, size = entry["sha256"], entry["bytes"]
        if not isinstance(digest, str) or not _SHA256.match(digest) or type(size) is not int:
            raise ManifestError("%s: %s: sha256 or bytes is malformed" % (path, name))
        if not 0 <= size <= MAX_FILE_BYTES:
            raise ManifestError("%s: %s: %d bytes, expected at most %d" % (path, name, size, MAX_FILE_BYTES))
        entries[name] = Entry(digest, size)
    return entries


def check_files(folder, files, compiled=False):
    """Every listed file is there, a plain file, of its size and hash; nothing else is.

    Args:
        files: `Manifest.files`.
        compiled: as of `read_manifest`.

    Raises:
        ManifestError: the first that is not.
    """
    root = os.path.realpath(folder)
    for name, entry in sorted(files.items()):
        path = os.path.join(root, name)
        if os.path.realpath(path) != path:
            raise ManifestError("bundle: %s is a link or lies behind one; refused" % (name,))
        if not os.path.isfile(path):
            raise ManifestError("bundle: %s is missing; copy the bundle again" % (name,))
        size = os.path.getsize(path)
        if size != entry.bytes:
            raise ManifestError(
                "bundle: %s has %d bytes, manifest says %d; copy the bundle again" % (name, size, entry.bytes)
            )
        digest = sha256_of(path)
        if digest != entry.sha256:
            raise ManifestError(
                "bundle: %s has sha256 %s..., manifest says %s...; copy the bundle again"
                % (name, digest[:12], entry.sha256[:12])
            )
    for name in unlisted(folder, files):
        if not (compiled and os.path.basename(name) == COMPILED):
            raise ManifestError(
                "bundle: %s is not in the manifest; remove it, or copy the bundle again into an empty folder" % (name,)
            )


def names_in(folder):
    """What a manifest lists of a folder: all files but itself, its signature, `work` and what is compiled."""
    names = []
    for name, is_folder in _below(str(folder)):
        if not is_folder and COMPILED not in name.split("/") and name != NAME + ".tmp":
            names.append(name)
    return sorted(names)


def unlisted(folder, files):
    """Names of what lies there and must not, sorted: files, links, and folders without a listed file.

    One `work` folder at the top is the board's own; a `__pycache__` holds code that nobody signed.

    Args:
        files: `Manifest.files`.

    Raises:
        OSError: a folder that cannot be looked into must not be passed over.
    """
    parents = {name[:at] for name in files for at, letter in enumerate(name) if letter == "/"}
    names = [name for name, is_folder in _below(str(folder)) if name not in (parents if is_folder else files)]
    inside = tuple(name + "/" for name in names)
    return sorted(name for name in names if not name.startswith(inside))


def _below(folder):
    """(name, whether it is a folder) of all below but manifest, signature and the top's `work` folder."""
    for place, folders, files in os.walk(folder, onerror=_raise):
        above = os.path.relpath(place, folder).replace(os.sep, "/") + "/"
        above = "" if above == "./" else above
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        folders[:] = [name for name in folders if name not in links and above + name != WORK]
        for name in folders:
            yield above + name, True
        for name in files + links:
            if above + name not in (NAME, SIGNATURE):
                yield above + name, False


def _raise(error):
    raise error
