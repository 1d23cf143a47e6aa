"""Each loss on maps against loops or numpy, and what a trainer must rely on."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from edgedistill.distillation.feature_losses import (
    MATCHERS,
    ReviewMatcher,
    attention_loss,
    hcl_loss,
    hint_loss,
    matcher_between,
)
from edgedistill.distillation.projectors import Fusion, Hint
from edgedistill.errors import RecipeError
from edgedistill.models.build import build_model, parameter_count
from edgedistill.models.taps import Tap, Tapped, find_taps, pair_taps

PAIRS = [
    (Tap("a", 4, 8, 8, 0.3), Tap("x", 6, 8, 8, 0.3)),
    (Tap("b", 5, 4, 4, 0.6), Tap("y", 3, 2, 2, 0.7)),  # the student's map is the larger
    (Tap("c", 7, 2, 2, 1.0), Tap("z", 9, 4, 4, 1.0)),  # and here the teacher's
]


def maps_of(pairs, images, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(
        [
            torch.tensor(rng.normal(size=(images, tap.channels, tap.height, tap.width)), dtype=torch.float32)
            for tap in side
        ]
        for side in zip(*pairs, strict=True)
    )


def pooled(maps, size):
    """Means of equal blocks of numpy maps (N, C, H, W), where size, a side or (height, width), divides H and W."""
    (n, c, h, w), (high, wide) = maps.shape, np.broadcast_to(size, 2)
    return maps.reshape(n, c, high, h // high, wide, w // wide).mean(axis=(3, 5))


def hint_oracle(student, teacher):
    size = np.minimum(student.shape[2:], teacher.shape[2:])
    total = 0.0
    for s, t in zip(pooled(student, size), pooled(teacher, size), strict=True):
        total += ((s / np.linalg.norm(s) - t / np.linalg.norm(t)) ** 2).sum()
    return total / len(student)


def attention_oracle(student, teacher):
    squares = ((m**2).sum(axis=1, keepdims=True) for m in (student, teacher))
    return hint_oracle(*squares)


def hcl_oracle(student, teacher):
    height = student.shape[2]
    total, weights = ((student - teacher) ** 2).mean(), 1.0
    weight = 1.0
    for size in (4, 2, 1):
        if size < height:
            weight /= 2
            gap = pooled(student, size) - pooled(teacher, size)
            total, weights = total + weight * (gap**2).mean(), weights + weight
    return total / weights


@pytest.mark.parametrize(
    ("student_px", "teacher_px"),
    [((4, 4), (4, 4)), ((8, 8), (4, 4)), ((2, 2), (8, 8)), ((1, 1), (4, 4)), ((2, 6), (4, 12)), ((8, 2), (4, 6))],
)
def test_hint_and_attention_loss_equal_numpy(rng, student_px, teacher_px):
    student = rng.normal(size=(3, 5, *student_px))
    teacher = rng.normal(size=(3, 5, *teacher_px))
    got = hint_loss(torch.tensor(student), torch.tensor(teacher)).item()
    assert got == pytest.approx(hint_oracle(student, teacher), rel=1e-5)
    wider = rng.normal(size=(3, 9, *teacher_px))
    got = attention_loss(torch.tensor(student), torch.tensor(wider)).item()
    assert got == pytest.approx(attention_oracle(student, wider), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
def test_hcl_loss_equals_numpy(rng, size):
    student, teacher = rng.normal(size=(2, 3, 5, size, size))
    got = hcl_loss(torch.tensor(student), torch.tensor(teacher)).item()
    assert got == pytest.approx(hcl_oracle(student, teacher), rel=1e-5)


def test_hcl_loss_by_hand():
    """One pixel of 8x8 is off by 8: 64/64, then 1/4 of it, 1/16 of that, and so on, in squares."""
    student = torch.zeros(1, 1, 8, 8)
    student[..., 0, 0] = 8
    # means: 8/4 = 2 in one of 16, 8/16 in one of 4, 8/64 in one.
    expected = (64 / 64 + 0.5 * 4 / 16 + 0.25 * 0.25 / 4 + 0.125 / 64) / 1.875
    assert hcl_loss(student, torch.zeros(1, 1, 8, 8)).item() == pytest.approx(expected)
    with pytest.raises(ValueError, match="project and average down first"):
        hcl_loss(student, torch.zeros(1, 1, 4, 4))


def test_attention_loss_by_hand():
    """Squares (1, 0) against (1, 1) over sqrt 2: 2 - 2 / sqrt 2, whatever the channels and sign."""
    student = torch.tensor([[[[-3.0, 0.0]]]])
    teacher = torch.tensor([[[[1.0, 0.0]], [[0.0, -1.0]]]])
    assert attention_loss(student, teacher).item() == pytest.approx(2 - math.sqrt(2))


def test_attention_averages_after_the_squares():
    """Signed neighbours would cancel: a MobileNet's block ends without an activation."""
    student = torch.tensor([[[[5.0, -5.0, 0.0, 0.0]] * 4]])
    teacher = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    assert attention_loss(student, teacher).item() == pytest.approx(0, abs=1e-6)


