"""Render the state of a roll-out to a fleet as one self-contained page."""

from __future__ import annotations

from edgedistill.records.deployment import DONE, FAILED, WAITING, FleetRecord
from edgedistill.reporting.formats import FILTERS
from edgedistill.reporting.rendering import rendered


def html_from_fleet(report: FleetRecord) -> str:
    """Render a sortable table with a row for each board; equal input gives equal bytes."""
    counts = {state: report.count(state) for state in (DONE, FAILED, WAITING)}
    return rendered("fleet.html.j2", FILTERS, report=report, counts=counts)
