"""What of a run must be equal after a disturbance, and what must not be there."""

import hashlib
import json

MEASURED = {"schedule", "deploy", "report"}  # hold times: they must be whole, not equal


def bits_of(run):
    """{stage: digest of its values and files, and a hash of the files as they lie there}."""
    found = {}
    for path in sorted(run.glob("*/*.json")):
        stage = path.parent.name
        if path.stem != stage or stage == "sweep":  # which is no stage: its folder has no stamp
            continue
        stamp = json.loads(path.read_text(encoding="utf-8"))["artifact"]
        files = {name: hashlib.sha256((path.parent / name).read_bytes()).hexdigest() for name in stamp["files"]}
        assert files == {name: file["sha256"] for name, file in stamp["files"].items()}, stage
        found[stage] = "whole" if stage in MEASURED else [stamp["digest"], sorted(files.items())]
    return found


def left_over(run):
    """Names below a run folder that only work under way may have."""
    return sorted(
        str(path.relative_to(run))
        for path in run.rglob("*")
        if path.suffix in {".tmp", ".partial", ".old"}
        or ".partial" in path.name
        or path.name in {"checkpoint.pt", "qad.pt", "histograms.npz", "inputs.json"}
    )
