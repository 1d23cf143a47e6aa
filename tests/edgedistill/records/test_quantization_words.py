"""What a record says of a precision in words, and by which step a gate is judged: by hand."""

import pytest

from edgedistill.records.decision import CalibrationFigures
from edgedistill.records.outputs import LABEL_CHANGE, OutputStep
from edgedistill.records.quantization import Int8Gate, QadRecord
from record_factories import record_with


@pytest.mark.parametrize(
    ("drop", "interval", "said"),
    [
        (1.5, [0.5, 2.25], "shows a loss: mean average precision -1.50 points (-2.25 to -0.50)"),
        (-1.5, [-2.25, -0.5], "shows a gain: mean average precision +1.50 points (+0.50 to +2.25)"),
        (0.25, [-0.5, 1.0], "shows no loss: mean average precision -0.25 points (-1.00 to +0.50)"),
    ],
)
def test_a_loss_of_average_precision_is_a_change_below_zero(drop, interval, said):
    changes = [{"name": LABEL_CHANGE, "output": "rust"}]
    values = {"drop_points": drop, "drop_interval_points": interval, "changes": changes}
    assert record_with(OutputStep, values).change == said


@pytest.mark.parametrize(
    ("interval", "verdict"), [([0.5, 2.0], "a loss"), ([-2.0, -0.5], "a gain"), ([-0.5, 2.0], "no loss")]
)
def test_an_error_that_grows_is_a_loss(interval, verdict):
    changes = [
        {"name": "mae_change", "output": "width", "value": 0.25, "unit": "mm", "interval": [-0.5, 1.0]},
        {"name": "mae_change", "output": "count", "value": -2.0, "unit": "", "interval": [-3.0, -1.0]},
    ]
    values = {"drop_interval_points": interval, "changes": changes}
    said = f"shows {verdict}: mean absolute error width +0.25 mm (-0.5 to +1), count -2 (-3 to -1)"
    assert record_with(OutputStep, values).change == said


@pytest.mark.parametrize(
    ("passed", "kept", "expected"),
    [(True, None, 2.5), (False, None, 2.0), (False, False, 2.0), (False, True, 1.0), (True, True, 1.0)],
)
def test_a_gate_is_judged_by_the_file_that_is_kept_else_by_what_missed_it_the_closest(passed, kept, expected):
    curve = [{"float_layers": layers, "drop_points": drop} for layers, drop in ((0, 3.0), (1, 2.0), (2, 2.5))]
    gate = record_with(Int8Gate, {"passed": passed, "curve": curve})
    retrained = {"kept": kept, "before": {"drop_points": 9.0}, "after": {"drop_points": 1.0}}
    qad = None if kept is None else record_with(QadRecord, retrained)
    assert gate.deciding_step(qad).drop_points == expected


@pytest.mark.parametrize(("before", "after", "helped"), [(0.5, 0.4, True), (0.5, 0.5, False), (0.4, 0.5, False)])
def test_a_temperature_helps_where_the_labels_become_more_likely(before, after, helped):
    assert record_with(CalibrationFigures, {"loss_before": before, "loss_after": after}).helped == helped
