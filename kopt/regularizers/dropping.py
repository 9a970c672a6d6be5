"""Where dropout and drop paths go in a model: rates of layers that are there, and layers put in between."""

from collections.abc import Callable
from typing import Any

import keras

from kopt._core.layer_kinds import INNER_RATES, is_drop_path, is_dropout, is_on, unwrapped
from kopt.layers import DropPath, drop_path_rates
from kopt.regularizers.graph import Graph, Insertion, Tensor
from kopt.regularizers.places import Add, Place, Selection, takes_inside
from kopt.regularizers.residual import branch_of

MARK = "regularize_"  # In front of the names of layers that were put in: unregularize takes them out again.
_DROPPED = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    *(
        getattr(keras.layers, f"{kind}{n}D{suffix}")
        for kind, n, suffix in (
            *(("Conv", n, suffix) for n in (1, 2, 3) for suffix in ("", "Transpose")),
            *((kind, n, "") for kind in ("SeparableConv", "DepthwiseConv") for n in (1, 2)),
        )
    ),
)


def is_dropped_after(layer: Any) -> bool:
    """Returns whether dropout goes behind such a layer unless the user says otherwise: dense ones, convolutions."""
    return isinstance(unwrapped(layer), _DROPPED)


def set_dropout(root: Place, rate: float, selection: Selection, after: Callable[[Any], bool]) -> int:
    """Gives dropout layers a rate and puts layers in; returns how many there are now with that rate.

    Args:
        root: The place of the model, whose config is changed.
        rate: In [0, 1).
        selection: Which layers are meant.
        after: Says of a layer whether dropout goes behind it.
    """
    met = {id(place.part): place.part for place in root.walk() if _is_met(place, selection)}
    for place in list(root.walk()):
        if place.graph is not None:
            insertions = []
            for child in place.children:
                is_one = takes_inside(after, child.layer) and not child.is_output and child.graph is None
                if not is_one or not selection.takes_place(child):
                    continue
                name = child.layer.name
                options = {"name": _free_name(place.graph, f"dropout_{name}"), "dtype": child.layer.dtype_policy}
                insertion = Insertion(_new(keras.layers.Dropout(rate, **options)))
                for call in place.graph.calls_of(name):
                    end, there = behind(place, (*call, 0))
                    if there is None:
                        insertion.add(end)
                    else:
                        met[id(there)] = there
                if insertion.tensors:
                    insertions.append(insertion)
                    met[id(insertion.entry)] = insertion.entry
            place.graph.insert(insertions if rate else [])
    for part in met.values():
        _set_rate(part, rate)
    return len(met)


def behind(place: Place, tensor: Tensor) -> tuple[Tensor, dict[str, Any] | None]:
    """Returns the tensor for dropout to take, behind normalization and activation, and a layer that drops it already.

    Args:
        place: Of a Sequential or Functional model.
        tensor: In it.
    """
    graph = place.graph
    assert graph is not None
    reader = graph.only_reader(tensor)
    while reader is not None and graph.is_activation(reader[0]):
        tensor = (*reader, 0)
        reader = graph.only_reader(tensor)
    return tensor, _dropout_ahead(place, tensor)


def _dropout_ahead(place: Place, tensor: Tensor) -> dict[str, Any] | None:
    graph = place.graph
    assert graph is not None
    named = {child.layer.name: child for child in place.children}
    reader = graph.only_reader(tensor)
    while reader is not None:
        name = reader[0]
        if is_dropout(graph.kind(name)):
            return graph.entries[name]
        child = named.get(name)
        if child is not None and child.graph is not None:
            starts = [one for one, before in child.graph.inputs.items() if not before]
            return _dropout_ahead(child, (*starts[0], 0)) if len(starts) == 1 else None
        if not graph.passes_through(name):
            return None
        tensor = (*reader, 0)
        reader = graph.only_reader(tensor)
    outer = place.around[-1] if place.around else None
    if tensor in graph.outputs and outer is not None and outer.graph is not None:
        calls = outer.graph.calls_of(place.layer.name)
        return _dropout_ahead(outer, (*calls[0], 0)) if calls else None
    return None


