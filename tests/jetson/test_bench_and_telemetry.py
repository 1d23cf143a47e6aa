import json

import pytest

from jetson import benchreport
from jetson.bench import measure_ms, summary_ms
from jetson.errors import BenchError
from jetson.telemetry import cpu_model_from_text, kibibytes_from_text, l4t_release_from_text


def test_percentiles_are_nearest_rank():
    found = summary_ms([float(i) for i in range(1000, 0, -1)])
    assert (found["p50_ms"], found["p90_ms"], found["p95_ms"], found["p99_ms"]) == (
        500,
        900,
        950,
        990,
    )
    assert found["max_ms"] == 1000
    assert found["mean_ms"] == 500.5


def test_too_few_samples_give_no_p99():
    found = summary_ms([1.0] * 20)
    assert found["p95_ms"] == 1
    assert found["p99_ms"] is None
    with pytest.raises(BenchError, match="no samples"):
        summary_ms([])


def test_the_warm_up_is_outside_the_samples():
    ticks = iter(range(100))
    calls = []
    samples = measure_ms(lambda: calls.append(1), warmup=5, runs=3, clock=lambda: next(ticks))
    assert len(calls) == 8
    assert samples == [1000.0, 1000.0, 1000.0]


def test_the_report_refuses_what_is_not_its_version():
    with pytest.raises(BenchError, match="not JSON"):
        benchreport.report_from_line("{")
    with pytest.raises(BenchError, match="expected version 1"):
        benchreport.report_from_line(json.dumps({"version": 2}))
    with pytest.raises(BenchError, match="keys differ"):
        benchreport.report_from_line(json.dumps({"version": 1, "surprise": 1}))


def test_memory_files_are_parsed():
    text = "MemTotal:        4059 kB\nMemAvailable:   3000 kB\nNvMapMemUsed:  12 kB\nHugePages_Total: 0\n"
    assert kibibytes_from_text(text) == {"MemTotal": 4059, "MemAvailable": 3000, "NvMapMemUsed": 12}
    assert kibibytes_from_text("") == {}


def test_names_of_machines_are_parsed():
    assert (
        cpu_model_from_text("processor: 0\nmodel name\t: Fast CPU @ 2 GHz\n") == "Fast CPU @ 2 GHz"
    )
    assert cpu_model_from_text("nothing") is None
    line = "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI: aarch64, DATE: x"
    assert l4t_release_from_text(line) == "32.7.1"
    assert l4t_release_from_text("") is None
