"""What a changed key would cost, before it is changed: which stages run again, which are kept.

python what_would_be_redone.py RECIPE.toml TEMPERATURE
"""

import sys

import edgedistill


def main(recipe: str, temperature: str) -> float:
    planned = edgedistill.plan(recipe, distill={"temperature": float(temperature)})
    for row in planned:
        print(f"{row.action:<8} {row.stage:<10} {row.reason}")
    seconds = sum(row.last_seconds or 0 for row in planned if row.action != "keep")
    print(f"at most {seconds:.0f} s, going by the last time")
    return seconds


if __name__ == "__main__":
    main(*sys.argv[1:])
