"""Store a user's own measurements and derive from them a factor on later predictions.

Boards of one kind differ by power supply, cooling and JetPack, rarely by layer, so one factor per board
is enough: exp of the mean of log(measured / predicted) over networks, shrunk towards 1 by one extra network
with ratio 1.
"""

from __future__ import annotations

import datetime
import json
import math
from collections import defaultdict
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edgedistill.config.target import load_target, target_names
from edgedistill.core.files import write_json
from edgedistill.core.text import printable_values
from edgedistill.errors import DeviceError, RecipeError
from edgedistill.prediction.features import Features
from edgedistill.prediction.latency import constants, hardware, latency_ms, refuse_unless_fitted
from edgedistill.records.provenance import Provenance
from edgedistill_device.board.home import user_folder

VERSION = 1


@dataclass(frozen=True)
class Learned:
    """What the measurements of one board give.

    Attributes:
        factor: multiplies a predicted latency.
        note: text for the provenance, "" without measurements.
    """

    factor: float
    note: str


@dataclass(frozen=True)
class Measured:
    """One measurement of one network on a board.

    Attributes:
        model, image_px: as in the report; px is None if the report lacks it.
        latency_ms: p50 of TensorRT's compute time, or of the time with copies if the report has no other.
        board: name from the device tree.
        mode: power mode as nvpmodel named it; None where the report has none.
    """

    model: str
    image_px: int | tuple[int, int] | None
    precision: str
    latency_ms: float
    board: str
    state: str
    mode: str | None = None


NOTHING = Learned(1.0, "")
_KEYS = {field.name for field in fields(Measured)} | {"target", "date", "features"}  # of a stored measurement
_LATER = {"mode"}  # those that measurements of an older edgedistill lack


def store() -> Path | None:
    """Return $XDG_DATA_HOME/edgedistill/measurements.json; None for a user without a home folder."""
    data = user_folder("XDG_DATA_HOME", ".local", "share")
    return Path(data) / "edgedistill" / "measurements.json" if data else None


def factor_of(target: str) -> Learned:
    """Compute the factor of this user's measurements on this board."""
    by_network: dict[str, list[float]] = defaultdict(list)
    for entry in _entries():
        if entry["target"] != target:
            continue
        try:
            features = Features(**entry["features"])
            predicted = latency_ms(features, target, _mode(target, entry.get("mode")), entry["precision"], constants())
            by_network[entry["model"]].append(math.log(entry["latency_ms"] / predicted))
        except (LookupError, TypeError, ValueError, ArithmeticError):
            raise _not_readable(store()) from None
    if not by_network:
        return NOTHING
    means = [sum(values) / len(values) for values in by_network.values()]
    factor = math.exp(sum(means) / (len(means) + 1))
    return Learned(
        factor,
        f"; times {factor:.3f} from your own measurements of {len(means)} network{'s' if len(means) > 1 else ''}",
    )


def measured_from_report(path: Path) -> Measured:
    """Read the measurement of a board's bench report or of a run's report.json.

    Raises:
        DeviceError: it is not such a report, or was not measured on a board.
    """
    try:
        lines = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceError(f"{path}: not a readable report: {error}") from None
    report = _parsed(lines) or _parsed(lines.splitlines()[-1] if lines else "")
    if report is None:
        raise DeviceError(f"{path}: expected the JSON of `python3 -m edgedistill_device bench` or a run's report.json")
    try:
        measured, provenance = _figures(report)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DeviceError(f"{path}: not a report of this project's bench: no {error}") from None
    if not all(
        isinstance(word, str)
        for word in (measured.model, measured.precision, measured.board or "", measured.state, measured.mode or "")
    ):
        raise DeviceError(f"{path}: not a report of this project's bench: model, precision, board or state is no text")
    if not provenance.is_measured or not measured.board:
        raise DeviceError(f"{path}: {provenance}; only what a board measured can be learned from")
    if not 0 < measured.latency_ms < math.inf:
        raise DeviceError(f"{path}: a latency of {measured.latency_ms} ms was not measured")
    if measured.state == "throttled":
        raise DeviceError(f"{path}: the board throttled while it was measured; cool it and bench again")
    return measured


def _figures(report: dict[str, Any]) -> tuple[Measured, Provenance]:
    """Return the measurement in either report and its provenance."""
    if "device" not in report:
        scope = report["compute_ms"] or report["host_ms"]
        measured = Measured(
            report["model"],
            None,
            report["executed"],
            float(scope["p50_ms"]),
            report["machine"]["board"],
            report["state"],
            (report.get("power_mode") or {}).get("name"),
        )
        return measured, Provenance.from_text(str(report["provenance"]))
    device, recipe = report["device"], report["provenance"]["recipe"]
    scope = device["latency_ms"]["compute"] or device["latency_ms"]["host"]
    measured = Measured(
        recipe["student"]["model"],
        recipe["data"]["image_px"],
        device["executed"],
        float(scope["p50_ms"]),
        device["machine"]["board"],
        device["conditions"]["state"],
        (device["conditions"].get("power_mode") or {}).get("name"),
    )
    return measured, Provenance.from_text(str(device["provenance"]))


def _mode(target: str, name: str | None) -> str:
    """The power mode that a report names, the board's usual one where it names none that is known here."""
    board = hardware()[target]
    return (board.mode_named(name) if name else None) or board.usual_mode


def learn(measured: Measured, target: str, features: Features) -> int:
    """Store one measurement; it replaces an earlier one of the same network, size and precision.

    Returns:
        Number of stored measurements of this board.

    Raises:
        RecipeError: there is no prediction for this board and precision.
        DeviceError: it was measured on another kind of board.
        RunFolderError: the file cannot be written.
    """
    refuse_unless_fitted(target, measured.precision)
    title = load_target(target).title
    if _kind(measured.board) != _kind(title):
        raise DeviceError(f"measured on {measured.board!r}, not on {title}; give its --target")
    entry = {
        **asdict(measured),
        "target": target,
        "date": datetime.date.today().isoformat(),
        "features": asdict(features),
    }
    key = ("target", "model", "image_px", "precision", "mode")
    entries = [old for old in _entries() if any(old.get(name) != entry[name] for name in key)] + [entry]
    path = store()
    if path is None:
        raise RecipeError("this user has no home folder to keep measurements in; set XDG_DATA_HOME or HOME")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"version": VERSION, "measurements": entries})
    return sum(one["target"] == target for one in entries)


def _entries() -> list[dict[str, Any]]:
    path = store()
    if path is None or not path.exists():
        return []
    stored = _parsed(path.read_text(encoding="utf-8", errors="replace"))
    entries = stored.get("measurements") if stored and stored.get("version") == VERSION else None
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and set(entry) | _LATER == _KEYS for entry in entries
    ):
        raise _not_readable(path)
    return entries


def _not_readable(path: Path | None) -> RecipeError:
    return RecipeError(
        f"{path}: not readable here, expected version {VERSION}; remove it to continue without your measurements"
    )


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        value = printable_values(json.loads(text))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _kind(name: str) -> set[str]:
    """Return the words of a board's name that distinguish the kinds of boards."""
    telling = {word for target in target_names() for word in target.split("-") if word.isalpha()}
    return set(name.lower().split()) & telling
