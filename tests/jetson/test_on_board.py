"""Against the board's own TensorRT, on a Jetson, from a copy of the repository there:

    PYTHONPATH=jetson:calibration:tests:tests/jetson python3 -m pytest -c tests/device_pytest.ini \\
        --confcutdir=tests/jetson -m device tests/jetson/test_on_board.py
"""

import json
import os

import numpy as np
import pytest

from bundles import SPEC, expected_logits
from edgedistill_device.__main__ import main
from edgedistill_device.engine import engine_file
from edgedistill_device.engine.build import build
from edgedistill_device.engine.runners import open_runner
from edgedistill_device.manifest import read_manifest
from edgedistill_device.preprocess import to_input

pytestmark = pytest.mark.device


@pytest.fixture
def built(bundle, tmp_path, monkeypatch):
    """The tiny bundle with an engine that this board built."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    build(bundle, read_manifest(bundle))
    return bundle


def test_the_engine_gives_what_numpy_gives(built):
    images = np.load(os.path.join(built, "golden", "inputs.npy"))
    with open_runner("tensorrt", built, read_manifest(built)) as runner:
        assert runner.provenance.startswith("measured: TensorRT ")
        found = [runner.infer(to_input(image, SPEC)) for image in images]
    for image, logits in zip(images, found):
        assert np.allclose(logits[0], expected_logits(image), atol=0.02)  # fp16


def test_verify_and_bench(built, capsys):
    assert main(["verify", "--bundle", built]) == 0
    assert engine_file.require_verified(built)["images"] == 4
    assert main(["bench", "--bundle", built, "--runs", "20"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 0 < report["compute_ms"]["p50_ms"] <= report["host_ms"]["p50_ms"] <= report["end_to_end_ms"]["p50_ms"]
