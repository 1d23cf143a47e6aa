"""What is published about speed on the boards."""

from edgedistill.callable_module import call_as_verb

call_as_verb(__name__)
