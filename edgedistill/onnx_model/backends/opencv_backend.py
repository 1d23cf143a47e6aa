"""OpenCV's DNN module: the pre-flight asks this computer's OpenCV to read the file, in a process of its own.

python -m edgedistill.onnx_model.backends.opencv_backend MODEL.onnx is that process; it prints one JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.config.target import Target
from edgedistill.onnx_model.backends import Backend

if TYPE_CHECKING:
    from edgedistill.onnx_model.findings import Finding, Graph

LIMIT_SECONDS, LIMIT_MIB = 60.0, 4096  # of a pre-flight
PARSES, REFUSES = "the parser takes it", "refused by the parser"
_BASIS = "OpenCV of this computer read it; the board's may be another release, which refuses what this one takes"


class OpenCV(Backend):
    name, title = "opencv", "OpenCV"

    def findings(self, graph: Graph, target: Target) -> list[Finding]:
        from edgedistill.onnx_model.findings import Finding

        if graph.path is None:
            return []
        asked = self.compiled(graph.path, LIMIT_SECONDS, LIMIT_MIB, only_parse=True)
        if asked["verdict"] == PARSES:
            return []
        why = f"OpenCV {asked['version'] or ''}: {'; '.join([asked['verdict'], *asked['said']])}"
        return [Finding("error", "opencv-reads", "model", why, "take another network, or another backend")]

    def basis(self, target: Target) -> str:
        return _BASIS

    def compiled(self, path: Path, limit_seconds: float, limit_mib: int, only_parse: bool) -> dict[str, Any]:
        """OpenCV builds nothing, so reading the file is all there is to ask; see `compile.compile_onnx`."""
        from edgedistill.core.text import printable_values
        from edgedistill.environment.own_modules import module_command
        from edgedistill.onnx_model.compile import watched

        child = watched(module_command(__name__, str(path)), limit_seconds, limit_mib)
        result = {"version": None, "said": [], "engine_bytes": None, "verdict": child["stopped"]}
        if child["stopped"] is None:
            try:
                result |= json.loads(child["stdout"].splitlines()[-1])
            except (IndexError, ValueError):
                last = (child["stderr"].strip().splitlines() or ["nothing"])[-1]
                result["verdict"] = f"crashed: exit code {child['returncode']}, it said: {last[:300]}"
        return {
            "compiler": self.title,
            **printable_values(result),
            "seconds": round(child["seconds"], 3),
            "peak_mib": child["peak_mib"],
            "basis": _BASIS,
        }


BACKEND = OpenCV()


def main() -> None:
    import cv2

    try:
        cv2.dnn.readNetFromONNX(sys.argv[1])
        result: dict[str, Any] = {"verdict": PARSES, "said": []}
    except cv2.error as error:
        result = {"verdict": REFUSES, "said": [" ".join(str(error).split())[:300]]}
    print(json.dumps({"version": cv2.__version__, **result}))


if __name__ == "__main__":
    main()
