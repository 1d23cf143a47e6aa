"""What `dynamo_exports.py` exports: timm networks of many families, and modules of one operator each."""

from __future__ import annotations

import timm
import torch
import torch.nn.functional as F
from torch import nn

from edgedistill.models.build import build_model
from edgedistill.models.families import STUDENTS

STUDENT_PX, CLASSES, SEED = 64, 10, 0

# timm networks beside the students: name -> side of the image in pixels, small where the network allows it.
OTHERS = {
    "test_vit": 160,
    "test_vit2": 160,
    "test_vit3": 160,
    "test_vit4": 160,
    "test_vit_relpos": 160,
    "test_convnext": 160,
    "test_convnext2": 160,
    "test_convnext3": 160,
    "test_nfnet": 160,
    "test_maxvit": 160,
    "test_coatnet": 160,
    "test_efficientnet": 160,
    "test_efficientnet_gn": 160,
    "test_efficientnet_ln": 160,
    "test_efficientnet_evos": 160,
    "test_mambaout": 160,
    "test_byobnet": 160,
    "test_resnet": 160,
    "tinynet_e": 64,
    "dla46_c": 64,
    "hardcorenas_a": 64,
    "regnety_002": 64,
    "repghostnet_050": 64,
    "resnet26t": 64,
    "convnext_atto": 64,
    "poolformer_s12": 64,
    "efficientvit_m0": 224,
    "levit_128s": 224,
    "mixer_s32_224": 224,
    "starnet_s1": 64,
    "pvt_v2_b0": 64,
    "mobilevit_xxs": 128,
    "mobilevitv2_050": 128,
    "edgenext_xx_small": 128,
    "efficientvit_b0": 128,
    "fastvit_t8": 128,
    "inception_next_atto": 64,
    "vit_tiny_patch16_224": 224,
    "nf_regnet_b0": 64,
    "repvit_m0_9": 64,
    "rexnet_100": 64,
    "ghostnetv2_100": 64,
    "efficientformerv2_s0": 224,
    "swin_tiny_patch4_window7_224": 224,
    "xcit_nano_12_p16_224": 224,
    "halonet26t": 128,
    "volo_d1_224": 224,
    "coat_lite_tiny": 224,
    "tf_efficientnetv2_b0": 64,
    "inception_v3": 128,
    "hrnet_w18_small": 64,
    "densenet121": 64,
}


class _Module(nn.Module):
    """A function of the image with the parameters it needs."""

    def __init__(self, function, *parts: nn.Module):
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.function(image, *self.parts)


def _attention(x: torch.Tensor, project: nn.Module) -> torch.Tensor:
    query, key, value = project(x.flatten(2).transpose(1, 2)).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(query, key, value)


def _resized(**how):
    return lambda x: F.interpolate(x, **how)


