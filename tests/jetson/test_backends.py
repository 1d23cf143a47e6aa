"""The rows of engine/runners: each answers for itself, starts no package, and OpenCV runs a whole bundle."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from bundles import BIAS, SOURCES, expected_logits, sign
from edgedistill_device.doctor_packages import backend_checks, modules
from edgedistill_device.engine import engine_file
from edgedistill_device.engine.runners import BACKENDS, DEFAULT, backend_named, open_runner
from edgedistill_device.engine.verify import verify
from edgedistill_device.errors import BackendError, VerifyError
from edgedistill_device.manifest import read_manifest
from edgedistill_device.preprocess import to_input
from tiny_onnx import model_bytes


def verb(bundle, *words):
    """(code, stdout's lines, stderr's lines) of the bundle's own code."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment.update(LC_ALL="C", PYTHONDONTWRITEBYTECODE="1")
    process = subprocess.Popen(
        [sys.executable, "-m", "edgedistill_device"] + list(words),
        cwd=bundle,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )
    out, error = process.communicate()
    assert "Traceback" not in error
    return process.returncode, out.splitlines(), error.splitlines()


@pytest.mark.parametrize("name", BACKENDS)
def test_a_row_is_a_module_of_that_name_that_imports_no_package(name):
    backend = backend_named(name)
    assert (backend.name, bool(backend.title)) == (name, True)
    assert backend.pass_file.startswith("verified")
    ask = (
        "import sys\nfrom edgedistill_device.engine.runners import backend_named\n"
        "backend = backend_named(%r)\nprint([n for n in ('numpy',) + backend.packages if n in sys.modules])" % (name,)
    )
    environment = dict(os.environ, PYTHONPATH=SOURCES)
    said = subprocess.check_output([sys.executable, "-c", ask], env=environment, universal_newlines=True)
    assert said.strip() == "[]"


def test_no_two_backends_keep_their_pass_in_one_file():
    assert len({backend_named(name).pass_file for name in BACKENDS}) == len(BACKENDS)


def test_an_unknown_backend_is_refused_with_the_known_ones(bundle):
    with pytest.raises(BackendError, match="backend 'openvino' is unknown; known: tensorrt, onnxruntime"):
        open_runner("openvino", bundle, read_manifest(bundle))


def test_doctor_imports_what_every_backend_needs():
    found = modules()
    assert found[0] == "numpy"
    assert len(set(found)) == len(found)
    assert set(found) >= {"cv2", "tensorrt", "pycuda.driver", "onnxruntime"}


@pytest.mark.parametrize(
    ("jetson", "works", "required"),
    [(True, (), {"first"}), (False, (), {"second", "third"}), (False, ("second",), {"second"})],
)
def test_a_jetson_needs_the_first_backend_and_another_computer_one_of_the_others(monkeypatch, jetson, works, required):
    from edgedistill_device import doctor_packages
    from edgedistill_device.board.identity import Check
    from edgedistill_device.engine.runners.backend import Backend

    class Planted(Backend):
        def __init__(self, name):
            self.name = name

        def checks(self, packages, required, deadly, root="/"):
            return [Check(self.name, self.name in works, required, "", "")]

    monkeypatch.setattr(doctor_packages, "BACKENDS", ("first", "second", "third"))
    monkeypatch.setattr(doctor_packages, "DEFAULT", "first")
    monkeypatch.setattr(doctor_packages, "backend_named", Planted)
    assert {row.name for row in backend_checks({}, jetson, {}) if row.required} == required


def test_opencv_gives_what_numpy_gives(bundle):
    manifest = read_manifest(bundle)
    with open_runner("opencv", bundle, manifest) as runner:
        for image in np.load(os.path.join(bundle, "golden", "inputs.npy")):
            got = runner.infer(to_input(image, manifest.preprocess))
            assert got.shape == (1, 2)
            assert np.allclose(got[0], expected_logits(image), atol=1e-5)
        first = runner.infer(np.zeros(manifest.input_shape, np.float32))
        kept = first.copy()
        runner.infer(np.ones(manifest.input_shape, np.float32))
        assert np.array_equal(first, kept)  # a fresh array each call
        rows = runner.profile(np.zeros(manifest.input_shape, np.float32), 2)
        assert len(rows) == 2
        assert [row[:2] for row in rows[0]] == [row[:2] for row in rows[1]]
        assert sum(ms for _, _, ms in rows[1]) > 0


@pytest.mark.usefixtures("forked_children")
def test_a_whole_bundle_runs_with_opencv(bundle):
    backend = ("--backend", "opencv")
    code, _, error = verb(bundle, "bench", "--runs", "20", *backend)
    assert (code, error[-1]) == (
        1,
        "edgedistill_device bench: model.onnx has not passed; run: python3 -m edgedistill_device verify "
        "--backend opencv",
    )
    built, verified = (json.loads(verb(bundle, name, *backend)[1][-1]) for name in ("build", "verify"))
    assert (built["engine"], built["executed"], built["requested"]) == (None, "fp32", "fp16")
    assert (verified["images"], verified["top1_agreement_fraction"]) == (4, 1.0)
    assert 0 <= verified["max_relative_difference"] < 1e-5
    code, out, _ = verb(bundle, "bench", "--runs", "20", *backend)
    report = json.loads(out[-1])
    assert code == 0
    assert report["backend"] == "OpenCVRunner"
    assert report["provenance"].startswith("stand-in: OpenCV on ")
    assert report["host_ms"]["runs"] == 20
    code, out, _ = verb(bundle, "classify", "--top", "1", "golden/images", *backend)
    assert (code, json.loads(out[-1])["frames"]) == (0, 4)
    assert verb(bundle, "health", *backend)[0] == 0


def test_a_pass_of_one_backend_is_none_of_another(bundle):
    manifest = read_manifest(bundle)
    with open_runner("opencv", bundle, manifest) as runner:
        verify(bundle, manifest, runner)
    backend_named("opencv").require_servable(bundle, manifest)
    with pytest.raises(VerifyError, match="verify --backend onnxruntime"):
        backend_named("onnxruntime").require_servable(bundle, manifest)
    assert engine_file.require_verified(bundle, "opencv")["executed"] == "fp32"


def test_opencv_with_a_wrong_network_is_refused(bundle):
    path = os.path.join(bundle, "model.onnx")
    with open(path, "wb") as file:
        file.write(model_bytes([[5.0, -1.0, 0.5], [-1.0, 3.0, 0.0]], BIAS, 24))
    sign(bundle)
    manifest = read_manifest(bundle)
    with open_runner("opencv", bundle, manifest) as runner, pytest.raises(VerifyError, match="logits differ"):
        verify(bundle, manifest, runner)
    with open(path, "wb") as file:
        file.write(b"no network" * 9)
    sign(bundle)
    with pytest.raises(BackendError, match="OpenCV .* does not take .*model.onnx: "):
        open_runner("opencv", bundle, read_manifest(bundle)).__enter__()


def test_the_default_is_the_first_row():
    assert DEFAULT == BACKENDS[0] == "tensorrt"
