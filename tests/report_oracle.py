"""The figures of report.json made again from a run's files, by other means than the product's.

Pixels by plain cv2, networks by timm and safetensors, ONNX files by ONNX Runtime, statistics by scipy or written out:
nothing of edgedistill is imported.
"""

import csv
import hashlib
import json
import math
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import scipy.stats
import timm
import torch
from safetensors.torch import load_file

import fp16_oracle
from oracle_statistics import accuracy_of, disagreement_of, macs_of, only_right, paired_points, softmax, step_of

NETS = {"teacher": "teacher", "baseline": "baseline", "student": "distill"}


class Run:
    """A finished run folder, its images and its networks."""

    def __init__(self, folder, recipe):
        self.folder, self.recipe = folder, recipe
        torch.set_num_threads(1)
        with (folder / "data/images.csv").open(encoding="utf-8") as file:
            self.rows = list(csv.DictReader(file))
        self.classes = sorted({row["label"] for row in self.rows})
        side = recipe["data"]["image_px"]
        self.pixels = {}
        for row in self.rows:
            image = cv2.imread(row["path"])[:, :, ::-1]
            self.pixels[row["path"]] = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)

    def labels(self, split):
        return np.array([self.classes.index(row["label"]) for row in self.of(split)])

    def of(self, split):
        return [row for row in self.rows if row["split"] == split]

    def inputs(self, split, onnx_file):
        """(N, 3, H, W) float32, normalised as the file's own metadata says."""
        spec = json.loads({p.key: p.value for p in onnx.load(onnx_file).metadata_props}["preprocess"])
        frames = np.stack([self.pixels[row["path"]] for row in self.of(split)]).astype(np.float64)
        normal = (frames / 255 - spec["mean"]) / spec["std"]
        return np.ascontiguousarray(normal.transpose(0, 3, 1, 2), np.float32)

    def exported(self, name):
        return self.folder / f"export/{'teacher' if name == 'teacher' else 'student'}.onnx"

    def network(self, name, file="weights.safetensors"):
        model = timm.create_model(
            self.recipe["teacher" if name == "teacher" else "student"]["model"], num_classes=len(self.classes)
        )
        model.load_state_dict(load_file(self.folder / NETS[name] / file))
        return model.eval()

    def logits(self, name, split, file="weights.safetensors"):
        """Of the saved weights."""
        with torch.no_grad():
            return self.network(name, file)(torch.from_numpy(self.inputs(split, self.exported(name)))).numpy()

    def onnx_logits(self, file, split):
        return served(self.folder / file, self.inputs(split, self.exported("student")))


def served(file, inputs, outputs=None):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    options.add_session_config_entry("session.x64quantprecision", "1")  # or INT8 saturates on a CPU without VNNI
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(outputs, {name: row[None]})[0] for row in inputs])


def rate_at(step, steps, section):
    """Up a line, down half a cosine."""
    rising = round(section["warmup_fraction"] * steps)
    if step < rising:
        return section["peak_lr"] * (step + 1) / rising
    return section["peak_lr"] * math.cos(math.pi / 2 * (step - rising) / (steps - rising)) ** 2


def history_of(run, name, validation):
    """What can be known of a training afterwards: the rate of each epoch, and the last one's accuracy."""
    section = {"warmup_fraction": 0.1, **run.recipe["teacher" if name == "teacher" else "distill"]}
    per_epoch, epochs = len(run.of("train")) // section["batch_size"], section["epochs"]
    rows = [
        {"epoch": epoch + 1, "lr": rate_at((epoch + 1) * per_epoch - 1, epochs * per_epoch, section)}
        for epoch in range(epochs)
    ]
    labels = run.labels("val")
    accuracy = accuracy_of(validation, labels, run.classes)
    surprise = [-math.log(softmax(row)[label]) for row, label in zip(validation, labels, strict=True)]
    rows[-1] |= {
        "eval_loss": float(np.mean(surprise)),
        "eval_top1_fraction": accuracy["top1_fraction"],
        "eval_balanced_accuracy_fraction": accuracy["balanced_accuracy_fraction"],
    }
    return rows


