"""The config of a Sequential or Functional model as a graph: who reads what, and layers put in between."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kopt._core.layer_kinds import is_drop_path, is_dropout, is_normalization

Tensor = tuple[str, int, int]  # The name of a layer or operation, which of its calls, which of its outputs.
Call = tuple[str, int]

# Of layers and of operations, in small letters.
_ACTIVATIONS = {"activation", "relu", "leakyrelu", "prelu", "elu", "selu", "celu", "gelu", "glu", "softmax", "relu6"}
_ACTIVATIONS |= {"silu", "sigmoid", "tanh", "logsoftmax", "logsigmoid", "softplus", "hardsigmoid", "hardsilu"}


@dataclass
class Insertion:
    """A layer to put between others.

    Attributes:
        entry: The serialized layer, with a name that no other layer of the model has.
        tensors: What goes through it, one tensor per call.
        readers: The calls that get its result, for each tensor; None for all that read the tensor.
    """

    entry: dict[str, Any]
    tensors: list[Tensor] = field(default_factory=list)
    readers: list[Call | None] = field(default_factory=list)

    def add(self, tensor: Tensor, reader: Call | None = None) -> None:
        """Adds a call."""
        self.tensors.append(tensor)
        self.readers.append(reader)


class Graph:
    """The layers of one Sequential or Functional model, as its config has them.

    Args:
        part: The serialized model. `insert` changes it in place.
        layers: The model's layers by name; operations have none.
    """

    def __init__(self, part: dict[str, Any], layers: dict[str, Any]) -> None:
        self.part, self.layers = part, layers
        self.is_sequential = "input_layers" not in part["config"]
        self.entries = {name_of(entry): entry for entry in part["config"]["layers"]}
        self.inputs: dict[Call, list[Tensor]] = dict(self._calls())
        self.readers: dict[Tensor, list[Call]] = {}
        for call, tensors in self.inputs.items():
            for tensor in dict.fromkeys(tensors):
                self.readers.setdefault(tensor, []).append(call)
        self.outputs = set(self._outputs())

    def kind(self, name: str) -> str:
        """Returns the name of the class of a layer or operation."""
        return str(self.entries[name]["class_name"])

    def has_weights(self, name: str) -> bool:
        """Returns whether a layer has weights of its own to learn with; the rates of dropout layers are none."""
        kind, layer = self.kind(name), self.layers.get(name)
        return layer is not None and bool(layer.weights) and not is_dropout(kind) and not is_drop_path(kind)

    def passes_through(self, name: str) -> bool:
        """Returns whether what comes out of a layer is what the layer in front of it has found."""
        kind = self.kind(name)
        return is_normalization(kind) or kind.lower() in _ACTIVATIONS or not self.has_weights(name)

    def is_activation(self, name: str) -> bool:
        """Returns whether a layer normalizes or activates, element by element."""
        return is_normalization(self.kind(name)) or self.kind(name).lower() in _ACTIVATIONS

    def calls_of(self, name: str) -> list[Call]:
        """Returns the calls of a layer, the first one first."""
        return [call for call in self.inputs if call[0] == name]

    def only_reader(self, tensor: Tensor) -> Call | None:
        """Returns the call that reads a tensor, if there is just one, which reads nothing else."""
        readers = self.readers.get(tensor, [])
        is_one = len(readers) == 1 and tensor not in self.outputs and len(set(self.inputs[readers[0]])) == 1
        return readers[0] if is_one else None

    def ancestors(self, tensor: Tensor) -> set[Tensor]:
        """Returns what a tensor is computed from, itself included."""
        found: set[Tensor] = set()
        waiting = [tensor]
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting += self.inputs.get(one[:2], [])
        return found

    def insert(self, insertions: list[Insertion]) -> None:
        """Puts layers in between, in the config."""
        config = self.part["config"]
        news: dict[tuple[Tensor, Call | None], Tensor] = {}
        for one in insertions:
            name = one.entry["config"]["name"]
            for number, (tensor, reader) in enumerate(zip(one.tensors, one.readers, strict=True)):
                news[tensor, reader] = (name, number, 0)
        for call, history in self._references():
            tensor = _tensor(history)
            history[:] = news.get((tensor, call)) or news.get((tensor, None)) or tensor
        for one in insertions:
            entry = one.entry
            if not self.is_sequential:
                nodes = [{"args": [_written(tensor)], "kwargs": {}} for tensor in one.tensors]
                entry = {**entry, "name": entry["config"]["name"], "inbound_nodes": nodes}
            names = [name_of(other) for other in config["layers"]]
            config["layers"].insert(names.index(one.tensors[-1][0]) + 1, entry)

    def remove(self, names: list[str]) -> None:
        """Takes layers with one input out of the config, and has their readers read what they read."""
        config = self.part["config"]
        for _, history in self._references():
            while history[0] in names:
                history[:] = self.inputs[_tensor(history)[:2]][0]
        config["layers"] = [entry for entry in config["layers"] if name_of(entry) not in names]

    def _calls(self) -> Iterator[tuple[Call, list[Tensor]]]:
        before: Tensor | None = None
        for name, entry in self.entries.items():
            if self.is_sequential:
                yield (name, 0), [] if before is None else [before]
                before = (name, 0, 0)
            for number, node in enumerate(entry.get("inbound_nodes", [])):
                yield (name, number), [_tensor(history) for history in _histories(node)]

    def _outputs(self) -> Iterator[Tensor]:
        if self.is_sequential:
            yield (list(self.entries)[-1], 0, 0)
        else:
            yield from map(_tensor, _triples(self.part["config"]["output_layers"]))

    def _references(self) -> Iterator[tuple[Call | None, list[Any]]]:
        """Yields each place in the config where a tensor is written, with the call that reads it; None for outputs."""
        if self.is_sequential:
            return
        for entry in self.part["config"]["layers"]:
            for number, node in enumerate(entry["inbound_nodes"]):
                for history in _histories(node):
                    yield (entry["name"], number), history
        for triple in _triples(self.part["config"]["output_layers"]):
            yield None, triple


def name_of(entry: dict[str, Any]) -> str:
    """Returns the name of a serialized layer among those of its model."""
    return str(entry.get("name") or entry["config"].get("name"))


def _keras_tensors(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("class_name") == "__keras_tensor__":
            yield node
        else:
            for value in node.values():
                yield from _keras_tensors(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _keras_tensors(value)


def _histories(node: Any) -> Iterator[list[Any]]:
    for template in _keras_tensors(node):
        yield template["config"]["keras_history"]


def _written(tensor: Tensor) -> dict[str, Any]:
    # Keras reads the history only.
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": [], "dtype": "float32", "keras_history": list(tensor)},
    }


def _tensor(history: list[Any]) -> Tensor:
    return str(history[0]), int(history[1]), int(history[2])


def _triples(outputs: Any) -> Iterator[list[Any]]:
    if isinstance(outputs, dict):
        for value in outputs.values():
            yield from _triples(value)
    elif len(outputs) == 3 and isinstance(outputs[0], str) and isinstance(outputs[1], int):
        yield outputs
    else:
        for value in outputs:
            yield from _triples(value)
