"""Losses, cached teacher outputs, and the one training loop."""

from edgedistill.callable_module import call_as_verb

call_as_verb(__name__)
