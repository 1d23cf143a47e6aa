"""What `--fix` calls the same network, on pairs of files that differ by a known amount."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from edgedistill.errors import PreflightError
from edgedistill.onnx_model.equivalence import prove_equal
from hand_made import array, model, node

HALF = TensorProto.FLOAT16


@pytest.fixture
def proved(tmp_path):
    """`proved(original, mended)`, each as `model` takes it."""

    def proof(*made):
        paths = [tmp_path / "m.onnx", tmp_path / "n.onnx"]
        for path, one in zip(paths, made, strict=True):
            onnx.save(one, str(path))
        return prove_equal(*paths)

    return proof


def more_by(value, operator="Add", dtype=np.float32, **form):
    return model([node(operator, "xk")], [array("k", value, dtype)], **form)


def test_the_largest_difference_of_all_draws_is_told(proved):
    """Of 192 numbers of 0..1 the largest is nearly 1; of those of a bell and of 0..255 it is more."""
    found = proved(more_by(0.0), more_by(5e-5))
    assert found["max_relative_difference"] == pytest.approx(5e-5, rel=0.05)
    assert (found["inputs"], found["limit"]) == (6, 1e-4)
    with pytest.raises(PreflightError, match=r"differs from the original by 2\.0e-04 of the largest value of 'y'"):
        proved(more_by(0.0), more_by(2e-4))


@pytest.mark.parametrize(
    ("dtype", "limit", "form"),
    [(np.float32, 1e-4, {}), (np.float16, 1e-2, {"kind": HALF, "output": HALF})],
)
def test_halves_may_differ_by_more(proved, dtype, limit, form):
    one = more_by(1.0, "Mul", dtype, **form)
    assert proved(one, more_by(1 + 0.8 * limit, "Mul", dtype, **form))["limit"] == limit
    with pytest.raises(PreflightError, match="differs from the original"):
        proved(one, more_by(1 + 1.2 * limit, "Mul", dtype, **form))


def test_whole_numbers_may_not_differ_at_all(proved):
    form = {"kind": TensorProto.INT32, "output": TensorProto.INT32}
    assert proved(more_by(1000, dtype=np.int32, **form), more_by(1000, dtype=np.int32, **form))["limit"] == 0
    with pytest.raises(PreflightError, match=r"differs .* limit 0e\+00"):
        proved(more_by(100000, dtype=np.int32, **form), more_by(100001, dtype=np.int32, **form))


def test_what_overflows_for_pixels_alone_is_compared_on_the_other_draws(proved):
    exponential = model([node("Exp", "x")])
    assert proved(exponential, exponential)["inputs"] == 4
    with pytest.raises(PreflightError, match="gives NaN or infinity in 'y'; nothing can be proved"):
        proved(*[model([node("Log", "x")])] * 2)


def test_an_output_of_another_shape_or_type_is_no_mend(proved):
    plain = model([node("Relu", "x")], shape=(1, 1, 2, 2))
    with pytest.raises(PreflightError, match=r"output 'y' became float32 \(1, 1, 2, 4\), was float32 \(1, 1, 2, 2\)"):
        proved(plain, model([node("Relu", "x", ["r"]), node("Concat", "rr", axis=3)], shape=(1, 1, 2, 2)))
    wide = [node("Relu", "x", ["r"]), node("Cast", "r", to=TensorProto.DOUBLE)]
    with pytest.raises(PreflightError, match="became float64"):
        proved(plain, model(wide, shape=(1, 1, 2, 2), output=TensorProto.DOUBLE))


def test_an_open_batch_is_what_the_mended_file_has(proved):
    assert proved(more_by(0.0, shape=("n", 3, 8, 8)), more_by(0.0, shape=(2, 3, 8, 8)))["max_relative_difference"] == 0
    with pytest.raises(PreflightError, match=r"fix it with --shape x=N,N,N,N"):
        proved(*[more_by(0.0, shape=("n", 3, 8, 8))] * 2)
