"""python -m edgedistill.onnx_model.compile_child COMPILER MODEL [parse]: parse and build, in a process of its own.

The last line on stdout is one JSON: version, verdict, said, engine_bytes. The parent process watches
time and memory, because a builder has no limit on either.
"""

from __future__ import annotations

import importlib
import json
import sys
from types import ModuleType
from typing import Any

LONGEST = 300  # characters of one complaint
PARSES = "the parser takes it"


def compile_file(trt: ModuleType, path: str, only_parse: bool = False) -> dict:
    """TensorRT 8.2 to 11, or TensorRT for RTX: they differ in flags only, so those are asked for."""
    messages: list[str] = []

    logger: Any = trt.ILogger  # of a module that is imported by name

    class Log(logger):
        def __init__(self):
            trt.ILogger.__init__(self)

        def log(self, severity, message):
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                messages.append(" ".join(message.split())[:LONGEST])

    log = Log()
    builder = trt.Builder(log)
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
    network = builder.create_network(0 if explicit is None else 1 << int(explicit))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(path):
        errors = [parser.get_error(number) for number in range(parser.num_errors)]
        parsed = [f"{e.node_name() if hasattr(e, 'node_name') else e.node()}: {e.desc()}" for e in errors]
        return {"verdict": "refused by the parser", "said": [*parsed, *messages], "engine_bytes": None}
    if only_parse:
        return {"verdict": PARSES, "said": messages, "engine_bytes": None}
    config = builder.create_builder_config()
    layers = [network.get_layer(number).type for number in range(network.num_layers)]
    if trt.LayerType.QUANTIZE in layers and hasattr(trt.BuilderFlag, "INT8"):
        config.set_flag(trt.BuilderFlag.INT8)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        return {"verdict": "refused by the builder", "said": messages, "engine_bytes": None}
    return {"verdict": "builds", "said": messages, "engine_bytes": engine.nbytes}


def main() -> None:
    trt = importlib.import_module(sys.argv[1])
    result = compile_file(trt, sys.argv[2], only_parse=sys.argv[3:] == ["parse"])
    print(json.dumps({"version": trt.__version__, **result}))


if __name__ == "__main__":
    main()
