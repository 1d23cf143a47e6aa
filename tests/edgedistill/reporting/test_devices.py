"""The memory that serving takes on a board, and the range that several boards show."""

from types import SimpleNamespace

import pytest

from edgedistill.records.benchmark import BenchMemory
from edgedistill.records.provenance import Kind, Provenance
from edgedistill.reporting.devices import board_mib
from edgedistill.reporting.target_speed import Figure, TargetSpeed, fps_range
from record_factories import record_with


@pytest.mark.parametrize(
    ("peak", "driver", "expected"),
    [(300.0, 150.5, 450.5), (300.0, None, 300.0), (None, 150.5, None), (300.0, -40.0, 300.0), (0.0, 2.0, 2.0)],
)
def test_what_the_driver_gave_back_meanwhile_makes_the_process_no_smaller(peak, driver, expected):
    """Another program may end during the benchmark: the driver then holds less than before."""
    memory = record_with(BenchMemory, {"process_peak_mib": peak, "nvmap_delta_mib": driver})
    assert board_mib(SimpleNamespace(memory=memory)) == expected


@pytest.mark.parametrize(("figures", "expected"), [((248.0, 229.0, 235.0), "229 to 248"), ((31.24, 31.21), "31.2")])
def test_a_range_goes_from_the_slowest_to_the_fastest(figures, expected):
    kind = Provenance(Kind.MEASURED, "here")
    speed = TargetSpeed("measured", tuple(Figure(fps, fps, fps, kind, "") for fps in figures), False, "")
    assert fps_range(speed) == expected
