"""Heat maps: against the head on every place in PyTorch, against gradients, and on what has none."""

import numpy as np
import pytest
import torch

from edgedistill.errors import ExportError
from edgedistill.models.weights import model_from_weights
from edgedistill.onnx_model.activation_maps import ActivationMaps, evidence
from edgedistill.onnx_model.export import onnx_from_model

PX = 96
HEADS = {  # name -> whether a single linear layer follows the mean
    "efficientnet_lite0": True,
    "test_resnet": True,
    "squeezenet1_1": True,
    "shufflenet_v2_x0_5": True,
    "mobilenetv3_small_050": False,
    "lcnet_035": False,
    "mobilenetv4_conv_small": False,
}


@pytest.fixture(scope="module", params=HEADS)
def network(request, tmp_path_factory):
    """Name, the network in PyTorch, its exported file."""
    torch.manual_seed(3)
    model = model_from_weights(request.param, "scratch", ["a", "b", "c"], will_train=True)
    for module in model.modules():  # a new network's biases are 0, which would hide a lost one
        if isinstance(module, torch.nn.Linear) and module.bias is not None:
            torch.nn.init.normal_(module.bias)
    with torch.no_grad():  # their batch norms know no image yet, so that all features would be alike
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None
        model.train()(torch.randn(16, 3, PX, PX))
    model.eval()
    path = tmp_path_factory.mktemp("file") / "student.onnx"
    probe = np.random.default_rng(0).normal(size=(2, 3, PX, PX)).astype(np.float32)
    onnx_from_model(model, probe, path, {})
    return request.param, model, path


@pytest.mark.slow
def test_the_maps_of_every_kind_of_head(network):
    name, model, path = network
    batch = np.random.default_rng(1).normal(size=(1, 3, PX, PX)).astype(np.float32)
    with ActivationMaps(path) as maps:
        logits, scores = maps.of(batch)
        assert maps.exact is HEADS[name]
    features, head = parts(name, model, torch.from_numpy(batch))
    by_gradient = gradients(features, head)
    assert scores.shape == by_gradient.shape
    assert scores.shape[1] > 1
    spread = np.ptp(by_gradient, axis=(1, 2)).max()
    tolerance = 1e-3 if HEADS[name] else 0.05  # a step passes corners of an activation, others on other processors
    np.testing.assert_allclose(logits, head(features).detach().numpy(), atol=1e-4)
    np.testing.assert_allclose(scores, by_gradient, atol=tolerance * spread)
    np.testing.assert_allclose(scores.mean(axis=(1, 2)), logits, atol=tolerance * spread)


def parts(name, model, image):
    """The last feature map (1, F, h, w), and what makes (C,) logits of one."""
    if name.startswith("squeezenet"):
        return model.classifier[:2](model.features(image)), lambda maps: maps.mean(dim=(2, 3))[0]
    if name.startswith("shufflenet"):
        maps = model.conv5(model.stage4(model.stage3(model.stage2(model.maxpool(model.conv1(image))))))
        return maps, lambda maps: model.fc(maps.mean(dim=(2, 3)))[0]
    return model.forward_features(image), lambda maps: model.forward_head(maps)[0]


def gradients(maps, head):
    """(C, h, w): the gradient of each logit by the map, times the map, brought to the logit's mean."""
    maps = maps.detach().requires_grad_()
    scores = []
    for logit in head(maps):
        (gradient,) = torch.autograd.grad(logit, maps, retain_graph=True)
        of_places = (gradient * maps)[0].sum(dim=0) * maps.shape[2] * maps.shape[3]
        scores.append((of_places - of_places.mean() + logit).detach().numpy())
    return np.stack(scores)


