"""`check --fix` on what torch.onnx.export writes today: the students, other timm networks, modules of one operator.

    python benchmarks/dynamo_exports.py --results R.jsonl [--keep FOLDER] [--networks NAME ...] [--table]

Each export is a case: network, batch fixed or open, opset, type. It runs in a process of its own, which is stopped
after --seconds. A case gives one line of R.jsonl; those that are there are not made again, so a stopped run goes
on. --keep holds the exported files, so that only the mend is repeated after R.jsonl is removed. --table prints
the table of R.jsonl alone. Weights are random, so nothing here is about accuracy.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks.dynamo_networks import MODULES, OTHERS, SEED, STUDENTS, network
from edgedistill.onnx_model.check import check, fix

BOARD, RELEASE, LATER = "jetson-nano", "8.2", "10.3"
MOST_BYTES = 8 << 30  # of one case
# (batch, opset, type), the most different ones first
NETWORK_CASES = (("fixed", 18, "float"), ("open", 20, "float"), ("open", 18, "float"), ("fixed", 20, "float"))
MODULE_CASES = (
    *NETWORK_CASES,
    ("fixed", 23, "float"),
    ("open", 21, "float"),
    ("fixed", 22, "half"),
    ("fixed", 18, "half"),
)
UNFUSED = ".unfused"
LIBRARIES = ("torch", "onnxscript", "timm", "onnx", "onnxruntime", "onnxslim")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--networks", nargs="+", default=all_names())
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--table", action="store_true", help="print the table of what --results holds, run nothing")
    options = parser.parse_args()
    if not options.table:
        run(options)
    print(table(rows_of(options.results)))


def cases(names: list[str]) -> Iterator[dict[str, Any]]:
    """The two most different cases of every network before the others of any."""
    for places in (slice(2), slice(2, None)):
        for name in names:
            of_this = MODULE_CASES if name in MODULES else NETWORK_CASES
            for batch, opset, kind in of_this[places]:
                yield {"network": name, "batch": batch, "opset": opset, "type": kind}


def all_names() -> list[str]:
    """Networks in an order of chance, so that a run that is stopped has some of each family."""
    networks = [*OTHERS, *STUDENTS]
    return [*MODULES, *random.Random(SEED).sample(networks, len(networks))]


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def run(options: argparse.Namespace) -> None:
    """A process for each case that has no row yet."""
    torch.set_num_threads(1)
    warm_up()
    done = [{key: row[key] for key in ("network", "batch", "opset", "type")} for row in rows_of(options.results)]
    left = [case for case in cases(options.networks) if case not in done]
    fork, started = multiprocessing.get_context("fork"), time.monotonic()
    for number, case in enumerate(left, start=1):
        receiver, sender = fork.Pipe(duplex=False)
        process = fork.Process(target=examine, args=(case, options.keep, sender))
        process.start()
        sender.close()
        row = _received(receiver, process, options.seconds)
        process.kill()
        process.join()
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**case, **row}) + "\n")
        print(
            f"{number}/{len(left)} {case['network']} batch {case['batch']} opset {case['opset']} {case['type']}: "
            f"{row.get('failed') or row['stands'] or 'mended'} ({time.monotonic() - started:.0f} s)",
            file=sys.stderr,
            flush=True,
        )


def _received(receiver, process, seconds: float) -> dict[str, Any]:
    try:
        return receiver.recv() if receiver.poll(seconds) else {"failed": f"no answer in {seconds:.0f} s"}
    except EOFError:
        process.join()
        return {"failed": f"its process ended with {process.exitcode}"}


def warm_up() -> None:
    """The first export of a process loads what the others find loaded."""
    with tempfile.TemporaryDirectory() as folder:
        exported(torch.nn.Hardswish(), torch.zeros(1, 2), "fixed", 18, Path(folder) / "m.onnx")


def examine(case: dict[str, Any], keep: Path | None, sender) -> None:
    """Sends the row of a case: failed, or fits_before, fits_after, fits_later, difference, stands, mended."""
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
    with tempfile.TemporaryDirectory() as folder:
        name = f"{case['network']}-{case['batch']}-{case['opset']}-{case['type']}.onnx"
        path = (keep or Path(folder)) / name
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                model, shape = network(case["network"])
                kind = {"float": torch.float32, "half": torch.float16}[case["type"]]
                image = torch.zeros(1 if case["batch"] == "fixed" else 2, *shape, dtype=kind)
                exported_somehow(model.to(kind), image, case["batch"], case["opset"], path)
        except Exception as error:  # of dozens of types
            sender.send({"failed": f"the exporter: {_line(error)}"})
            return
        fused = not path.with_suffix(UNFUSED).exists()
        sender.send({"fused_attention": fused, **mend(path, Path(folder) / "mended.onnx")})


def exported_somehow(model: torch.nn.Module, image: torch.Tensor, batch: str, opset: int, path: Path) -> None:
    """Without fused attention where that stops the exporter; a file beside it says so."""
    try:
        return exported(model, image, batch, opset, path)
    except Exception:
        parts = [part for part in model.modules() if hasattr(part, "fused_attn")]
        if not parts:
            raise
    for part in parts:
        part.fused_attn = False
    path.with_suffix(UNFUSED).touch()
    return exported(model, image, batch, opset, path)


def exported(model: torch.nn.Module, image: torch.Tensor, batch: str, opset: int, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (image,),
            dynamo=True,
            opset_version=opset,
            input_names=["image"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},) if batch == "open" else None,
            verbose=False,
        )
    partial = path.with_suffix(".partial")
    program.save(partial)
    partial.replace(path)


def mend(path: Path, out: Path) -> dict[str, Any]:
    try:
        before = {release: check(path, BOARD, release)["fits"] for release in (RELEASE, LATER)}
        result = fix(path, BOARD, out, RELEASE)
    except Exception as error:
        return {"failed": f"check --fix: {_line(error)}"}
    errors = [finding for finding in result["findings"] if finding["level"] == "error"]
    faults = [f"{finding['node']}: {finding['why']}" for finding in errors]
    return {
        "fits_before": before[RELEASE],
        "fits_later_before": before[LATER],
        "fits_after": result["fits"],
        "difference": result["fix"]["proof"]["max_relative_difference"],
        "mended": result["fix"]["mended"],
        "stands": "; ".join([*result["fix"]["not_mended"], *faults]) if errors else "",
    }


def _line(error: BaseException) -> str:
    """The first cause: what the exporter raises around it is advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: networks with the same counts and the same obstacles share a line."""
    by_network, alike = defaultdict(list), defaultdict(list)
    for row in rows:
        by_network[row["network"]].append(row)
    for name, made in by_network.items():
        alike[_counts(made)].append((name, max(row.get("difference", 0.0) for row in made)))
    lines = [
        f"| networks | cases of each | exported | fit {LATER} | fit {RELEASE} | fit {RELEASE} mended | largest "
        "difference | what stands in the way |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (cases_made, *counts, reasons), members in alike.items():
        names = ", ".join(name for name, _ in members)
        worst = max(difference for _, difference in members)
        cells = [names, str(cases_made), *map(str, counts), f"{worst:.1e}", reasons.replace("|", "\\|")]
        lines.append(f"| {' | '.join(cells)} |")
    fits = sum(bool(row.get("fits_after")) for row in rows)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    return "\n".join([*lines, "", f"{fits} of {len(rows)} cases fit {RELEASE} after the mend ({versions})"])


def _counts(made: list[dict[str, Any]]) -> tuple[int | str, ...]:
    """Of one network: cases, exported, fit the later release, fit, fit when mended; and what stands in the way."""
    written = [row for row in made if not row.get("failed", "").startswith("the exporter")]
    counts = [sum(bool(row.get(key)) for row in made) for key in ("fits_later_before", "fits_before", "fits_after")]
    reasons = dict.fromkeys(row.get("failed") or row["stands"] for row in made)
    if not all(row.get("fused_attention", True) for row in made):
        reasons["exported only without fused attention (`fused_attn = False`)"] = None
    return len(made), len(written), *counts, "<br>".join(filter(None, reasons))


if __name__ == "__main__":
    main()
