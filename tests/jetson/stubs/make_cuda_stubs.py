"""Prototypes of the CUDA functions that the board's code calls, from NVIDIA's own header.

python tests/jetson/stubs/make_cuda_stubs.py cuda_runtime_api.h > tests/jetson/stubs/cudart_12_6.h
"""

import ast
import re
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "jetson" / "edgedistill_device" / "engine" / "cuda_memory.py"


def called():
    """Names of libcudart's functions in cuda_memory.py."""
    texts = [node.value for node in ast.walk(ast.parse(SOURCE.read_text())) if isinstance(node, ast.Constant)]
    return {text for text in texts if isinstance(text, str) and re.fullmatch(r"cuda[A-Z]\w+", text)}


def prototypes(header):
    """{function that is called: its declaration} of a header's text."""
    found, wanted = {}, called()
    for line in header.splitlines():
        match = re.match(r"\s*(?:extern .*)?cudaError_t (?:CUDARTAPI )?(cuda\w+)(\(.*\));", line)
        if match and match.group(1) in wanted:
            words = re.sub(r"\s*__dv\([^)]*\)", "", match.group(2))
            found.setdefault(match.group(1), "cudaError_t %s%s;" % (match.group(1), words))
    return found


if __name__ == "__main__":
    print("\n".join(sorted(prototypes(Path(sys.argv[1]).read_text(encoding="utf-8")).values())))
