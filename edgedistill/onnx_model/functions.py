"""Functions that a model defines itself: counted before they are unfolded, since each may call others."""

from __future__ import annotations

import onnx
from onnx import inliner

from edgedistill.errors import PreflightError

MOST_NODES = 200_000  # after unfolding; a network of a board has some hundreds


def inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model without functions.

    Raises:
        PreflightError: as `refuse_endless`.
    """
    refuse_endless(model)
    return inliner.inline_local_functions(model)


def refuse_endless(model: onnx.ModelProto) -> None:
    """Called before onnx's own checker and shape inference, which unfold functions without a limit.

    Raises:
        PreflightError: unfolded it would have more than MOST_NODES nodes, or a function calls itself.
    """
    total = sum(_unfolded(node, model, {}, ()) for node in model.graph.node)
    if total > MOST_NODES:
        raise PreflightError(
            f"its functions unfold to {total:.3g} nodes, more than {MOST_NODES}; export it without nested functions"
        )


def _unfolded(node: onnx.NodeProto, model: onnx.ModelProto, counts: dict[tuple[str, str], int], inside: tuple) -> int:
    """Nodes that one node becomes; `known` keeps what each function becomes."""
    key = (node.domain, node.op_type)
    if key in inside:
        raise PreflightError(f"the function {node.op_type} calls itself; export it without functions")
    function = next((f for f in model.functions if (f.domain, f.name) == key), None)
    if function is None:
        return 1
    if key not in counts:
        counts[key] = sum(_unfolded(one, model, counts, (*inside, key)) for one in function.node)
    return counts[key]
