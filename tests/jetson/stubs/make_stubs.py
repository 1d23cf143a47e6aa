"""Stubs of the TensorRT classes that the board's code touches, from NVIDIA's own Python bindings.

    python tests/jetson/stubs/make_stubs.py tensorrt_bindings > tests/jetson/stubs/tensorrt_10_3.pyi
    python tests/jetson/stubs/make_stubs.py tensorrt.pyi > tests/jetson/stubs/tensorrt_10_13.pyi

The second form keeps the same classes of a stub that somebody has published. README.md says how the
bindings are imported without TensorRT's libraries. Signatures are those that pybind11 writes into
the docstrings. The network's add_... are left out: the parser calls them, we do not.
"""

import ast
import importlib
import re
import sys

CLASSES = (
    "ILogger",
    "Builder",
    "IBuilderConfig",
    "INetworkDefinition",
    "OnnxParser",
    "ParserError",
    "Runtime",
    "ICudaEngine",
    "IExecutionContext",
    "EngineInspector",
    "ITimingCache",
    "IHostMemory",
    "IInt8EntropyCalibrator2",
    "IProfiler",
    "BuilderFlag",
    "NetworkDefinitionCreationFlag",
    "MemoryPoolType",
    "TensorIOMode",
    "TacticSource",
    "ProfilingVerbosity",
    "LayerInformationFormat",
    "DataType",
)
_PLAIN = {
    "int": "int",
    "typing.SupportsInt": "SupportsInt",
    "bool": "bool",
    "str": "str",
    "float": "float",
    "bytes": "bytes",
    "None": "None",
}
_HEAD = "from typing import Any, ClassVar, SupportsInt, overload\n\n__version__: str\n"


def stub_of(module):
    """The text of a .pyi file."""
    known = [name for name in CLASSES if hasattr(module, name)]
    return _HEAD + "".join("\n" + _class(getattr(module, name), known) for name in known)


def trimmed(text):
    """Our classes of a published .pyi file, without docstrings."""
    kept = [ast.parse("from __future__ import annotations\nimport numpy\nimport typing\n__version__: str")]
    blocks = {block.split()[1].split("(")[0].rstrip(":"): block for block in re.split(r"(?m)^(?=class )", text)[1:]}
    blocks["INetworkDefinition"] = "class INetworkDefinition: ..."  # add_scale_nd is no valid Python
    for name in CLASSES:
        for node in ast.parse(blocks.get(name, "")).body[:1]:
            for inner in ast.walk(node):
                if isinstance(inner, (ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(inner):
                    inner.body = inner.body[1:] or [ast.Expr(ast.Constant(...))]
                if isinstance(inner, ast.ClassDef):
                    inner.body = [item for item in inner.body if _kept(item)]
            node.bases = []  # of TensorRT's own that are not kept
            kept.append(node)
    return "\n".join(ast.unparse(node) for node in kept) + "\n"


def _kept(item):
    name = getattr(item, "name", "")
    return not name.startswith("__") or name in ("__init__", "__int__", "__buffer__")


def _class(full, known, indent=""):
    members = getattr(full, "__members__", None)
    if members is not None:
        body = ["__members__: ClassVar[dict[str, %s]]" % full.__qualname__, "name: str"]
        body += ["def __int__(self) -> int: ..."]
        body += ["%s: ClassVar[%s]" % (name, full.__qualname__) for name in members]
        return _block(full.__name__, body, indent)
    body, nested = [], ""
    for name in sorted(n for n in dir(full) if n == "__init__" or n[0] != "_"):
        if full.__name__ == "INetworkDefinition" and name.startswith("add_"):
            continue
        value = _raw(full, name)
        if isinstance(value, type):
            nested += _class(value, known, indent + "    ")
        elif isinstance(value, property):
            said = (value.fget.__doc__ or "").strip().splitlines()
            kind = _type(said[0].rsplit("-> ", 1)[-1], known) if said and "->" in said[0] else "Any"
            body += ["@property", "def %s(self) -> %s: ..." % (name, kind)]
            if value.fset is not None:
                body += ["@%s.setter" % name, "def %s(self, value: Any) -> None: ..." % name]
        elif not callable(value):
            body.append("%s: ClassVar[Any]" % name)
        else:
            body += _method(name, value.__doc__ or "", known)
    if full.__name__ == "IHostMemory":  # the buffer protocol is no attribute before Python 3.12
        body.append("def __buffer__(self, flags: int, /) -> memoryview: ...")
    return _block(full.__name__, body, indent, nested)


def _raw(full, name):
    """As it lies in the class, so that a property is one."""
    return next(vars(base)[name] for base in full.__mro__ if name in vars(base))


def _method(name, text, known):
    found = re.findall(r"^(?:\d+\. )?%s\((.*)\) -> (.+)$" % name, text.strip(), re.MULTILINE)
    if not found:
        return ["def %s(self, *args: Any, **kwargs: Any) -> Any: ..." % name]
    lines = []
    for words, result in found:
        if len(found) > 1:
            lines.append("@overload")
        kept, optional = ["self"], False
        for word in _split(words)[1:]:  # pybind11 has arguments without a default after some with
            kept.append(_argument(word, known, optional))
            optional = optional or kept[-1].endswith("= ...")
        kept = ", ".join(kept)
        lines.append("def %s(%s) -> %s: ..." % (name, kept, _type(result, known)))
    return lines


def _split(words):
    """At commas outside of brackets."""
    found, depth = [""], 0
    for letter in words:
        depth += (letter in "[(<") - (letter in "])>")
        if letter == "," and depth == 0:
            found.append("")
        else:
            found[-1] += letter
    return [word.strip() for word in found]


def _argument(word, known, optional):
    name, _, kind = word.partition(":")
    kind, default, _ = kind.partition(" = ")
    if name.startswith("*"):
        return name + ": Any"
    found = "%s: %s" % (name, _type(kind, known))
    return found + " = ..." if default or optional else found


def _type(text, known):
    """Plain types and our classes by name; the rest (buffers, capsules, sequences) is Any."""
    text = text.strip()
    last = text.split(".")[-1]
    return _PLAIN.get(text) or (last if last in known and "[" not in text else "Any")


def _block(name, body, indent, nested=""):
    inside = nested + "".join("%s    %s\n" % (indent, line) for line in body)
    return "%sclass %s:\n%s" % (indent, name, inside or indent + "    ...\n")


if __name__ == "__main__":
    if sys.argv[1].endswith(".pyi"):
        with open(sys.argv[1], encoding="utf-8") as published:
            sys.stdout.write(trimmed(published.read()))
    else:
        sys.stdout.write(stub_of(importlib.import_module(sys.argv[1])))
