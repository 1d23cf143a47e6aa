"""Only the engine that `verify` has passed is served: its bytes, its model, its goldens."""

import json
import os

import numpy as np
import pytest

import fakes
from board_root import BoardRoot
from bundles import sign
from edgedistill_device.__main__ import main
from edgedistill_device.engine import engine_file, verify
from edgedistill_device.engine.runners import open_runner
from edgedistill_device.errors import EngineError, ReleaseError, VerifyError
from edgedistill_device.manifest import read_manifest
from edgedistill_device.releases.incoming import accept
from edgedistill_device.releases.store import activate, rollback, status

pytestmark = pytest.mark.usefixtures("forked_children")


@pytest.fixture
def said(capsys):
    """said(code, verb, words...): the last line of stdout, or the one line of stderr."""

    def run(code, *words):
        capsys.readouterr()
        assert main(list(words)) == code
        out, error = capsys.readouterr()
        return out.splitlines()[-1] if code == 0 else error.splitlines()[-1]

    return run


def engines(bundle):
    return sorted(n for n in os.listdir(engine_file.engine_folder(bundle)) if n.endswith(".engine"))


def flip_a_bit(bundle):
    (name,) = engines(bundle)
    with open(os.path.join(engine_file.engine_folder(bundle), name), "rb+") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)[0]
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last ^ 1]))


def served(tmp_path, said):
    """(board, folder of its one release, which is built, verified and active on TensorRT)."""
    board = BoardRoot(tmp_path, backend="tensorrt")
    release = board.send()
    accept(board.root, release)
    folder = board.path("releases", release)
    for verb in ("build", "verify"):
        said(0, verb, "--bundle", folder)
    activate(board.root, release)
    assert status(board.root)["proven"] is True
    return board, folder


@pytest.mark.parametrize("other", ["8.2", "8.6"], ids=["the same engine", "another engine"])
def test_an_engine_that_verify_refused_is_not_served(tmp_path, use, said, other):
    use("8.2")
    board, folder = served(tmp_path, said)
    current, golden = board.path("current"), os.path.join(folder, "golden", "images")
    flip_a_bit(folder)
    found = status(board.root)
    assert (found["proven"], found["releases"][0]["verified"]) == (False, False)
    assert "truncated or another file" in found["problems"][0]
    use(other, nan=True)
    said(0, "build", "--bundle", folder)
    assert "NaN" in said(1, "verify", "--bundle", folder)
    with pytest.raises((VerifyError, EngineError)):
        activate(board.root, os.path.basename(folder))
    for verb in (
        ["classify", "--bundle", current, golden],
        ["health", "--bundle", current],
        ["bench", "--runs", "10", "--bundle", current],
        ["bench", "--runs", "12", "--against", current, "--bundle", current],
    ):
        assert "; run: python3 -m edgedistill_device " in said(1, *verb)
    assert status(board.root)["proven"] is False
    with pytest.raises((VerifyError, EngineError)):
        status(board.root, recover=True)  # as the service asks before it starts


def test_a_new_build_waits_for_its_pass_and_the_engine_that_passed_stays_in_force(tmp_path, use, said):
    use("8.2")
    board, folder = served(tmp_path, said)
    golden = os.path.join(folder, "golden", "images")
    before, (proven,) = engine_file.require_verified(folder), engines(folder)
    manifest = read_manifest(folder)
    use("8.6")
    said(0, "build", "--bundle", folder)
    assert proven in engines(folder)
    with pytest.raises(VerifyError, match="this engine has not passed"):
        engine_file.require_verified(folder)  # of the last build
    assert "this engine has not passed" in said(1, "bench", "--runs", "10", "--bundle", folder)
    record, _ = engine_file.read_verified_engine(folder, manifest)
    assert (record["engine"], record["engine_sha256"]) == (proven, before["engine_sha256"])
    with engine_file.verifying(folder):  # a verify that is killed here changes nothing
        engine_file.set_pass_aside(folder, "tensorrt", "0" * 64)
        assert engine_file.read_verified_engine(folder, manifest)[0] == record
    use("8.2")  # which made the engine in force: the camera's service goes on after a restart
    assert status(board.root, recover=True)["proven"] is True
    with pytest.raises(VerifyError, match="this engine has not passed"):
        activate(board.root, os.path.basename(folder))
    assert json.loads(said(0, "classify", "--bundle", folder, golden))["frames"] == 4
    use("8.6")
    said(0, "verify", "--bundle", folder)
    assert engine_file.read_verified_engine(folder, manifest)[0]["tensorrt"] == fakes.RELEASES["8.6"]
    assert json.loads(said(0, "classify", "--bundle", folder, golden))["frames"] == 4
    said(0, "build", "--bundle", folder)
    assert proven not in engines(folder)


