"""TensorRT: the interface, not yet the engine."""

from jetson.errors import BackendError

NOT_YET = (
    "TensorRT engines are not available in this version of edgedistill; "
    "use --backend onnxruntime, or trtexec with the bundle's model.onnx"
)


class TensorRTRunner(object):
    """Same life cycle as the other runners; entering it refuses in one line."""

    executed = None
    provenance = "TensorRT"

    def __init__(self, folder, manifest):
        self._folder = folder
        self._manifest = manifest

    def __enter__(self):
        raise BackendError(NOT_YET)

    def __exit__(self, *error):
        pass
