"""Teachers of many families: what is trained, cached and probed is what timm's own forward pass gives."""

import warnings

import pytest
import timm
import torch

from edgedistill.config.recipe import Recipe
from edgedistill.distillation.probe import refuse_without_linear_head
from edgedistill.errors import TeacherError
from edgedistill.models import supply
from edgedistill.models.build import build_model, head_names, outputs
from edgedistill.models.supply import missing_weights
from edgedistill.models.weights import model_from_weights

pytestmark = pytest.mark.slow

# Of each kind of head one small network.
CONVOLUTIONS = ("dla34", "resnetv2_50")
SEVERAL = (
    "deit_tiny_distilled_patch16_224",
    "pit_ti_distilled_224",
    "levit_128s",
    "efficientformerv2_s0",
    "efficientvim_m1_dist",
    "repvit_m0_9",
    "crossvit_9_240",
    "volo_d1_224",
)
ONE = ("levit_256d", "shvit_s1")


def size_of(name):
    own = timm.get_pretrained_cfg(name)
    return own.input_size[-1] if own.fixed_input_size else 64


def recipe(name, size, **teacher):
    return Recipe.model_validate(
        {
            "data": {"train": "x", "image_px": size},
            "teacher": {"model": name, "weights": "scratch", **teacher},
            "student": {"model": "mobilenetv3_small_050", "weights": "scratch"},
        }
    )


@pytest.mark.parametrize("name", CONVOLUTIONS + SEVERAL + ONE)
def test_outputs_are_those_of_timm_s_own_forward_pass(name):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = model_from_weights(name, "scratch", ["a", "b", "c"], will_train=True).eval()
        size = size_of(name)
        images = torch.randn(1, 3, size, size)
        for head in head_names(name):  # a head near zero would hide a difference
            torch.nn.init.normal_(model.get_submodule(head).weight)
        with torch.no_grad():
            expected = model(images)
            logits, features = outputs(model, images)
        assert expected.shape == (1, 3)
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
        assert features.ndim == 2


@pytest.mark.parametrize("name", ["levit_128s", "crossvit_9_240"])
def test_every_head_learns(name):
    model = build_model(name, 3).train()
    size = size_of(name)
    outputs(model, torch.randn(2, 3, size, size))[0].square().sum().backward()
    assert all(model.get_submodule(head).weight.grad.abs().sum() > 0 for head in head_names(name))


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "levit_256d", "volo_d1_224"])
def test_a_probe_of_a_head_that_is_not_one_layer_is_refused_before_images_are_read(name):
    with pytest.raises(TeacherError, match=f"needs a network with one linear layer .* {name} ends otherwise"):
        refuse_without_linear_head(name)
    refuse_without_linear_head("resnetv2_50")


def test_a_network_that_would_fail_in_training_is_refused_before_the_first_stage(monkeypatch):
    assert missing_weights(recipe("levit_128s", 224)) == []
    (line,) = missing_weights(recipe("vit_tiny_patch16_224", 96))
    assert line.startswith("teacher.model = 'vit_tiny_patch16_224': it takes no images of 96 px: Input height (96)")

    def tuple_of_heads(model, images):
        raise TypeError("'tuple' object is not callable")

    monkeypatch.setattr(supply, "outputs", tuple_of_heads)
    (line,) = missing_weights(recipe("levit_128s", 224))
    assert line.startswith("teacher.model = 'levit_128s': its head is of a kind that is not supported here")
