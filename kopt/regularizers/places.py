"""The layers of a model beside what its config says of them, and which of them are meant."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keras

from kopt._backend import watch
from kopt._core import checks
from kopt._core.layer_kinds import unwrapped
from kopt._core.rebuild import is_part
from kopt.regularizers.graph import Graph
from kopt.regularizers.residual import is_residual

_SHOWN = 40  # layers in an error
Which = str | type | Callable[[Any], bool]


@dataclass
class Place:
    """A layer of a model.

    Attributes:
        part: The serialized layer.
        layer: The layer.
        around: The places that it is inside of, the outermost (the model) first.
        is_output: Whether an output of the model comes from it.
        graph: Of a Sequential or Functional model.
        children: The places inside it.
    """

    part: dict[str, Any]
    layer: Any
    around: tuple["Place", ...]
    is_output: bool
    graph: Graph | None = None
    children: list["Place"] = field(default_factory=list)

    @property
    def config(self) -> dict[str, Any]:
        """What the layer's constructor takes."""
        config: dict[str, Any] = self.part["config"]
        return config

    @property
    def kind(self) -> str:
        """The name of the layer's class."""
        return type(self.layer).__name__

    @property
    def outermost(self) -> "Place":
        """The wrapper around the layer, such as `TimeDistributed`, or the place itself."""
        found = self
        for outer in reversed(self.around):
            if outer.graph is not None:
                break
            found = outer
        return found

    def walk(self) -> Iterator["Place"]:
        """Yields this place and those inside it, in the order of the computation."""
        yield self
        for child in self.children:
            yield from child.walk()


def place_of(config: dict[str, Any], model: keras.Model) -> Place:
    """Returns the place of a model, with those of its layers inside.

    Args:
        config: The serialized model.
        model: The model.
    """
    return _place(config, model, (), at_output=True)


def _place(part: dict[str, Any], layer: Any, around: tuple[Place, ...], *, at_output: bool) -> Place:
    # Of a model that is no graph nobody knows which of its layers is the last.
    place = Place(part, layer, around, at_output and bool(around))
    inner = watch.inner_layers(layer)
    named = {one.name: one for one in inner}
    if watch.is_graph(layer):
        graph = place.graph = Graph(part, named)
        at_end = _last_with_weights(graph, is_root=not around) if at_output else set()
        found = [(entry, named.get(name), name in at_end) for name, entry in graph.entries.items()]
    else:
        held = [(key, one) for key, value in part["config"].items() for one in _held(value)]
        found = [(one, named.get(one["config"].get("name"), getattr(layer, key, None)), at_output) for key, one in held]
    for entry, child, is_output in found:
        if isinstance(child, keras.layers.Layer):
            place.children.append(_place(entry, child, (*around, place), at_output=is_output))
    return place


def _held(value: Any) -> list[dict[str, Any]]:
    return [one for one in (value if isinstance(value, list | tuple) else [value]) if is_part(one)]


def _last_with_weights(graph: Graph, *, is_root: bool) -> set[str]:
    """Returns the layers with weights from which an output comes without another one, or a shortcut, in between."""
    found, seen, waiting = set(), set(), list(graph.outputs)
    while waiting:
        tensor = waiting.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        name, call = tensor[0], tensor[:2]
        if not graph.passes_through(name):
            found.add(name)
        elif not is_residual(graph, call, is_root=is_root):
            waiting += graph.inputs.get(call, [])
    return found


class Add:
    """Stands for an addition that is no layer, as in `x + branch`, where layers are matched.

    Args:
        name: Of the operation.
    """

    trainable = True

    def __init__(self, name: str) -> None:
        self.name = name


def layers_in(root: Place) -> list[Any]:
    """Returns all layers inside a model, and what stands for additions."""
    places = list(root.walk())
    layers = [layer for place in places[1:] for layer in (place.layer, *watch.flat_layers(place.layer))]
    graphs = [place.graph for place in places if place.graph is not None]
    added = [(graph, name) for graph in graphs for name in graph.entries if name not in graph.layers]
    return layers + [Add(name) for graph, name in added if graph.kind(name) == "Add"]


class Selection:
    """Which layers are meant.

    Args:
        layers: All layers that there are.
        include: As `regularize` takes it.
        exclude: Likewise.
    """

    def __init__(self, layers: list[Any], include: Any, exclude: Any) -> None:
        self.has_include = include is not None
        self._included = None if include is None else Matches("include", include, layers)
        self._excluded = Matches("exclude", exclude, layers)

    def takes(self, layers: Iterable[Any]) -> bool:
        """Returns whether a layer is meant, given it and the layers that it is inside of, without the model."""
        layers = list(layers)
        if any(map(self._excluded, layers)):
            return False
        return self._included is None or any(map(self._included, layers))

    def takes_place(self, place: Place) -> bool:
        """Returns whether the layer at a place is meant."""
        return self.takes([place.layer, *(outer.layer for outer in place.around[1:])])

    def takes_penalty(self, place: Place) -> bool:
        """Returns whether the layer at a place is one to add something to: an output layer only if it is included."""
        return self.takes_place(place) and (self.has_include or not place.is_output)


class Matches:
    """Says of a layer whether one of the names, classes or functions that the user gave takes it.

    Args:
        argument: Of the user's call, for errors.
        given: One, or several.
        layers: All layers that there are: each one that is given has to take one of them.
    """

    def __init__(self, argument: str, given: Any, layers: list[Any]) -> None:
        members = [given] if isinstance(given, str | type) or callable(given) else given
        if not isinstance(members, list | tuple | set | frozenset):
            raise checks.fail(argument, "names of layers or classes, patterns, classes or functions of a layer", given)
        names = {layer.name for layer in layers} | {type(layer).__name__ for layer in layers}
        self._tests = [_test(argument, member, names) for member in members]
        for member, test in zip(members, self._tests, strict=True):
            if not any(map(test, layers)):
                known = list(dict.fromkeys(f"{layer.name} ({type(layer).__name__})" for layer in layers))
                rest = f", and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
                advice = f"The layers are: {', '.join(known[:_SHOWN])}{rest}."
                raise checks.fail(argument, "something that a layer matches", member, advice)

    def __call__(self, layer: Any) -> bool:
        return any(test(layer) for test in self._tests)


def _test(argument: str, member: Any, names: set[str]) -> Callable[[Any], bool]:
    if isinstance(member, type):
        return lambda layer: isinstance(layer, member)
    if isinstance(member, str):
        pattern = checks.pattern(argument, f"^{re.escape(member)}$" if member in names else member)
        return lambda layer: any(pattern.search(name) for name in (layer.name, type(layer).__name__))
    if callable(member):
        return lambda layer: bool(member(layer))
    raise checks.fail(argument, "names of layers or classes, patterns, classes or functions of a layer", member)


def takes_inside(test: Callable[[Any], bool], layer: Any) -> bool:
    """Returns whether a test takes a layer or the one inside its wrappers."""
    return test(layer) or test(unwrapped(layer))
