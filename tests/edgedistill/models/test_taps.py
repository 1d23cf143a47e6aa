"""Taps of real architectures at 64 px, against timm's own table of stages where it has one."""

import copy

import pytest
import torch
import torch.distributed as dist
from torch import nn

from edgedistill.errors import RecipeError
from edgedistill.models.build import build_model, outputs
from edgedistill.models.taps import (
    Tap,
    Tapped,
    find_taps,
    lines_from_pairs,
    named_taps,
    pair_taps,
)

LAST_OF_EACH_RESOLUTION = {
    "resnet18": {"layer1": 16, "layer2": 8, "layer3": 4, "layer4": 2},
    "tf_efficientnet_lite0": {"blocks.1": 16, "blocks.2": 8, "blocks.4": 4, "blocks.6": 2},
    "mobilenetv3_small_050": {"blocks.0": 16, "blocks.1": 8, "blocks.3": 4, "blocks.5": 2},
    "mobilenetv2_050": {"blocks.1": 16, "blocks.2": 8, "blocks.4": 4, "blocks.6": 2},
    "squeezenet1_1": {"features.4": 15, "features.7": 7, "features.12": 3},
    "regnetx_002": {"s1": 16, "s2": 8, "s3": 4, "s4": 2},
    "mobilenetv4_conv_small": {"blocks.0": 16, "blocks.1": 8, "blocks.2": 4, "blocks.4": 2},
    "ghostnet_100": {"blocks.2": 16, "blocks.4": 8, "blocks.6": 4, "blocks.9": 2},
    "lcnet_050": {"blocks.1": 16, "blocks.2": 8, "blocks.4": 4, "blocks.5": 2},
    "mobilenetv1_100": {"blocks.1": 16, "blocks.2": 8, "blocks.3": 4, "blocks.4": 2},
    "convnext_atto": {"stages.0": 16, "stages.1": 8, "stages.2": 4, "stages.3": 2},
    "mobileone_s0": {"stages.0": 16, "stages.1": 8, "stages.2": 4, "stages.3": 2},
}


@pytest.fixture(scope="module")
def model_of():
    made = {}

    def get(name):
        if name not in made:
            torch.manual_seed(0)
            made[name] = build_model(name, 5).eval()
        return made[name]

    return get


@pytest.mark.parametrize("name", LAST_OF_EACH_RESOLUTION)
def test_taps_are_the_last_block_of_each_resolution_and_give_what_they_say(name, model_of):
    model = model_of(name)
    taps = find_taps(model, 64)
    expected = LAST_OF_EACH_RESOLUTION[name]
    assert {tap.module: tap.height for tap in taps} == expected
    depths = [tap.depth for tap in taps]
    assert depths == sorted(set(depths))
    assert 0 < depths[0] < 0.5 < 0.85 < depths[-1] <= 1
    # timm has no SqueezeNet, and names what feeds the last GhostNet block, and an empty MobileOne one.
    if name not in ("squeezenet1_1", "ghostnet_100", "mobileone_s0"):
        stages = {row["module"]: row["num_chs"] for row in model.feature_info}
        assert {tap.module: tap.channels for tap in taps}.items() <= stages.items()

    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad(), Tapped(model, taps) as tapped:
        logits, features, maps = tapped(images)
        plain_logits, plain_features = outputs(model, images)
    assert torch.equal(logits, plain_logits)
    assert torch.equal(features, plain_features)
    shapes = [(2, tap.channels, tap.height, tap.width) for tap in taps]
    assert [tuple(each.shape) for each in maps] == shapes


@pytest.mark.parametrize("size", [(64, 128), (128, 64), (64, 96)])
@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "mobilenetv3_small_050"])
def test_a_rectangle_has_the_taps_of_a_square(name, size, model_of):
    model = model_of(name)
    taps = find_taps(model, size)
    assert [(tap.module, tap.channels) for tap in taps] == [
        (tap.module, tap.channels) for tap in find_taps(model, min(size))
    ]
    with torch.no_grad(), Tapped(model, taps) as tapped:
        maps = tapped(torch.zeros(1, 3, *size))[2]
    assert [(tap.height, tap.width) for tap in taps] == [tuple(each.shape[2:]) for each in maps]
    assert named_taps(model, [tap.module for tap in taps], size) == taps


def test_fewer_taps_are_the_deepest(model_of):
    taps = find_taps(model_of("resnet18"), 64)
    assert find_taps(model_of("resnet18"), 64, count=2) == taps[-2:]
    assert find_taps(model_of("resnet18"), 64, count=1) == taps[-1:]
    with pytest.raises(ValueError, match="count must be >= 1"):
        find_taps(model_of("resnet18"), 64, count=0)


