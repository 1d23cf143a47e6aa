"""What the device code refuses: one line, exit code 1.

JetsonError
|-- ImageError       a file that is no usable image
|-- ManifestError    a bundle that is incomplete, altered or of another version
|-- SignatureError   a bundle that is unsigned, altered, or signed by a key not trusted here
|-- ReleaseError     a release that must not be taken, made current, or that failed its check
|-- BackendError     a runner that is not there or does not take the model
|   |-- DeviceMemoryError  no memory on the device for what it should hold
|   `-- PackageError  a Python package that is absent, broken or too old, see imports.py
|-- EngineError      an engine that is missing, altered, or another board's
|-- BuildError       a build that cannot start, or that ended without an engine
|-- GalleryError     a gallery that is missing, damaged or another network's, or a class that is not in it
|-- VerifyError      an engine that does not agree with the goldens
|-- BenchError       a measurement that would mean nothing
`-- StreamError      a camera, video or output file that cannot be opened or went away
"""


class JetsonError(Exception):
    """Base of the tree above."""


class ImageError(JetsonError):
    pass


class ManifestError(JetsonError):
    pass


class SignatureError(JetsonError):
    pass


class ReleaseError(JetsonError):
    pass


class BackendError(JetsonError):
    pass


class DeviceMemoryError(BackendError):
    pass


class EngineError(JetsonError):
    pass


class BuildError(JetsonError):
    pass


class GalleryError(JetsonError):
    pass


class VerifyError(JetsonError):
    pass


class BenchError(JetsonError):
    pass


class StreamError(JetsonError):
    pass
