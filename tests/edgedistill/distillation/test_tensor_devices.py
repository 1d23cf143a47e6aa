"""What is computed on a GPU stays there, shown without one.

torch's fake tensors have a device and no numbers, and an operation on tensors of two devices raises as on a
GPU. It is the forward pass alone: torch's own backward pass asks the driver, and there is none.
"""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode

from edgedistill.config.training import DistillConfig
from edgedistill.distillation.feature_losses import MATCHERS, matcher_between
from edgedistill.distillation.losses import LOGIT_LOSSES, feature_loss, label_losses, projector_between
from edgedistill.distillation.objectives import image_weights, soft_label_loss
from edgedistill.models.build import preprocess_of
from edgedistill.models.taps import Tap
from edgedistill.training import batches
from edgedistill.training.batches import Batch, normalised
from optional_tools import lacking

GPU = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def faked():
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 11):
        lacking("torch 2.11", "the fake tensors of an older one ask the driver")
    with FakeTensorMode(allow_non_fake_inputs=False):
        yield


def batch():
    """As a training set gives it: on the CPU."""
    labels = torch.zeros(6, dtype=torch.int64)
    return Batch(torch.zeros(6, 3, 16, 16, dtype=torch.uint8), labels, labels, labels, labels, torch.ones(6))


def is_there(tensor):
    return tensor.device == GPU and tensor.dtype == torch.float32


def test_two_devices_in_one_operation_are_seen():
    with pytest.raises(RuntimeError, match="[Dd]evice"):
        torch.zeros(3, device=GPU) + torch.zeros(3)


def test_a_batch_arrives_whole_and_is_normalised_there():
    moved = batch().to(GPU)
    assert {key for key in ("images", "labels", "partners", "shares") if getattr(moved, key).device == GPU} == {
        "images",
        "labels",
        "partners",
        "shares",
    }
    assert is_there(normalised(moved.images, preprocess_of("resnet18", 16, 16, "area")))
    assert is_there(image_weights(moved, torch.ones(3, device=GPU)))


def test_what_is_copied_there_is_not_waited_for(monkeypatch):
    copies = []

    class Copies(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            made = function(*args, **(kwargs or {}))
            if function is torch.ops.aten._to_copy.default and made.device == GPU != args[0].device:
                copies.append((args[0], kwargs.get("non_blocking", False)))
            return made

    pinned = []
    monkeypatch.setattr(batches, "_is_real", lambda device: True)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda values: pinned.append(values) or values)
    with Copies():
        normalised(batch().to(GPU).images, preprocess_of("resnet18", 16, 16, "area"))
        seen = len(copies)
        torch.tensor([1.0], device=GPU)  # what would be waited for
    assert seen == 6  # images, labels, partners, shares, mean, deviation
    assert [waited_for for _, waited_for in copies] == [True] * seen + [False]
    assert len(pinned) == seen


@pytest.mark.parametrize("weighed", [False, True])
@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("name", LOGIT_LOSSES)
def test_every_soft_label_loss_stays_on_the_device(name, standardise, weighed):
    moved = batch().to(GPU)
    student, teacher = torch.zeros(6, 3, device=GPU), torch.zeros(6, 3, device=GPU)
    distill = DistillConfig.model_construct(loss=name, standardise=standardise, temperature=2.0, dkd_beta=2.0)
    weights = torch.ones(6, device=GPU) if weighed else None
    assert is_there(soft_label_loss(distill, student, teacher, moved.main_labels, weights))
    assert is_there(label_losses(student, moved.labels, torch.ones(3, device=GPU) if weighed else None, 0.1))


@pytest.mark.parametrize("kind", MATCHERS)
def test_every_matcher_of_maps_stays_on_the_device(kind):
    pairs = [(Tap("a", 4, 8, 8, 0.5), Tap("b", 6, 4, 4, 0.5)), (Tap("c", 8, 8, 8, 1.0), Tap("d", 8, 4, 4, 1.0))]
    matcher = matcher_between(kind, pairs, seed=0)
    there = {name: torch.zeros(value.shape, device=GPU) for name, value in matcher.state_dict().items()}
    students = [torch.zeros(6, channels, 8, 8, device=GPU) for channels in (4, 8)]
    teachers = [torch.zeros(6, channels, 4, 4, device=GPU) for channels in (6, 8)]
    assert is_there(functional_call(matcher, there, (students, teachers)))


def test_the_loss_of_pooled_features_stays_on_the_device():
    projector = projector_between(4, 6, seed=0)
    there = {name: torch.zeros(value.shape, device=GPU) for name, value in projector.state_dict().items()}
    student, teacher = torch.zeros(6, 4, device=GPU), torch.zeros(6, 6, device=GPU)
    assert is_there(feature_loss(student, teacher, lambda x: functional_call(projector, there, (x,))))
