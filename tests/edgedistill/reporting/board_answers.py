"""What a board and this computer answer to a deployment: latencies, telemetry, layer times."""

import copy

import numpy as np

from edgedistill_device.benchmark import benchreport


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
