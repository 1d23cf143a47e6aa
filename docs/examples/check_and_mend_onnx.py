"""Will the board take this ONNX file, anybody's? If not, write one that it takes.

python check_and_mend_onnx.py MODEL.onnx TARGET MENDED.onnx
"""

import sys

import edgedistill


def main(model: str, target: str, mended: str) -> bool:
    verdict = edgedistill.check(model, target)
    for finding in verdict["findings"]:
        print(f"{finding['level']}: {finding['node']}: {finding['why']}; {finding['mend']}")
    if not verdict["fits"]:
        verdict = edgedistill.check(model, target, fix=mended)
        print(*verdict["fix"]["mended"], sep="\n")
    print(f"{'fits' if verdict['fits'] else 'does not fit'} {target} ({verdict['basis']})")
    return verdict["fits"]


if __name__ == "__main__":
    main(*sys.argv[1:])
