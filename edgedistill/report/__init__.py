"""report.json, and one self-contained page of it."""

from edgedistill.callable_module import call_as_verb

call_as_verb(__name__)
