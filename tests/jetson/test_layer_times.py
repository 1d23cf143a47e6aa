import json

import pytest

from edgedistill_device.engine import layer_times


class Profiled(object):
    """A runner whose profiler says what it is told."""

    def __init__(self, said):
        self._said = said

    def profile(self, batch, runs):
        return self._said


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([[]] * 3, "the profiler named no layer"),
        ([[("a", None, 1.0)]], "the profiler named no layer"),  # the warm-up alone
        (
            [[("a", None, 1.0)], [("a", None, 1.0)], [("b", None, 1.0)]],
            "the profiler named other layers from run to run",
        ),
        ([[("a", None, 0.0)]] * 3, "the profiler's times come to 0.0 ms in sum"),
        ([[("a", None, float("nan"))]] * 3, "the profiler's times come to nan ms in sum"),
        (None, "profiling failed: TypeError: 'NoneType' object is not subscriptable"),
    ],
)
def test_a_profile_that_makes_no_sense_is_a_reason(said, why):
    assert layer_times.layer_times(Profiled(said), None) == (None, why)


def test_the_median_of_each_layer_without_the_warm_up():
    runs = [[("a" * 400, "Conv", a), ("b", None, b)] for a, b in ((90.0, 90.0), (1.0, 6.0), (3.0, 2.0), (2.0, 50.0))]
    found, why = layer_times.layer_times(Profiled(runs), None)
    assert why is None
    assert found["layers"] == [
        {"name": "a" * 300, "kind": "Conv", "median_ms": 2.0, "share": 0.25},
        {"name": "b", "kind": None, "median_ms": 6.0, "share": 0.75},
    ]
    assert (found["sum_ms"], found["runs"]) == (8.0, 3)


def test_kinds_of_an_engine_with_names_alone_are_unknown():
    detailed = {"Layers": [{"Name": "conv", "LayerType": "CaskConvolution"}, {"Name": "x"}]}
    assert layer_times.kinds_from_text(json.dumps(detailed)) == {"conv": "CaskConvolution"}
    for text in (None, "", "{}", '{"Layers": ["conv"]}'):
        assert layer_times.kinds_from_text(text) == {}
