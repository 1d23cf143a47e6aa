"""bench --against: two bundles in turns."""

import itertools
import json
import random

import pytest

import fakes
from bundles import BIAS, make_bundle, sign
from edgedistill_device.__main__ import main
from edgedistill_device.benchmark import ab_bench
from edgedistill_device.engine import cuda_memory
from edgedistill_device.engine.verify import golden_images
from edgedistill_device.errors import BenchError
from edgedistill_device.manifest import read_manifest
from tiny_onnx import model_bytes

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("forked_children")]


@pytest.fixture
def bundles(tmp_path):
    return make_bundle(tmp_path / "one"), make_bundle(tmp_path / "two")


class Slow(object):
    """A runner whose calls take `share` of a time that grows with every call of any of them."""

    executed, provenance, engine_sha256, last_compute_ms = "fp32", "made up", None, None

    def __init__(self, world, name, share):
        self._world, self._name, self._share = world, name, share

    def infer(self, batch):
        self._world["order"].append(self._name)
        self._world["calls"] += 1
        taken = self._share * (1 + 0.01 * self._world["calls"])
        self._world["now"] += taken
        self.last_compute_ms = 500 * taken


def slow_pair(first, second):
    world = {"now": 0.0, "calls": 0, "order": []}
    return world, Slow(world, "a", first), Slow(world, "b", second)


def compared(bundles, one, two, world, runs):
    manifest = read_manifest(bundles[0])
    return ab_bench.compare(
        bundles[0],
        (manifest, one),
        (manifest, two),
        golden_images(bundles[0]),
        runs,
        clock=lambda: world["now"],
        root=bundles[1],
    )


def test_steady_drift_leaves_the_ratio_alone(bundles):
    world, one, two = slow_pair(1.0, 2.0)
    found = compared(bundles, one, two, world, 80)
    assert (found["rounds"], found["calls"]) == (20, 2)
    for scope in ("compute_ms", "host_ms", "end_to_end_ms"):
        row = found["ratio"][scope]
        assert row["a_over_b"] == pytest.approx(0.5, rel=0.02)
        assert row["low"] <= row["a_over_b"] <= row["high"] < 1
        assert row["faster"] == "a"
        assert found["a"][scope]["runs"] == found["b"][scope]["runs"] == 80
    # Timed as two runs one after the other, the second would have paid for the drift: in the raw
    # samples the last round takes far longer than the first.
    with open("%s/%s" % (bundles[0], found["samples_file"])) as file:
        rounds = json.load(file)["a"]["host_ms"]
    assert min(rounds[-1]) > 2 * max(rounds[0])


def test_blocks_come_in_the_order_a_b_b_a_or_its_mirror(bundles):
    world, one, two = slow_pair(1.0, 1.0)
    compared(bundles, one, two, world, 24)
    timed = world["order"][20 : 20 + 12 * 16]  # after ten calls each: 4 untimed, 4 x (2 + 1)
    rounds = ["".join(timed[n : n + 16]) for n in range(0, len(timed), 16)]
    abba, baab = "bbaa" + "aaabbbbbbaaa", "aabb" + "bbbaaaaaabbb"
    assert sorted(rounds) == 6 * [baab] + 6 * [abba]


def test_who_begins_is_drawn_and_each_as_often():
    lots = [ab_bench.drawn(20, random.Random(seed)) for seed in range(50)]
    assert {sum(lot) for lot in lots} == {10}
    assert len({tuple(lot) for lot in lots}) == 50
    assert {sum(ab_bench.drawn(7, random.Random(seed))) for seed in range(50)} == {3, 4}


def test_equal_ones_have_no_winner():
    same = [[1.0, 1.1], [1.2, 1.0], [0.9, 1.0], [1.0, 1.3], [1.1, 1.2], [1.0, 0.8]]
    found = ab_bench.ratio(same, same[::-1])
    assert found["faster"] is None
    assert found["low"] <= 1 <= found["high"]


@pytest.mark.parametrize("rounds", range(6, 15))
def test_the_interval_covers_the_median_as_often_as_it_says(rounds):
    """Every pattern of above and below the true median, each as likely."""
    row = ab_bench.ratio([[float(n)] for n in range(1, rounds + 1)], [[1.0]] * rounds)
    place = int(row["low"])  # of the sorted ratios, 1 .. rounds
    assert row["high"] == rounds + 1 - place
    inside = sum(place <= sum(pattern) <= rounds - place for pattern in itertools.product((0, 1), repeat=rounds))
    assert row["coverage_fraction"] == pytest.approx(inside / 2.0**rounds, abs=1e-12)
    assert row["coverage_fraction"] >= 0.95


@pytest.mark.parametrize(
    ("ratios", "questions", "faster"),
    [
        ([1.05] * 20, 3, "b"),
        ([1 / 1.05] * 20, 3, "a"),
        ([1.01] * 20, 3, None),  # less than two sessions of one bundle may differ by
        ([1.05] * 16 + [0.9] * 4, 3, "b"),  # P(16 or more of 20) = 0.0059, twice that is below 0.05 / 3
        ([1.05] * 15 + [0.9] * 5, 3, None),  # and twice 0.0207 is not
        ([1.05] * 15 + [0.9] * 5, 1, "b"),
        ([1.05] * 6, 1, "b"),
        ([1.05] * 6, 2, None),  # 2 / 2**6 = 0.031 is more than 0.025
        ([1.05] * 7, 3, "b"),
    ],
)
def test_a_verdict_needs_a_clear_difference_in_enough_rounds(ratios, questions, faster):
    found = ab_bench.ratio([[ratio] for ratio in ratios], [[1.0]] * len(ratios), questions)
    assert found["faster"] == faster
    assert (found["p_value"] <= found["level"]) is (faster is not None)
    assert faster is None or not found["low"] <= 1 <= found["high"]


