"""Print the JSON Schema of report.json: python docs/make_report_schema.py > edgedistill/reporting/report.schema.json"""

import json

from edgedistill.records.report import report_schema

if __name__ == "__main__":
    print(json.dumps(report_schema(), indent=1, ensure_ascii=False))
