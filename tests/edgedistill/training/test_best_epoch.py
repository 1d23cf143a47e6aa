"""`distill.keep = "best"`: the weights of the best epoch on validation images, also after a kill."""

import json

import numpy as np
import pytest
import torch

from edgedistill.config.loading import load_recipe
from edgedistill.pipeline.runner import run_stages
from edgedistill.progress.reporter import Talk
from edgedistill.records.training import BestEpoch
from end_to_end import RECIPE, write_images
from test_divergence import Stopped, bits, same, training

CURVE = [0.3, 0.8, 0.8, 0.5, 0.6]  # the third is the best: as good as the second, and later


@pytest.fixture
def one(tmp_path):
    def make(keep, **given):
        made = training(tmp_path, epochs=len(CURVE), **given)
        made.keep, after, rows = keep, {}, []
        made.on_epoch = rows.append

        def evaluate(net):
            after[len(rows) + 1] = bits(net)
            return {"eval_top1_fraction": CURVE[len(rows)], "eval_balanced_accuracy_fraction": 0.5}

        made.evaluate = evaluate
        return made, after

    return make


def test_the_last_epoch_is_kept_unless_the_best_is_asked_for(one):
    made, after = one("last")
    made.run(Talk(quiet=True), "net")
    assert made.best is None
    assert same(bits(made.model), after[5])


def test_the_best_epoch_is_kept_of_equal_ones_the_later(one):
    made, after = one("best")
    rows = made.run(Talk(quiet=True), "net")
    assert made.best == BestEpoch(epoch=3, value=0.8)
    assert same(bits(made.model), after[3])
    assert not same(after[3], after[5])
    assert len(rows) == 5, "the history is that of the whole training"


@pytest.mark.parametrize("stop_at", [4, 8, 10, 14])
def test_a_kill_changes_nothing_of_it(one, stop_at):
    whole, after = one("best")
    whole.run(Talk(quiet=True), "net")
    whole.checkpoint.unlink(missing_ok=True)
    broken, _ = one("best", stop_at=stop_at, seconds=0)
    with pytest.raises(Stopped):
        broken.run(Talk(quiet=True), "net")
    again, _ = one("best", seconds=0)
    again.run(Talk(quiet=True), "net")
    assert again.best == BestEpoch(epoch=3, value=0.8)
    assert same(bits(again.model), after[3])


@pytest.mark.slow
def test_teacher_baseline_and_student_alike_and_said(tmp_path):
    write_images(tmp_path / "images", per_class=12)
    (tmp_path / "r.toml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "r.toml", ["distill.keep=best", "distill.feature_weight=0"])
    run_stages(recipe, tmp_path / "run", Talk(quiet=True), only="evaluate")
    for stage in ("teacher", "baseline", "distill"):
        values = json.loads((tmp_path / f"run/{stage}/{stage}.json").read_text())
        curve = [row["eval_top1_fraction"] for row in values["history"]]
        last_best = len(curve) - int(np.argmax(curve[::-1]))
        assert values["best"] == {"epoch": last_best, "value": max(curve)}
        assert values["validation"]["top1_fraction"] == max(curve)


def test_weight_decay_spares_what_the_network_names(tmp_path):
    """With gradients of 0 only weight decay moves a weight."""
    from timm.models.vision_transformer import VisionTransformer

    made = training(tmp_path, epochs=1)
    made.model = VisionTransformer(img_size=8, patch_size=4, embed_dim=12, depth=1, num_heads=2, num_classes=2)
    made.read = lambda net, images: (net(images), net(images))
    made.extra = torch.nn.Linear(3, 3)
    term = made.terms["label"]
    made.terms = {
        "label": type(term)(
            lambda found, batch: 0 * found.logits.sum() + 0 * sum(p.sum() for p in made.extra.parameters()), 1.0
        )
    }
    torch.nn.init.normal_(made.model.cls_token)
    for module in (made.model, made.extra):
        for parameter in module.parameters():
            if parameter.ndim == 1:
                torch.nn.init.normal_(parameter)
    before = {
        **bits(made.model),
        "extra.weight": made.extra.weight.detach().clone(),
        "extra.bias": made.extra.bias.detach().clone(),
    }
    made.run(Talk(quiet=True), "net")
    after = {**bits(made.model), "extra.weight": made.extra.weight, "extra.bias": made.extra.bias}
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert {"head.weight", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "extra.weight"} <= moved
    assert not moved & {"pos_embed", "cls_token", "extra.bias"}
    assert not [name for name in moved if name.endswith(".bias") or ".norm" in name]