def gain_of(run, logits, metric):
    labels, seeds = run.labels("test"), []
    for number in range(run.recipe["distill"]["seeds"]):
        file = f"weights-{number}.safetensors" if number else "weights.safetensors"
        seeds.append(
            {
                name: 100 * accuracy_of(run.logits(name, "test", file), labels, run.classes)[metric]
                for name in ("baseline", "student")
            }
        )
    gains = [row["student"] - row["baseline"] for row in seeds]
    better, worse = only_right(logits["student"], logits["baseline"], labels)
    top1 = 100 * (better - worse) / len(labels)
    counts = Counter(labels.tolist())
    image = 100 / len(counts) * np.mean([1 / n for n in counts.values()])  # one image of a class, on average
    error = math.sqrt((np.var(gains, ddof=1) + image**2 / 12) / len(gains))
    half = scipy.stats.t.ppf(0.975, len(gains) - 1) * error
    spread = {
        name: {"mean_points": np.mean(values), "sd_points": np.std(values, ddof=1)}
        for name, values in (("gain", gains), *((n, [row[n] for row in seeds]) for n in seeds[0]))
    }
    return {
        "points": gains[0],
        "top1_points": top1,
        "top1_points_interval": paired_points(better, worse, len(labels)),
        "student_only_correct": better,
        "baseline_only_correct": worse,
        "seeds": len(seeds),
        "mcnemar_p": scipy.stats.binomtest(better, better + worse).pvalue if better + worse else 1.0,
        "over_seeds": {
            "seeds": len(seeds),
            **spread,
            "interval_points": [np.mean(gains) - half, np.mean(gains) + half],
        },
    }


def percentiles(samples):
    """The nearest rank; none of few samples."""
    ordered, n = sorted(samples), len(samples)
    found = {f"p{p}_ms": ordered[math.ceil(p * n / 100) - 1] for p in (50, 90, 95)}
    return {**found, "max_ms": ordered[-1], "mean_ms": math.fsum(samples) / n, "runs": n}


def device_of(run):
    """What follows from the raw samples, and the golden images through the bundle's file."""
    host = json.loads((run.folder / "deploy/deploy.json").read_text())["hosts"][0]
    samples, bench = host["samples_ms"], host["bench"]
    latency = {scope: percentiles(samples[f"{scope}_ms"]) for scope in ("host", "end_to_end")}
    layers = [layer["median_ms"] for layer in bench["layer_times"]["layers"]]
    bundle = run.folder / "bundle/bundle"
    golden = bundle / "golden"
    spec = json.loads((bundle / "manifest.json").read_text())["preprocess"]
    frames, labels = np.load(golden / "inputs.npy"), json.loads((golden / "labels.json").read_text())
    inputs = ((frames / 255 - spec["mean"]) / spec["std"]).transpose(0, 3, 1, 2).astype(np.float32)
    found, kept = served(bundle / "model.onnx", inputs), np.load(golden / "logits.npy")
    side = run.recipe["data"]["image_px"]
    apart = [
        np.abs(
            cv2.resize(cv2.imread(path)[:, :, ::-1], (side, side), interpolation=cv2.INTER_AREA).astype(int) - frame
        ).mean()
        for path, frame in zip(sorted((golden / "images").iterdir()), frames, strict=True)
    ]
    memory = bench["memory"]
    return {
        "latency_ms": latency,
        "fps": {scope: 1e3 / latency[scope]["p50_ms"] for scope in latency},
        "layer_times": {"sum_ms": sum(layers), "layers": [{"share": one / sum(layers)} for one in layers]},
        "memory": {"available_delta_mib": memory["available_before_mib"] - memory["available_least_mib"]},
        "verify": {
            "images": len(kept),
            "tolerance": 1e-3,
            "max_relative_difference": float(np.abs(found - kept).max() / np.abs(kept).max()),
            "top1_agreement_fraction": float((found.argmax(1) == kept.argmax(1)).mean()),
            "top1_fraction": float((found.argmax(1) == labels).mean()),
            "mean_pixel_difference": max(apart),
        },
    }


def data_of(run):
    splits, names = ("train", "val", "test"), Counter(row["sha256"] for row in run.rows)
    counts = {split: dict(Counter(row["label"] for row in run.of(split))) for split in splits}
    where = {}
    for row in run.rows:
        assert hashlib.sha256(Path(row["path"]).read_bytes()).hexdigest() == row["sha256"]
        where.setdefault(row["sha256"], set()).add(row["split"])
    return {
        "images": {split: len(run.of(split)) for split in splits},
        "counts": counts,
        "majority_fraction": max(counts["test"].values()) / len(run.of("test")),
        "exact_duplicates": sum(names.values()) - len(names),
        "leak_count": sum(len(found) > 1 for found in where.values()),
        "groups": {split: len({row["group"] for row in run.of(split)}) for split in splits},
    }


def cost_of(cost):
    """Given prices alone: no board was there to read its own power."""
    cloud = 730 * cost["cloud_price_per_hour"]
    board = cost["board_price"] / cost["board_months"]
    power = cost["board_power_w"] * 0.73 * cost["power_price_per_kwh"]
    return {
        "hours_per_month": 730,
        "teacher": {"per_month": cloud, "items": [{"per_month": cloud}]},
        "student": {"per_month": board + power, "items": [{"per_month": board}, {"per_month": power}]},
        "saving_per_month": cloud - board - power,
        "payback_months": cost["board_price"] / (cloud - power),
    }


