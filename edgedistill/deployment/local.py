"""Run a bundle on this computer: the board's own commands with ONNX Runtime or another stand-in."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from edgedistill.bundles.device_code import package_in
from edgedistill.config.target import load_target
from edgedistill.environment.secret_values import child_environment
from edgedistill.errors import DeviceError
from edgedistill.records.benchmark import BenchAnswer, Samples
from edgedistill.records.board_answers import VerifyAnswer
from edgedistill.records.deployment import TimedBundle
from edgedistill_device.benchmark.benchreport import report_from_line
from edgedistill_device.errors import BenchError

TIMEOUT_SECONDS = 600
LOCAL = "local"  # this computer as a host of a deployment


def verify_and_bench(bundle: Path, runs: int, python: str = sys.executable, backend: str | None = None) -> TimedBundle:
    """Run `python3 -m edgedistill_device verify` and `bench` from the bundle's folder.

    Args:
        bundle: its own edgedistill_device/ and edgedistill_calibration/ are what runs.
        runs: timed calls.
        python: interpreter with numpy, OpenCV and the runtime.
        backend: of BACKENDS; that of targets/local.toml when None.

    Raises:
        DeviceError: a verb refused; its own line is the message.
    """
    backend = backend or load_target(LOCAL).backend
    try:
        answer = json.loads(_last_line(python, bundle, "verify", "--backend", backend))
        verified = VerifyAnswer.from_json(answer, "edgedistill_device verify on this computer", DeviceError)
        answer = report_from_line(_last_line(python, bundle, "bench", "--backend", backend, "--runs", str(runs)))
        report = BenchAnswer.from_json(answer, "edgedistill_device bench on this computer", DeviceError)
        samples = _samples(bundle, report.samples_file)
    except (ValueError, BenchError) as error:
        raise DeviceError(f"on this computer: unexpected last line: {error}") from None
    finally:  # a bundle holds nothing of one machine
        shutil.rmtree(bundle / "work", ignore_errors=True)
    return TimedBundle(
        host=LOCAL,
        backend=backend,
        provenance=report.provenance,
        requested=report.requested,
        executed=report.executed,
        verify=verified,
        bench=report,
        samples_ms=samples,
    )


def _last_line(python: str, bundle: Path, verb: str, *options: str) -> str:
    command = [python, "-m", package_in(bundle), verb, *options]
    # A PYTHONPATH of the workstation would let another edgedistill_device win over the bundle's.
    environment = child_environment(PYTHONDONTWRITEBYTECODE="1")
    environment.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(
            command,
            cwd=bundle,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"edgedistill_device {verb}: no answer within {TIMEOUT_SECONDS} s") from None
    if done.returncode != 0 or not done.stdout.strip():
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}, nothing said"]
        raise DeviceError(f"on this computer: {lines[-1]}")
    return done.stdout.strip().splitlines()[-1]


def _samples(bundle: Path, name: str | None) -> Samples | None:
    """Raw samples of the bench."""
    if name is None:
        return None
    samples = json.loads((bundle / name).read_text(encoding="utf-8"))
    return {scope: [round(value, 4) for value in values] for scope, values in samples.items()}
