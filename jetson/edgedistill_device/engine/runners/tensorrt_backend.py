"""TensorRT: `build` makes an engine on the board, and only what `verify` has passed is served."""

import os
import re
import signal
import subprocess
import sys

from edgedistill_device import imports
from edgedistill_device.board import identity
from edgedistill_device.board.identity import Check
from edgedistill_device.engine import engine_file
from edgedistill_device.engine.runners import BACKENDS
from edgedistill_device.engine.runners.backend import Backend
from edgedistill_device.errors import BackendError, VerifyError

_CONTAINER_MEND = (
    "this container lacks %s: start it with docker run --runtime nvidia, from an image made for the board's JetPack"
)
_SAY_VERSION = "import importlib, sys; print('\\n@version', importlib.import_module(sys.argv[1]).__version__)"
_IMPORT_TIMEOUT_S = 180  # as long as a health check may take, of which this import is a part


class TensorRTBackend(Backend):
    name, title = "tensorrt", "TensorRT"
    packages = ("tensorrt", "pycuda.driver")
    builds = True
    pass_file = "verified.json"  # noqa: S105 - the name of a file

    def build(self, bundle, manifest, workspace_mib, timeout_s):
        from edgedistill_device.engine.build import build

        record = build(bundle, manifest, workspace_mib=workspace_mib, timeout_s=timeout_s)
        record = {key: record[key] for key in engine_file.KEYS}  # of a new engine nothing else is known yet
        return "%(executed)s engine, %(requested)s requested, built in %(build_seconds).0f s" % record, record

    def open(self, folder, manifest, verified=False):
        from edgedistill_device.engine.runners.tensorrt_runner import TensorRTRunner

        return TensorRTRunner(folder, manifest, verified)

    def sha256_to_verify(self, bundle):
        return engine_file.read_record(bundle)["engine_sha256"]

    def not_passed(self, bundle):
        engine_file.read_record(bundle)  # without one, `build` comes first
        return VerifyError("this engine has not passed; run: python3 -m edgedistill_device verify")

    def require_built(self, bundle, manifest):
        engine_file.read_engine(bundle, manifest)

    def require_servable(self, bundle, manifest):
        """The engine's bytes, too; and this board and its TensorRT are those that built it.

        Raises:
            BackendError: this board has no TensorRT that can be imported.
        """
        record = engine_file.read_verified_engine(bundle, manifest)[0]
        engine_file.check_machine(record, board=identity.board_name())
        engine_file.check_machine(record, tensorrt=installed_version(record["compiler"]))

    def engine_mib(self, bundle):
        name = str(engine_file.read_record(bundle)["engine"])
        path = os.path.join(engine_file.engine_folder(bundle), name)
        size = os.path.getsize(path) if os.path.isfile(path) else 0  # then the runner says so
        return size >> 20

    def checks(self, packages, required, deadly, root="/"):
        return [tensorrt_check(packages, required, deadly, root), cuda_check(packages, required, root)]


def installed_version(module):
    """Version of TensorRT on this board.

    It is imported in a process of its own: an import that crashes must not end who asks, nor the libraries stay in
    its memory.

    Args:
        module: of imports.TENSORRT_MODULES, the one that built the engine.

    Raises:
        BackendError: no such module, or its import fails.
    """
    if module not in imports.TENSORRT_MODULES:
        raise BackendError("expected a compiler of %s, got %.80r" % (", ".join(imports.TENSORRT_MODULES), module))
    child = subprocess.Popen(
        [sys.executable, "-c", _SAY_VERSION, module],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, stderr = child.communicate(timeout=_IMPORT_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise BackendError("the Python module %s: its import did not end within %d s" % (module, _IMPORT_TIMEOUT_S))
    version = re.search(r"^@version (\S+)$", out.decode("ascii", "replace"), re.MULTILINE)
    if child.returncode == 0 and version:
        return version.group(1)
    last = (stderr.decode("ascii", "replace").strip().splitlines() or ["exit code %d" % (child.returncode,)])[-1]
    died = "it dies of " + signal.Signals(-child.returncode).name if child.returncode < 0 else last[:200]
    raise BackendError(
        "the Python module %s cannot be imported (%s); run: python3 -m edgedistill_device doctor" % (module, died)
    )


def tensorrt_check(packages, required, deadly=(), root="/"):
    """TensorRT's Python module; on a Jetson nothing runs without it."""
    libraries = version_of(packages, r"libnvinfer\d+$")
    version, why, mend = imports.version_of("tensorrt", deadly, "")
    if version:
        summary = version + (", libraries %s" % (libraries,) if libraries else "")
        if imports.tensorrt_is_too_old(version):
            summary += ", expected %d.%d or newer" % imports.OLDEST_TENSORRT
            return Check("TensorRT", False, required, summary, imports.TENSORRT_MEND)
        return Check("TensorRT", True, required, summary, "")
    mend = mend or _container_mend(why, root)
    if mend:
        return Check("TensorRT", False, required, why, mend)
    if libraries and "python3-libnvinfer" in packages:
        return Check(
            "TensorRT",
            False,
            required,
            "libraries %s, but %s" % (libraries, why),
            "this Python (%s) does not see them: use /usr/bin/python3" % (sys.executable,),
        )
    others = " or ".join(name for name in BACKENDS if name != TensorRTBackend.name)
    return Check(
        "TensorRT",
        False,
        required,
        why,
        "sudo apt install tensorrt python3-libnvinfer"
        if required
        else "only --backend %s works on this computer" % (others,),
    )


def cuda_check(packages, required, root="/"):
    """The GPU as this code reaches it: pycuda, or ctypes on libcudart."""
    toolkit = version_of(packages, r"cuda-(cudart|toolkit)-\d+-\d+$")
    try:
        from edgedistill_device.engine import cuda_memory

        facts = cuda_memory.find_device().facts()
    except Exception as error:  # numpy that is missing, a driver that fails: all the same to the reader
        closed = identity.closed_devices(root)
        reason = imports.line_of(error) + ("; %s cannot be opened" % ", ".join(closed) if closed else "")
        if closed or "group" in reason:
            advice = identity.groups_mend(root)
        elif not required:
            advice = ""
        elif identity.in_container(root):
            advice = _CONTAINER_MEND % ("the board's CUDA driver",)
        elif not toolkit:
            advice = "is JetPack's CUDA installed? sudo apt install nvidia-cuda"
        else:
            advice = "export LD_LIBRARY_PATH=/usr/local/cuda/lib64; " + identity.GROUPS_MEND
        return Check("CUDA", False, required, reason, advice)
    return Check("CUDA", True, required, "%(cuda)s, sm_%(sm)d, memory by %(by)s" % facts, "")


def _container_mend(why, root):
    """What helps where a library of JetPack is absent from the container that this runs in; else ""."""
    library = re.search(r"(\S+\.so[\w.]*): cannot open shared object file", why)
    return _CONTAINER_MEND % (library.group(1),) if library and identity.in_container(root) else ""


def version_of(packages, pattern):
    """Version of the first Debian package of that name, without Debian's revision, or None."""
    names = sorted(name for name in packages if re.match(pattern, name))
    return packages[names[0]].split("-")[0] if names else None


BACKEND = TensorRTBackend()
