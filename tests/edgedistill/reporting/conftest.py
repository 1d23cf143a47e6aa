"""A run that never was, with figures that agree with each other: the stages' JSON, made here."""

import copy

import numpy as np
import pytest

from edgedistill.config.loading import recipe_from_table
from edgedistill.evaluation.classification import mcnemar_p, measures, paired
from edgedistill.records.sweep import SweepRecord, TrialResult
from edgedistill.reporting.sweep_results import swept_of
from edgedistill_device.benchmark import benchreport
from record_factories import records_of

CLASSES = ["crease", "dent", "good", "oil spot", "scratch", "weld porosity"]
COUNTS = [60, 48, 210, 36, 90, 24]  # test images of each
LADDER = {
    "float": "measured: PyTorch on this computer",
    "onnx": "measured: ONNX Runtime on this computer",
    "fp16": "simulated: the float16 ONNX file in ONNX Runtime on this computer, not TensorRT",
    "int8": "simulated: the INT8 (QDQ) ONNX file in ONNX Runtime on this computer, not TensorRT",
}


def fake_logits(labels: np.ndarray, skill: float, seed: int) -> np.ndarray:
    """(N, C) logits of a network that is right the more often the higher its skill."""
    rng = np.random.default_rng(seed)
    shared = np.random.default_rng(99).normal(size=(len(labels), len(CLASSES)))  # hard images
    noise = 0.7 * shared + 0.7 * rng.normal(size=shared.shape)
    return noise + skill * np.eye(len(CLASSES))[labels]


def history(epochs: int, best: float, terms: dict[str, float], seed: int) -> list[dict]:
    rng = np.random.default_rng(seed)
    rows = []
    for epoch in range(1, epochs + 1):
        grown = 1 - np.exp(-epoch / (epochs / 5))
        value = float(np.clip(best * grown + rng.normal(scale=0.012), 0, 1))
        rows.append(
            {
                "epoch": epoch,
                "train_loss": 2.0 - grown,
                "lr": 1e-3,
                "terms": {name: start * float(1.15 - grown + rng.uniform(0, 0.05)) for name, start in terms.items()},
                "eval_loss": 1.8 - grown,
                "eval_top1_fraction": value,
                "eval_balanced_accuracy_fraction": value - 0.03,
            }
        )
    return rows


def trained(model: str, parameters: int, rows: list[dict]) -> dict:
    return {
        "model": model,
        "weights": "hub",
        "parameters": parameters,
        "epochs": len(rows),
        "training_images": 1000,
        "history": rows,
    }


def exported(file_bytes: int, macs: int) -> dict:
    return {
        "file_bytes": file_bytes,
        "macs": macs,
        "opset": 13,
        "ir": 7,
        "max_abs_difference": 7.6e-6,
        "max_relative_difference": 9.1e-7,
        "top1_agreement_fraction": 1.0,
    }


def percentiles(samples: list[float]) -> dict:
    found = {f"p{p}_ms": float(np.percentile(samples, p)) for p in (50, 90, 95, 99)}
    return {
        **found,
        "max_ms": max(samples),
        "mean_ms": float(np.mean(samples)),
        "runs": len(samples),
    }


def begun_s(samples: dict[str, list[float]]) -> dict[str, list[float]]:
    """When each call began, the second loop half a second after the first."""
    found, now = {}, 0.2
    for loop in ("host", "end_to_end"):
        ends = now + np.cumsum(samples[f"{loop}_ms"]) / 1e3
        found[f"{loop}_start_s"] = [now, *ends[:-1].tolist()]
        now = float(ends[-1]) + 0.5
    return found


def traced(begun: dict[str, list[float]], board: bool) -> dict:
    """What a board, or a computer that shows its memory alone, told meanwhile."""
    loops = [
        {"scope": name.removesuffix("_start_s"), "start_s": starts[0], "end_s": starts[-1] + 0.01}
        for name, starts in begun.items()
    ]
    loops.append({"scope": "pipelined", "start_s": loops[-1]["end_s"] + 0.1, "end_s": loops[-1]["end_s"] + 3.1})
    at = np.arange(0.2, loops[-1]["end_s"], 0.3).round(3).tolist()
    warm = [round(41 + 3 * np.sqrt(second), 1) for second in at]
    return {
        "loops": loops,
        "at_s": at,
        "temperatures_c": {"cpu": warm, "gpu": [None, *(c - 1.5 for c in warm[1:])]} if board else {},
        "gpu_mhz": [921.6] * len(at) if board else None,
        "cpu_mhz": [1479.0] * len(at) if board else None,
        "input_mw": [6500.0] * len(at) if board else None,
        "available_mib": [8900.0 + number for number in range(len(at))],
    }


