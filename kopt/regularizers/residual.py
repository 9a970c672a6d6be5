"""Residual branches of a model, and the layers that drop them."""

import keras

from kopt._core.layer_kinds import is_normalization
from kopt.regularizers.graph import Call, Graph, Tensor


def branch_of(graph: Graph, call: Call, *, is_root: bool) -> Tensor | None:
    """Returns which of the two inputs of an addition is a residual branch; None where none is.

    Either one input is computed from the other one, which is the shortcut, or both come from one tensor, which is no
    input of the whole model: then the branch is that with more layers. A branch has weights other than embeddings.

    Args:
        graph: Of the model with the addition.
        call: The addition.
        is_root: Whether the model is the whole one, not inside another.
    """
    tensors = graph.inputs.get(call, [])
    if graph.kind(call[0]) != "Add" or len(tensors) != 2:
        return None
    first, second = map(graph.ancestors, tensors)
    if tensors[0] in second:
        branch, own = tensors[1], second - first
    elif tensors[1] in first:
        branch, own = tensors[0], first - second
    else:
        if not {one for one in first & second if not (is_root and graph.kind(one[0]) == "InputLayer")}:
            return None
        by_first = len(_learning(graph, first - second)) > len(_learning(graph, second - first))
        branch, own = (tensors[0], first - second) if by_first else (tensors[1], second - first)
    return branch if _learning(graph, own) else None


def is_residual(graph: Graph, call: Call, *, is_root: bool) -> bool:
    """Returns whether a call adds a residual branch."""
    return branch_of(graph, call, is_root=is_root) is not None


def _learning(graph: Graph, tensors: set[Tensor]) -> set[str]:
    names = {tensor[0] for tensor in tensors}
    return {name for name in names if graph.has_weights(name) and not _is_other(graph, name)}


def _is_other(graph: Graph, name: str) -> bool:
    is_embedding = isinstance(graph.layers[name], keras.layers.Embedding) or "Embedding" in graph.kind(name)
    return is_embedding or is_normalization(graph.kind(name))
