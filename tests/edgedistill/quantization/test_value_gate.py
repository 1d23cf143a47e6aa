"""INT8's gate for figures: the layers that stay in float are as few as the error in the unit allows."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgedistill.config.task import REGRESSION
from edgedistill.quantization import mixed_precision
from edgedistill.quantization.typed import Proof
from edgedistill_device.value_spec import Value

WIDTH = Value("width", "mm", 20.0, 4.0, None, None)
TARGETS = np.array([[12.0], [18.0], [22.0], [28.0]])
EXACT = (TARGETS - 20) / 4
RANKED = [f"layer{number}" for number in range(9)]


@pytest.fixture
def asked(monkeypatch):
    """Float answers are right; INT8 adds 1 mm for each of the first three ranked layers that is not float."""
    kept = []

    def int8_logits(path, amax, images, keep_float, float_path):
        kept.append(list(keep_float))
        return EXACT + 0.25 * sum(layer not in keep_float for layer in RANKED[:3])

    session = SimpleNamespace(logits=lambda images: EXACT)
    monkeypatch.setattr(mixed_precision, "OnnxSession", lambda path: nullcontext(session))
    monkeypatch.setattr(mixed_precision, "int8_logits", int8_logits)
    return kept


def gate(limit):
    validation = ([], TARGETS, ["width"])
    return mixed_precision.fewest_float_layers(
        Path("x"), {}, RANKED, validation, limit, task=REGRESSION, values=(WIDTH,)
    )


@pytest.mark.parametrize(("limit", "layers"), [(80, 0), (60, 1), (30, 2), (10, 4)])
def test_layers_are_left_in_float_until_the_error_holds(asked, limit, layers):
    kept, curve = gate(limit)  # hundredths of the 4 mm that the values vary by
    assert kept == RANKED[:layers]
    assert [row.float_layers for row in curve] == [step for step in (0, 1, 2, 4) if step <= layers]
    for row in curve:
        still = max(0, 3 - row.float_layers)
        assert row.changes[0].value == pytest.approx(still)  # mm
        assert row.changes[0].unit == "mm"
        assert row.drop_points == pytest.approx(25 * still)
    assert "shows a loss: mean absolute error width +3 mm (+3 to +3)" in curve[0].change


def test_a_gate_that_no_count_holds_is_told(asked, monkeypatch):
    monkeypatch.setattr(mixed_precision, "int8_logits", lambda *more: EXACT + 1)
    assert gate(10)[0] is None


def test_the_proof_of_a_typed_file_of_figures_has_no_classes(monkeypatch):
    monkeypatch.setattr(
        "edgedistill.quantization.typed.OnnxSession",
        lambda path: nullcontext(SimpleNamespace(logits=lambda images: EXACT)),
    )
    proof = Proof(Path("x"), [], np.zeros(2, np.int64), lambda outputs, reference: float((outputs - reference).sum()))
    found = proof.difference(EXACT + 0.5)
    assert (found.ties, found.other_class, found.agreement_fraction) == (0, 0, None)
    assert found.relative == pytest.approx(0.5 / 2)
    assert found.drop_points == pytest.approx(1.0)  # of the two labelled images