def test_a_build_while_verify_is_at_work_gets_none_of_its_pass(bundle, use, said):
    use("8.2")
    said(0, "build", "--bundle", bundle)
    passed = engine_file.read_record(bundle)["engine_sha256"]
    use("8.6")
    said(0, "build", "--bundle", bundle)
    with pytest.raises(VerifyError, match="another engine was built meanwhile"):
        engine_file.write_verified(bundle, "tensorrt", passed, {})
    with pytest.raises(VerifyError, match="has not passed"):
        engine_file.read_verified_engine(bundle, read_manifest(bundle))


def test_a_verify_that_was_cut_off_is_of_the_same_engine_run_as_before(bundle, use, said):
    use("8.2")
    for verb in ("build", "verify"):
        said(0, verb, "--bundle", bundle)
    assert engine_file.verify_was_cut_off(bundle, "tensorrt") is False
    passed = engine_file.read_record(bundle)
    engine_file.keep_options(bundle, passed["engine_sha256"], execution={"cuda_graph": True, "mapped_memory": True})
    assert engine_file.read_record(bundle) != passed
    engine_file.set_pass_aside(bundle, "tensorrt", passed["engine_sha256"])
    with pytest.raises(VerifyError, match="has not passed"):
        engine_file.read_verified_engine(bundle, read_manifest(bundle))
    assert engine_file.verify_was_cut_off(bundle, "tensorrt") is True
    assert engine_file.read_record(bundle) == passed
    with engine_file.verifying(bundle), pytest.raises(VerifyError, match="locked by another verify"):
        engine_file.verify_was_cut_off(bundle, "tensorrt")
    use("8.6")
    said(0, "build", "--bundle", bundle)
    assert engine_file.verify_was_cut_off(bundle, "tensorrt") is False


def test_a_pass_that_older_code_wrote_counts_for_its_engine_alone(bundle, use, said):
    use("8.2")
    said(0, "build", "--bundle", bundle)
    path = os.path.join(engine_file.engine_folder(bundle), "verified.json")
    digest = engine_file.read_record(bundle)["engine_sha256"]
    for written, fits in ((digest, True), ("0" * 64, False)):
        with open(path, "w") as file:
            json.dump({"images": 4, "engine_sha256": written}, file)
        if fits:
            record, _ = engine_file.read_verified_engine(bundle, read_manifest(bundle))
            assert record["engine_sha256"] == digest
        else:
            with pytest.raises(VerifyError, match="has not passed"):
                engine_file.read_verified_engine(bundle, read_manifest(bundle))


CHANGED = {
    "tolerance": lambda bundle: sign(bundle, tolerance={"fp32": 9.0, "fp16": 9.0, "int8": 9.0}),
    "goldens": lambda bundle: (np.save(os.path.join(bundle, "golden", "labels.npy"), np.zeros(4)), sign(bundle)),
}


@pytest.mark.parametrize("what", sorted(CHANGED))
@pytest.mark.parametrize("backend", ["tensorrt", "onnxruntime"])
def test_a_pass_is_of_these_goldens_and_tolerances(bundle, use, said, backend, what):
    use("8.2")
    words = ["--backend", backend, "--bundle", bundle]
    for verb in ("build", "verify"):
        said(0, verb, *words)
    golden = os.path.join(bundle, "golden", "images")
    said(0, "classify", *(words + [golden]))
    CHANGED[what](bundle)
    for verb in (["classify", golden], ["health"], ["bench", "--runs", "10"]):
        assert "has not passed; run: python3 -m edgedistill_device verify" in said(1, *(verb + words))
    said(0, "verify", *words)
    said(0, "classify", *(words + [golden]))


def test_the_model_that_is_loaded_is_the_one_that_passed(bundle):
    """Also when it is replaced after the manifest was compared with it."""
    manifest = read_manifest(bundle)
    with pytest.raises(VerifyError, match="model.onnx has not passed"):
        open_runner("onnxruntime", bundle, manifest, verified=True).__enter__()
    with open_runner("onnxruntime", bundle, manifest) as runner:
        verify.verify(bundle, manifest, runner)
    with open_runner("onnxruntime", bundle, manifest, verified=True) as runner:
        assert runner.engine_sha256 == manifest.files["model.onnx"].sha256
    with open(os.path.join(bundle, "model.onnx"), "ab") as file:
        file.write(b"\x7a\x00")  # an empty field that ONNX does not know
    with pytest.raises(VerifyError, match="model.onnx has not passed"):
        open_runner("onnxruntime", bundle, manifest, verified=True).__enter__()


def test_back_goes_only_to_a_verified_engine(tmp_path, use, said):
    use("8.2")
    board, folder = served(tmp_path, said)
    second = board.send(serial=2)
    accept(board.root, second)
    for verb in ("build", "verify"):
        said(0, verb, "--bundle", board.path("releases", second))
    activate(board.root, second)
    flip_a_bit(folder)
    with pytest.raises(ReleaseError, match="cannot be served: .*truncated or another file"):
        rollback(board.root)
    assert status(board.root)["current"] == second
