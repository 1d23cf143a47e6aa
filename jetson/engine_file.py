"""The engine and its sidecar, version 1: one writer, one reader, bound by hashes.

work/engine/ <hash>.engine    what TensorRT built here
             engine.json      written last, by rename: names the engine, its hash, the ONNX file's
                              hash, TensorRT, CUDA, SM, board, flags, seconds, memory
             verified.json    what `verify` found, and for which engine hash
             verified-onnxruntime.json   the same of the stand-in, whose "engine" is model.onnx
             verify.lock      held while `verify` is at work

An engine is code that runs on this machine: nothing is loaded whose hash is not the sidecar's.
"""

import contextlib
import hashlib
import json
import os
import re

from jetson.board import hidden_identity
from jetson.errors import EngineError, VerifyError
from jetson.lock import held
from jetson.manifest import sha256_of

VERSION = 1
SIDECAR = "engine.json"
VERIFIED = {"tensorrt": "verified.json", "onnxruntime": "verified-onnxruntime.json"}
VERIFYING = "verify.lock"
KEYS = (
    "version", "engine", "engine_sha256", "onnx", "onnx_sha256", "compiler", "tensorrt", "cuda",
    "sm", "board", "requested", "executed", "reasons", "int8_by", "flags", "workspace_mib",
    "tactic_sources", "layers", "attempts", "build_seconds", "memory", "timing_cache_used",
    "warnings",
)  # fmt: skip
_ENGINE = re.compile(r"^[0-9A-Za-z]+\.engine\Z")
_AGAIN = "run: python3 -m jetson build"


def engine_folder(bundle):
    return os.path.join(str(bundle), "work", "engine")


def publish(bundle, staged, record):
    """Make a staged engine the bundle's: until the last rename the one before is in force.

    Args:
        staged: path of the engine, on the same disk.
        record: KEYS without version, engine and engine_sha256.

    Returns:
        The record as it was written and read back.
    """
    folder, digest = engine_folder(bundle), sha256_of(staged)
    os.makedirs(folder, exist_ok=True)
    name = digest[:16] + ".engine"
    os.replace(staged, os.path.join(folder, name))
    _write(folder, SIDECAR, dict(record, version=VERSION, engine=name, engine_sha256=digest))
    for other in os.listdir(folder):
        if other.endswith(".engine") and other != name:
            os.remove(os.path.join(folder, other))
    return read_record(bundle)


def read_record(bundle):
    """The sidecar.

    Raises:
        EngineError: none, or not one of this version.
    """
    path = os.path.join(engine_folder(bundle), SIDECAR)
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
    except (IOError, OSError):
        raise EngineError("no engine was built here; %s" % (_AGAIN,))
    except (ValueError, RecursionError):
        raise EngineError("%s is not JSON; %s" % (path, _AGAIN))
    if not isinstance(record, dict) or set(record) != set(KEYS) or record["version"] != VERSION:
        raise EngineError("%s is not a sidecar of version %d; %s" % (path, VERSION, _AGAIN))
    return record


def read_engine(bundle, manifest):
    """(record, bytes) of the engine; the bytes that were hashed are those that are returned.

    Raises:
        EngineError: missing, altered or truncated, or built from another ONNX file.
    """
    record = read_record(bundle)
    name = record["engine"]
    if not isinstance(name, str) or not _ENGINE.match(name):
        raise EngineError("the sidecar names %r, which is no file beside it; %s" % (name, _AGAIN))
    try:
        with open(os.path.join(engine_folder(bundle), name), "rb") as file:
            content = file.read()
    except (IOError, OSError):
        raise EngineError("the engine %s is missing; %s" % (name, _AGAIN))
    found = hashlib.sha256(content).hexdigest()
    if found != record["engine_sha256"]:
        raise EngineError(
            "the engine has sha256 %s..., its sidecar says %.12s...: truncated or not ours; %s"
            % (found[:12], record["engine_sha256"], _AGAIN)
        )
    onnx = manifest.files.get(record["onnx"]) if isinstance(record["onnx"], str) else None
    if onnx is None or onnx.sha256 != record["onnx_sha256"]:
        raise EngineError(
            "the engine was built from another %s than this bundle's; %s" % (record["onnx"], _AGAIN)
        )
    return record, content


def check_machine(record, **here):
    """Refuse an engine of another machine.

    Args:
        here: board, sm, tensorrt of this one, those that are known.

    Raises:
        EngineError: the first that differs.
    """
    for key in sorted(here):
        if record[key] != here[key]:
            hidden = hidden_identity() if key == "board" else ""
            raise EngineError(
                "the engine was built for %s %s, this is %s%s: engines run only on the board and the "
                "TensorRT that built them; %s" % (
                    key, record[key], here[key], " (%s)" % (hidden,) if hidden else "", _AGAIN)
            )  # fmt: skip


def forget_verified(bundle, backend):
    """Called before verifying: a pass of yesterday must not outlive a failure of today."""
    path = os.path.join(engine_folder(bundle), VERIFIED[backend])
    try:
        if os.path.exists(path):
            os.remove(path)
    except OSError as error:
        raise EngineError("%s cannot be removed (%s); is the disk read-only?" % (path, error))


@contextlib.contextmanager
def verifying(bundle):
    """Around `verify`, which takes the pass away for a while: who asks for it meanwhile is told so.

    Raises:
        VerifyError: another one is at work.
        EngineError: the disk refuses.
    """
    folder = engine_folder(bundle)
    with contextlib.ExitStack() as stack:
        try:
            os.makedirs(folder, exist_ok=True)
            stack.enter_context(held(os.path.join(folder, VERIFYING), _busy()))
        except (IOError, OSError) as error:
            raise EngineError("%s cannot be written: %s" % (folder, error))
        yield


def write_verified(bundle, backend, engine_sha256, found):
    """Keep what `verify` found, for this engine only."""
    _write(engine_folder(bundle), VERIFIED[backend], dict(found, engine_sha256=engine_sha256))


def require_verified(bundle, backend="tensorrt"):
    """What `verify` found for the engine that is in force: of ONNX Runtime, model.onnx itself.

    Raises:
        VerifyError: it has not passed, or is just being verified.
    """
    if backend == "tensorrt":
        in_force, what, words = read_record(bundle)["engine_sha256"], "this engine", ""
    else:
        in_force, what = sha256_of(os.path.join(str(bundle), "model.onnx")), "model.onnx"
        words = " --backend " + backend
    folder, found = engine_folder(bundle), None
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(IOError, OSError):  # without the file none was ever at work
            stack.enter_context(held(os.path.join(folder, VERIFYING), _busy(), shared=True))
        with contextlib.suppress(IOError, OSError, ValueError, RecursionError):
            with open(os.path.join(folder, VERIFIED[backend]), encoding="utf-8") as file:
                found = json.load(file)
    if not isinstance(found, dict) or found.get("engine_sha256") != in_force:
        raise VerifyError("%s has not passed; run: python3 -m jetson verify%s" % (what, words))
    return found


def _busy():
    return VerifyError("another verify is at work in this bundle; wait for it to end")


def _write(folder, name, values):
    beside = os.path.join(folder, name + ".tmp")
    try:
        os.makedirs(folder, exist_ok=True)
        with open(beside, "w", encoding="utf-8") as file:
            json.dump(values, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, os.path.join(folder, name))
    except (IOError, OSError) as error:
        raise EngineError("%s cannot be written: %s" % (os.path.join(folder, name), error))
