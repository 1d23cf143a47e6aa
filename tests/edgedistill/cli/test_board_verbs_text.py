"""What bench, status, deploy and a fleet print of boards: each figure, of answers whose values are all different."""

import pytest

from edgedistill.cli.bench import text_from_bench, text_from_compare
from edgedistill.cli.deploy import summary_line
from edgedistill.cli.status import text_from_status
from edgedistill.deployment.fleet import row_of, table_from_fleet
from edgedistill.deployment.inventory import FleetBoard
from edgedistill.records.benchmark import CompareAnswer
from edgedistill.records.board_answers import StatusAnswer
from edgedistill.records.deployment import BoardDeployment, FleetRecord, TimedBundle
from record_factories import record_with

ON_NANO = "measured: TensorRT 8.2.1 on NVIDIA Jetson Nano"


def times(p50):
    return {"p50_ms": p50, "p90_ms": p50 + 1, "p95_ms": p50 + 2, "p99_ms": None, "max_ms": p50 + 4}


def bench(**changed):
    layers = [("slow", 0.5), ("first", 0.125), ("fast", 0.0625), ("slowest", 0.75)]
    return {
        "model": "net",
        "provenance": ON_NANO,
        "state": "locked",
        "compute_ms": None,
        "host_ms": times(10.125),
        "end_to_end_ms": times(20.25),
        "fps": {"host": 98.76, "end_to_end": 49.38, "pipelined": 76.54},
        "power": {"input_rail": "VDD_IN", "energy_mj": 43.21},
        "layer_times": {
            "layers": [{"name": name, "kind": None, "median_ms": ms, "share": 0.1} for name, ms in layers],
            "sum_ms": 1.4,
            "runs": 20,
        },
        "absent": {"trtexec": "no such program", "clock": "no such file"},
        **changed,
    }


def timed(**changed):
    values = {
        "host": "nano-3",
        "executed": "fp16",
        "provenance": ON_NANO,
        "bench": bench(**changed),
        "samples_ms": None,
    }
    return text_from_bench(record_with(TimedBundle, values).to_json()).splitlines()


def test_figures_of_one_network():
    lines = timed()
    assert lines[0] == f"net on nano-3: fp16, {ON_NANO}"
    assert [line.split() for line in lines[1:4]] == [
        ["ms", "p50", "p90", "p95", "p99", "max"],
        ["host", "10.12", "11.12", "12.12", "-", "14.12"],
        ["end_to_end", "20.25", "21.25", "22.25", "-", "24.25"],
    ]
    assert lines[4:] == [
        "FPS: 98.8 the network alone, 49.4 from the image file, 76.5 pipelined",
        "43.2 mJ an image, pipelined, of VDD_IN",
        "slowest of 4 layers, profiled apart: slowest 0.750 ms, slow 0.500 ms, first 0.125 ms",
        "not measured: clock, trtexec (--json says why)",
    ]


def test_what_was_not_measured_is_left_out_and_its_own_time_of_the_network_comes_first():
    lines = timed(
        compute_ms=times(5.5),
        fps={"host": None, "end_to_end": 49.38, "pipelined": 76.54},
        power={"energy_mj": None},
        layer_times=None,
        absent={},
    )
    assert [line.split()[0] for line in lines[2:5]] == ["compute", "host", "end_to_end"]
    assert lines[2].split()[1] == "5.50"
    assert lines[5:] == ["FPS: 49.4 from the image file, 76.5 pipelined"]


@pytest.mark.parametrize(
    ("state", "warnings", "said"),
    [
        ("locked", ["the fan stood"], ["the fan stood"]),
        ("locked", None, []),
        ("throttled", ["hot", "slow"], ["do not quote these figures: hot; slow"]),
        ("unlocked", [], ["do not quote these figures: clocks unlocked"]),
    ],
)
def test_whether_the_figures_are_to_be_believed(state, warnings, said):
    assert timed(state=state, warnings=warnings, absent=None, layer_times=None, power=None)[5:] == said


