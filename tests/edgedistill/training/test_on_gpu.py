"""The training loop on a CUDA device: `pytest -m gpu`. Its oracle is the same training on the CPU."""

import numpy as np
import pytest
import torch

from edgedistill.progress.reporter import Talk
from edgedistill.training.batches import Batch
from edgedistill.training.loop import Training
from edgedistill.training.unread import Unread
from optional_tools import lacking
from test_divergence import training

pytestmark = pytest.mark.gpu


@pytest.fixture
def device():
    if not torch.cuda.is_available():
        lacking("CUDA device", "run `pytest -m gpu` where there is one")
    return torch.device("cuda", 0)


def trained(folder, device, precision="fp32"):
    folder.mkdir()
    ours = training(folder)
    ours.device, ours.precision = device, precision
    rows = ours.run(Talk(quiet=True), "net")
    return rows, {name: value.cpu() for name, value in ours.model.state_dict().items()}


def test_the_weights_follow_those_of_the_cpu(tmp_path, device, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    rows, weights = trained(tmp_path / "gpu", device)
    expected_rows, expected = trained(tmp_path / "cpu", torch.device("cpu"))
    assert [row["train_loss"] for row in rows] == pytest.approx([row["train_loss"] for row in expected_rows], rel=1e-3)
    for name, value in expected.items():
        assert np.allclose(weights[name], value, rtol=1e-2, atol=1e-3), name


def test_no_step_waits(tmp_path, device, monkeypatch):
    """PyTorch itself refuses what would wait; the end of an epoch and every sixteenth step may."""

    def refusing(owner, method):
        plain = getattr(owner, method)

        def strict(*args):
            torch.cuda.set_sync_debug_mode("error")
            try:
                return plain(*args)
            finally:
                torch.cuda.set_sync_debug_mode("default")

        monkeypatch.setattr(owner, method, strict)

    trained(tmp_path / "first", device)  # libraries may wait while they load
    for owner, method in ((Training, "_step"), (Unread, "add"), (Batch, "to")):
        refusing(owner, method)
    rows, _ = trained(tmp_path / "strict", device)
    assert len(rows) == 3


def test_the_default_is_bfloat16_where_the_gpu_has_it(tmp_path, device):
    ours = training(tmp_path)
    ours.device, ours.precision = device, "mixed"
    ours.run(Talk(quiet=True), "net")
    assert ours.speed.bfloat16 == torch.cuda.is_bf16_supported(including_emulation=False)


def test_bfloat16_trains_close_to_float32(tmp_path, device):
    rows, weights = trained(tmp_path / "bf16", device, "bf16")
    expected_rows, _ = trained(tmp_path / "fp32", device)
    assert [row["train_loss"] for row in rows] == pytest.approx([row["train_loss"] for row in expected_rows], rel=0.1)
    assert {value.dtype for value in weights.values()} == {torch.float32, torch.int64}
