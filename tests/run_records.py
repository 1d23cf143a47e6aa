"""What stages left in a finished run, read as the product reads it."""

import json

from edgedistill.data.prepared import open_prepared
from edgedistill.records.artifacts import artifact_kind
from edgedistill.records.data import DataRecord


def record_of(run, stage, task):
    kind = artifact_kind(stage, task)
    return kind.from_json(json.loads((run / stage / f"{stage}.json").read_text()), stage)


def prepared_of(run, recipe):
    data = DataRecord.from_json(json.loads((run / "data" / "data.json").read_text()), "data")
    return open_prepared(run / "data", recipe, data.resize_px, data.quantities)
