"""Networks that the board's parser takes, below a number of parameters, smallest first.

python pick_a_student.py TARGET MILLIONS
"""

import sys

import edgedistill


def main(target: str, millions: str) -> list[str]:
    rows = [
        row
        for row in edgedistill.students(target)["rows"]
        if row["parameters"]
        and row["parameters"] <= float(millions) * 1e6
        and row["preflight"]
        and row["preflight"]["verdict"] == "fits"
    ]
    rows.sort(key=lambda row: row["macs"])
    for row in rows:
        print(f"{row['model']:<34} {row['parameters'] / 1e6:5.2f} M parameters {row['macs'] / 1e6:6.0f} M MACs")
    return [row["model"] for row in rows]


if __name__ == "__main__":
    main(*sys.argv[1:])
