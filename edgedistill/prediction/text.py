"""What `estimate` and `choose` print for a person."""

from __future__ import annotations

from edgedistill.config.target import load_target
from edgedistill.config.values import size_text
from edgedistill.core.text import printable
from edgedistill.core.text_table import table_lines
from edgedistill.prediction.choose import SOURCES, Budget, Candidate
from edgedistill.prediction.latency import stored
from edgedistill.prediction.model import Prediction

_HEAD = ("", "model", "px", "mode", "FPS", "interval", "MiB", "mJ a frame", "params", "top-1", "fits")
_RIGHT = {"", "px", "FPS", "interval", "MiB", "mJ a frame", "params", "top-1"}
_VERDICTS = ("yes", "maybe", "no")  # by tier


def text_from_prediction(prediction: Prediction) -> str:
    px = prediction.image_px
    size = f" at {size_text(px)} px, {prediction.classes} classes" if px else ""
    images = f", {prediction.batch} images at once" if prediction.batch > 1 else ""
    lines = [
        f"{printable(prediction.model)}{size} on {load_target(prediction.target).title}, "
        f"{prediction.precision.upper()}, TensorRT, {prediction.mode}{images}",
        f"  latency  {_ms(prediction.latency_ms)} ms ({_ms(prediction.latency_ms_low)} to "
        f"{_ms(prediction.latency_ms_high)}: "
        f"held {100 * prediction.interval_share:.0f} % of the rows that were left out)",
        f"  FPS      {prediction.fps:.0f} ({prediction.fps_low:.0f} to {prediction.fps_high:.0f})",
        f"  power    {_power(prediction)}",
        f"  memory   {_memory(prediction)}",
        f"  network  {prediction.parameters / 1e6:.2f} M parameters, {prediction.kernels} kernels after fusion, "
        f"{prediction.macs_beside_depthwise / 1e6:.0f} M multiply-adds beside depthwise",
    ]
    lines += [f"  note     {printable(note)}" for note in prediction.notes]
    return "\n".join([*lines, f"  {prediction.provenance}"])


def _ms(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _power(prediction: Prediction) -> str:
    if prediction.watts is None or prediction.image_mj is None:
        return f"no watts of {prediction.target} are published"
    of_board = stored()["power"]["boards"][prediction.target]
    error = stored()["power"]["network"]["median_fraction"]
    basis = (
        "inferred: the work's share is from another kind of chip, the board's from a camera-bound run"
        if of_board["inferred"]
        else f"{100 * error:.0f} % median error of watts on a network that was left out"
    )
    return f"{prediction.watts:.1f} W while busy, {prediction.image_mj:.0f} mJ an image (predicted; {basis})"


def _memory(prediction: Prediction) -> str:
    own = f"engine and context {prediction.network_mib:.0f} MiB"
    if prediction.memory_mib is None:
        return f"{own}; the memory of the libraries on this board is not published (estimate)"
    return (
        f"about {prediction.memory_with_libraries_mib:.0f} MiB of process with cuBLAS and cuDNN, "
        f"{prediction.memory_mib:.0f} only where the engine is built without them, which is inferred; {own} (estimate)"
    )


def text_from_candidates(candidates: list[Candidate], budget: Budget, rows: int, width: int | None = None) -> str:
    """A ranked table of the first `rows`, and what its columns rest on.

    Args:
        width: columns of the terminal; None: any.
    """
    first, fps, memory_mib = candidates[0].prediction, budget.fps, budget.memory_mib
    wanted = [f"{fps:g} FPS" if fps else "", f"{memory_mib:g} MiB" if memory_mib else ""]
    limits = " and ".join(filter(None, wanted)) or "no limit"
    sizes = {one.prediction.image_px for one in candidates}
    size = "" if len(sizes) > 1 else f", {first.image_px} px"
    mode = ", paced by a camera" if budget.camera else f", {first.mode}"
    shown = [_cells(place, one, len(sizes) > 1, budget.camera) for place, one in enumerate(candidates[:rows], start=1)]
    lines = [
        f"{load_target(first.target).title}, {first.precision.upper()}{mode}, {first.classes} classes{size}; "
        f"budget: {limits}",
        *table_lines([_HEAD, *shown], [place for place, name in enumerate(_HEAD) if name in _RIGHT], width),
    ]
    if budget.camera:
        lines.append(_camera_line(candidates[0], fps or 0))
    counts = [sum(c.tier == tier for c in candidates) for tier in range(3)]
    lines.append(
        f"{len(candidates)} candidates: {counts[0]} fit with the slow end of the interval, {counts[1]} maybe, with its "
        f"middle only, {counts[2]} do not"
    )
    lines.append(
        "FPS and interval: see provenance; MiB: an estimate, engine built without cuBLAS and cuDNN; top-1: of "
        "published weights on ImageNet in %, in brackets where measured on larger images, which ranks after; "
        "fits: the budget, and what `edgedistill students` stores of the board's pre-flight; "
        "* extrapolated beyond the published networks"
    )
    used = sorted({c.accuracy.source for c in candidates[:rows] if c.accuracy})
    lines += [f"ImageNet figures: {SOURCES[source]}" for source in used]
    notes = sorted({n for c in candidates[:rows] for n in c.prediction.notes if not n.startswith("extra")})
    return "\n".join([*lines, *notes, first.provenance])


def _camera_line(best: Candidate, fps: float) -> str:
    p, mj = best.prediction, best.frame_mj
    if mj is None or best.tier == 2:
        return f"no power mode of {p.target} holds {fps:g} FPS with any of these"
    inferred = stored()["power"]["boards"][p.target]["inferred"]
    basis = (
        "from camera-bound figures of this board" if inferred else "inferred for a camera: the GPU rests between frames"
    )
    return (
        f"least energy for {fps:g} FPS: {p.mode}, {mj:.0f} mJ a frame, {mj * fps / 1000:.1f} W of the whole board with "
        f"{p.model} (predicted, {basis}); set it with nvpmodel"
    )


def _cells(place: int, candidate: Candidate, with_px: bool, with_mode: bool) -> tuple[str, ...]:
    p, accuracy = candidate.prediction, candidate.accuracy
    top1 = ""
    if accuracy:
        top1 = f"{accuracy.top1_percent:.1f}"
        top1 = top1 if candidate.comparable_top1 is not None else f"({top1})"
    star = "*" if p.extrapolated else ""
    memory = f"{p.memory_mib:.0f}" if p.memory_mib is not None else ""
    preflight = "" if candidate.preflight == "fits" else f", pre-flight: {candidate.preflight}"
    return (
        str(place),
        p.model + star,
        str(p.image_px) if with_px else "",
        p.mode if with_mode else "",
        f"{p.fps:.0f}",
        f"{p.fps_low:.0f} to {p.fps_high:.0f}",
        memory,
        f"{candidate.frame_mj:.0f}" if candidate.frame_mj is not None else "",
        f"{p.parameters / 1e6:.1f} M",
        top1,
        f"{_VERDICTS[candidate.tier]}{preflight}",
    )
