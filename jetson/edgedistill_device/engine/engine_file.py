"""The engine and its sidecar, version 1: one writer, one reader, bound by hashes.

work/engine/ <hash>.engine    what TensorRT built here
             engine.json      the last build, written by rename: names the engine, its hash, the ONNX
                              file's hash, TensorRT, CUDA, SM, board, flags, seconds, memory
             options.json     a part of the sidecar that agents of before do not know: OPTIONS of the engine
                              whose hash it names; of any other engine it says nothing
             verified.json    the engine in force: what `verify` found, the hashes of the engine and
                              of the manifest (so of model, goldens and tolerances), its sidecar
             verified-NAME.json   the same of a backend that builds nothing: its "engine" is model.onnx
             verified*.json.aside   a pass while `verify` looks at its engine again; it counts for nothing. Left by
                              a power cut, it says that there was a pass: `status --recover` then verifies again
             verify.lock      held while `verify` is at work

An engine is code that runs on this machine: nothing is loaded whose hash is not its sidecar's, and
nothing but `verify` loads one that has not passed. A new build waits until it passes: until then the
engine that passed before stays in force.
"""

import contextlib
import hashlib
import json
import os
import re

from edgedistill_device.board.identity import hidden_identity
from edgedistill_device.engine.execution import Execution
from edgedistill_device.engine.runners import DEFAULT, backend_named
from edgedistill_device.errors import EngineError, VerifyError
from edgedistill_device.json_text import json_text
from edgedistill_device.kept_file import sync, write_kept
from edgedistill_device.lock import held
from edgedistill_device.manifest import NAME, sha256_of

VERSION = 1
SIDECAR, OPTIONS_FILE = "engine.json", "options.json"
_BUILDER = "tensorrt"  # whose engines these are; see backend.py for those that build nothing
VERIFYING, _ASIDE = "verify.lock", ".aside"
KEYS = (
    "version",
    "engine",
    "engine_sha256",
    "onnx",
    "onnx_sha256",
    "compiler",
    "tensorrt",
    "cuda",
    "sm",
    "board",
    "requested",
    "executed",
    "reasons",
    "int8_by",
    "flags",
    "workspace_mib",
    "tactic_sources",
    "layers",
    "attempts",
    "build_seconds",
    "memory",
    "timing_cache_used",
    "warnings",
)
# What a record holds besides. None: as TensorRT and `build` have it, and nothing was measured.
OPTIONS = (
    "builder",  # as trt_api.BUILDER: what the engine was built with
    "execution",  # of execution.Execution: how it is run; `bench` measures it
    "tuning",  # [tune.trial]: what was tried, and what was faster
)
_MANIFEST, _SIDECAR, _OPTIONS = "manifest_sha256", "sidecar", "options"  # of a pass; absent in those of older code
_ENGINE = re.compile(r"^[0-9A-Za-z]+\.engine\Z")
_AGAIN = "run: python3 -m edgedistill_device build"


def engine_folder(bundle):
    return os.path.join(str(bundle), "work", "engine")


def verified_path(bundle, backend):
    """Where the pass of a backend's engine is kept."""
    return os.path.join(engine_folder(bundle), backend_named(backend).pass_file)


def publish(bundle, staged, record):
    """Make a staged engine the last build; the one that passed stays in force, and on the disk.

    Args:
        staged: path of the engine, on the same disk.
        record: KEYS without version, engine and engine_sha256; and OPTIONS, those that are not None.

    Returns:
        The record as it was written and read back.
    """
    folder, digest = engine_folder(bundle), sha256_of(staged)
    os.makedirs(folder, exist_ok=True)
    name = digest[:16] + ".engine"
    os.replace(staged, os.path.join(folder, name))
    keep_options(bundle, digest, **{key: record[key] for key in OPTIONS if key in record})
    sidecar = {key: value for key, value in record.items() if key not in OPTIONS}
    _write(folder, SIDECAR, dict(sidecar, version=VERSION, engine=name, engine_sha256=digest))
    active = (_read_pass(bundle, _BUILDER) or {}).get("engine_sha256")
    for other in os.listdir(folder):
        if other.endswith(".engine") and other not in (name, "%.16s.engine" % (active,)):
            os.remove(os.path.join(folder, other))
    return read_record(bundle)


