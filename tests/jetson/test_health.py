"""The health check runs what is served: `classify`'s own way from a file to a line."""

import os

import numpy as np
import pytest

from board_root import BoardRoot
from bundles import make_bundle, sign
from edgedistill_device.engine.runners import open_runner
from edgedistill_device.errors import BackendError, ReleaseError, VerifyError
from edgedistill_device.manifest import read_manifest
from edgedistill_device.releases import health
from edgedistill_device.releases.incoming import accept
from edgedistill_device.releases.store import activate, status

pytestmark = pytest.mark.usefixtures("forked_children")


def test_health_classifies_every_golden_image(tmp_path):
    bundle = make_bundle(tmp_path / "bundle")
    manifest = read_manifest(bundle)
    with open_runner("onnxruntime", bundle, manifest) as runner:
        assert health.examine(bundle, manifest, runner)["classified"] == 4


@pytest.mark.parametrize(("budget_ms", "passes"), [(4.01, True), (3.99, False)])
def test_the_median_in_ms_is_held_against_the_budget(tmp_path, monkeypatch, budget_ms, passes):
    """16 of 30 calls take 4 ms, the others far longer: neither the mean nor the slowest."""
    bundle = make_bundle(tmp_path / "bundle")
    sign(bundle, latency_budget_ms=budget_ms)
    manifest = read_manifest(bundle)
    monkeypatch.setattr(health, "measure_ms", lambda call, warmup, runs: [4.0] * 16 + [90.0] * (runs - 16))
    with open_runner("onnxruntime", bundle, manifest) as runner:
        if passes:
            found = health.examine(bundle, manifest, runner)
            assert (found["end_to_end_ms"]["p50_ms"], found["latency_budget_ms"]) == (4.0, 4.01)
        else:
            with pytest.raises(VerifyError, match="the median .* is 4.00 ms, the bundle's budget is 3.99 ms"):
                health.examine(bundle, manifest, runner)


def test_what_classify_cannot_do_on_this_board_fails_the_check(tmp_path, monkeypatch):
    """As numpy 1.13, to which `classify` said a word that it did not know."""
    bundle = make_bundle(tmp_path / "bundle")
    manifest = read_manifest(bundle)
    with open_runner("onnxruntime", bundle, manifest) as runner:

        class OnlyFilesGiveNaN(object):
            calls = 0

            def infer(self, batch):
                self.calls += 1
                found = runner.infer(batch)
                return found if self.calls <= 4 else found * np.nan

            def __getattr__(self, name):
                return getattr(runner, name)

        with pytest.raises(BackendError, match="gives NaN or infinity here"):
            health.examine(bundle, manifest, OnlyFilesGiveNaN())
        monkeypatch.setattr("edgedistill_device.inference.classify.answer_of", lambda *_: {}["no such word"])
        with pytest.raises(KeyError):
            health.examine(bundle, manifest, runner)


@pytest.mark.parametrize("broken", ["answer_of", "_say", "classify"])
def test_a_release_whose_classify_cannot_serve_is_not_switched_to(tmp_path, broken):
    board = BoardRoot(tmp_path)
    good = board.send(serial=1)
    with open(os.path.join(board.bundle, "edgedistill_device", "inference", "classify.py"), "a") as file:
        file.write("\n\ndef %s(*_):\n    raise TypeError('no such keyword')\n" % broken)
    bad = board.send(serial=2)
    for release in (good, bad):
        accept(board.root, release)
        board.verify(release)
    activate(board.root, good)
    with pytest.raises(ReleaseError, match="no such keyword; %s is served again$" % good):
        activate(board.root, bad)
    assert (status(board.root)["current"], status(board.root)["proven"]) == (good, True)
