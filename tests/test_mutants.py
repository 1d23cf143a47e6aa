"""The list of small faults stays valid, and the tool tells a fault that is noticed from one that is not."""

import subprocess
import sys

import pytest

from mutants import run as mutants
from mutants.run import (
    BROKEN,
    KILLED,
    PACKAGES,
    ROOT,
    STALE,
    SURVIVED,
    Mutant,
    environment_for,
    outcome_of,
)

LISTED = mutants.mutants_from_file()


def test_each_fault_still_stands_in_the_source_once():
    stale = []
    for mutant in LISTED:
        try:
            mutant.applied(ROOT)
        except (OSError, ValueError) as error:
            stale.append(f"{mutant.name}: {error}")
    assert not stale, "\n".join(stale)
    assert len(LISTED) >= 60


def test_each_fault_names_tests_that_are_there_and_no_test_is_a_fault():
    for mutant in LISTED:
        assert set(mutant.file.split("/")) & set(PACKAGES), mutant.name
        assert mutant.tests, mutant.name
        for test in mutant.tests:
            file, _, name = test.partition("::")
            text = (ROOT / file).read_text(encoding="utf-8")
            assert not name or f"def {name}(" in text, f"{mutant.name}: {test}"


def test_every_core_package_has_faults():
    folders = {"/".join(mutant.file.split("/")[:-1]) for mutant in LISTED}
    assert folders >= {
        "jetson/edgedistill_device",
        "jetson/edgedistill_device/engine",
        "jetson/edgedistill_device/releases",
        "calibration/edgedistill_calibration",
        "edgedistill/bundles",
        "edgedistill/data",
        "edgedistill/distillation",
        "edgedistill/onnx_model",
        "edgedistill/onnx_model/rules",
        "edgedistill/prediction",
        "edgedistill/quantization",
        "edgedistill/reporting",
        "edgedistill/stages",
        "edgedistill/training",
    }


@pytest.fixture
def copy(tmp_path):
    """A tree with one module and a test that holds half of it."""
    copy = tmp_path / "copy-0"
    copy.mkdir()
    (copy / "arithmetic.py").write_text("def double(x):\n    return 2 * x\n\n\ndef half(x):\n    return x / 2\n")
    (copy / "test_arithmetic.py").write_text(
        "import arithmetic\n\n\ndef test_double():\n    assert arithmetic.double(3) == 6\n"
    )
    return copy


@pytest.mark.parametrize(
    ("old", "new", "tests", "status"),
    [
        ("2 * x", "3 * x", "test_arithmetic.py", KILLED),
        ("x / 2", "x / 3", "test_arithmetic.py", SURVIVED),
        ("4 * x", "3 * x", "test_arithmetic.py", STALE),
        ("x", "y", "test_arithmetic.py", STALE),
        ("2 * x", "2 * x", "test_arithmetic.py", STALE),
        ("2 * x", "3 * x", "test_arithmetic.py::test_none", BROKEN),
    ],
)
def test_a_fault_is_killed_survives_or_is_no_fault(copy, old, new, tests, status):
    before = (copy / "arithmetic.py").read_bytes()
    outcome = outcome_of(Mutant("m", "arithmetic.py", old, new, (tests,)), copy, 60)
    assert outcome.status == status, outcome
    assert (copy / "arithmetic.py").read_bytes() == before, "put back"
    if status == KILLED:
        assert outcome.detail == "test_arithmetic.py::test_double"


def test_two_faults_of_one_length_in_one_second_are_two(copy):
    """Compiled Python is told by size and whole seconds: none of it may stay from fault to fault."""
    found = [
        outcome_of(Mutant("m", "arithmetic.py", "2 * x", new, ("test_arithmetic.py",)), copy, 60).status
        for new in ("3 * x", "x * 2", "4 * x")
    ]
    assert found == [KILLED, SURVIVED, KILLED]


def test_a_copy_is_what_is_imported_and_another_tree_is_refused(tmp_path):
    for name in PACKAGES:
        (tmp_path / "copy" / name).mkdir(parents=True)
        (tmp_path / "copy" / name / "__init__.py").write_text("")
    mutants.refuse_unless_imported_from(tmp_path / "copy")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RuntimeError, match="would be tested, not the copy in"):
        mutants.refuse_unless_imported_from(tmp_path / "empty")
    assert environment_for(tmp_path / "copy")["PYTHONPATH"].split(":")[0] == str(tmp_path / "copy")


def test_a_name_that_is_not_listed_is_wrong_usage():
    done = subprocess.run(
        [sys.executable, "tests/mutants/run.py", "--only", "no-such"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no fault is called 'no-such'" in done.stderr
