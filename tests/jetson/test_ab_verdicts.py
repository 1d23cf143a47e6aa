"""bench --against on a simulated machine: how often it gives a verdict where there is none, and none where there is."""

import random

import numpy as np
import pytest

from bundles import SPEC, make_bundle
from edgedistill_device.benchmark import ab_bench
from edgedistill_device.manifest import read_manifest

pytestmark = pytest.mark.slow


@pytest.fixture
def bundles(tmp_path):
    return make_bundle(tmp_path / "one"), make_bundle(tmp_path / "two")


class Machine(object):
    """A seeded process of latencies: it drifts, wanders slowly, has slow spells, and each reading costs time
    and throws data out of the caches, so that the calls after it are slow."""

    def __init__(self, seed, period):
        self._random, self._period = random.Random(seed), period
        self.now, self._calls, self._wander, self._cold = 0.0, 0, 0.0, 0

    def tick(self):
        self.now += 2e-3
        self._cold = 3

    def spend(self, share):
        self._calls += 1
        self._wander = 0.95 * self._wander + self._random.gauss(0, 0.01)
        taken = 1e-3 * share * (1 + 2e-3 * self._calls) * (1 + self._wander) * self._random.lognormvariate(0, 0.03)
        taken *= 1.3 if self._cold else 1.2 if self._calls % self._period < 3 else 1.0
        self._cold = max(0, self._cold - 1)
        self.now += taken
        return taken


class OnMachine(object):
    executed, provenance, engine_sha256, last_compute_ms = "fp32", "simulated: a test", None, None

    def __init__(self, machine, share):
        self._machine, self._share = machine, share

    def infer(self, batch):
        self.last_compute_ms = 1e3 * self._machine.spend(self._share)


def verdicts(bundles, monkeypatch, shares, times, runs=28):
    """What the scopes of so many comparisons said: [set of "a", "b"]."""
    spec = SPEC._replace(image_px=1, resize_px=1)  # no simulated runner looks at a pixel
    manifest, found = read_manifest(bundles[0])._replace(preprocess=spec), []
    image = np.zeros((1, 1, 3), np.uint8)
    monkeypatch.setattr(ab_bench.Turn, "read", lambda turn: image)
    monkeypatch.setattr(ab_bench, "keep_samples", lambda *told: None)
    for seed in range(times):
        machine = Machine(seed, period=16 + seed % 5)  # a round has 16 calls
        monkeypatch.setattr(ab_bench.sampler.Sampler, "tick", lambda watch, machine=machine: machine.tick())
        one, two = (OnMachine(machine, share) for share in shares)
        report = ab_bench.compare(
            bundles[0],
            (manifest, one),
            (manifest, two),
            [None],
            runs,
            clock=lambda machine=machine: machine.now,
            root=bundles[1],
            seed=seed,
        )
        found.append({row["faster"] for row in report["ratio"].values()} - {None})
    return found


def test_a_bundle_against_itself_gets_a_verdict_in_at_most_one_of_twenty(bundles, monkeypatch):
    found = verdicts(bundles, monkeypatch, (1.0, 1.0), times=200)
    assert sum(map(bool, found)) <= 0.05 * len(found)


def test_a_real_difference_is_found(bundles, monkeypatch):
    found = verdicts(bundles, monkeypatch, (1.0, 1.1), times=40, runs=200)
    assert sum("a" in said for said in found) >= 0.95 * len(found)
    assert not any("b" in said for said in found)
