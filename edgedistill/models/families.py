"""Families of networks: which can be students, which can be assistants, which are advised. One row each.

After adding a row, run `edgedistill students --refresh`: docs/extend.md. Reference accuracies (ImageNet top-1 of
published weights, with their source) are in `edgedistill/prediction/accuracy.csv`, by name of the network.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """Networks of one design.

    Attributes:
        prefix: the names of its networks begin with it.
        students: those that `edgedistill students` exports, checks and compiles; where there are any, every network
            of the family can be `student.model`.
        advised: those of `students` that a report names as a bigger student; each needs a reference accuracy.
        assistants: those that `distill.method = "progressive"` chooses from.
        builder: library that has the network, "timm" or "torchvision"; `models/build.py` has a class for each
            family of torchvision.
    """

    prefix: str
    students: tuple[str, ...] = ()
    advised: tuple[str, ...] = ()
    assistants: tuple[str, ...] = ()
    builder: str = "timm"


FAMILIES = (
    Family("mobilenetv1_", students=("mobilenetv1_100", "mobilenetv1_100h", "mobilenetv1_125")),
    Family(
        "mobilenetv2_",
        students=(
            "mobilenetv2_035",
            "mobilenetv2_050",
            "mobilenetv2_075",
            "mobilenetv2_100",
            "mobilenetv2_110d",
            "mobilenetv2_120d",
            "mobilenetv2_140",
        ),
        advised=("mobilenetv2_100",),
        assistants=("mobilenetv2_100",),
    ),
    Family(
        "mobilenetv3_",
        students=(
            "mobilenetv3_small_050",
            "mobilenetv3_small_075",
            "mobilenetv3_small_100",
            "mobilenetv3_large_075",
            "mobilenetv3_large_100",
            "mobilenetv3_rw",
        ),
        advised=("mobilenetv3_small_050", "mobilenetv3_small_075", "mobilenetv3_small_100", "mobilenetv3_large_100"),
        assistants=("mobilenetv3_small_100", "mobilenetv3_large_100"),
    ),
    Family(
        "tf_mobilenetv3_",
        students=(
            "tf_mobilenetv3_small_075",
            "tf_mobilenetv3_small_100",
            "tf_mobilenetv3_small_minimal_100",
            "tf_mobilenetv3_large_075",
            "tf_mobilenetv3_large_100",
            "tf_mobilenetv3_large_minimal_100",
        ),
    ),
    Family(
        "mobilenetv4_",
        students=(
            "mobilenetv4_conv_small_035",
            "mobilenetv4_conv_small_050",
            "mobilenetv4_conv_small",
            "mobilenetv4_conv_medium",
            "mobilenetv4_conv_blur_medium",
            "mobilenetv4_conv_aa_medium",
            "mobilenetv4_conv_large",
            "mobilenetv4_conv_aa_large",
            "mobilenetv4_hybrid_medium_075",
            "mobilenetv4_hybrid_medium",
            "mobilenetv4_hybrid_large_075",
            "mobilenetv4_hybrid_large",
        ),
    ),
    Family("efficientnet_b0", students=("efficientnet_b0",), advised=("efficientnet_b0",)),
    Family("tf_efficientnet_b0", students=("tf_efficientnet_b0",)),
    Family("efficientnet_lite", students=("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")),
    Family(
        "tf_efficientnet_lite",
        students=("tf_efficientnet_lite0", "tf_efficientnet_lite1", "tf_efficientnet_lite2"),
        assistants=("tf_efficientnet_lite0",),
    ),
    Family("squeezenet1_", students=("squeezenet1_0", "squeezenet1_1"), builder="torchvision"),
    Family("ghostnet_", students=("ghostnet_050", "ghostnet_100", "ghostnet_130")),
    Family("mnasnet_", students=("mnasnet_small", "mnasnet_050", "mnasnet_075", "mnasnet_100", "mnasnet_140")),
    Family("fbnetc_", students=("fbnetc_100",)),
    Family("lcnet_", students=("lcnet_035", "lcnet_050", "lcnet_075", "lcnet_100", "lcnet_150")),
    Family(
        "shufflenet_v2_",
        students=("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0"),
        builder="torchvision",
    ),
    Family("regnetx_002", students=("regnetx_002",)),
    Family("resnet18", students=("resnet18",), assistants=("resnet18",)),
    Family("resnet", assistants=("resnet34", "resnet50", "resnet101")),
    Family("mobileone_s0", students=("mobileone_s0",)),
    Family("repvgg_a0", students=("repvgg_a0",)),
)

STUDENTS = tuple(name for family in FAMILIES for name in family.students)
STUDENT_PREFIXES = tuple(family.prefix for family in FAMILIES if family.students)
ASSISTANTS = tuple(name for family in FAMILIES for name in family.assistants)
ADVISED = tuple(name for family in FAMILIES for name in family.advised)
TORCHVISION = tuple(name for family in FAMILIES if family.builder == "torchvision" for name in family.students)
