"""Stage `report`: report.json and one self-contained page."""

from __future__ import annotations

from edgedistill.pipeline import StageContext
from edgedistill.report.assemble import report_from_stages
from edgedistill.report.page import html_from_report
from edgedistill.run_folder import Result, write_bytes
from edgedistill.stages import stage_named, stages_read
from edgedistill.stages.synthesise import SHEET


def run(context: StageContext) -> Result:
    names = stages_read(stage_named("report"), context.recipe)
    stages = {name: context.values(name) for name in names}
    report = report_from_stages(stages, context.recipe)
    sheet = context.file("synthesise", SHEET).read_bytes() if "synthesise" in stages else None
    write_bytes(context.out / "report.html", html_from_report(report, sheet).encode())
    return Result(report, ("report.html",))