def test_depth_is_the_share_of_the_arithmetic_done_by_hand():
    """A row of two convolutions: 3*4*9 on 8x8 against 4*8*1 on 4x4 multiply-accumulates."""

    class Row(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
            self.second = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 8, 1))

        def forward_features(self, images):
            return self.second(self.first(images))

    first, second = 3 * 4 * 9 * 8 * 8, 4 * 8 * 4 * 4
    assert named_taps(Row(), ["first", "second"], 8) == [
        Tap("first", 4, 8, 8, first / (first + second)),
        Tap("second", 8, 4, 4, 1.0),
    ]


def test_maps_of_one_pixel_are_no_taps(model_of):
    """At 32 px the last stage of a ResNet has no space left."""
    assert [tap.module for tap in find_taps(model_of("resnet18"), 32)] == [
        "layer1",
        "layer2",
        "layer3",
    ]
    with pytest.raises(RecipeError, match=r"no block of MobileNetV3 gives a map .* at 4 px"):
        find_taps(model_of("mobilenetv3_small_050"), 4)


def test_a_row_of_plain_convolutions_is_tapped_before_each_pooling():
    """As in a VGG, which has no blocks."""

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            pair = (nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
            after = (nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
            self.features = nn.Sequential(*pair, *after)

    assert [tap.module for tap in find_taps(Plain(), 16)] == ["features.1", "features.4"]


def test_a_transformer_without_maps_is_refused_in_one_line():
    """A Swin gives (N, H, W, C): four dimensions, and no map of ours."""
    swin = build_model("swin_tiny_patch4_window7_224", 2).eval()
    with pytest.raises(RecipeError, match="no block of SwinTransformer gives a map"):
        find_taps(swin, 224)
    with pytest.raises(RecipeError, match=r"layers\.0 gives a tensor \(1, 56, 56, 96\)"):
        named_taps(swin, ["layers.0"], 224)


@pytest.mark.parametrize("size", [(32, 64), (64, 32), 32])
def test_channels_that_come_last_make_no_map_of_a_rectangle_either(size):
    class Last(nn.Sequential):
        def forward(self, images):
            return super().forward(images).permute(0, 2, 3, 1)

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = Last(nn.Conv2d(3, 24, 4, stride=4))
            self.features = nn.Sequential(self.first)

    with pytest.raises(RecipeError, match="no block of Network gives a map"):
        find_taps(Network(), size)


def test_the_probe_leaves_the_model_as_it_was(model_of):
    """Modes that differ inside (a frozen norm), running means, hooks, the random state."""
    model = copy.deepcopy(model_of("mobilenetv3_small_050")).train()
    model.bn1.eval()
    modes = {name: module.training for name, module in model.named_modules()}
    before = copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    find_taps(model, 64)
    assert {name: module.training for name, module in model.named_modules()} == modes
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert torch.equal(torch.get_rng_state(), random)


def test_named_taps_come_in_the_order_of_their_names(model_of):
    model = model_of("squeezenet1_1")
    names = ["features.12", "features.3", "features.6.squeeze_activation"]
    assert [tap.module for tap in named_taps(model, names, 64)] == names


@pytest.mark.parametrize(
    ("model", "name", "says"),
    [
        ("resnet18", "layer5", r"'layer5': ResNet has no such module; near it: layer\d, "),
        ("resnet18", "fc", r"'fc': ResNet runs it after the pooling or not at all; near it: "),
        ("squeezenet1_1", "classifier.1", "after the pooling or not at all"),
        ("resnet18", "layer1.0.bn1", r"layer1\.0\.bn1 is overwritten in place"),
        ("squeezenet1_1", "features.0", r"features\.0 is overwritten in place"),
    ],
)
def test_a_name_that_is_no_tap_is_refused_with_what_to_take(model, name, says, model_of):
    with pytest.raises(RecipeError, match=says) as caught:
        named_taps(model_of(model), [name], 64)
    assert "\n" not in str(caught.value)


def test_a_module_that_runs_twice_or_gives_no_map_is_refused():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.twice, self.flat = nn.Conv2d(3, 3, 1), nn.Flatten()

        def forward_features(self, images):
            return self.flat(self.twice(self.twice(images)))

    with pytest.raises(RecipeError, match="twice runs 2 times"):
        named_taps(Odd(), ["twice"], 4)
    with pytest.raises(RecipeError, match=r"flat gives a tensor \(1, 48\), .* take one of: twice"):
        named_taps(Odd(), ["flat"], 4)


def taps_at(*depths):
    return [Tap(f"m{number}", 8, 4, 4, depth) for number, depth in enumerate(depths)]


@pytest.mark.parametrize(
    ("student", "teacher", "chosen"),
    [
        ((0.3, 0.6, 1.0), (0.1, 0.32, 0.5, 0.7, 1.0), (1, 2, 4)),
        ((0.5, 0.55), (0.1, 0.5, 0.9), (1, 2)),  # 0.5 once only: it would be best for both
        ((0.9, 1.0), (0.1, 0.2), (0, 1)),
        ((0.2, 0.3, 0.9), (0.25, 1.0), (0, 0, 1)),  # fewer in the teacher: one serves twice
        ((0.4, 1.0), (0.9,), (0, 0)),
    ],
)
def test_pairs_are_the_monotone_ones_of_least_difference(student, teacher, chosen):
    teacher_taps = taps_at(*teacher)
    pairs = pair_taps(taps_at(*student), teacher_taps)
    assert [teacher_taps.index(tap) for _, tap in pairs] == list(chosen)
    assert [tap.depth for tap, _ in pairs] == list(student)


def test_named_on_both_sides_pairs_in_order_and_needs_equal_counts():
    student, teacher = taps_at(0.9, 0.1), taps_at(0.2, 0.8)
    assert pair_taps(student, teacher, in_order=True) == list(zip(student, teacher, strict=True))
    with pytest.raises(RecipeError, match="2 student taps and 1 teacher taps are named"):
        pair_taps(student, teacher[:1], in_order=True)


@pytest.mark.parametrize("name", [n for n in LAST_OF_EACH_RESOLUTION if n != "squeezenet1_1"])
def test_networks_of_the_same_strides_are_paired_stride_by_stride(name, model_of):
    """What others want written by hand comes out of the depths."""
    pairs = pair_taps(find_taps(model_of(name), 64), find_taps(model_of("resnet18"), 64))
    assert [student.height for student, _ in pairs] == [teacher.height for _, teacher in pairs]


def test_the_mapping_reads_as_a_line_a_pair(model_of):
    pairs = pair_taps(find_taps(model_of("squeezenet1_1"), 64), find_taps(model_of("resnet18"), 64))
    assert lines_from_pairs(pairs) == [
        "features.4 128x15x15 at 0.41 <- layer1 64x16x16 at 0.32",
        "features.7 256x7x7 at 0.68 <- layer3 256x4x4 at 0.77",
        "features.12 512x3x3 at 1.00 <- layer4 512x2x2 at 1.00",
    ]


def test_wrapping_keeps_the_state_dict_and_closing_leaves_no_trace(model_of):
    model = copy.deepcopy(model_of("squeezenet1_1"))
    before = {key: value.data_ptr() for key, value in model.state_dict().items()}
    with Tapped(model, find_taps(model, 64)) as tapped:
        assert tapped.model is model
        assert {key: v.data_ptr() for key, v in model.state_dict().items()} == before
        model(torch.randn(1, 3, 64, 64))  # by itself: keeps nothing
        assert tapped._maps is None
    assert not any(module._forward_hooks for module in model.modules())
    with pytest.raises(RuntimeError, match="these taps are closed"):
        tapped(torch.randn(1, 3, 64, 64))


def test_a_tap_that_serves_twice_gives_its_map_twice(model_of):
    tap = find_taps(model_of("resnet18"), 64)[-1]
    with torch.no_grad(), Tapped(model_of("resnet18"), [tap, tap]) as tapped:
        _, _, (first, second) = tapped(torch.randn(1, 3, 64, 64))
    assert first is second


def test_the_gradient_of_a_map_reaches_what_is_before_it_and_nothing_after(model_of):
    model = copy.deepcopy(model_of("resnet18"))
    with Tapped(model, find_taps(model, 64)) as tapped:
        _, _, maps = tapped(torch.randn(2, 3, 64, 64))
    maps[1].square().mean().backward()
    assert model.layer2[0].downsample[0].weight.grad.abs().max() > 0
    assert model.layer3[0].downsample[0].weight.grad is None


def test_under_autocast_maps_come_in_half_precision(model_of):
    model = model_of("mobilenetv3_small_050")
    half = torch.autocast("cpu", torch.bfloat16)
    with torch.no_grad(), Tapped(model, find_taps(model, 64)) as tapped, half:
        _, _, maps = tapped(torch.randn(1, 3, 64, 64))
    assert {each.dtype for each in maps} == {torch.bfloat16}


def test_inside_distributed_data_parallel_maps_and_gradients_are_the_same(model_of):
    model = copy.deepcopy(model_of("mobilenetv3_small_050"))
    images = torch.randn(2, 3, 64, 64)
    with Tapped(model, find_taps(model, 64)) as tapped:
        logits, _, maps = tapped(images)
        (logits.mean() + sum(each.mean() for each in maps)).backward()
        alone = [p.grad.clone() for p in model.parameters()]
        model.zero_grad()
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        try:
            parallel = nn.parallel.DistributedDataParallel(tapped)
            logits, _, again = parallel(images)
            (logits.mean() + sum(each.mean() for each in again)).backward()
        finally:
            dist.destroy_process_group()
    for first, second in zip(maps, again, strict=True):
        assert torch.equal(first, second)
    for first, parameter in zip(alone, model.parameters(), strict=True):
        assert torch.allclose(first, parameter.grad, atol=1e-6)