@pytest.mark.slow
def test_a_bright_spot_is_found_where_it_is(tmp_path):
    """A network that only sees brightness: the map is the image, in large."""
    seen = torch.nn.Sequential(
        torch.nn.Conv2d(3, 2, 8, 8, bias=False), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    with torch.no_grad():
        seen[0].weight[0], seen[0].weight[1] = 1.0, -1.0
    path = tmp_path / "student.onnx"
    batch = np.zeros((1, 3, 64, 64), np.float32)
    batch[0, :, 16:24, 40:48] = 1
    onnx_from_model(seen.eval(), batch, path, {})
    with ActivationMaps(path) as maps:
        _, scores = maps.of(batch)
        heat = evidence(scores, 0)
        assert heat[2, 5] == 1
        assert np.count_nonzero(heat > 1e-6) == 1
        assert not evidence(scores, 1)[2, 5]
        batch[0, 0, 0, 0] = np.nan
        assert maps.of(batch)[1] is None


def test_what_all_classes_have_in_common_is_no_evidence(rng):
    scores = rng.normal(size=(4, 3, 5))
    heat = evidence(scores, 2)
    np.testing.assert_allclose(evidence(scores + rng.normal(size=(1, 3, 5)), 2), heat)
    above = [[3 * scores[2, y, x] - sum(scores[c, y, x] for c in (0, 1, 3)) for x in range(5)] for y in range(3)]
    np.testing.assert_allclose(heat, np.maximum(above, 0) / np.max(above))
    assert not evidence(np.ones((2, 3, 3)), 1).any()


class Net(torch.nn.Module):
    """A convolution to 4 maps of 3 by 5, then `head`."""

    def __init__(self, head, inputs):
        super().__init__()
        self.stem, self.last, self.head = torch.nn.Conv2d(3, 4, 2, 2), torch.nn.Linear(inputs, 2), head

    def forward(self, image):
        return self.last(torch.flatten(self.head(self.stem(image), image), 1))


def gated(x, image):
    return x * torch.sigmoid(x.mean((2, 3), keepdim=True))


MEANS = {
    "a mean": (lambda x, image: x.mean((2, 3)), 4),
    "a mean over axes from behind": (lambda x, image: x.mean((-1, -2), keepdim=True), 4),
    "a pool": (lambda x, image: torch.nn.functional.adaptive_avg_pool2d(x, 1), 4),
    "a window over all": (lambda x, image: torch.nn.functional.avg_pool2d(x, (3, 5)), 4),
    "a mean behind a gate's": (lambda x, image: gated(x, image).mean((2, 3)), 4),
}
NO_MEANS = {
    "every place": (lambda x, image: x, 60),
    "every place behind a gate": (gated, 60),
    "a window over some": (lambda x, image: torch.nn.functional.avg_pool2d(x, (3, 1)), 20),
    "a mean over rows": (lambda x, image: x.mean(2), 20),
    "a mean beside the image": (lambda x, image: torch.cat([x.mean((2, 3)), image[:, :, 0, 0]], 1), 7),
}


@pytest.fixture
def small(tmp_path, request):
    head, inputs = request.param
    torch.manual_seed(0)
    net, path = Net(head, inputs).eval(), tmp_path / "small.onnx"
    onnx_from_model(net, np.random.default_rng(0).normal(size=(1, 3, 6, 10)).astype(np.float32), path, {})
    return net, path


@pytest.mark.parametrize("small", MEANS.values(), ids=MEANS, indirect=True)
def test_the_last_map_that_all_passes_through_is_looked_at(small):
    """The scores of a single linear layer are those of each place, and their mean is the logit."""
    net, path = small
    image = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 3, 6, 10)).astype(np.float32))
    with ActivationMaps(path) as maps, torch.no_grad():
        logits, scores = maps.of(image.numpy())
        last = net.stem(image) if net.head is not MEANS["a mean behind a gate's"][0] else gated(net.stem(image), image)
        expected = net.last(last.permute(0, 2, 3, 1))[0].permute(2, 0, 1)
        np.testing.assert_allclose(logits, net(image)[0], atol=1e-5)
    np.testing.assert_allclose(scores, expected, atol=1e-3)


@pytest.mark.parametrize("small", NO_MEANS.values(), ids=NO_MEANS, indirect=True)
def test_a_network_without_such_a_mean_is_refused(small):
    with pytest.raises(ExportError, match=r"small.onnx gives no heat maps: they need a network whose last feature map"):
        ActivationMaps(small[1]).__enter__()