def conv1x1(x, conv):
    weight = conv.weight.detach().double().numpy()[:, :, 0, 0]
    bias = 0 if conv.bias is None else conv.bias.detach().double().numpy()[:, None, None]
    return np.einsum("oc,nchw->nohw", weight, x) + bias


def conv3x3(x, conv):
    weight = conv.weight.detach().double().numpy()
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    h, w = x.shape[2:]
    return sum(
        np.einsum("oc,nchw->nohw", weight[:, :, i, j], padded[:, :, i : i + h, j : j + w])
        for i, j in itertools.product(range(3), repeat=2)
    )


def normed(x):
    mean = x.mean(axis=(1, 2, 3), keepdims=True)
    return (x - mean) / np.sqrt(x.var(axis=(1, 2, 3), keepdims=True) + 1e-5)


def nearest(x, size):
    return x.repeat(size // x.shape[2], axis=2).repeat(size // x.shape[3], axis=3)


def test_fitnet_equals_numpy():
    matcher = matcher_between("fitnet", PAIRS, seed=1)
    students, teachers = maps_of(PAIRS, 3)
    losses = [
        hint_oracle(normed(conv1x1(s.double().numpy(), hint[0])), t.double().numpy())
        for hint, s, t in zip(matcher.hints, students, teachers, strict=True)
    ]
    assert matcher(students, teachers).item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_review_equals_numpy_from_deep_to_shallow():
    matcher = matcher_between("review", PAIRS, seed=1)
    students, teachers = maps_of(PAIRS, 3)
    losses, deeper = [], None
    for fusion, s, t in zip(matcher.fusions, students[::-1], teachers[::-1], strict=True):
        fused = normed(conv1x1(s.double().numpy(), fusion.narrow[0]))
        if deeper is not None:
            deeper = nearest(deeper, fused.shape[2])
            both = conv1x1(np.concatenate([fused, deeper], axis=1), fusion.attention)
            shares = 1 / (1 + np.exp(-both))
            fused = fused * shares[:, :1] + deeper * shares[:, 1:]
        deeper = fused
        size = min(fused.shape[2], t.shape[2])
        student = normed(conv3x3(pooled(fused, size), fusion.widen[0]))
        teacher = pooled(t.double().numpy(), size)
        teacher = teacher / np.sqrt((teacher**2).mean(axis=(1, 2, 3), keepdims=True))
        losses.append(hcl_oracle(student, teacher))
    assert matcher(students, teachers).item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_review_lets_a_shallow_teacher_map_teach_the_deepest_student_map():
    matcher = matcher_between("review", PAIRS, seed=1)
    students, teachers = maps_of(PAIRS, 2)
    for each in students:
        each.requires_grad_()
    fused = deeper = None
    for fusion, i in zip(matcher.fusions, (2, 1, 0), strict=True):
        fused, deeper = fusion(students[i], deeper, (2, 2))
    hcl_loss(fused, torch.zeros_like(fused)).backward()  # the shallowest comparison alone
    assert all(each.grad.abs().max() > 0 for each in students)


def test_review_takes_its_pairs_in_any_order():
    students, teachers = maps_of(PAIRS, 2)
    expected = matcher_between("review", PAIRS, seed=1)(students, teachers).item()
    backwards = matcher_between("review", PAIRS[::-1], seed=1)
    got = backwards(students[::-1], teachers[::-1]).item()
    assert got == pytest.approx(expected, rel=1e-6)


def test_reviews_middle_is_no_wider_than_its_student_or_the_limit():
    def middles(student_channels):
        pairs = [(Tap("a", student_channels, 4, 4, 1.0), PAIRS[0][1])]
        default, authors = ReviewMatcher(pairs), ReviewMatcher(pairs, middle=512)
        assert parameter_count(authors) > 4 * parameter_count(default)
        return default.fusions[0].narrow[0].out_channels

    assert [middles(channels) for channels in (8, 64, 1280)] == [8, 64, 64]


@pytest.mark.parametrize("kind", MATCHERS)
def test_a_batch_is_the_mean_of_its_equal_slices(kind):
    """So that the mean over ranks is the loss of the whole batch; a batch norm would break it."""
    matcher = matcher_between(kind, PAIRS, seed=0).train()
    students, teachers = maps_of(PAIRS, 6)
    whole = matcher(students, teachers)
    slices = [
        matcher([s[rows] for s in students], [t[rows] for t in teachers])
        for rows in (slice(0, 2), slice(2, 4), slice(4, 6))
    ]
    assert torch.stack(slices).mean().item() == pytest.approx(whole.item(), rel=1e-5)


@pytest.mark.parametrize("kind", MATCHERS)
def test_the_scale_of_the_teachers_maps_has_no_effect(kind):
    """Elsewhere the weight of a loss on maps is tuned anew for each teacher."""
    matcher = matcher_between(kind, PAIRS, seed=0)
    students, teachers = maps_of(PAIRS, 2)
    expected = matcher(students, teachers).item()
    scaled = [1000 * t for t in teachers]
    assert matcher(students, scaled).item() == pytest.approx(expected, rel=1e-5)
    assert 0 < expected < 4


@pytest.mark.parametrize("kind", MATCHERS)
def test_the_gradient_reaches_student_and_projectors_and_never_the_teacher(kind):
    matcher = matcher_between(kind, PAIRS, seed=0)
    students, teachers = maps_of(PAIRS, 2)
    for each in (*students, *teachers):
        each.requires_grad_()
    loss = matcher(students, teachers)
    loss.backward()
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert all(each.grad.abs().max() > 0 for each in students)
    assert all(each.grad is None for each in teachers)
    assert all(p.grad.abs().max() > 0 for p in matcher.parameters())


@pytest.mark.parametrize("kind", MATCHERS)
def test_maps_of_zeros_and_of_great_numbers_have_finite_losses_and_gradients(kind):
    for student_scale, teacher_scale in ((0, 1), (1, 0), (0, 0), (6e4, 6e4)):
        matcher = matcher_between(kind, PAIRS, seed=0)
        students, teachers = maps_of(PAIRS, 2)
        students = [(s.clamp(-1, 1) * student_scale).half().requires_grad_() for s in students]
        loss = matcher(students, [(t.clamp(-1, 1) * teacher_scale).half() for t in teachers])
        loss.backward()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(s.grad).all() for s in students)
        assert all(torch.isfinite(p.grad).all() for p in matcher.parameters())