def test_some_microseconds_are_no_difference():
    """A call of 7 us that takes 9 us in the other session; the same shares of a call of 0.7 ms decide."""
    assert ab_bench.ratio([[0.009]] * 20, [[0.007]] * 20)["faster"] is None
    assert ab_bench.ratio([[0.007]] * 20, [[0.009]] * 20)["faster"] is None
    assert ab_bench.ratio([[0.9]] * 20, [[0.7]] * 20)["faster"] == "b"


def test_too_few_rounds_are_refused(bundles):
    world, one, two = slow_pair(1.0, 1.0)
    with pytest.raises(BenchError, match="at least 12, got 11"):
        compared(bundles, one, two, world, 11)
    with pytest.raises(BenchError, match="5 rounds give no interval"):
        ab_bench.ratio([[1.0]] * 5, [[1.0]] * 5)


@pytest.fixture
def verified(bundles):
    for bundle in bundles:
        assert main(["verify", "--backend", "onnxruntime", "--bundle", bundle]) == 0
    return bundles


def last_line(capsys):
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_the_verb(verified, capsys):
    words = ["bench", "--backend", "onnxruntime", "--runs", "12", "--bundle", verified[0]]
    assert main(words + ["--against", verified[1]]) == 0
    report = last_line(capsys)
    assert (report["verb"], report["order"], report["rounds"]) == ("bench", "ABBA", 6)
    assert report["ratio"]["compute_ms"] is report["a"]["compute_ms"] is None
    for side in (report["a"], report["b"]):
        facts = [side[name] for name in ("model", "backend", "requested", "executed")]
        assert facts == ["tiny", "OnnxRuntimeRunner", "fp16", "fp32"]
    assert report["b"]["provenance"].startswith("stand-in")
    read_manifest(verified[0])  # still the same bundle


def test_mistakes(verified, capsys, tmp_path):
    words = ["bench", "--backend", "onnxruntime", "--bundle", verified[0], "--against"]
    assert main(words + [str(tmp_path / "none")]) == 1
    assert "edgedistill_device bench: --against " in capsys.readouterr().err
    assert main(words + [verified[1], "--compare", "trtexec"]) == 1
    assert "two questions" in capsys.readouterr().err
    assert main(words + [verified[1], "--runs", "11"]) == 1
    assert "--against needs --runs of at least 12, got 11" in capsys.readouterr().err


@pytest.fixture
def tensorrt(tmp_path, monkeypatch):
    for switch in fakes.switching(tmp_path, monkeypatch):
        yield switch


@pytest.mark.parametrize("release", ["8.2", "11"])
def test_both_engines_share_one_context(bundles, tensorrt, capsys, release):
    """The second bundle's network differs, so that an engine run in the other's place is seen."""
    with open(bundles[1] + "/model.onnx", "wb") as file:
        file.write(model_bytes([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], BIAS, 24))
    sign(bundles[1], tolerance={"fp32": 9.0, "fp16": 9.0, "int8": 9.0})
    tensorrt(release)
    for bundle in bundles:
        assert main(["build", "--bundle", bundle]) == 0
        if bundle == bundles[0]:
            assert main(["verify", "--bundle", bundle]) == 0
    words = ["bench", "--runs", "12", "--bundle", bundles[0], "--against", bundles[1]]
    assert main(words) == 1
    assert "has not passed" in capsys.readouterr().err
    assert main(["verify", "--bundle", bundles[1]]) == 0
    assert main(words) == 0
    report = last_line(capsys)
    assert report["ratio"]["compute_ms"]["a_over_b"] > 0
    assert report["a"]["engine_sha256"] != report["b"]["engine_sha256"]
    import pycuda.driver

    assert pycuda.driver.Device.world.contexts == []
    assert cuda_memory.PycudaDevice._users == 0
    with ab_bench.both("tensorrt", *[(b, read_manifest(b)) for b in bundles]):
        assert len(pycuda.driver.Device.world.contexts) == 1


@pytest.mark.parametrize(("available", "fits"), [(263, False), (264, True), (None, True)])
def test_a_second_engine_needs_twice_its_size_and_some_room(monkeypatch, available, fits):
    monkeypatch.setattr(ab_bench.telemetry, "memory", lambda: {"available_mib": available})
    ab_bench._check_room(None)  # how large it is may not be known
    if fits:
        ab_bench._check_room(100)
    else:
        with pytest.raises(BenchError, match="263 MiB are available, 264 needed"):
            ab_bench._check_room(100)


def test_engines_that_do_not_fit_together_say_so(bundles, tensorrt, capsys, monkeypatch):
    tensorrt("8.6", engines_that_fit=1)
    for bundle in bundles:
        assert main(["build", "--bundle", bundle]) == 0
        assert main(["verify", "--bundle", bundle]) == 0
    words = ["bench", "--runs", "12", "--bundle", bundles[0], "--against", bundles[1]]
    assert main(words) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "both engines do not fit into the memory together (TensorRT has no memory" in said
    tensorrt("8.6")
    monkeypatch.setattr(ab_bench.telemetry, "memory", lambda: {"available_mib": 20.0})
    assert main(words) == 1
    assert "together (20 MiB are available, 64 needed)" in capsys.readouterr().err
