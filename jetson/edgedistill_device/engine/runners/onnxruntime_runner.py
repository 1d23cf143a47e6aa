"""ONNX Runtime on the CPU: a stand-in for the board's TensorRT that runs on any computer."""

import hashlib
import json
import os
import platform
import shutil
import tempfile

from edgedistill_device import imports
from edgedistill_device.engine.engine_file import require_verified
from edgedistill_device.engine.layer_times import rows_from_events
from edgedistill_device.errors import BackendError, JetsonError


class OnnxRuntimeRunner(object):
    """One ONNX model, one input, one output, batch of one. Importing this needs no ONNX Runtime."""

    backend, executed = "onnxruntime", "fp32"
    engine_sha256 = None  # of model.onnx as it was loaded: what stands in for the engine

    def __init__(self, folder, manifest, verified=False):
        self._folder, self._path = folder, os.path.join(str(folder), "model.onnx")
        self._manifest, self._verified = manifest, verified
        self._session = None

    @property
    def provenance(self):
        return "stand-in: ONNX Runtime on %s, not the board's TensorRT" % (platform.machine(),)

    def __enter__(self):
        onnxruntime = imports.load("onnxruntime", "python3 -m pip install onnxruntime")
        try:
            with open(self._path, "rb") as file:
                content = file.read()
            digest = hashlib.sha256(content).hexdigest()
            if self._verified:
                require_verified(self._folder, self.backend, digest)
            self._session = _session(onnxruntime, content)
        except JetsonError:
            raise
        except Exception as error:  # its exception types differ between releases
            raise BackendError(
                "ONNX Runtime %s does not take %s: %s"
                % (onnxruntime.__version__, self._path, str(error).splitlines()[0])
            )
        self.engine_sha256 = digest
        return self

    def __exit__(self, *error):
        self._session = None

    def infer(self, batch):
        """(1, 3, H, W) float32 in, (1, classes) float32 logits out, a fresh array each call."""
        feeds = {self._manifest.input_name: batch}
        return self._session.run([self._manifest.output_name], feeds)[0]

    def profile(self, batch, runs):
        """[[(layer, operator, ms)]], run by run, of a second session with ONNX Runtime's profiler on."""
        import onnxruntime

        feeds, folder = {self._manifest.input_name: batch}, tempfile.mkdtemp(prefix="edgedistill-")
        try:
            with open(self._path, "rb") as file:
                session = _session(onnxruntime, file.read(), os.path.join(folder, "profile"))
            for _ in range(runs):
                session.run([self._manifest.output_name], feeds)
            with open(session.end_profiling(), encoding="utf-8") as file:
                return rows_from_events(json.load(file))
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _session(onnxruntime, content, profile=None):
    """A session on the CPU; with `profile`, it writes to a file whose name begins so."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, profile
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
