"""What runs the network: a row for each backend, and `with open_runner(...) as runner: runner.infer(batch)`.

The backend NAME is the module NAME_backend beside this one; its BACKEND says how it is built, opened and
verified (see backend.py). It is imported when it is asked for: no verb starts more slowly for a new row.
"""

import importlib

from edgedistill_device.errors import BackendError

BACKENDS = (  # the words of --backend and of board.json; the first is the default
    "tensorrt",
    "onnxruntime",
    "opencv",
)
DEFAULT = BACKENDS[0]


def backend_named(name):
    """The Backend of a row.

    Raises:
        BackendError: there is no such row.
    """
    if name not in BACKENDS:
        raise BackendError("backend %r is unknown; known: %s" % (name, ", ".join(BACKENDS)))
    return importlib.import_module("%s.%s_backend" % (__name__, name)).BACKEND


def open_runner(backend, folder, manifest, verified=False):
    """A runner for the bundle's model; entering it takes the device, leaving gives it back.

    Args:
        backend: one of BACKENDS.
        folder: the bundle.
        manifest: Manifest.
        verified: enter with the engine that `verify` has passed, and no other: all that serves or
            times asks for it. Else with the last build, for `verify` to look at.

    Returns:
        A context manager with `infer((1, 3, H, W) float32) -> (1, classes) float32`, `backend`,
        `executed` (precision), `engine_sha256` (of model.onnx where that is the engine),
        `provenance` (a line for reports) and `profile` (see layer_times.py).
    """
    return backend_named(backend).open(folder, manifest, verified)
