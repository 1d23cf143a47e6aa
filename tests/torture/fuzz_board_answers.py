"""What a board says, and what lies on this computer about boards: answers by ssh, receipts, fleets, reports."""

import argparse
import contextlib
import io
import json
import os
from pathlib import Path
from unittest import mock

import archives
from corruptions import after_head, mutated_json
from edgedistill.cli import compare
from edgedistill.deployment import fleet, streams
from edgedistill.deployment.board import Board
from edgedistill.deployment.deploy import UNTIL, Wanted, deploy, signed_bundle
from edgedistill.deployment.inventory import Fleet, FleetBoard, Rollout, load_fleet
from edgedistill.deployment.ssh import Connection, reason_of
from edgedistill.errors import DeviceError, EdgeDistillError
from edgedistill.prediction.features import NAMES, Features
from edgedistill.prediction.user_measurements import factor_of, learn, measured_from_report
from edgedistill.progress.reporter import Talk
from edgedistill.records.deployment import DONE, FleetRecord
from edgedistill.records.report import ReportRecord
from edgedistill.reporting.fleet_page import html_from_fleet
from edgedistill_device.benchmark.benchreport import KEYS
from monitored_target import Target
from record_factories import record_with

_TIMES = {"runs": 200, "p50_ms": 5.0, "p95_ms": 6.0, "p99_ms": 7.0}
BENCH = {
    **dict.fromkeys(KEYS),
    "version": 2,
    "verb": "bench",
    "model": "mobilenetv3_small_100",
    "backend": "tensorrt",
    "provenance": "measured: Nano",
    "requested": "fp16",
    "executed": "fp16",
    "state": "locked",
    "machine": {"board": "NVIDIA Jetson Nano Developer Kit", "l4t": "32.7.1"},
    "compute_ms": _TIMES,
    "host_ms": _TIMES,
    "end_to_end_ms": _TIMES,
    "warnings": [],
    "fps": {"host": 200.0, "end_to_end": 150.0, "pipelined": 190.0},
}
# What a board of ours answers, in the order of a deployment; `cat` is the raw samples.
ANSWERS = {
    "status": {
        "current": None,
        "previous": None,
        "proven": False,
        "incoming": [],
        "highest_serial": {},
        "releases": [{"id": "0" * 16, "verified": False}, {"id": "1" * 16}, {"id": "2" * 16}],
        "board": {"version": 1, "target": "local", "backend": "tensorrt"},
        "agent": {"sha256": "x"},
    },
    "doctor": {"ok": True, "checks": [{"name": "disk", "ok": True, "required": True, "found": "", "advice": ""}]},
    "want": {
        "id": "",
        "release_exists": False,
        "files": [{"name": "model.onnx", "bytes": 1024, "have": 0}, {"name": "empty", "bytes": 0, "have": 0}],
    },
    "accept": {"id": "", "serial": 1, "key_id": "0" * 16, "already": False},
    "build": {"executed": "fp16", "board": "Nano", "warnings": [], "reasons": []},
    "verify": {"executed": "fp16", "images": 2, "max_relative_difference": 0.001},
    "bench": BENCH,
    "activate": {"id": "", "previous": None, "health": {}, "already": False},
    "prune": {"removed": [], "incoming": [], "freed_bytes": 0},
    "cat": {"host_ms": [5.0, 5.1], "end_to_end_ms": [6.0]},
}
NANO = FleetBoard("nano", None, "nano", "local", "edgedistill", "python3", canary=False)
_SAME_CODE = mock.patch("edgedistill.deployment.deploy.device_code_sha256", return_value="x")  # it reads 90 files
CODES = (0, 1, 2, 3, 126, 127, 255, -9)


class _Said(Connection):
    """A board of which one answer is the input; what is copied to it is only looked at."""

    def __init__(self, bundle, heads, words):
        super().__init__("nano")
        self._bundle, self._heads, self._words, self._activated = bundle, heads, words, False

    def _ssh(self, flags, command, say=None, timeout_s=None):
        (words,) = command
        plain = f"{words} ".replace("'", "")
        verb = next((name for name in ANSWERS if f" python3 {name} " in plain), "cat")
        answer = {"verb": verb, **ANSWERS[verb]} if verb != "cat" else ANSWERS[verb]
        self._activated |= verb == "activate"
        if verb == "status" and self._activated:
            answer |= {"current": self._bundle.id, "proven": True}
        code, out, error = 0, b"line\n" + json.dumps(answer).encode(), b""
        asked_anew = verb == "status" and self._activated
        aimed_at = verb == list(ANSWERS)[self._heads[0] % len(ANSWERS)]
        if aimed_at and asked_anew is (verb == "status" and bool(self._heads[2] & 8)):
            code = CODES[self._heads[1] % len(CODES)]
            out, error = (self._words, b"") if self._heads[2] % 2 == 0 else (out, self._words)
        lines = streams._Lines(say), streams._Lines(say)  # as `ask` reads a process
        for stream, content in zip(lines, (out, error), strict=True):
            for start in range(0, len(content), 1000):
                stream.take(content[start : start + 1000])
            stream.end()
        said = "\n".join(map(streams.clean, lines[1].tail()))
        return streams.Answer(code, lines[0].last, streams.clean(lines[1].last), said)

    def put(self, folder, uploads, there, sent=None):
        assert folder == self._bundle.folder
        assert there == f"edgedistill/incoming/{self._bundle.id}"
        for upload in uploads:
            assert upload.name in archives.order(), "a file of this computer is sent"


