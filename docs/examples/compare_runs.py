"""Several finished runs side by side: a table here, a page for the browser, and what must not be compared.

python compare_runs.py PAGE.html RUN RUN ...
"""

import sys

import edgedistill


def main(page: str, *runs: str) -> list[str]:
    found = edgedistill.compare(*runs, out=page)
    for row in found["runs"]:
        front = "front" if row["name"] in found["front"] else ""
        print(f"{row['name']:<20} {row['model']:<28} {row['student_fraction']:6.1%} {row['macs'] / 1e6:8.1f} M {front}")
    print(*found["caveats"], f"the page: {page}", sep="\n")
    return found["front"]


if __name__ == "__main__":
    main(*sys.argv[1:])
