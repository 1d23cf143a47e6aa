"""What `estimate` and `choose` print for a person."""

from __future__ import annotations

from edgedistill.config.target import load_target
from edgedistill.core.text import printable
from edgedistill.core.text_table import table_lines
from edgedistill.prediction.choose import SOURCES, Candidate
from edgedistill.prediction.latency import hardware
from edgedistill.prediction.model import Prediction

_HEAD = (
    "",
    "model",
    "px",
    "FPS",
    "interval",
    "of wanted",
    "MiB",
    "spare",
    "M params",
    "ImageNet",
    "pre-flight",
    "verdict",
)


def text_from_prediction(prediction: Prediction) -> str:
    size = f" at {prediction.image_px} px, {prediction.classes} classes" if prediction.image_px else ""
    title, mode = load_target(prediction.target).title, hardware()[prediction.target].mode
    lines = [
        f"{printable(prediction.model)}{size} on {title}, {prediction.precision.upper()}, TensorRT, {mode}",
        f"  latency  {prediction.latency_ms:.1f} ms ({prediction.latency_ms_low:.1f} to "
        f"{prediction.latency_ms_high:.1f}: "
        f"held {100 * prediction.interval_share:.0f} % of networks of families that were left out)",
        f"  FPS      {prediction.fps:.0f} ({prediction.fps_low:.0f} to {prediction.fps_high:.0f})",
        f"  memory   {_memory(prediction)}",
        f"  network  {prediction.parameters / 1e6:.2f} M parameters, {prediction.kernels} kernels after fusion, "
        f"{prediction.macs_beside_depthwise / 1e6:.0f} M multiply-adds beside depthwise",
    ]
    lines += [f"  note     {printable(note)}" for note in prediction.notes]
    return "\n".join([*lines, f"  {prediction.provenance}"])


def _memory(prediction: Prediction) -> str:
    own = f"engine and context {prediction.network_mib:.0f} MiB"
    if prediction.memory_mib is None:
        return f"{own}; the memory of the libraries on this board is not published (estimate)"
    return (
        f"about {prediction.memory_mib:.0f} MiB when built without cuBLAS and cuDNN, "
        f"{prediction.memory_with_libraries_mib:.0f} with; {own} (estimate)"
    )


def text_from_candidates(candidates: list[Candidate], fps: float | None, memory_mib: float | None, rows: int) -> str:
    """A ranked table of the first `rows`, and what its columns rest on."""
    first = candidates[0].prediction
    wanted = [f"{fps:g} FPS" if fps else "", f"{memory_mib:g} MiB" if memory_mib else ""]
    budget = " and ".join(filter(None, wanted)) or "no limit"
    title, mode = load_target(first.target).title, hardware()[first.target].mode
    lines = [
        f"{title}, {first.precision.upper()}, {mode}, {first.classes} classes; budget: {budget}",
        *table_lines(
            [_HEAD, *(_cells(place, one) for place, one in enumerate(candidates[:rows], start=1))], right=range(2, 10)
        ),
    ]
    counts = [sum(c.tier == tier for c in candidates) for tier in range(3)]
    lines.append(
        f"{len(candidates)} candidates: {counts[0]} fit with the slow end of the interval, {counts[1]} with its "
        f"middle only, {counts[2]} do not"
    )
    lines.append(
        "FPS and interval: see provenance; MiB: an estimate, engine built without cuBLAS and cuDNN; ImageNet: "
        "top-1 in % of published weights, in brackets where measured on larger images, which ranks after; "
        "pre-flight: stored verdict of `edgedistill students`; * extrapolated beyond the published networks"
    )
    used = sorted({c.accuracy.source for c in candidates[:rows] if c.accuracy})
    lines += [f"ImageNet figures: {SOURCES[source]}" for source in used]
    notes = sorted({n for c in candidates[:rows] for n in c.prediction.notes if not n.startswith("extra")})
    return "\n".join([*lines, *notes, first.provenance])


def _cells(place: int, candidate: Candidate) -> tuple[str, ...]:
    p, accuracy = candidate.prediction, candidate.accuracy
    top1 = ""
    if accuracy:
        top1 = f"{accuracy.top1_percent:.1f}"
        top1 = top1 if candidate.comparable_top1 is not None else f"({top1})"
    star = "*" if p.extrapolated else ""
    ratio = f"{candidate.fps_ratio:.2f}" if candidate.fps_ratio is not None else ""
    memory = f"{p.memory_mib:.0f}" if p.memory_mib is not None else ""
    spare = f"{candidate.spare_mib:+.0f}" if candidate.spare_mib is not None else ""
    interval = f"{p.fps_low:.0f} to {p.fps_high:.0f}"
    return (
        str(place),
        p.model + star,
        str(p.image_px),
        f"{p.fps:.0f}",
        interval,
        ratio,
        memory,
        spare,
        f"{p.parameters / 1e6:.2f}",
        top1,
        candidate.preflight,
        candidate.verdict,
    )
