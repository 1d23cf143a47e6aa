"""Print the JSON Schema of report.json, of classes or of figures and several labels:

python docs/make_report_schema.py > edgedistill/reporting/report.schema.json
python docs/make_report_schema.py outputs > edgedistill/reporting/output_report.schema.json
"""

import json
import sys

from edgedistill.records.output_report import OutputReportRecord
from edgedistill.records.report import report_schema

if __name__ == "__main__":
    made = report_schema(OutputReportRecord, "outputs") if sys.argv[1:] == ["outputs"] else report_schema()
    print(json.dumps(made, indent=1, ensure_ascii=False))