# name -> (function of an image (N, 8, 16, 16), modules that it calls)
MODULES = {
    "einsum": (lambda x: torch.einsum("nchw,ncdw->nhd", x, x * 0.5),),
    "roll": (lambda x: torch.roll(x, (2, -3), (2, 3)),),
    "chunk": (lambda x: torch.cat([a * b for a, b in zip(x.chunk(2, 1), x.split([4, 4], 1), strict=True)], 1),),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2),),
    "pixel_unshuffle": (lambda x: F.pixel_unshuffle(x, 2),),
    "attention": (_attention, nn.Linear(8, 24)),
    "multihead_attention": (
        lambda x, m: m(*[x.flatten(2).transpose(1, 2)] * 3, need_weights=False)[0],
        nn.MultiheadAttention(8, 2, batch_first=True),
    ),
    "group_norm": (lambda x, m: m(x), nn.GroupNorm(2, 8)),
    "layer_norm": (lambda x, m: m(x), nn.LayerNorm((16, 16))),
    "rms_norm": (lambda x, m: m(x), nn.RMSNorm(16)),
    "instance_norm": (lambda x, m: m(x), nn.InstanceNorm2d(8, affine=True)),
    "local_response_norm": (lambda x, m: m(x), nn.LocalResponseNorm(3)),
    "weight_standardised": (
        lambda x, m: F.conv2d(
            x, F.batch_norm(m.weight.reshape(1, 8, -1), None, None, training=True).reshape_as(m.weight)
        ),
        nn.Conv2d(8, 8, 3),
    ),
    "activations": (lambda x: F.hardswish(x) + F.gelu(x) + F.gelu(x, approximate="tanh") + F.silu(x) + F.mish(x),),
    "hardsigmoid": (lambda x: F.hardsigmoid(x) + F.relu6(x) + F.leaky_relu(x) + F.elu(x) + F.selu(x) + F.celu(x),),
    "softplus": (lambda x: F.softplus(x) + F.softsign(x) + F.logsigmoid(x) + F.hardtanh(x),),
    "glu": (lambda x: F.glu(x, 1),),
    "prelu": (lambda x, m: m(x), nn.PReLU(8)),
    "bilinear": (_resized(scale_factor=2, mode="bilinear"),),
    "bilinear_corners": (_resized(size=(24, 20), mode="bilinear", align_corners=True),),
    "bilinear_antialias": (_resized(size=(9, 7), mode="bilinear", antialias=True),),
    "bicubic": (_resized(size=(24, 20), mode="bicubic"),),
    "nearest": (_resized(scale_factor=1.5, mode="nearest"),),
    "nearest_exact": (_resized(scale_factor=2, mode="nearest-exact"),),
    "adaptive_pools": (lambda x: F.adaptive_avg_pool2d(x, (4, 2)) + F.adaptive_max_pool2d(x, (4, 2)),),
    "adaptive_uneven": (lambda x: F.adaptive_avg_pool2d(x, (5, 3)),),
    "pools": (lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True) + F.avg_pool2d(x, 3, 2, ceil_mode=True),),
    "lp_pool": (lambda x: F.lp_pool2d(x, 2, 2),),
    "pads": (lambda x: F.pad(x, (1, 2, 3, 1), mode="reflect") + F.pad(x, (2, 1, 1, 3), mode="replicate"),),
    "pad_circular": (lambda x: F.pad(x, (1, 2, 3, 1), mode="circular"),),
    "grid_sample": (lambda x: F.grid_sample(x, torch.tanh(x[:, :2]).permute(0, 2, 3, 1), align_corners=False),),
    "unfold": (lambda x: F.unfold(x, 3, padding=1),),
    "fold": (lambda x: F.fold(F.unfold(x, 2, stride=2), (16, 16), 2, stride=2),),
    "normalize": (lambda x: F.normalize(x, dim=1) + x.softmax(1) + x.log_softmax(1),),
    "statistics": (lambda x: x.var(1) + x.std(1) + x.amax(1) + x.amin(1) + x.logsumexp(1) + x.norm(dim=1) + x.prod(1),),
    "arg_and_sort": (lambda x: x.argmax(1) + x.topk(3, 1)[1].sum(1),),
    "masks": (lambda x: torch.where(x > 0, x, -x).masked_fill(x < -1, 0.5).clamp(max=2).tril(),),
    "logic": (lambda x: ((x > 0) & ~(x > 1) | (x < -1)).float() + (x == 0).to(x.dtype) + x.isnan().float(),),
    "gather": (lambda x: x.gather(1, torch.arange(8).reshape(1, 8, 1, 1).flip(1).expand(x.shape)) + x[:, [1, 0] * 4],),
    "index_put": (lambda x: torch.index_fill(x, 1, torch.tensor([0, 3]), 2.0),),
    "cumsum": (lambda x: x.cumsum(2) + x.flip(3),),
    "rounding": (lambda x: x.round() + x.floor() + x.ceil() + x.trunc() + x.sign() + x.fmod(0.7) + x.remainder(0.7),),
    "powers": (lambda x: (x**2 + 1).rsqrt() + x.exp() + (x.abs() + 1).log1p() + x.expm1() + x.erf() + x.sinh(),),
    "stack": (lambda x: torch.stack([x, x.mT], 2).flatten(1, 2).repeat_interleave(2, 1).tile(1, 1, 2, 1),),
    "meshgrid": (
        lambda x: (
            x
            + sum(torch.meshgrid(torch.linspace(0, 1, x.shape[2]), torch.arange(x.shape[3]) / 3, indexing="ij")).to(
                x.dtype
            )
        ),
    ),
    "transposed_conv": (lambda x, m: m(x), nn.ConvTranspose2d(8, 4, 3, 2, 1, 1)),
    "bilinear_layer": (lambda x, m: m(x, x.flip(3)), nn.Bilinear(16, 16, 5)),
    "lstm": (lambda x, m: m(x.flatten(2).transpose(1, 2))[0], nn.LSTM(8, 6, batch_first=True, bidirectional=True)),
    "gru": (lambda x, m: m(x.flatten(2).transpose(1, 2))[0], nn.GRU(8, 6, batch_first=True)),
    "embedding": (lambda x, m: m((x.abs() * 3).long().clamp(0, 9)), nn.Embedding(10, 4)),
    "rotary": (lambda x: x * torch.outer(torch.arange(16.0), 0.1 ** torch.arange(16.0)).cos().to(x.dtype),),
}


def network(name: str) -> tuple[nn.Module, tuple[int, int, int]]:
    """In eval mode with random weights of a fixed seed; and the shape (C, H, W) of its image.

    What is constant after construction gets noise: a normalisation folded wrongly, or a branch scaled by
    almost nothing, would go unseen.
    """
    torch.manual_seed(SEED)
    if name in MODULES:
        model, shape = _Module(*MODULES[name]), (8, 16, 16)
    elif name in STUDENTS:
        model, shape = build_model(name, CLASSES), (3, STUDENT_PX, STUDENT_PX)
    else:
        model, shape = timm.create_model(name, num_classes=CLASSES), (3, OTHERS[name], OTHERS[name])
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        for values in model.parameters():
            if values.numel() and (values == values.flatten()[0]).all():
                values.add_(torch.randn_like(values), alpha=0.1)
    return model.eval(), shape