def keep_options(bundle, engine_sha256, **options):
    """Write OPTIONS of an engine; without any, the file goes."""
    kept = {key: value for key, value in options.items() if value is not None}
    if kept:
        _write(engine_folder(bundle), OPTIONS_FILE, dict(kept, engine_sha256=engine_sha256))
    else:
        with contextlib.suppress(IOError, OSError):  # there is none
            os.remove(os.path.join(engine_folder(bundle), OPTIONS_FILE))


def _with_options(record, stored):
    """The sidecar with OPTIONS of what is stored of them, if that is of this engine and well-formed."""
    stored = stored if isinstance(stored, dict) and stored.get("engine_sha256") == record["engine_sha256"] else {}
    options = {key: stored.get(key) for key in OPTIONS}
    execution = options["execution"]
    switches = [execution.get(name) for name in Execution._fields] if isinstance(execution, dict) else []
    if [type(switch) for switch in switches] != [bool, bool]:
        options["execution"] = None
    return dict(record, **options)


def read_record(bundle):
    """The sidecar of the last build: KEYS and OPTIONS.

    Raises:
        EngineError: none, or not one of this version.
    """
    return _with_options(_last_sidecar(bundle), _json_of(os.path.join(engine_folder(bundle), OPTIONS_FILE)))


def _last_sidecar(bundle):
    """engine.json: KEYS.

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
    return _checked(record, path)


def _json_of(path):
    """What lies there, or None."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (IOError, OSError, ValueError, RecursionError):
        return None


def _checked(record, path):
    if not isinstance(record, dict) or set(record) != set(KEYS) or record["version"] != VERSION:
        raise EngineError("%s is not a sidecar of version %d; %s" % (path, VERSION, _AGAIN))
    return record


def read_engine(bundle, manifest):
    """(record, bytes) of the last build, verified or not.

    Raises:
        EngineError: missing, altered or truncated, or built from another ONNX file.
    """
    return _with_bytes(bundle, manifest, read_record(bundle))


def read_verified_engine(bundle, manifest):
    """(record, bytes) of the engine in force: the one that passed, whatever was built since.

    Raises:
        VerifyError: none has passed, or it is just being verified.
        EngineError: missing, altered or truncated, or built from another ONNX file.
    """
    verified = _passed(bundle, _BUILDER)
    if verified is None:
        raise backend_named(_BUILDER).not_passed(bundle)
    record = _checked(verified.get(_SIDECAR) or _last_sidecar(bundle), verified_path(bundle, _BUILDER))
    record = _with_options(record, verified.get(_OPTIONS))
    if record["engine_sha256"] != verified["engine_sha256"]:
        raise backend_named(_BUILDER).not_passed(bundle)
    return _with_bytes(bundle, manifest, record)


def _with_bytes(bundle, manifest, record):
    """The bytes that were hashed are those that are returned."""
    name = record["engine"]
    if not isinstance(name, str) or not _ENGINE.match(name):
        raise EngineError("the sidecar names %r, which is no file beside it; %s" % (name, _AGAIN))
    try:
        with open(os.path.join(engine_folder(bundle), name), "rb") as file:
            content = file.read()
    except (IOError, OSError):
        raise EngineError("the engine %s is missing; %s" % (name, _AGAIN))
    digest = hashlib.sha256(content).hexdigest()
    if digest != record["engine_sha256"]:
        raise EngineError(
            "the engine has sha256 %s..., its sidecar says %.12s...: truncated or another file; %s"
            % (digest[:12], record["engine_sha256"], _AGAIN)
        )
    onnx = manifest.files.get(record["onnx"]) if isinstance(record["onnx"], str) else None
    if onnx is None or onnx.sha256 != record["onnx_sha256"]:
        raise EngineError("the engine was built from another %s than this bundle's; %s" % (record["onnx"], _AGAIN))
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
                "TensorRT that built them; %s"
                % (key, record[key], here[key], " (%s)" % (hidden,) if hidden else "", _AGAIN)
            )


def set_pass_aside(bundle, backend, engine_sha256):
    """Called before verifying an engine: its pass of yesterday must not outlive a failure of today.

    The pass of another engine stays, and that engine in force. One that was set aside before and is there still
    stays there.
    """
    path = verified_path(bundle, backend)
    other = (_read_pass(bundle, backend) or {}).get("engine_sha256") not in (None, engine_sha256)
    try:
        if os.path.lexists(path) and not (other and backend_named(backend).builds):
            os.replace(path, path + _ASIDE)
            sync(engine_folder(bundle))  # a power cut after a failure must not bring the pass back
    except OSError as error:
        raise EngineError("%s cannot be removed (%s); is the disk read-only?" % (path, error))


