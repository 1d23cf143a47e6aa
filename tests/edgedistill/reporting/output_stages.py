"""Stages of a run whose student answers with figures or labels, from outputs that a test makes up."""

from dataclasses import fields

import numpy as np

from edgedistill.config.task import Task
from edgedistill.evaluation.multilabel import label_measures
from edgedistill.evaluation.tasks import evaluator_of
from edgedistill.quantization.accuracy import ladder_of
from edgedistill.records.artifacts import artifact_kind
from edgedistill.records.stages import StageRecords
from edgedistill_device.value_spec import Value
from record_factories import OPTIONAL, record_with

WIDTH = [Value("width", "mm", 10.0, 2.0, None, None)]
_QUANTIZED = ("requested", "executed", "reason", "fp16_findings")
_SHARED = ("export", "deploy", "bundle")


def output_stages(stages: dict, task: Task, outputs: dict, targets: np.ndarray, classes: list[str], **changed):
    """
    Args:
        stages: JSON of a run of classes, whose other parts are taken.
        outputs: network, or `constant` -> (N, K) outputs.
        targets: (N, K), figures of WIDTH or labels.
        classes: names of values or labels.
        changed: `seeds` of stage `evaluate`, and keys of `data`.
    """
    values = [] if task.multiple else WIDTH
    evaluator = evaluator_of(task, values)

    def figures(of):
        if task.multiple:
            return label_measures(of, targets, classes, np.full(len(classes), 0.5))
        return evaluator.measures(of, targets, classes)

    student = outputs["student"]
    measured = {name: figures(of).to_json() for name, of in outputs.items()}
    gains = {
        key: evaluator.gain(student, outputs[other], targets, classes).to_json()
        for key, other in (("gain", "baseline"), ("over_constant", "constant"))
    }
    seeds = changed.pop("seeds", [])
    made = {name: stages[name] for name in _SHARED}
    made["evaluate"] = {**measured, **gains, "images": len(targets), "seeds": seeds}
    counts = {name: dict.fromkeys(classes, 50) for name in ("train", "val", "test")}
    quantities = [value._asdict() for value in values]
    made["data"] = {**stages["data"], "classes": classes, "counts": counts, "quantities": quantities, **changed}
    steps = ladder_of(dict.fromkeys(("float", "onnx", "fp16", "int8"), student), targets, classes, task, values)
    made["quantize"] = {
        **{key: stages["quantize"][key] for key in _QUANTIZED},
        "ladder": {name: step.to_json() for name, step in steps.items()},
        "int8_gate": stages["quantize"]["int8_gate"],
    }
    stamp = stages["data"]["artifact"]
    kinds = {field.name: artifact_kind(field.name, task) for field in fields(StageRecords)}
    return StageRecords(
        **{
            name: None
            if name in OPTIONAL or kind is None
            else record_with(kind, {"artifact": stamp} | made.get(name, {}))
            for name, kind in kinds.items()
        }
    )
