"""ONNX Runtime on the CPU: a stand-in for the board's TensorRT that runs on any computer."""

from edgedistill_device import imports
from edgedistill_device.board.identity import Check
from edgedistill_device.engine.layer_times import rows_from_events
from edgedistill_device.engine.runners.backend import Backend, ModelRunner

MEND = "python3 -m pip install onnxruntime"


class OnnxRuntimeBackend(Backend):
    name, title = "onnxruntime", "ONNX Runtime"
    packages = ("onnxruntime",)

    def open(self, folder, manifest, verified=False):
        return OnnxRuntimeRunner(folder, manifest, verified)

    def checks(self, packages, required, deadly, root="/"):
        """Needed where there is no TensorRT and none is expected."""
        version, why, mend = imports.version_of("onnxruntime", deadly, MEND)
        return [Check("ONNX Runtime", bool(version), required, version or why, mend if required else "")]


class OnnxRuntimeRunner(ModelRunner):
    """Importing this needs no ONNX Runtime."""

    backend, title = "onnxruntime", "ONNX Runtime"

    def package(self):
        return imports.load("onnxruntime", MEND)

    def load(self, package, content):
        return _session(package, content)

    def infer(self, batch):
        """(1, 3, H, W) float32 in, (1, classes) float32 logits out, a fresh array each call."""
        feeds = {self._manifest.input_name: batch}
        return self._session.run([self._manifest.output_name], feeds)[0]

    def profile(self, batch, runs):
        """[[(layer, operator, ms)]], run by run, of a second session with ONNX Runtime's profiler on."""
        import json
        import os
        import shutil
        import tempfile

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


BACKEND = OnnxRuntimeBackend()