def forget_pass_aside(bundle, backend):
    """Called when `verify` has passed or failed: nothing is left to be done again."""
    with contextlib.suppress(IOError, OSError):  # there is none; one that stays would only be verified again
        os.remove(verified_path(bundle, backend) + _ASIDE)


def verify_was_cut_off(bundle, backend):
    """Whether a `verify` of the last build, which had passed before, neither passed nor failed: a power cut, a kill.

    The engine is then to be run again as it was when it passed, and not as `bench --tune` was just trying it.

    Raises:
        VerifyError: another one is at work.
        EngineError: no engine was built, or the disk refuses.
    """
    with verifying(bundle):
        aside = _pass_in(verified_path(bundle, backend) + _ASIDE, bundle)
        if aside is None or aside["engine_sha256"] != backend_named(backend).sha256_to_verify(bundle):
            return False
        if isinstance(aside.get(_OPTIONS), dict):
            options = {key: aside[_OPTIONS].get(key) for key in OPTIONS}
            keep_options(bundle, aside["engine_sha256"], **options)
        return True


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


def write_verified(bundle, backend, engine_sha256, result):
    """Keep what `verify` found, for this engine and this manifest only; it is in force from now on.

    Raises:
        VerifyError: meanwhile another engine was built.
    """
    values = dict(result, engine_sha256=engine_sha256)
    values[_MANIFEST] = sha256_of(os.path.join(str(bundle), NAME))
    if backend_named(backend).builds:
        record = read_record(bundle)
        values[_SIDECAR] = {key: record[key] for key in KEYS}
        values[_OPTIONS] = {key: record[key] for key in OPTIONS + ("engine_sha256",)}
        if record["engine_sha256"] != engine_sha256:
            raise VerifyError("another engine was built meanwhile; run: python3 -m edgedistill_device verify")
    _write(engine_folder(bundle), backend_named(backend).pass_file, values)


def require_verified(bundle, backend=DEFAULT, engine_sha256=None):
    """What `verify` found for one engine; of a backend that builds nothing, for model.onnx itself.

    Args:
        engine_sha256: of the bytes that are to be loaded; None: of the last build.

    Raises:
        EngineError: no engine was built.
        VerifyError: it has not passed, or is just being verified.
    """
    if engine_sha256 is None:
        engine_sha256 = backend_named(backend).sha256_to_verify(bundle)
    verified = _passed(bundle, backend, engine_sha256)
    if verified is None:
        raise backend_named(backend).not_passed(bundle)
    return {key: value for key, value in verified.items() if key not in (_MANIFEST, _SIDECAR, _OPTIONS)}


def _passed(bundle, backend, engine_sha256=None):
    """The pass of an engine, None: of any; None when there is none.

    Raises:
        VerifyError: `verify`, which takes the pass away for a while, is at work.
    """
    verified = _read_pass(bundle, backend)
    if verified is None or engine_sha256 not in (None, verified["engine_sha256"]):
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(IOError, OSError):  # without the file none was ever at work
                path = os.path.join(engine_folder(bundle), VERIFYING)
                stack.enter_context(held(path, _busy(), shared=True))
            verified = _read_pass(bundle, backend)
    if verified is None or engine_sha256 not in (None, verified["engine_sha256"]):
        return None
    return verified


def _read_pass(bundle, backend):
    """The pass that counts if it is of this bundle's manifest, else None."""
    return _pass_in(verified_path(bundle, backend), bundle)


def _pass_in(path, bundle):
    """What lies there if it is of this bundle's manifest, else None."""
    stored = _json_of(path)
    try:
        manifest = sha256_of(os.path.join(str(bundle), NAME))
    except (IOError, OSError):
        return None
    if not isinstance(stored, dict) or not isinstance(stored.get("engine_sha256"), str):
        return None
    return stored if stored.get(_MANIFEST, manifest) == manifest else None


def _busy():
    return VerifyError("this bundle is locked by another verify; wait for it to end")


def _write(folder, name, values):
    path = os.path.join(folder, name)
    try:
        os.makedirs(folder, exist_ok=True)
        write_kept(path, json_text(values, indent=1).encode("utf-8"))
    except (IOError, OSError) as error:
        raise EngineError("%s cannot be written: %s" % (path, error))