class _Heard(Talk):
    """Whatever is said is fit for a terminal."""

    def say(self, line):
        fit_for_a_terminal(line)


def fit_for_a_terminal(text):
    assert text.isprintable(), f"{text[:200]!r} is shown to a person"
    assert len(text) < 4000, f"{len(text)} characters are shown to a person"


def rolled_out(bundle, row):
    return FleetRecord(
        version=1,
        fleet="hall",
        id=bundle.id,
        model="m",
        target="local",
        serial=1,
        until="activate",
        stopped=None,
        boards=[row],
    )


def protocol_lines(folder):
    """Three bytes: which verb's answer, its exit code, stdout or stderr; the rest is what is said there."""
    bundle = signed_bundle(Path(archives.make_signed(folder)[0]))
    receipt = folder / "receipt.json"

    def call(content):
        heads, words = content[:3].ljust(3, b"\0"), content[3:]
        receipt.unlink(missing_ok=True)
        board = Board(_Said(bundle, heads, words), "edgedistill", "python3", fit_for_a_terminal)
        try:
            with mock.patch("edgedistill.deployment.board.BUSY_WAIT_S", -1.0), _SAME_CODE:
                found = deploy(board, bundle, Wanted(UNTIL[heads[2] // 2 % 4]), receipt, _Heard())
        except DeviceError as error:
            fit_for_a_terminal(str(error))
            raise
        for line in fleet.table_from_fleet(rolled_out(bundle, fleet.row_of(NANO, DONE, found))).splitlines():
            fit_for_a_terminal(line)
        json.dumps(found.to_json(), allow_nan=False)

    corpus = [
        bytes([number, code, aim]) + json.dumps({"verb": verb, **ANSWERS[verb]}).encode()
        for number, verb in enumerate(ANSWERS)
        for code, aim in ((0, 6), (0, 6), (1, 7))
    ]
    served = {"verb": "status", **ANSWERS["status"], "current": bundle.id, "proven": True}
    corpus.append(bytes([0, 0, 14]) + json.dumps(served).encode())  # as it is asked once more at the end
    return Target(corpus, call, EdgeDistillError, folder, after_head(mutated_json, 3))


SSH_SAID = (
    b"ssh: Could not resolve hostname nano: Name or service not known\r\n",
    b"@@@@@@@@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@@\nHost key verification failed.\r\n",
    b"No ED25519 host key is known for nano and you have requested strict checking.\nHost key verification failed.\n",
    b"u@nano: Permission denied (publickey,password).\n",
    b"ssh: connect to host nano port 22: Connection refused\n",
    b"ssh: connect to host nano port 22: Connection timed out\n",
    b"command-line: line 0: Bad configuration option: x\n",
)


def words_of_ssh(folder):
    """What ssh prints when there is no connection; a login banner of the board is part of it."""

    def call(content):
        fit_for_a_terminal(reason_of("nano", content.decode("utf-8", "replace")) or "")

    return Target(SSH_SAID, call, (), folder)


def receipts(folder):
    """The receipt of an earlier deployment, and the rows of an earlier roll-out, as they lie here."""
    bundle = signed_bundle(Path(archives.make_signed(folder)[0]))
    receipt, rows = folder / "receipt.json", folder / "fleet.json"
    deploy(Board(_Said(bundle, b"\0\0\1", b""), "edgedistill", "python3", len), bundle, Wanted(), receipt, _Heard())
    row = fleet.row_of(NANO, DONE).model_copy(update={"p50_ms": 5.0, "fps": 9.0})
    genuine = [receipt.read_bytes(), json.dumps(rolled_out(bundle, row).to_json()).encode()]
    hall = Fleet("hall", (NANO,), Rollout())

    def call(content):
        which, words = content[:1], content[1:]
        if which == b"\0":
            receipt.write_bytes(words)
            with _SAME_CODE:
                deploy(
                    Board(_Said(bundle, b"\0\0\1", b""), "edgedistill", "python3", len),
                    bundle,
                    Wanted(),
                    receipt,
                    _Heard(),
                )
        else:
            rows.write_bytes(words)
            there = contextlib.nullcontext(_Said(bundle, b"\0\0\1", b""))
            with mock.patch.object(fleet, "Connection", return_value=there):
                fleet.table_from_fleet(fleet.roll_out(hall, bundle, Wanted(), folder, _Heard(), html_from_fleet))

    return Target(
        [bytes([n]) + raw for n, raw in enumerate(genuine)], call, EdgeDistillError, folder, after_head(mutated_json, 1)
    )


def fleet_file(folder):
    path = folder / "fleet.toml"
    toml = (
        b'[rollout]\nwave = 2\nparallel = 2\nmax_failures = 1\n[defaults]\ntarget = "jetson-nano"\n'
        b'[groups.hall-a]\nroot = "edgedistill"\n[boards.nano-01]\ngroup = "hall-a"\nhost = "user@nano"\n'
        b'canary = true\n[boards.b]\npython = "/usr/bin/python3"\n'
    )

    def call(content):
        path.write_bytes(content)
        found = load_fleet(path)
        assert all(not board.host.startswith("-") and not board.python.startswith("-") for board in found.boards)

    return Target([toml], call, EdgeDistillError, folder)


def learned_reports(folder):
    """A board's report for `estimate --learn`, and what was kept of earlier ones: the first byte says which."""
    path, data = folder / "report.json", folder / "data"
    store = data / "edgedistill" / "measurements.json"
    features = Features(**dict.fromkeys(NAMES, 1e6))
    run = {
        "device": {
            "latency_ms": {"compute": _TIMES, "host": _TIMES},
            "executed": "fp16",
            "conditions": {"state": "locked"},
            "machine": BENCH["machine"],
            "provenance": "measured: x",
        },
        "provenance": {"recipe": {"student": {"model": "m"}, "data": {"image_px": 224}}},
    }
    with mock.patch.dict(os.environ, XDG_DATA_HOME=str(data)):
        path.write_text(json.dumps(BENCH))
        learn(measured_from_report(path), "jetson-nano", features)
    kept = store.read_bytes()

    def call(content):
        which, words = content[0] % 2 if content else 0, content[1:]
        path.write_bytes(json.dumps(BENCH).encode() if which else words)
        store.write_bytes(words if which else kept)
        with mock.patch.dict(os.environ, XDG_DATA_HOME=str(data)):
            learn(measured_from_report(path), "jetson-nano", features)
            factor_of("jetson-nano")

    corpus = [b"\0" + json.dumps(BENCH).encode(), b"\0" + json.dumps(run).encode(), b"\1" + kept]
    return Target(corpus, call, EdgeDistillError, folder, after_head(mutated_json, 1))


def small_report():
    """A report.json; what `compare` reads of it has values of its own."""
    net = {
        "model": "m",
        "top1_fraction": 0.9,
        "top1_interval": [0.8, 0.95],
        "parameters": 5,
        "macs": 10,
        "file_bytes": 20,
        "provenance": "measured: x",
    }
    step = {"top1_fraction": 0.9, "drop_points": 0.0}
    device = {
        "host": "nano",
        "executed": "fp16",
        "latency_ms": {"host": _TIMES, "end_to_end": _TIMES},
        "fps": {"end_to_end": 9.0},
        "memory": {"process_peak_mib": 9.0, "nvmap_delta_mib": None},
        "power": {"energy_mj": None},
        "conditions": {"state": "locked"},
        "provenance": "measured: x",
        "machine": {"board": "Nano"},
    }
    said = {
        "version": 2,
        "metric": "top1_fraction",
        "method": "kd",
        "test_images": 9,
        "retention_fraction": 0.98,
        "teacher": net,
        "baseline": net,
        "student": net,
        "accuracy_ladder": {"fp16": step, "int8": step},
        "gain": {"points": 1.0, "interval_points": [0.5, 1.5], "seeds": 1},
        "devices": [device],
        "target": {"title": "Nano", "name": "jetson-nano", "executed": "fp16"},
        "verdict": {"outcome": "met"},
        "provenance": {"recipe": {"data": {"image_px": 224}}, "artifacts": {"data": "0" * 8}, "date": "2026-01-01"},
    }
    return record_with(ReportRecord, said).to_json()


_FIGURE = "edgedistill.reporting.compare_page.pareto_figure"


def compared_runs(folder):
    """A report.json and a sweep.json for `compare`: the first byte says which."""
    trial = {"settings": {"distill.temperature": 2.0}, "value": 0.9, "state": "complete", "epochs": 2}
    sweep = {"metric": "validation top1_fraction", "images": "validation", "seeds": 1, "trials": [trial], "best": trial}
    genuine = [json.dumps(small_report()).encode(), json.dumps(sweep).encode()]
    paths = [folder / "run" / "report" / "report.json", folder / "run" / "sweep" / "sweep.json"]
    for path in paths:
        path.parent.mkdir(parents=True)
    (folder / "other.json").write_bytes(genuine[0])
    args = argparse.Namespace(runs=[folder / "run", folder / "other.json"], out=folder / "compare.html", json=False)

    def call(content):
        which = content[0] % 2 if content else 0
        for number, path in enumerate(paths):
            path.write_bytes(content[1:] if number == which else genuine[number])
        drawn = len(content) % 8 == 0  # matplotlib takes nearly all of the time
        with (
            contextlib.nullcontext() if drawn else mock.patch(_FIGURE, return_value=""),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            compare.run(args)

    return Target(
        [bytes([n]) + raw for n, raw in enumerate(genuine)], call, EdgeDistillError, folder, after_head(mutated_json, 1)
    )
