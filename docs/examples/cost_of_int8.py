"""What each precision costs in accuracy, and what the board will really compute in.

python cost_of_int8.py RECIPE.toml
"""

import sys

import edgedistill


def main(recipe: str) -> dict:
    quantized = edgedistill.quantize(recipe, quiet=True).values
    for precision, step in quantized["ladder"].items():
        print(f"{precision:<6} {step['top1_fraction']:.1%} top-1")
    print(f"asked for {quantized['requested']}, executed as {quantized['executed']} {quantized['reason']}")
    return quantized["ladder"]


if __name__ == "__main__":
    main(*sys.argv[1:])
