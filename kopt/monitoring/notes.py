"""What is noted on the way through a step: losses and outputs of layers, also from inside JAX' gradient."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from kopt._backend import adapter_module, watch
from kopt.monitoring.quantity import Numbers, Quantity


class Notes:
    """Numbers of one step, as tensors.

    A tensor of an inner trace must not be used outside: JAX differentiates a function of its own, which carries out
    what was noted in it beside the loss (`adapter_module.carrying`). What is noted in any other trace, such as that of
    a loop inside a layer, is dropped.
    """

    def __init__(self) -> None:
        self.numbers: Numbers = {}
        self._layers: dict[str | tuple[str, ...], set[int]] = {}
        self._outer = adapter_module.trace()
        self._inner: Any = None
        self._carried: Numbers = {}

    def note(self, tag: str | tuple[str, ...], value: Any) -> None:
        """Notes a scalar under its tag, or a vector under its tags."""
        here = adapter_module.trace()
        if here == self._outer:
            self.numbers[tag] = value
        elif self._inner is not None and here == self._inner:
            self._carried[tag] = value

    def note_of_layer(self, tag: str | tuple[str, ...], value: Any, place: int) -> None:
        """Notes a number of a layer that one of the observers wants to see, by its place among them."""
        self._layers.setdefault(tag, set()).add(place)
        self.note(tag, value)

    def seen_by(self, place: int) -> Numbers:
        """Returns the numbers without those of layers that an observer does not want to see."""
        return {tag: value for tag, value in self.numbers.items() if place in self._layers.get(tag, {place})}

    def enter(self) -> None:
        """Says that the function which is differentiated begins."""
        self._inner, self._carried = adapter_module.trace(), {}

    def leave(self) -> tuple[list[Any], list[Any]]:
        """Says that it ends; returns the tags noted in it, and their values."""
        self._inner = None
        return list(self._carried), list(self._carried.values())


def watch_forward(
    stack: contextlib.ExitStack,
    model: Any,
    wanted: Sequence[tuple[tuple[Quantity, ...], Callable[[str], bool]]],
    current: Callable[[], Notes],
) -> None:
    """Puts watchers in front of the model's methods until the stack is closed.

    Args:
        stack: Keeps what undoes it.
        model: A built model.
        wanted: For each observer the quantities that are due, and a function that says of a path whether its user
            wants to see that layer: its own path, or that of one of its variables.
        current: Returns the notes of the step under way.
    """

    def override(owner: Any, name: str, function: Any) -> None:
        stack.enter_context(watch.overriding(owner, name, function))

    def watch_trackers(tagged: list[tuple[str, Any]]) -> None:
        for tag, tracker in tagged:
            override(tracker, "update_state", _noted_update(tracker, tag, current))

    for owner, name, function in adapter_module.carrying(model, current):
        override(owner, name, function)
    watch_trackers(watch.loss_trackers(model))
    loss = watch.unbuilt_loss(model)
    if loss is None:
        watch_trackers(watch.output_loss_trackers(model))
    else:
        build = loss.build

        def build_and_watch(*args: Any, **kwargs: Any) -> None:
            build(*args, **kwargs)
            watch_trackers(watch.output_loss_trackers(model))

        override(loss, "build", build_and_watch)
    judging = [quantity for quantities, _ in wanted for quantity in quantities if quantity.looks_at_the_loss]
    if judging:
        override(model, "compute_loss", _noted_loss(model, judging, current))
    for place, (quantities, is_chosen) in enumerate(wanted):
        looking = [quantity for quantity in quantities if quantity.looks_forward]
        for path, layer in watch.layers_by_path(model).items() if looking else ():
            if any(map(is_chosen, [path, *watch.unique_paths(model, list(layer.variables))])):
                override(layer, "call", _noted_call(layer, path, looking, current, place))


def _noted_update(tracker: Any, tag: str, current: Callable[[], Notes]) -> Callable[..., Any]:
    original = tracker.update_state

    def update_state(*args: Any, **kwargs: Any) -> Any:
        value = args[0] if args else kwargs["values"]
        current().note(tag, ops.stop_gradient(ops.mean(ops.cast(value, "float32"))))
        return original(*args, **kwargs)

    return update_state


def _noted_loss(model: Any, quantities: list[Quantity], current: Callable[[], Notes]) -> Callable[..., Any]:
    original = model.compute_loss

    def compute_loss(
        x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        shown = keras.tree.map_structure(ops.stop_gradient, y_pred)
        for quantity in quantities:
            for tag, value in quantity.in_loss(x, y, shown).items():
                current().note(tag, value)
        return original(x, y, y_pred, sample_weight, *args, **kwargs)

    return compute_loss


def _noted_call(
    layer: Any, path: str, quantities: list[Quantity], current: Callable[[], Notes], place: int
) -> Callable[..., Any]:
    original = layer.call

    def call(*args: Any, **kwargs: Any) -> Any:
        outputs = original(*args, **kwargs)
        for quantity in quantities:
            for tag, value in quantity.in_forward(layer, path, outputs).items():
                current().note_of_layer(tag, ops.stop_gradient(value), place)
        return outputs

    return call