def layer_times(count: int) -> dict:
    """Convolutions, each a tenth faster than the one before."""
    ms = [0.9**number for number in range(count)]
    return {
        "sum_ms": sum(ms),
        "runs": 20,
        "layers": [
            {
                "name": f"fire{number}_conv" + "+relu" * number,
                "kind": "Conv" if number else None,
                "median_ms": value,
                "share": value / sum(ms),
            }
            for number, value in enumerate(ms)
        ],
    }


def deployed() -> dict:
    rng = np.random.default_rng(7)
    samples = {
        "host_ms": (3.1 * rng.lognormal(sigma=0.06, size=200)).tolist(),
        "end_to_end_ms": (5.2 * rng.lognormal(sigma=0.1, size=200)).tolist(),
    }
    host_ms, end_to_end_ms = (percentiles(samples[scope]) for scope in samples)
    begun = begun_s(samples)
    provenance = "stand-in: ONNX Runtime on x86_64, not the board's TensorRT"
    bench = {
        "version": benchreport.VERSION,
        "verb": "bench",
        "model": "squeezenet1_1",
        "backend": "OnnxRuntimeRunner",
        "provenance": provenance,
        "requested": "int8",
        "host_ms": host_ms,
        "end_to_end_ms": end_to_end_ms,
        "executed": "fp32",
        "compute_ms": None,
        "trtexec": None,
        "warmup": 20,
        "samples_file": None,
        "fps": {"host": 1e3 / host_ms["p50_ms"], "end_to_end": 1e3 / end_to_end_ms["p50_ms"], "pipelined": 240.0},
        "power": {
            "mean_mw": {},
            "samples": 0,
            "input_rail": None,
            "energy_mj": None,
            "reason": "no power rail under /sys and no tegrastats",
        },
        "state": "unknown",
        "clocks_mhz": {"cpu": [], "gpu": None, "emc": None, "emc_locked": None},
        "throttle": {"below_its_lock": False, "cooling": [], "over_current_events": {}, "slowest_gpu_mhz": None},
        "power_mode": {"name": None, "number": None},
        "temperatures_c": {"before": {}, "peak": {}, "after": {}},
        "absent": {"gpu_clock": "no GPU under /sys/class/devfreq"},
        "machine": {
            "machine": "x86_64",
            "system": "Linux",
            "python": "3.11.7",
            "cpu": "Example CPU 9000",
            "board": None,
            "l4t": None,
        },
        "memory": {
            "process_before_mib": 40.0,
            "process_peak_mib": 131.4,
            "available_before_mib": 9000.0,
            "available_least_mib": 8900.0,
            "available_delta_mib": 100.0,
            "nvmap_before_mib": None,
            "nvmap_most_mib": None,
            "nvmap_delta_mib": None,
            "method": "VmHWM of this process",
        },
        "warnings": ["clocks and power mode were not read or locked"],
        "layer_times": layer_times(40),
        "trace": traced(begun, board=False),
    }
    benchreport.line_from_report(bench)  # a bench report that the workstation would take
    verify = {"images": 32, "max_relative_difference": 2.2e-6, "tolerance": 1e-3, "top1_agreement_fraction": 1.0}
    return {
        "hosts": [
            {
                "host": "local",
                "backend": "onnxruntime",
                "provenance": provenance,
                "requested": "int8",
                "executed": "fp32",
                "verify": verify,
                "bench": bench,
                "samples_ms": {**samples, **begun},
            }
        ],
        "speedup_here": {
            "teacher_p50_ms": 21.7,
            "student_p50_ms": 3.1,
            "ratio": 7.0,
            "provenance": "stand-in: ONNX Runtime on this computer",
        },
    }