@pytest.mark.parametrize("kind", MATCHERS)
def test_under_autocast_a_matcher_computes_in_float32(kind):
    matcher = matcher_between(kind, PAIRS, seed=0)
    halves = [[m.bfloat16() for m in side] for side in maps_of(PAIRS, 2)]
    expected = matcher(*[[m.float() for m in side] for side in halves]).item()
    with torch.autocast("cpu", torch.bfloat16):
        assert matcher(*halves).item() == expected


@pytest.mark.parametrize("kind", ["fitnet", "review"])
def test_the_projectors_depend_on_their_seed_alone(kind):
    weights = []
    for before, seed in ((1, 3), (2, 3), (2, 4)):
        torch.manual_seed(before)
        random = torch.get_rng_state()
        matcher = matcher_between(kind, PAIRS, seed=seed)
        assert torch.equal(torch.get_rng_state(), random)
        weights.append(nn.utils.parameters_to_vector(matcher.parameters()))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("kind", MATCHERS)
def test_a_student_can_learn_the_teachers_maps(kind):
    """Adam on the maps themselves and the projectors brings the loss near its floor."""
    matcher = matcher_between(kind, PAIRS, seed=0)
    students, teachers = maps_of(PAIRS, 2)
    free = [s.requires_grad_() for s in students]
    optimizer = torch.optim.Adam([*free, *matcher.parameters()], lr=0.05)
    first = matcher(free, teachers).item()
    for _ in range(150):
        optimizer.zero_grad()
        loss = matcher(free, teachers)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.15 * first


