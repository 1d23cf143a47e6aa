"""Precision is asked and answered: what was requested, what will be executed, and why not."""

import json
from typing import NamedTuple, Optional, Tuple

Choice = NamedTuple(
    "Choice",
    [
        ("executed", str),  # fp32, fp16 or int8
        ("onnx", str),  # file of the bundle that is built
        ("int8_by", Optional[str]),  # "calibration cache", "explicit Q/DQ", or None
        ("reasons", Tuple[str, ...]),  # one line for each step away from what was requested
    ],
)


AMAX, FLOAT, HALF, QDQ = "calibration.json", "model.onnx", "model_fp16.onnx", "model_int8.onnx"
CALIBRATED = "model_int8_weights.onnx"  # float; AMAX is of this file where there is one, and of FLOAT else


def choose(requested, sm, features, files):
    """What this board builds for `requested`.

    Args:
        requested: fp32, fp16 or int8.
        sm: compute capability, 53 for 5.3; 0 when there is no device to ask.
        features: of trt_api.features.
        files: names of the bundle's files: AMAX with CALIBRATED, QDQ, and HALF with its types in the
            file, are looked for.
    """
    reasons = []
    if requested == "int8":
        if not has_int8(sm, features["fast_int8"]):
            reasons.append(
                "INT8 is served as FP16: sm_%d has no INT8 hardware, and TensorRT would take the "
                "request and run slower" % (sm,)
            )
        elif features["int8_flag"] and features["calibrator"] and AMAX in files:
            return Choice("int8", CALIBRATED if CALIBRATED in files else FLOAT, "calibration cache", ())
        elif QDQ in files:
            return Choice("int8", QDQ, "explicit Q/DQ", ())
        else:
            reasons.append(
                "INT8 is served as FP16: this bundle has no INT8 ranges that TensorRT %s takes"
                % (features["tensorrt"],)
            )
    if requested in ("int8", "fp16"):
        typed = not features["fp16_flag"]
        if features["fast_fp16"] is not False and (not typed or HALF in files):
            return Choice("fp16", HALF if typed else FLOAT, None, tuple(reasons))
        why = (
            "TensorRT %s takes its types from the ONNX file, and this bundle has none in FP16; bundle again "
            "with target.tensorrt of this release" % (features["tensorrt"],)
            if typed
            else "this GPU has no fast FP16"
        )
        reasons.append("FP16 is served as FP32: %s" % (why,))
    return Choice("fp32", FLOAT, None, tuple(reasons))


def has_int8(sm, fast_int8):
    """Whether the GPU computes in INT8: sm_61 and newer, but not sm_62 (TX2).

    Args:
        fast_int8: what the builder says, or None where it is no longer asked (TensorRT 11).

    Source: NVIDIA, 8-bit inference with TensorRT, GTC 2017; forum thread 55481 for sm_62.
    """
    capable = sm >= 61 and sm != 62
    return capable if fast_int8 is None or not capable else bool(fast_int8)


def layer_counts(text):
    """{precision: layers} of the engine inspector's JSON text; None where it does not say.

    A layer's precision is that of its weights, or else of its outputs. The words are those of the
    inspector: Float, Half, Int8 for weights, and within "Format/Datatype" also FP32 and FP16.
    """
    try:
        layers = json.loads(text)["Layers"]
    except (TypeError, ValueError, KeyError, RecursionError):
        return None
    counts = {}
    for layer in layers if isinstance(layers, list) else [None]:
        if not isinstance(layer, dict):  # names only: not built with detail
            return None
        weights = layer.get("Weights")
        words = str(weights.get("Type", "")) if isinstance(weights, dict) else ""
        outputs = layer.get("Outputs")
        words = words or " ".join(
            str(out.get("Format/Datatype", ""))
            for out in (outputs if isinstance(outputs, list) else ())
            if isinstance(out, dict)
        )
        precision = _precision_of(words)
        counts[precision] = counts.get(precision, 0) + 1
    return counts


def answered(choice, counts):
    """The choice, corrected by what the engine's layers are when they are known."""
    if not counts or choice.executed == "fp32" or counts.get(choice.executed) or _unclear(counts):
        return choice
    executed = "fp16" if counts.get("fp16") else "fp32"
    why = "the builder chose no %s layer (layers: %s)" % (
        choice.executed.upper(),
        ", ".join("%d %s" % (counts[k], k) for k in sorted(counts)),
    )
    return choice._replace(executed=executed, reasons=choice.reasons + (why,))


def _unclear(counts):
    return set(counts) == {"unknown"}


def _precision_of(words):
    low = words.lower()
    for precision, names in (
        ("int8", ("int8",)),
        ("fp16", ("half", "fp16")),
        ("fp32", ("float", "fp32")),
    ):
        if any(name in low for name in names):
            return precision
    return "unknown"
