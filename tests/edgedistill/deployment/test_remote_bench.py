"""Figures of a board without deploying, over a real sshd; two networks side by side."""

import json
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest

from edgedistill.bundles.unsigned import write_throwaway
from edgedistill.deployment import timing
from edgedistill.deployment.bench import visiting
from edgedistill.deployment.board import Board
from edgedistill.deployment.here import Here
from edgedistill.errors import BundleError, ExportError, SshError
from edgedistill.records.benchmark import CompareAnswer
from edgedistill_device.manifest import read_manifest
from end_to_end import edgedistill
from tiny_onnx import model_bytes

pytestmark = pytest.mark.slow

WEIGHT, BIAS = [[4.0, -1.0, 0.5], [-1.0, 3.0, 0.0]], [0.1, -0.2]


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(model_bytes(WEIGHT, BIAS, 32))
    return path


def test_a_bare_onnx_file_is_timed_on_the_board_and_leaves_nothing(server, tmp_path, model, forked_python):
    python = tmp_path / "python"  # a board whose home is ours alone
    python.write_text(f'#!/bin/sh\npwd >> {tmp_path}/seen\nexec {forked_python} "$@"\n')
    python.chmod(0o755)
    done = edgedistill(
        "bench",
        model,
        "--host",
        "board",
        "--backend",
        "onnxruntime",
        "--runs",
        "20",
        "--json",
        "--python",
        python,
        "--ssh-config",
        server.config,
        cwd=tmp_path,
    )
    found = json.loads(done.stdout)
    assert (found["host"], found["executed"], found["requested"]) == ("board", "fp32", "fp16")
    assert found["provenance"].startswith("stand-in: ONNX Runtime")
    assert len(found["samples_ms"]["host_ms"]) == 20
    assert found["verify"]["max_relative_difference"] < 1e-5
    (there,) = set((tmp_path / "seen").read_text().split())
    assert "edgedistill-bench-" in there
    assert subprocess.run(["test", "-e", there]).returncode == 1


@pytest.mark.parametrize(
    ("host", "python", "expected"), [("nano", None, "python3"), ("nano", "py", "py"), (None, None, sys.executable)]
)
def test_the_board_has_a_python_of_its_own(model, monkeypatch, host, python, expected):
    monkeypatch.setattr(timing, "Connection", lambda host, config: nullcontext())
    monkeypatch.setattr(timing, "Board", lambda machine, root, python, say: python)
    monkeypatch.setattr(timing, "bench", lambda python, *_: python)
    assert timing.timed([model], host, None, "fp16", 20, python, None, print) == expected


def test_a_copy_that_a_lost_connection_leaves_there_is_named(tmp_path, model):
    """The network was timed all the same."""

    class Lost(Here):
        def run(self, words, say=None, timeout_s=None):
            raise SshError("nano: the connection ended")

    write_throwaway(model, tmp_path / "b", "fp16")
    said = []
    with Lost() as machine, visiting(Board(machine, "edgedistill", sys.executable, said.append), tmp_path / "b") as at:
        pass
    assert said == [f"nano: the connection ended; {at} was left in the home folder there"]


def test_two_side_by_side_on_this_computer(tmp_path, model):
    larger = tmp_path / "larger.onnx"
    larger.write_bytes(model_bytes(WEIGHT, BIAS, 512))
    done = edgedistill("bench", "--compare", larger, model, "--runs", "12", cwd=tmp_path)
    said = done.stdout.splitlines()
    assert said[0].startswith("A larger (fp32), B net (fp32) on this computer, stand-in: ONNX Runtime")
    host, end_to_end = (line for line in said if "A/B" in line)
    assert host.endswith(("B is faster", "no difference was seen")), host  # a busy computer hides it
    assert end_to_end.split()[0] == "end_to_end"


def test_nothing_of_a_comparison_is_lost_in_its_record(tmp_path, model, forked_python):
    write_throwaway(model, tmp_path / "b", "fp16")
    with Here() as machine:
        board = Board(machine, "edgedistill", forked_python, print)
        with visiting(board, tmp_path / "b") as there:
            board.build(there, "onnxruntime")
            board.verify(there, "onnxruntime")
            raw = board.bundle(there, "bench", "--backend", "onnxruntime", "--runs", "12", "--against", f"../{there}")
    raw = {"host": "here", **raw}
    assert json.dumps(CompareAnswer.model_validate(raw).to_json()) == json.dumps(raw)


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


def test_a_file_is_refused_without_a_training_framework(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no network")
    code = (
        "import sys; from edgedistill.cli.main import main; code = main(sys.argv[1:]); "
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    words = [sys.executable, "-c", code, "bench", str(tmp_path / "m.onnx")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