def on_board(host: dict, name: str = "nano-3") -> dict:
    """The same host as a Jetson Nano would have answered: slower, FP16, its own power and heat."""
    host = copy.deepcopy(host)
    bench, provenance = host["bench"], "measured: TensorRT 8.2.1 on NVIDIA Jetson Nano, memory by pycuda"
    host |= {"host": name, "backend": "tensorrt", "provenance": provenance, "executed": "fp16"}
    samples = {scope: [3 * value for value in host["samples_ms"][scope]] for scope in ("host_ms", "end_to_end_ms")}
    begun = begun_s(samples)
    samples["compute_ms"] = [0.8 * value for value in samples["host_ms"]]
    scopes = {scope: percentiles(values) for scope, values in samples.items()}
    host["samples_ms"] = {**samples, **begun}
    mode = {"name": "MAXN", "number": 0}
    bench |= {
        **scopes,
        "provenance": provenance,
        "backend": "TensorRTRunner",
        "executed": "fp16",
        "state": "locked",
        "power_mode": mode,
        "warnings": [],
        "fps": {"host": 107.0, "end_to_end": 64.0, "pipelined": 90.0},
        "absent": {"over_current_events": "no soctherm counters"},
    }
    bench["machine"] |= {"machine": "aarch64", "cpu": None, "board": "NVIDIA Jetson Nano Developer Kit"}
    bench["memory"] |= {
        "process_peak_mib": 300.0,
        "nvmap_before_mib": 20.0,
        "nvmap_most_mib": 170.5,
        "nvmap_delta_mib": 150.5,
    }
    bench["power"] = {
        "mean_mw": {"POM_5V_IN": 6500.0},
        "samples": 15,
        "input_rail": "POM_5V_IN",
        "energy_mj": 74.0,
        "reason": None,
    }
    bench["clocks_mhz"] |= {"cpu": [[1479, 1479, 1479]] * 4, "gpu": [921.6, 921.6, 921.6]}
    bench["trace"] = traced(begun, board=True)
    bench["temperatures_c"] = {"before": {"cpu": 41.0}, "peak": {"cpu": 52.5}, "after": {"cpu": 51.0}}
    benchreport.line_from_report(bench)
    return host


def evaluated(labels: np.ndarray, skills: dict[str, float]) -> dict:
    logits = {name: fake_logits(labels, skill, seed) for seed, (name, skill) in enumerate(skills.items())}
    compared = paired(logits["student"], logits["baseline"], labels)
    found = {name: measures(values, labels, CLASSES).to_json() for name, values in logits.items()}
    return {
        **found,
        "seeds": [
            {"seed": 0}
            | {
                name: {key: found[name][key] for key in ("top1_fraction", "balanced_accuracy_fraction")}
                for name in ("baseline", "student")
            }
        ],
        "images": len(labels),
        "teacher_agreement_fraction": float((logits["student"].argmax(1) == logits["teacher"].argmax(1)).mean()),
        "student_only_correct": compared["first_only_correct"],
        "only_correct_by_class": compared["by_class"],
        "baseline_only_correct": compared["second_only_correct"],
        "mcnemar_p": mcnemar_p(compared["first_only_correct"], compared["second_only_correct"]),
        "chance": {
            "majority_class": "good",
            "top1_fraction": max(COUNTS) / sum(COUNTS),
            "balanced_accuracy_fraction": 1 / len(CLASSES),
        },
    }