def set_drop_path(root: Place, rate: float, selection: Selection) -> int:
    """Gives residual branches rates that rise with depth, by layers that are there or put in; returns how many.

    Args:
        root: The place of the model, whose config is changed.
        rate: Of the last branch, in [0, 1).
        selection: Which layers are meant: the branch's addition, or a layer that drops it.
    """
    sites = _drop_path_sites(root, selection)
    rates = drop_path_rates(len(sites), rate) if sites else []
    insertions: dict[int, tuple[Graph, list[Insertion]]] = {}
    for (place, part, branches), own in zip(sites, rates, strict=True):
        if part is not None:
            _set_rate(part, own)
        elif own and place.graph is not None:
            graph, (call, branch) = place.graph, branches[0]
            options = {"name": _free_name(graph, f"drop_path_{call[0]}"), "dtype": _policy(graph, branch)}
            insertion = Insertion(_new(DropPath(own, **options)))
            for call, branch in branches:
                insertion.add(branch, call)
            insertions.setdefault(id(graph), (graph, []))[1].append(insertion)
    for graph, several in insertions.values():
        graph.insert(several)
    return len(sites)


def _drop_path_sites(root: Place, selection: Selection) -> list[Any]:
    """Returns, the first block first: the model's place, the layer that drops the branch or None, and the branches."""
    found: dict[int, Any] = {}

    def visit(place: Place) -> None:
        if is_drop_path(place.kind) and "rate" in place.config and selection.takes_place(place):
            found.setdefault(id(place.part), (place, place.part, []))
        named = {child.layer.name: child for child in place.children}
        if place.graph is None:
            for child in place.children:
                visit(child)
            return
        for name in place.graph.entries:
            if place.graph.kind(name) == "Add":
                _visit_addition(place, name, named.get(name))
            elif name in named:
                visit(named[name])

    def _visit_addition(place: Place, name: str, child: Place | None) -> None:
        graph = place.graph
        assert graph is not None
        around = [outer.layer for outer in (*place.around, place)[1:]]
        if not selection.takes([child.layer if child else Add(name), *around]):
            return
        calls = [(call, branch_of(graph, call, is_root=not place.around)) for call in graph.calls_of(name)]
        branches = [(call, branch) for call, branch in calls if branch is not None]
        if branches and not any(_is_dropped(graph, branch) for _, branch in branches):
            found[id(graph.entries[name])] = (place, None, branches)

    visit(root)
    return list(found.values())


def is_inserted(layer: Any) -> bool:
    """Returns whether a layer is one that was put into its model here."""
    kind = type(layer).__name__
    return layer.name.startswith(MARK) and (is_dropout(kind) or is_drop_path(kind))


def _is_met(place: Place, selection: Selection) -> bool:
    is_layer = is_dropout(place.kind) and "rate" in place.config
    return (is_layer or any(is_on(place.config.get(key)) for key in INNER_RATES)) and selection.takes_place(place)


def _set_rate(part: dict[str, Any], rate: float) -> None:
    if "rate" in part["config"]:
        part["config"]["rate"] = rate
    for key in INNER_RATES:
        if is_on(part["config"].get(key)):
            part["config"][key] = rate


def _new(layer: Any) -> dict[str, Any]:
    entry: dict[str, Any] = keras.saving.serialize_keras_object(layer)
    entry.pop("build_config", None)
    return entry


def _free_name(graph: Graph, name: str) -> str:
    name = MARK + name
    while name in graph.entries:
        name += "_"
    return name


def _policy(graph: Graph, tensor: Tensor) -> Any:
    """Returns the dtype policy of the layer that a tensor comes from, maybe through operations."""
    layer = graph.layers.get(tensor[0])
    return _policy(graph, graph.inputs[tensor[:2]][0]) if layer is None else layer.dtype_policy


def _is_dropped(graph: Graph, branch: Tensor) -> bool:
    """Returns whether a branch ends in a layer that drops it, maybe with activations and the like behind that."""
    while not is_drop_path(graph.kind(branch[0])):
        before = graph.inputs.get(branch[:2], [])
        if len(before) != 1 or not graph.passes_through(branch[0]):
            return False
        branch = before[0]
    return True
