"""ONNX Runtime for a Python whose numpy it does not import under: another Python computes.

ONNX Runtime 1.10, the last for Python 3.6, needs a newer numpy than the 1.13.3 of JetPack 4. This module
stands on the path of that Python as `onnxruntime`; the real one runs in a child of the interpreter that
EDGEDISTILL_ORT_PYTHON names, one child a process. Only what jetson/ and the fakes call is here.
"""

import json
import os
import subprocess

import numpy as np

if not os.environ.get("EDGEDISTILL_ORT_PYTHON"):
    raise ImportError("EDGEDISTILL_ORT_PYTHON names no Python that has ONNX Runtime")
_SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "serve.py")
__version__ = "by " + os.path.basename(os.environ["EDGEDISTILL_ORT_PYTHON"])


class _Child(object):
    def __init__(self):
        self._process = None

    def ask(self, request, content=b""):
        """(reply, its bytes). Raises RuntimeError with the child's own words."""
        if self._process is None:
            self._process = subprocess.Popen(
                [os.environ["EDGEDISTILL_ORT_PYTHON"], "-I", _SERVER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        pipe, out = self._process.stdin, self._process.stdout
        pipe.write(json.dumps(dict(request, bytes=len(content))).encode("ascii") + b"\n" + content)
        pipe.flush()
        reply = json.loads(out.readline().decode("ascii"))
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply, out.read(reply["bytes"])


_child = _Child()


class SessionOptions(object):
    log_severity_level, enable_profiling, profile_file_prefix = 2, False, ""


class _Value(object):
    def __init__(self, name, shape):
        self.name, self.shape = name, shape


class InferenceSession(object):
    def __init__(self, content, options, providers):
        assert providers == ["CPUExecutionProvider"]
        profile = options.profile_file_prefix if options.enable_profiling else None
        request = {"call": "open", "log": options.log_severity_level, "profile": profile}
        self._facts, _ = _child.ask(request, bytes(content))

    def get_inputs(self):
        return [_Value(*pair) for pair in self._facts["inputs"]]

    def get_outputs(self):
        return [_Value(*pair) for pair in self._facts["outputs"]]

    def run(self, names, feeds):
        ((name, array),) = feeds.items()
        request = {
            "call": "run",
            "session": self._facts["session"],
            "names": names,
            "feed": name,
            "dtype": array.dtype.str,
            "shape": array.shape,
        }
        reply, content = _child.ask(request, np.ascontiguousarray(array).tobytes())
        found = np.frombuffer(content, reply["dtype"]).reshape(reply["shape"])
        return [found.copy()]

    def end_profiling(self):
        return _child.ask({"call": "end_profiling", "session": self._facts["session"]})[0]["path"]
