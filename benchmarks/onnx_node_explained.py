"""Where the pre-flight and another source differ on a node test of onnx, and why that is no fault: one small table."""

from __future__ import annotations

import re

FITS, REFUSED, TABLES = "fits, the parser refuses it", "refused, the parser takes it", "fits against the tables"

# (what differs, pattern in "rule: why", releases below this one only or None, reason)
EXPLAINED: tuple[tuple[str, str, tuple[int, ...] | None, str], ...] = (
    (
        FITS,
        r"[Pp]lugin|Unsupported reduction type",
        None,
        "TensorRT for RTX has no plugin library; DFT, DeformConv, NonZero, RoiAlign and ScatterElements are plugins",
    ),
    (
        FITS,
        r"is a shape tensor and must have type|graphShapeAnalyzer",
        None,
        "a size that depends on the values of a float input: no rule sees it",
    ),
    (
        FITS,
        r"last chunk size is negative",
        None,
        "a Split in the branch of an If that is never taken; --fix folds it away",
    ),
    (
        REFUSED,
        r"^operator: |^(cast|initializer-type|network-type): .*FLOAT4E2M1|^operator-type: Pow of|"
        r"^attribute-value: (an ellipsis|a diagonal)|^attribute-value: .*refuses the attribute reduction|"
        r"^constant-input: input 3 \(axes\)|^constant-input: .*CumSum",
        (10, 16),
        "TensorRT for RTX 1.7 is as new as 11: what came after the release",
    ),
    (REFUSED, r"^operator: .*Swish", (11,), "TensorRT for RTX 1.7 is as new as 11: what came after the release"),
    (
        REFUSED,
        r"^rank: the importer refuses past_key",
        None,
        "operators.md: nonpad_kv_seqlen is not supported; the importer of 10.16 never looks at that input",
    ),
    (REFUSED, r"^rank: .*takes images", (11, 2), "TensorRT for RTX 1.7 is as new as 11: what came after the release"),
    (
        REFUSED,
        r"^operator-type: ",
        None,
        "docs/operators.md of the release does not name the type; the parser leaves it to the builder",
    ),
    (
        REFUSED,
        r"^q-dq: its (scale must be|zero point is computed|axis is not)|^q-dq: .* scales? on axis",
        None,
        "the importer takes it and leaves it to the builder, which wants a constant scale on a known axis",
    ),
    (
        REFUSED,
        r"^q-dq: its zero point must be INT8|^q-dq: without a zero point|^q-dq: its weights are stored as UINT8",
        None,
        "the importer takes UINT8 and computes INT8, another result",
    ),
    (
        REFUSED,
        r"^attribute-value: layout",
        None,
        "docs/operators.md: layout must be 0; the importer never looks at it, so the result is another one",
    ),
    (
        REFUSED,
        r"^attribute-value: mode = (linear|cubic)",
        None,
        "the importers of 10.3 and 10.10 know bilinear and bicubic only and compute nearest for opset 20's names",
    ),
    (REFUSED, r"^constant-input: ", None, "documented as a constant; the importer leaves it to the builder"),
    (REFUSED, r"^unread-attribute: ", None, "taken, and without effect: another result"),
    (
        TABLES,
        r"Dropout\.(seed|ratio)|momentum|storage_order|TopK.sorted|saturate|block_size",
        None,
        "without effect in inference",
    ),
    (TABLES, r"^(DFT|RotaryEmbedding)\.", None, "its importer could not be read: the answer warns of it"),
    (
        TABLES,
        r"^((Blackman|Hamming|Hann)Window|ConstantOfShape) of INT",
        None,
        "its first input is a size, operators.md names the type of its output",
    ),
    (TABLES, r"^Reciprocal of", None, "operators.md of 8.2 does not have it, the source does"),
    (TABLES, r"(NonZero|Clip|Equal|Reduce\w+) of (BOOL|INT32)", None, "the source takes more than operators.md names"),
)


def explained(release: tuple[int, ...], what: str, details: list[str]) -> str | None:
    """The reason, where each detail has one; the first of them."""
    reasons = [
        next(
            (
                reason
                for kind, pattern, below, reason in EXPLAINED
                if kind == what and (below is None or release < below) and re.search(pattern, detail)
            ),
            None,
        )
        for detail in details
    ]
    return reasons[0] if all(reasons) else None