def nets_of(run, logits):
    found, side = {}, run.recipe["data"]["image_px"]
    for name in NETS:
        model = run.network(name)
        found[name] = {
            **accuracy_of(logits[name], run.labels("test"), run.classes),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "macs": macs_of(model, side),
            "file_bytes": run.exported(name).stat().st_size,
        }
    return found


def report_of(run):
    """Everything that can be made again, in the places where report.json has it."""
    labels, metric = run.labels("test"), run.recipe["data"]["metric"]
    logits = {name: run.logits(name, "test") for name in NETS}
    nets = nets_of(run, logits)
    files = {"onnx": "export/student.onnx", "fp16": "quantize/student_fp16.onnx", "int8": "quantize/student_int8.onnx"}
    served_logits = {"float": logits["student"]}
    served_logits |= {name: run.onnx_logits(file, "test") for name, file in files.items() if name != "fp16"}
    served_logits["fp16"] = fp16_oracle.logits_of(
        run.folder / files["fp16"], run.inputs("test", run.exported("student"))
    )
    ladder = {name: step_of(found, logits["student"], labels, run.classes) for name, found in served_logits.items()}
    counts = Counter(labels.tolist())
    speed = json.loads((run.folder / "deploy/deploy.json").read_text())["speedup_here"]
    validation = {name: run.logits(name, "val") for name in NETS}
    exported = run.onnx_logits(files["onnx"], "val")[:32]
    probe = validation["student"][:32]
    gate = step_of(
        run.onnx_logits(files["int8"], "val"), run.onnx_logits(files["onnx"], "val"), run.labels("val"), run.classes
    )
    model = onnx.load(run.folder / files["onnx"])
    teacher, student, gain = nets["teacher"], nets["student"], gain_of(run, logits, metric)
    device, target = device_of(run), run.recipe["target"]
    return {
        **nets,
        "test_images": len(labels),
        "gain": gain,
        "gain_over_baseline_points": gain["points"],
        "chance": {"top1_fraction": max(counts.values()) / len(labels), "balanced_accuracy_fraction": 1 / len(counts)},
        "retention_fraction": student[metric] / teacher[metric],
        "disagreements": [
            disagreement_of(logits["teacher"], logits["student"], labels, run.of("test")),
            disagreement_of(logits["student"], served_logits["int8"], labels, run.of("test")),
        ],
        "taught": {
            "student_images": len(run.of("train")),
            "baseline_images": len(run.of("train")),
            "pool_images": 0,
            "pool_of_train": 0,
        },
        "teacher_agreement_fraction": float(np.mean(logits["teacher"].argmax(1) == logits["student"].argmax(1))),
        "size_ratio": teacher["file_bytes"] / student["file_bytes"],
        "macs_ratio": teacher["macs"] / student["macs"],
        "speedup": {"ratio": speed["teacher_p50_ms"] / speed["student_p50_ms"]},
        "accuracy_ladder": ladder,
        "int8": {"drop_points": ladder["int8"]["drop_points"]},
        "int8_gate": {
            "max_drop_points": run.recipe["quantize"]["max_int8_drop_points"],
            "curve": [
                {
                    "float_layers": 0,
                    **{
                        key: gate[key]
                        for key in (
                            "top1_fraction",
                            "drop_points",
                            "drop_standard_error_points",
                            "drop_interval_points",
                            "agreement_fraction",
                            "sqnr_db",
                        )
                    },
                }
            ],
        },
        "proof": {
            "opset": model.opset_import[0].version,
            "ir": model.ir_version,
            "top1_agreement_fraction": float(np.mean(exported.argmax(1) == probe.argmax(1))),
        },
        "target": {
            "wanted_fps": target["fps"],
            "wanted_memory_mib": target["memory_mib"],
            "wanted_retention_fraction": target["min_retention_fraction"],
        },
        "devices": [device],
        "device": device,
        "data": data_of(run),
        "running_cost": cost_of(run.recipe["cost"]),
        "histories": {name: history_of(run, name, validation[name]) for name in NETS},
        "cost": {
            stage: json.loads((run.folder / stage / f"{stage}.json").read_text())["artifact"]["seconds"]
            for stage in (
                "data",
                "teacher",
                "logits",
                "baseline",
                "distill",
                "evaluate",
                "export",
                "quantize",
                "decide",
                "bundle",
                "deploy",
            )
        },
        "trained_before": trained_before(run.folder),
    }


def trained_before(folder):
    """Seconds of the student's first training where they do not fit into its stage's."""
    artifact = json.loads((folder / "distill" / "distill.json").read_text())["artifact"]
    taken = artifact["cost"]["training_seconds"]
    return {"distill": taken} if taken > artifact["seconds"] + 0.005 else {}


def numbers_of(value, path=""):
    """(path, number) of every leaf that is one; `a.0.b`."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from numbers_of(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from numbers_of(item, f"{path}.{place}")
    elif isinstance(value, int | float | np.number) and not isinstance(value, bool):
        yield path, float(value)
