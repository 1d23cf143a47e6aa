"""Stage `deploy`: verify and time the bundle on each host; today that is this computer."""

from __future__ import annotations

import time

import numpy as np

from edgedistill.device.local import verify_and_bench
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.pipeline import StageContext
from edgedistill.run_folder import Result
from edgedistill.stages.export import STUDENT, TEACHER


def run(context: StageContext) -> Result:
    deploy = context.recipe.deploy
    hosts = []
    for host in deploy.hosts:
        found = verify_and_bench(context.file("bundle", "bundle"), deploy.bench_runs)
        hosts.append({"host": host, **found})
    return Result({"hosts": hosts, "speedup_here": _speedup_here(context, deploy.bench_runs)})


def _speedup_here(context: StageContext, runs: int) -> dict:
    """Teacher against student in ONNX Runtime on this computer, in turn, medians of one image."""
    rng, px = np.random.default_rng(0), context.recipe.data.image_px
    image = rng.normal(size=(1, 3, px, px)).astype(np.float32)
    samples: dict[str, list[float]] = {"teacher": [], "student": []}
    with (
        OnnxSession(context.file("export", TEACHER)) as teacher,
        OnnxSession(context.file("export", STUDENT)) as student,
    ):
        nets = {"teacher": teacher, "student": student}
        for turn in range(runs + 10):
            for name, session in nets.items():
                start = time.perf_counter()
                session.logits(image)
                if turn >= 10:  # warm-up
                    samples[name].append((time.perf_counter() - start) * 1e3)
    medians = {name: float(np.median(values)) for name, values in samples.items()}
    return {
        "teacher_p50_ms": medians["teacher"],
        "student_p50_ms": medians["student"],
        "ratio": medians["teacher"] / medians["student"],
        "provenance": "stand-in: ONNX Runtime on this computer, not the board",
    }
