"""Figures of a board without deploying, over a real sshd; two networks side by side."""

import json
import subprocess
import sys

import numpy as np
import pytest

from edgedistill.device.bench import compare, interval_of_median
from edgedistill.device.here import Here
from edgedistill.device.remote import Board
from edgedistill.device.throwaway import write_throwaway
from edgedistill.errors import BenchmarkError, BundleError, ExportError
from jetson.manifest import read_manifest
from road import edgedistill
from tiny_onnx import model_bytes

WEIGHT, BIAS = [[4.0, -1.0, 0.5], [-1.0, 3.0, 0.0]], [0.1, -0.2]


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(model_bytes(WEIGHT, BIAS, 32))
    return path


def test_a_bare_onnx_file_is_timed_on_the_board_and_leaves_nothing(server, tmp_path, model, board_python):
    python = tmp_path / "python"  # a board whose home is ours alone
    python.write_text(f'#!/bin/sh\npwd >> {tmp_path}/seen\nexec {board_python} "$@"\n')
    python.chmod(0o755)
    done = edgedistill("bench", model, "--host", "board", "--backend", "onnxruntime", "--runs", "20", "--json",
                       "--python", python, "--ssh-config", server.config, cwd=tmp_path)  # fmt: skip
    found = json.loads(done.stdout)
    assert (found["host"], found["executed"], found["requested"]) == ("board", "fp32", "fp16")
    assert found["provenance"].startswith("stand-in: ONNX Runtime")
    assert len(found["samples_ms"]["host_ms"]) == 20
    assert found["verify"]["max_relative_difference"] < 1e-5
    (there,) = set((tmp_path / "seen").read_text().split())
    assert "edgedistill-bench-" in there
    assert subprocess.run(["test", "-e", there]).returncode == 1


def test_two_side_by_side_on_this_computer(tmp_path, model):
    larger = tmp_path / "larger.onnx"
    larger.write_bytes(model_bytes(WEIGHT, BIAS, 512))
    done = edgedistill("bench", "--compare", larger, model, "--runs", "20", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert found["models"] == ["larger", "net"]
    row = found["end_to_end_ms"]
    assert row["interval"][0] <= row["ratio"] <= row["interval"][1]
    assert row["interval"][0] > 2  # 256 times the pixels
    assert row["coverage"] == pytest.approx(1 - 2 / 64)
    assert "compute_ms" not in found


def test_too_few_pairs(tmp_path):
    with Here() as machine, pytest.raises(BenchmarkError, match="5 pairs: expected at least 6"):
        compare(Board(machine, "x", sys.executable, print), tmp_path, tmp_path, "onnxruntime", 10, pairs=5)


def test_the_interval_covers_the_median_as_often_as_it_says(rng):
    """Oracle: draw from a skewed distribution of known median, many times."""
    for count in (6, 9, 15):
        draws = [list(rng.exponential(size=count)) for _ in range(4000)]
        low, high, coverage = zip(*(interval_of_median(values) for values in draws), strict=True)
        inside = np.mean((np.array(low) <= np.log(2)) & (np.log(2) <= np.array(high)))
        assert coverage[0] >= 0.95
        assert inside == pytest.approx(coverage[0], abs=0.012)


def test_a_throwaway_bundle_is_whole_unsigned_and_says_what_it_is(tmp_path, model):
    manifest = write_throwaway(model, tmp_path / "b", "fp16")
    assert read_manifest(tmp_path / "b") == manifest
    assert "timing only" in manifest.provenance["goldens"]
    assert not (tmp_path / "b" / "manifest.json.sig").exists()
    assert np.load(tmp_path / "b" / "golden" / "logits.npy").shape == (4, 2)


def test_what_cannot_be_timed(tmp_path, model):
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises((BundleError, ExportError), match="not a readable ONNX file"):
        write_throwaway(tmp_path / "text.onnx", tmp_path / "b", "fp16")
    done = edgedistill("bench", tmp_path / "none", cwd=tmp_path, check=False)
    assert (done.returncode, "expected a MODEL.onnx, a run folder" in done.stderr) == (1, True)
    done = edgedistill("bench", cwd=tmp_path, check=False)
    assert (done.returncode, "expected one WHAT, or --compare A B" in done.stderr) == (2, True)
