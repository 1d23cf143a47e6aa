"""What runs the network: one interface, `with open_runner(...) as runner: runner.infer(batch)`."""

BACKENDS = ("tensorrt", "onnxruntime")


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
    if backend == "onnxruntime":
        from edgedistill_device.engine.runners.onnxruntime_runner import OnnxRuntimeRunner

        return OnnxRuntimeRunner(folder, manifest, verified)
    from edgedistill_device.engine.runners.tensorrt_runner import TensorRTRunner

    return TensorRTRunner(folder, manifest, verified)
