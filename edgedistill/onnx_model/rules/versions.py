"""Opset, IR, operator domains, local functions, and whether the file keeps to its own opset."""

from __future__ import annotations

from collections.abc import Iterator

from edgedistill.config.target import Target
from edgedistill.onnx_model import sort
from edgedistill.onnx_model.findings import Finding, Graph, is_standard, node_name, standard_fault
from edgedistill.onnx_model.rules.impossible import impossible

OLDEST_OPSET = 7  # below it every parser warns: "generated with at least opset 7"


def _schema(graph: Graph, target: Target) -> Iterator[Finding]:
    """A file whose opset was only relabelled breaks the standard: the older form has no such input.

    What nothing can compute is asked of files that keep to it only.
    """
    in_order = sort.sorted_model(graph.model)
    if in_order is None:
        yield Finding(
            "error", "schema", "model", "its nodes form a cycle, so nothing can be computed first", "export it again"
        )
        return
    # By its path where weights lie beside it: they are looked for there.
    reason = standard_fault(str(graph.path) if graph.external else in_order)
    if reason:
        yield Finding(
            "error",
            "schema",
            "model",
            f"breaks the ONNX standard at opset {graph.opset}: {reason}",
            "export again; an opset number that was only rewritten does this",
        )
        return
    yield from impossible(graph, in_order)


def _opset(graph: Graph, target: Target) -> Iterator[Finding]:
    release = target.needed_release
    if graph.opset > release.opset_max:
        yield Finding(
            "error",
            "opset",
            "model",
            f"opset {graph.opset}; TensorRT {release.name} documents up to {release.opset_max}",
            f"export at opset {release.opset_max}",
        )
    if graph.opset < OLDEST_OPSET:
        yield Finding(
            "warning",
            "opset",
            "model",
            f"opset {graph.opset}; TensorRT wants {OLDEST_OPSET} or newer",
            f"export at opset {release.opset_max}",
        )
    if graph.model.ir_version > release.ir_max:
        yield Finding(
            "warning",
            "ir",
            "model",
            f"IR {graph.model.ir_version}; the parser of TensorRT "
            f"{release.name} was built with {release.ir_max} and does not check",
            f"set ir_version to {release.ir_max}",
        )


def _domains(graph: Graph, target: Target) -> Iterator[Finding]:
    used = {node.domain for node in graph.nodes}
    for node in graph.nodes:
        if not is_standard(node.domain):
            yield Finding(
                "error",
                "domain",
                node_name(node),
                f"{node.op_type} is of the operator domain {node.domain!r}",
                "export with standard operators only",
            )
    for entry in graph.model.opset_import:
        if not is_standard(entry.domain) and entry.domain not in used:
            yield Finding(
                "warning",
                "domain",
                "model",
                f"imports the operator domain {entry.domain!r} and uses nothing of it",
                "remove the import",
            )


def _functions(graph: Graph, target: Target) -> Iterator[Finding]:
    for function in graph.model.functions:
        yield Finding(
            "error",
            "functions",
            function.name,
            "a function of the model's own: an operator without an importer",
            "inline it (onnx.inliner)",
        )


RULES = (_schema, _opset, _domains, _functions)
