"""OpenCV's DNN module on the CPU: a stand-in for the board's TensorRT where only OpenCV is installed.

OpenCV 4.1.1, which JetPack 4 brings, has no HardSigmoid: it refuses MobileNetV3 and takes ResNet.
OpenCV 4.5.5 and 5.0 take both.
"""

from edgedistill_device import imports
from edgedistill_device.engine.runners.backend import Backend, ModelRunner
from edgedistill_device.errors import BackendError


class OpenCVBackend(Backend):
    name, title = "opencv", "OpenCV"
    packages = ("cv2",)  # doctor has a row for it in any case: images are decoded with it

    def open(self, folder, manifest, verified=False):
        return OpenCVRunner(folder, manifest, verified)


class OpenCVRunner(ModelRunner):
    """Importing this needs no OpenCV."""

    backend, title = "opencv", "OpenCV"

    def package(self):
        return imports.opencv()

    def load(self, package, content):
        import numpy

        return package.dnn.readNetFromONNX(numpy.frombuffer(content, numpy.uint8))

    def infer(self, batch):
        """(1, 3, H, W) float32 in, (1, classes) float32 logits out, a fresh array each call."""
        self._session.setInput(batch, self._manifest.input_name)
        return self._session.forward(self._manifest.output_name)

    def profile(self, batch, runs):
        """[[(layer, operator, ms)]], run by run, of OpenCV's own ticks; 0 ms: fused into another layer."""
        import cv2

        names, profiled_runs = list(self._session.getLayerNames()), []
        kinds = [self._session.getLayer(name).type for name in names]
        for _ in range(runs):
            self.infer(batch)
            ticks = self._session.getPerfProfile()[1].ravel().tolist()
            if len(ticks) != len(names):
                raise BackendError("OpenCV timed %d layers of %d" % (len(ticks), len(names)))
            ms = [1e3 * value / cv2.getTickFrequency() for value in ticks]
            profiled_runs.append(list(zip(names, kinds, ms)))
        return profiled_runs


BACKEND = OpenCVBackend()
