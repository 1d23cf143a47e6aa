"""Stage `deploy`: verify and time the bundle on each host, and make each board serve it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from edgedistill.config.target import wanted_target
from edgedistill.deployment.board import Board
from edgedistill.deployment.deploy import SignedBundle, Wanted, deploy, signed_bundle
from edgedistill.deployment.local import LOCAL, verify_and_bench
from edgedistill.deployment.ssh import Connection
from edgedistill.onnx_model.backends import backend_here
from edgedistill.onnx_model.session import OnnxSession
from edgedistill.pipeline.context import StageContext
from edgedistill.records.deployment import BoardDeployment, DeployRecord, SpeedupHere, TimedBundle
from edgedistill.records.layout import STUDENT, TEACHER
from edgedistill.records.provenance import Kind, Provenance
from edgedistill.records.result import Result

_BOARDS = "boards"


def run(context: StageContext) -> Result:
    wanted = context.recipe.deploy
    folder = context.file("bundle", "bundle")
    boards = [host for host in wanted.hosts if host != LOCAL]
    bundle = signed_bundle(folder) if boards else None  # refused before anything is timed or copied
    hosts: list[BoardDeployment | TimedBundle] = []
    for host in wanted.hosts:
        if host == LOCAL:
            backend = backend_here(wanted_target(context.recipe.target)).name
            hosts.append(verify_and_bench(folder, wanted.bench_runs, backend=backend))
        elif bundle is not None:
            hosts.append(_on_board(context, host, bundle))
    record = DeployRecord(hosts=hosts, speedup_here=_speedup_here(context, wanted.bench_runs))
    return Result(record, tuple(f"{_BOARDS}/{host}.json" for host in boards))


def _on_board(context: StageContext, host: str, bundle: SignedBundle) -> BoardDeployment:
    wanted = context.recipe.deploy
    config = Path(wanted.ssh_config) if wanted.ssh_config else None
    receipt = context.out / _BOARDS / f"{host}.json"
    if config is not None:  # the recipe may be somebody else's
        context.talk.say(f"  ssh reads the recipe's deploy.ssh_config, {config}, and runs what that names")
    with Connection(host, config) as machine:
        board = Board(machine, wanted.root, wanted.python, context.talk.say)
        return deploy(board, bundle, Wanted(wanted.until, wanted.bench_runs), receipt, context.talk)


def _speedup_here(context: StageContext, runs: int) -> SpeedupHere:
    """Teacher against student in ONNX Runtime on this computer, in turn, medians of one image."""
    rng, size = np.random.default_rng(0), context.recipe.data.size
    image = rng.normal(size=(1, 3, *size)).astype(np.float32)
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
    return SpeedupHere(
        teacher_p50_ms=medians["teacher"],
        student_p50_ms=medians["student"],
        ratio=medians["teacher"] / medians["student"],
        provenance=Provenance(Kind.STAND_IN, "ONNX Runtime on this computer, not the board"),
    )
