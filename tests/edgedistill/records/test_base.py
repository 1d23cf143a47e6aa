import json
import subprocess
import sys

import pytest

from edgedistill.errors import DeviceError, RunFolderError
from edgedistill.records.base import Number, Record
from edgedistill.records.provenance import Kind, Provenance, ProvenanceField


class Figure(Record):
    value: Number
    provenance: ProvenanceField
    parts: list["Figure"] = []
    note: str | None = None


def test_json_comes_back_byte_for_byte():
    for text in (
        '{"value": 1, "provenance": "measured: Nano: here"}',
        '{"value": 1.0, "provenance": "unknown", "note": null}',
        '{"value": 1, "provenance": "unknown", "note": "file \\udcff"}',  # a name that is no UTF-8
        '{"note": "first", "provenance": "measured: x", "value": 1}',
        '{"value": 1e-09, "provenance": "given: x", "parts": [{"value": 2, "provenance": "counted: y"}], "note": "n"}',
    ):
        assert json.dumps(Figure.from_json(json.loads(text), "f").to_json()) == text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"later": 1}, "figure.json: has the key 'later', which this release does not know"),
        ({"value": "1"}, "figure.json: value: Input should be a valid integer, got '1'"),
        ({"value": True}, "figure.json: value: Input should be a valid integer, got True"),
        ({"provenance": "measurable"}, "figure.json: provenance: a provenance is `kind: how`"),
        ({"parts": [{"value": 1}]}, "figure.json: lacks the key 'parts.0.provenance'"),
    ],
)
def test_a_fault_is_one_line_that_names_the_key(change, said):
    good = {"value": 1, "provenance": "measured: x"}
    for error in (RunFolderError, DeviceError):
        with pytest.raises(error) as raised:
            Figure.from_json(good | change, "figure.json", error)
        assert str(raised.value).startswith(said)
        assert "\n" not in str(raised.value)


def test_an_unknown_key_is_named_before_other_faults():
    with pytest.raises(RunFolderError, match="has the key 'later'"):
        Figure.from_json({"value": "x", "later": 1}, "f")


def test_what_is_no_table_is_refused():
    with pytest.raises(RunFolderError, match="f: the JSON: Input should be a valid dictionary"):
        Figure.from_json([1], "f")


def test_a_record_is_written_in_the_order_of_its_making():
    parts = {"provenance": Provenance(Kind.COUNTED, "x"), "value": 2.0}
    assert list(Figure(**parts).to_json()) == ["provenance", "value"]
    assert list(Figure(**parts).model_copy(update={"value": 3}).to_json().items()) == [
        ("provenance", "counted: x"),
        ("value", 3),
    ]
    assert Figure(**parts) == Figure(value=2.0, provenance=Provenance(Kind.COUNTED, "x"))


def test_a_record_cannot_be_changed():
    figure = Figure(value=1, provenance=Provenance(Kind.GIVEN, "x"))
    with pytest.raises(ValueError, match="frozen"):
        figure.value = 2


@pytest.mark.parametrize("kind", list(Kind))
def test_a_provenance_is_its_text(kind):
    found = Provenance.from_text(f"{kind}: ONNX Runtime: here")
    assert (found.kind, found.how, str(found)) == (kind, "ONNX Runtime: here", f"{kind}: ONNX Runtime: here")
    assert found.is_measured == (kind == "measured")
    assert found.is_stand_in == (kind == "stand-in")


@pytest.mark.parametrize("text", ["", "measured:x", "measured: ", "TensorRT", "Measured: x"])
def test_a_text_of_no_kind_is_no_provenance(text):
    with pytest.raises(ValueError, match="a provenance is `kind: how`"):
        Provenance.from_text(text)


def test_records_need_no_torch():
    code = (
        "import importlib, pkgutil, sys, edgedistill.records as r\n"
        "[importlib.import_module(f'edgedistill.records.{m.name}') for m in pkgutil.iter_modules(r.__path__)]\n"
        "print(sorted({'torch', 'numpy', 'onnx', 'cv2'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