@pytest.mark.parametrize("student", ["squeezenet1_1", "mobilenetv3_small_050", "mobilenetv2_050"])
def test_no_shape_is_written_by_hand_for_any_student_and_teacher(student):
    """Elsewhere channels and sizes of each pair stand in a config, and are wrong for the next."""
    torch.manual_seed(0)
    model = build_model(student, 3)
    images = torch.randn(2, 3, 64, 64)
    for teacher in (build_model(name, 3).eval() for name in ("resnet18", "regnetx_002")):
        pairs = pair_taps(find_taps(model, 64), find_taps(teacher, 64))
        ours, theirs = zip(*pairs, strict=True)
        with Tapped(model, ours) as tapped, Tapped(teacher, theirs) as taught:
            _, _, student_maps = tapped(images)
            _, _, teacher_maps = taught(images)
        for kind in MATCHERS:
            model.zero_grad()
            loss = matcher_between(kind, pairs, seed=0)(student_maps, teacher_maps)
            loss.backward(retain_graph=True)
            first = next(model.parameters())
            assert 0 < first.grad.abs().max() < math.inf, (teacher, kind)
            assert all(p.grad is None for p in teacher.parameters())


def test_what_cannot_be_matched_is_refused():
    with pytest.raises(RecipeError, match="there is no loss on maps 'crd'; there are: fitnet, attention, review"):
        matcher_between("crd", PAIRS, 0)
    with pytest.raises(RecipeError, match="at least one pair"):
        matcher_between("review", [], 0)
    point = (PAIRS[0][0], Tap("t", 4, 1, 1, 1.0))
    with pytest.raises(RecipeError, match=r"always the same \(a 4x8x8 at 0\.30 <- t 4x1x1"):
        matcher_between("attention", [point], 0)
    students, teachers = maps_of(PAIRS, 2)
    with pytest.raises(ValueError, match="disagree in images or channels"):
        hint_loss(torch.zeros(2, 4, 2, 2), torch.zeros(2, 1, 2, 2))
    with pytest.raises(ValueError, match="disagree in images or channels"):
        attention_loss(torch.zeros(2, 4, 2, 2), torch.zeros(1, 4, 2, 2))
    with pytest.raises(ValueError, match="shorter"):
        matcher_between("attention", PAIRS, 0)(students, teachers[:2])


def test_projectors_have_no_state_of_the_batch():
    for module in (Hint(4, 6), Fusion(4, 6, 5, deepest=False)):
        assert not list(module.buffers())
