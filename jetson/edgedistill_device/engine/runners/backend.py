"""What a backend answers for, and what those have in common that load model.onnx as it is.

Nothing here imports numpy at its top: `status` and `doctor` ask backends too.
"""

import hashlib
import os

from edgedistill_device.engine import engine_file
from edgedistill_device.errors import BackendError, JetsonError, VerifyError
from edgedistill_device.manifest import sha256_of

MODEL = "model.onnx"


class Backend(object):
    """One runtime. As it stands here, one that builds nothing and loads model.onnx, its "engine".

    Attributes:
        name: its row, the word of --backend.
        title: for people.
        packages: Python modules that doctor first imports in a process of their own.
        builds: whether `build` makes an engine, which stays in force until another one has passed.
        pass_file: in work/engine, what `verify` found.
    """

    name = title = None
    packages = ()
    builds = False

    @property
    def pass_file(self):
        return "verified-%s.json" % (self.name,)

    def build(self, bundle, manifest, workspace_mib, timeout_s):
        """Make the engine, or only prove that the model opens.

        Args:
            workspace_mib: scratch memory of the first attempt; None: from what is free.
            timeout_s: of the whole build.

        Returns:
            (a line for people, the JSON of `build`: engine, requested, executed and more).

        Raises:
            JetsonError: what stopped it.
        """
        with self.open(bundle, manifest) as runner:
            said = {
                "engine": None,
                "requested": manifest.precision_requested,
                "executed": runner.executed,
                "provenance": runner.provenance,
            }
        return "%s loads %s and needs no engine" % (self.title, MODEL), said

    def open(self, folder, manifest, verified=False):
        """The runner, see `open_runner`; the package is imported when it is entered."""
        raise NotImplementedError

    def sha256_to_verify(self, bundle):
        """SHA-256 of what `verify` looks at: a pass is bound to it.

        Raises:
            EngineError: nothing was built.
        """
        return sha256_of(os.path.join(str(bundle), MODEL))

    def not_passed(self, bundle):
        """The VerifyError of what has not passed; it says what to run.

        Raises:
            EngineError: nothing was built, and that comes first.
        """
        return VerifyError(
            "%s has not passed; run: python3 -m edgedistill_device verify --backend %s" % (MODEL, self.name)
        )

    def require_built(self, bundle, manifest):
        """
        Raises:
            EngineError: the last build is missing, altered, or of another model.
        """

    def require_servable(self, bundle, manifest):
        """What would be served has passed `verify`, and is whole.

        Raises:
            VerifyError, EngineError.
        """
        engine_file.require_verified(bundle, self.name, manifest.files[MODEL].sha256)

    def engine_mib(self, bundle):
        """MiB of the engine that the next one takes beside what is loaded; None where it is not known."""

    def checks(self, packages, required, deadly, root="/"):
        """doctor's rows of this backend; the first one says whether it can be used.

        Args:
            packages: {Debian package: version}.
            required: nothing runs on this computer without it.
            deadly: {module: signal} of those whose import ends a process.
            root: where /dev hangs.
        """
        return []


class ModelRunner(object):
    """One ONNX model, one input, one output, batch of one.

    A subclass has `backend`, `title` and `mend` (how to install it), and gives `package`, `load`
    and `infer`.
    """

    backend = title = None
    executed = "fp32"
    engine_sha256 = None  # of model.onnx as it was loaded: what stands in for the engine

    def __init__(self, folder, manifest, verified=False):
        self._folder, self._path = folder, os.path.join(str(folder), MODEL)
        self._manifest, self._verified = manifest, verified
        self._session = None

    @property
    def provenance(self):
        return "stand-in: %s on %s, not the board's TensorRT" % (self.title, os.uname().machine)

    def package(self):
        """The runtime's Python module.

        Raises:
            PackageError: absent or broken.
        """
        raise NotImplementedError

    def load(self, package, content):
        """What infers; any exception of the runtime becomes a BackendError.

        Args:
            package: of `package`.
            content: bytes of model.onnx, whose hash was compared.
        """
        raise NotImplementedError

    def __enter__(self):
        package = self.package()
        try:
            with open(self._path, "rb") as file:
                content = file.read()
            digest = hashlib.sha256(content).hexdigest()
            if self._verified:
                engine_file.require_verified(self._folder, self.backend, digest)
            self._session = self.load(package, content)
        except JetsonError:
            raise
        except Exception as error:  # its exception types differ between releases
            lines = str(error).splitlines() or [type(error).__name__]
            raise BackendError("%s %s does not take %s: %s" % (self.title, package.__version__, self._path, lines[0]))
        self.engine_sha256 = digest
        return self

    def __exit__(self, *error):
        self._session = None
