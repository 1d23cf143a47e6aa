"""A bundle as a Mender artifact, packed by Mender's own program, for the update module in mender_module.sh.

The module goes onto each board once, as /usr/share/mender/modules/v3/edgedistill-bundle.
Source: https://docs.mender.io/artifact-creation/create-a-custom-update-module
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from edgedistill.bundles.archive import write_archive
from edgedistill.core.files import write_bytes
from edgedistill.environment.secret_values import child_environment
from edgedistill.errors import BundleError
from edgedistill_device.manifest import NAME, id_of, manifest_from_bytes
from edgedistill_device.releases.archive import SUFFIX

MODULE = "edgedistill-bundle"
_SCRIPT = Path(__file__).with_name("mender_module.sh")
_TIMEOUT_S = 300


def write_artifact(bundle: Path, out: Path) -> dict[str, Any]:
    """Write the artifact to `out` and the update module beside it.

    Returns:
        artifact_name, device_type (the bundle's target), module.

    Raises:
        BundleError: no mender-artifact here, or it refuses.
    """
    content = (bundle / NAME).read_bytes()
    manifest, release = manifest_from_bytes(content), id_of(content)
    name = f"{manifest.model}-{release}"
    with tempfile.TemporaryDirectory(prefix="edgedistill-") as folder:
        archive = Path(folder) / f"{release}{SUFFIX}"
        write_archive(bundle, archive)
        _mender_artifact(
            "write",
            "module-image",
            "--type",
            MODULE,
            "--artifact-name",
            name,
            "--device-type",
            manifest.target,
            "--compression",
            "none",
            "--output-path",
            str(out),
            "--file",
            str(archive),
        )
        _mender_artifact("validate", str(out))
    module = out.parent / MODULE
    write_bytes(module, _SCRIPT.read_bytes())
    module.chmod(0o755)
    return {"artifact_name": name, "device_type": manifest.target, "module": str(module)}


def _mender_artifact(*arguments: str) -> None:
    program = shutil.which("mender-artifact")
    if program is None:
        raise BundleError(
            "mender-artifact is not installed; Debian and Ubuntu: sudo apt install "
            "mender-artifact, others: https://docs.mender.io/downloads"
        )
    try:
        done = subprocess.run(
            [program, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
            env=child_environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BundleError(f"mender-artifact {arguments[0]} gave no answer: {error}") from None
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines() or [f"exit code {done.returncode}"]
        raise BundleError(f"mender-artifact {arguments[0]}: {lines[-1]}")
