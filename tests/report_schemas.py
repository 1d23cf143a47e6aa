"""The JSON Schemas of report.json that the package brings."""

import json
from importlib import resources

from optional_tools import imported


def schema_validator(name="report.schema.json"):
    """Of jsonschema, after the schema itself was checked."""
    jsonschema = imported("jsonschema", "pip install -e '.[dev]'")
    schema = json.loads((resources.files("edgedistill.reporting") / name).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)
