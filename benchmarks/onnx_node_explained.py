"""Where the pre-flight and another source differ on a node test, and why that is no fault."""
from __future__ import annotations


def explained(release, case, what, detail, findings):
    return None