@pytest.mark.parametrize(
    ("faster", "words"), [("a", "A is faster"), ("b", "B is faster"), (None, "no difference was seen")]
)
@pytest.mark.parametrize("state", ["locked", "unlocked"])
def test_two_networks_side_by_side(faster, words, state):
    def side(name, p50, compute):
        scopes = {"compute_ms": compute, "host_ms": times(p50), "end_to_end_ms": times(2 * p50)}
        return {
            "model": name,
            "executed": {"one": "fp16", "two": "int8"}[name],
            "provenance": f"{ON_NANO} {name}",
            **scopes,
        }

    ratio = {"a_over_b": 0.75, "low": 0.7, "high": 0.8, "coverage_fraction": 0.954, "faster": None}
    values = {
        "host": "nano-3",
        "state": state,
        "order": "ABBA",
        "rounds": 6,
        "a": side("one", 3.25, times(1.0)),
        "b": side("two", 4.5, None),
        "ratio": {
            "compute_ms": ratio,
            "host_ms": {**ratio, "faster": faster},
            "end_to_end_ms": {**ratio, "a_over_b": 1.125, "low": 1.1, "high": 1.15},
        },
    }
    lines = text_from_compare(record_with(CompareAnswer, values).to_json()).splitlines()
    assert lines[0] == f"A one (fp16), B two (int8) on nano-3, {ON_NANO} one; 6 rounds ABBA"
    doubt = ["clocks unlocked: the ratio is fair, do not quote the times"] if state == "unlocked" else []
    assert [" ".join(line.split()) for line in lines[1:]] == [
        *doubt,
        f"host A 3.250 ms, B 4.500 ms, A/B 0.750 (0.700 to 0.800, 95 %): {words}",
        "end_to_end A 6.500 ms, B 9.000 ms, A/B 1.125 (1.100 to 1.150, 95 %): no difference was seen",
    ]


@pytest.mark.parametrize("proven", [False, True])
def test_what_a_board_serves(proven):
    rows = [
        {"id": "a" * 16, "serial": 7, "model": "one", "verified": True, "executed": "int8"},
        {"id": "b" * 16, "serial": 5, "model": "two", "verified": False, "executed": None},
    ]
    values = {
        "current": "a" * 16,
        "previous": "b" * 16,
        "proven": proven,
        "problems": ["it failed"],
        "warnings": ["a file is damaged"],
        "releases": rows,
        "board": {"target": "tx2", "backend": "tensorrt"},
        "agent": {"edgedistill": "1.2.3"},
    }
    assert text_from_status(record_with(StatusAnswer, values).to_json(), "nano-3").splitlines() == [
        "nano-3: tx2, tensorrt, agent 1.2.3",
        f"  current: {'a' * 16}" + ("" if proven else " (not proven)"),
        f"  previous: {'b' * 16}",
        "  problem: it failed",
        "  warning: a file is damaged",
        f"  {'a' * 16}  serial 7  one, verified as int8",
        f"  {'b' * 16}  serial 5  two, not verified",
    ]
    bare = record_with(StatusAnswer, {"board": values["board"], "releases": [], "proven": proven}).to_json()
    assert text_from_status(bare, "h").splitlines() == [
        "h: tx2, tensorrt, agent None",
        "  current: none",
        "  previous: none",
    ]


def deployment(**changed):
    values = {"host": "nano-3", "id": "c" * 16, "model": "net", "until": "bench", "executed": "fp16"}
    return record_with(BoardDeployment, {**values, "provenance": ON_NANO, **changed})


def test_what_came_of_a_board_in_one_line():
    done = deployment(bench=bench(), activate={"id": "c" * 16}).to_json()
    assert summary_line(done) == f"nano-3: net {'c' * 16}, 20.25 ms from the file, p50, fp16, {ON_NANO}, serves it now"
    assert summary_line(deployment().to_json()) == (
        f"nano-3: net {'c' * 16}, fp16, {ON_NANO}, until bench, not serving it"
    )


def test_a_row_of_a_fleet_has_the_figures_of_its_board():
    board = FleetBoard("line-3", "hall", "nano-3", "tx2", "here", "py", canary=True)
    row = row_of(board, "done", deployment(bench=bench()))
    found = row.to_json()
    assert {key: found[key] for key in ("name", "host", "group", "canary", "state", "executed", "p50_ms", "fps")} == {
        "name": "line-3",
        "host": "nano-3",
        "group": "hall",
        "canary": True,
        "state": "done",
        "executed": "fp16",
        "p50_ms": 20.25,
        "fps": 49.38,
    }
    failed = row_of(board, "failed", reason="no room")
    lines = table_from_fleet(FleetRecord.model_construct(boards=[row, failed])).splitlines()
    assert lines[1].split()[:4] == ["line-3", "done", "20.25", "fp16"]
    assert lines[2].split() == ["line-3", "failed", "no", "room"]
