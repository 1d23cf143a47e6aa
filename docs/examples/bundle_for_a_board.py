"""Pack what the board needs, and say how to check it there or here.

python bundle_for_a_board.py RECIPE.toml
"""

import sys
from pathlib import Path

import edgedistill


def main(recipe: str) -> Path:
    packed = edgedistill.bundle(recipe, quiet=True)
    folder = packed.folder / "bundle"
    print(f"{folder}: {packed.values['file_count']} files, {packed.values['bytes'] / 1e6:.1f} MB")
    print("in that folder on the board: python3 -m edgedistill_device build; python3 -m edgedistill_device verify")
    print("here, as a stand-in: python3 -m edgedistill_device verify --backend onnxruntime")
    return folder


if __name__ == "__main__":
    main(*sys.argv[1:])