def stages_of(skills: dict[str, float]) -> dict[str, dict]:
    labels = np.repeat(np.arange(len(CLASSES)), COUNTS)
    found = evaluated(labels, skills)
    top1, balanced = (found["student"][k] for k in ("top1_fraction", "balanced_accuracy_fraction"))
    steps = {
        name: {
            "top1_fraction": top1 - loss,
            "balanced_accuracy_fraction": balanced - 1.4 * loss,
            "agreement_fraction": 1 - 2 * loss,
            "provenance": LADDER[name],
            "finite": True,
            "top1_interval": found["student"]["top1_interval"],
            "drop_points": 100 * loss,
            "drop_standard_error_points": 60 * loss,
            "sqnr_db": 20.0 if loss else None,
        }
        for name, loss in zip(LADDER, (0.0, 0.0, 0.002, 0.013), strict=True)
    }
    rows = {
        "teacher": history(5, 0.93, {"label": 0.6}, 1),
        "baseline": history(30, 0.86, {"label": 0.9}, 2),
        "student": history(30, 0.9, {"kd": 1.6, "label": 0.9, "feature": 0.4}, 3),
    }
    stages = {
        "data": {
            "classes": CLASSES,
            "images": {"train": 5 * sum(COUNTS), "val": sum(COUNTS), "test": sum(COUNTS)},
            "counts": {
                split: {c: n * m for c, n in zip(CLASSES, COUNTS, strict=True)}
                for split, m in (("train", 5), ("val", 1), ("test", 1))
            },
            "majority_fraction": max(COUNTS) / sum(COUNTS),
            "exact_duplicates": 3,
            "near_duplicate_groups": 41,
            "images_in_groups": 97,
            "leak_count": 0,
            "leaks": [],
            "unreadable_count": 0,
        },
        "teacher": trained("tf_efficientnet_lite0", 3_378_000, rows["teacher"]),
        "logits": {"images": 5 * sum(COUNTS), "views": 8},
        "baseline": trained("squeezenet1_1", 725_600, rows["baseline"]),
        "distill": trained("squeezenet1_1", 725_600, rows["student"]),
        "evaluate": found,
        "export": {
            "teacher": exported(13_450_000, 383_900_000),
            "student": exported(2_930_000, 262_900_000),
            "preflight": {"target": "jetson-nano", "tensorrt": "8.2", "findings": []},
        },
        "quantize": {
            "ladder": steps,
            "fp16_findings": [],
            "qad": None,
            "int8_gate": {
                "max_drop_points": None,
                "passed": None,
                "kept_float": [],
                "curve": [],
                "sensitivity": [],
                "images": "validation",
            },
            "requested": "int8",
            "executed": "fp16",
            "reason": "Jetson Nano 4GB has no INT8 hardware, so it is served as FP16",
        },
        "bundle": {"manifest_sha256": "5e" * 32, "signed": False},
        "deploy": deployed(),
    }
    for stage, name in (("teacher", "teacher"), ("baseline", "baseline"), ("distill", "student")):
        stages[stage]["validation"] = {**found[name], "calibration_error": 0.03}
    for number, values in enumerate(stages.values()):
        values["artifact"] = {
            "inputs": {},
            "files": {},
            "digest": f"{number:064x}",
            "seconds": 7.5 * number + 0.5,
            "finished": f"2026-11-24T12:{number:02d}:00+00:00",
        }
    return stages


_STAGES = stages_of({"teacher": 3.0, "baseline": 2.2, "student": 2.7})


@pytest.fixture
def stages():
    """Stage name -> its JSON; a copy that the test may change."""
    return copy.deepcopy(_STAGES)


@pytest.fixture(scope="session")
def stages_to_read():
    """The same for what is made once of them; not to be changed."""
    return copy.deepcopy(_STAGES)


@pytest.fixture(scope="session")
def board():
    """The function that turns the stand-in's answer into a board's."""
    return on_board


def swept_by(recipe, stages) -> dict:
    """Four networks on the run's own teacher, one of them stopped early, as `swept.swept_of` gives them."""
    trials = [
        ({"student.model": "mobilenetv3_small_050"}, 0.74, "complete", 8, 1_600_000),
        ({"student.model": "mobilenetv3_large_100"}, 0.93, "complete", 30, 4_210_000),
        ({"student.model": "efficientnet_b0", "distill.temperature": 4.0}, 0.7, "pruned", 3, 4_010_000),
        ({"student.model": "squeezenet1_1", "distill.loss": "dist"}, 0.80, "complete", 30, 725_600),
    ]
    rows = [
        {
            "settings": settings,
            "value": value,
            "state": state,
            "epochs": epochs,
            "parameters": parameters,
            "model": settings["student.model"],
        }
        for settings, value, state, epochs, parameters in trials
    ]
    trials = [TrialResult(**row) for row in rows]
    sweep = SweepRecord(
        metric="validation top1_fraction",
        images="validation, never test",
        seeds=1,
        artifacts={"teacher": "1"},
        trials=trials,
        best=trials[1],
    )
    return swept_of(sweep, {"teacher": "1"}, records_of(stages), recipe).to_json()


@pytest.fixture(scope="session")
def swept():
    """The function that makes the students of a sweep."""
    return swept_by


@pytest.fixture(scope="session")
def recipe():
    table = {
        "data": {"train": "/somewhere/of/mine/parts"},
        "student": {"model": "squeezenet1_1"},
        "target": {"device": "jetson-nano", "precision": "int8"},
    }
    return recipe_from_table(table, "made up")


@pytest.fixture
def made():
    """The function that makes stages from the three networks' skills."""
    return stages_of
