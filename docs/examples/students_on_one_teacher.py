"""What a bigger student buys: several on one cached teacher, by accuracy and predicted time, in the report.

python students_on_one_teacher.py RECIPE.toml STUDENT STUDENT ...
"""

import sys

import edgedistill


def main(recipe: str, *students: str) -> list[str]:
    edgedistill.sweep(recipe, {"student.model": students}, quiet=True)
    report = edgedistill.report(recipe, quiet=True)
    swept = report.values["swept"]
    for row in swept["students"]:
        print(
            f"{row['model']:<28} {row['value']:6.1%} {row['parameters'] / 1e6:6.2f} M parameters, "
            f"{row['latency_ms'] or 'unknown'} ms {'front' if row['front'] else ''}"
        )
    print(f"validation images, one seed each; {swept['cost_provenance']}")
    print(f"the page: {report.folder / 'report.html'}")
    return [row["model"] for row in swept["students"] if row["front"]]


if __name__ == "__main__":
    main(*sys.argv[1:])
