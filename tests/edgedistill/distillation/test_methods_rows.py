"""The rows of config/methods.py: they name the functions that exist, and what they say of them is so."""

import subprocess
import sys

import pytest
import torch

from edgedistill.config.methods import FEATURE_ROWS, LOGIT_ROWS, feature_loss_row, logit_loss_row
from edgedistill.config.training import DistillConfig
from edgedistill.distillation import feature_losses, losses
from edgedistill.distillation.objectives import soft_label_loss
from end_to_end import ROOT

TEXT = "".join(
    (ROOT / "edgedistill" / "distillation" / f"{name}.py").read_text("utf-8") for name in ("losses", "feature_losses")
)


def test_rows_and_functions_name_the_same():
    assert [row.name for row in LOGIT_ROWS] == list(losses.LOGIT_LOSSES)
    assert [row.name for row in FEATURE_ROWS if row.cached] == list(feature_losses.CACHED_LOSSES)
    assert [row.name for row in FEATURE_ROWS if not row.cached] == list(feature_losses.MATCHERS)


def test_the_rows_need_no_torch():
    code = "import sys, edgedistill.config.methods; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("row", [*LOGIT_ROWS, *FEATURE_ROWS], ids=lambda row: row.name)
def test_a_source_stands_in_a_docstring(row):
    assert f"arXiv:{row.source}" in TEXT


@pytest.mark.parametrize("row", LOGIT_ROWS, ids=lambda row: row.name)
def test_what_a_row_says_of_a_logit_loss_is_so(row):
    torch.manual_seed(0)
    student, teacher, labels = torch.randn(8, 5), torch.randn(8, 5), torch.arange(8) % 5

    def loss(images=slice(None), labels=labels, temperature=2.0):
        distill = DistillConfig(loss=row.name, temperature=temperature)
        return soft_label_loss(distill, student[images], teacher[images], labels[images]).item()

    halves = (loss(slice(4)) + loss(slice(4, 8))) / 2
    assert (loss() != pytest.approx(halves, rel=1e-4)) is row.whole_batch
    assert (loss() != pytest.approx(loss(labels=(labels + 1) % 5), rel=1e-4)) is row.needs_labels
    assert (loss() != pytest.approx(loss(temperature=3.0), rel=1e-4)) is row.has_temperature


@pytest.mark.parametrize("row", [row for row in FEATURE_ROWS if row.cached], ids=lambda row: row.name)
def test_what_a_row_says_of_a_loss_on_cached_features_is_so(row):
    torch.manual_seed(0)
    student, teacher = torch.randn(8, 5), torch.randn(8, 6)
    loss, _ = feature_losses.CACHED_LOSSES[row.name](5, 6, 0)
    halves = (loss(student[:4], teacher[:4]) + loss(student[4:], teacher[4:])) / 2
    assert (loss(student, teacher).item() != pytest.approx(halves.item(), rel=1e-4)) is row.whole_batch


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="'kld'; there are: kd, dkd, dist, wttm, mse"):
        logit_loss_row("kld")
    with pytest.raises(ValueError, match="'crd'; there are: pooled, relational, fitnet, attention, review"):
        feature_loss_row("crd")
