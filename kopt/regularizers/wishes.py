"""The penalties and constraints that a user wants in a model: where they go, and whether they got there."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras

from kopt._backend import watch
from kopt._core import checks
from kopt._core.layer_kinds import CONSTRAINTS, REGULARIZERS
from kopt.regularizers.places import Place, Selection


class Keep:
    """Says that an argument leaves what is there."""

    def __repr__(self) -> str:
        return "KEEP"


KEEP = Keep()
OF_YOUR_OWN = (
    "A model of a class of your own makes its layers itself: let it take penalties and rates in its constructor, and "
    "return them in `get_config`, or, for penalties and constraints on weights, say `in_place=True`."
)
_OWNERS = ("kernel", "recurrent", "embeddings")  # A layer with one of these gets activity penalties.


@dataclass
class Wishes:
    """What `regularize` is asked for.

    Attributes:
        penalties: By what they are on: a regularizer, None, or KEEP.
        constraint: Likewise.
        dropout: The rate, or None.
        drop_path: The largest rate, or None.
    """

    penalties: dict[str, Any]
    constraint: Any
    dropout: float | None
    drop_path: float | None

    def __post_init__(self) -> None:
        self.penalties = {name: _checked(name, value, keras.regularizers.get) for name, value in self.penalties.items()}
        self.constraint = _checked("constraint", self.constraint, keras.constraints.get)
        self.dropout = checks.optional(checks.fraction, "dropout", self.dropout)
        self.drop_path = checks.optional(checks.fraction, "drop_path", self.drop_path)
        if not self.keys and self.dropout is None and self.drop_path is None:
            raise ValueError(
                "`regularize` needs something to do. Received: no penalty, no constraint, no dropout and no drop_path."
            )

    @property
    def keys(self) -> dict[str, tuple[str, Any]]:
        """The arguments of layers that change, each with the user's argument and the value."""
        found = {
            key: (name, value)
            for name, value in self.penalties.items()
            if value is not KEEP
            for key in REGULARIZERS[name]
        }
        constraints = {} if self.constraint is KEEP else dict.fromkeys(CONSTRAINTS, ("constraint", self.constraint))
        return found | constraints

    @property
    def functions(self) -> dict[str, Any]:
        """What is asked for that is a function of the user, by name."""
        values = [value for _, value in self.keys.values()]
        return {value.__name__: value for value in values if hasattr(value, "__name__")}

    def edit(self, root: Place, selection: Selection) -> None:
        """Puts penalties and constraints into the config.

        Args:
            root: The place of the model.
            selection: Which layers are meant.

        Raises:
            ValueError: The model has no place for one of them.
        """
        met: set[str] = set()
        for place in root.walk():
            for key, (name, value) in self.keys.items():
                target = _target(place, key)
                if target is None or not _is_meant(selection, place, value):
                    continue
                met.add(name)
                target.config[key] = _serialized(name, value)
        self.check_met(met, "" if root.graph is not None else OF_YOUR_OWN)

    def check_met(self, met: set[str], advice: str = "") -> None:
        """Raises `ValueError` if one of the user's arguments has found no place.

        Args:
            met: The arguments that have.
            advice: What to do.
        """
        for name, value in dict(self.keys.values()).items():
            if name not in met:
                rule = "left out where none of the layers that are meant has a place for it"
                further = "" if value is None or advice else "Output layers are meant only if `include` names them."
                raise checks.fail(name, rule, value, advice or further)

    def check(self, root: Place, selection: Selection, news: dict[int, Any]) -> None:
        """Raises `ValueError` if layers that are meant have other penalties; puts the instance itself where it is.

        Args:
            root: The place of the model.
            selection: Which layers are meant.
            news: The layers of the new model, by the `id` of those of the old one.
        """
        for place, layer, around in _all_layers(root):
            new = news.get(id(layer))
            for key, (name, value) in self.keys.items():
                if new is None or name == "activity" or not hasattr(new, key):
                    continue
                if not selection.takes(around) or not (value is None or selection.has_include or not place.is_output):
                    continue
                there = getattr(new, key)
                if not _is_same(there, value):
                    raise _unreached(name, value, new, place)
                _share(new, there, value)

    def is_for_weights_only(self) -> bool:
        """Returns whether only penalties and constraints on weights are asked for."""
        return self.dropout is None and self.drop_path is None and self.penalties["activity"] is KEEP


def _checked(name: str, value: Any, get: Any) -> Any:
    if value is KEEP or value is None:
        return value
    advice = f"Call it: {value.__name__}(...)." if isinstance(value, type) else "Such as kopt.regularizers.L2(1e-4)."
    if isinstance(value, type):
        raise checks.fail(name, "an instance, a name as in Keras, or None", value, advice)
    try:
        return get(value)
    except (ValueError, TypeError) as error:
        raise checks.fail(name, "what a Keras layer takes there, or None", value, advice) from error


def _serialized(name: str, value: Any) -> Any:
    if value is None or not hasattr(value, "get_config"):
        return value  # A function of the user: Keras takes it as it is.
    module = keras.constraints if name == "constraint" else keras.regularizers
    return module.serialize(value)


def _is_meant(selection: Selection, place: Place, value: Any) -> bool:
    return selection.takes_place(place) if value is None else selection.takes_penalty(place)


def _target(place: Place, key: str) -> Place | None:
    """Returns the place whose config holds an argument for a layer; None if the layer has no such thing."""
    if place.graph is not None:
        return None
    if key != "activity_regularizer":
        return place if key in place.config else None
    owns = any(owned in place.config for name in _OWNERS for owned in REGULARIZERS[name])
    outer = place.outermost
    is_known = key in outer.config or type(outer.layer).__module__.startswith("keras.")
    return outer if (owns and is_known) or (key in place.config and outer is place) else None


def _all_layers(root: Place) -> Iterator[tuple[Place, Any, list[Any]]]:
    """Yields each layer, also if no config holds it, with the nearest place, and it and the layers around it."""
    for place in root.walk():
        around = [outer.layer for outer in (*place.around, place)[:0:-1]]
        if around:
            yield place, place.layer, around
        held = {id(child.layer) for child in place.children}
        for layer in watch.inner_layers(place.layer):
            if id(layer) not in held and not watch.is_graph(place.layer):
                for inner in [layer, *watch.flat_layers(layer)]:
                    yield place, inner, [inner, *around]


def _is_same(there: Any, value: Any) -> bool:
    if not hasattr(value, "get_config"):
        return there is value
    return type(there) is type(value) and bool(there.get_config() == value.get_config())


def _share(layer: Any, there: Any, value: Any) -> None:
    """Puts the user's instance in place of a copy of it, in a layer and its variables."""
    for name, held in list(vars(layer).items()):
        if held is there and held is not None:
            setattr(layer, name, value)
    for variable in layer.variables if isinstance(value, keras.regularizers.Regularizer) else ():
        if variable.regularizer is there:
            variable.regularizer = value


def _unreached(name: str, value: Any, layer: Any, place: Place) -> ValueError:
    outer, kind = place.layer.name, place.kind
    advice = (
        f"{layer.name!r} is made by {outer!r}, of class {kind}, with numbers of its own. Let {kind} take them in its "
        f"constructor and return them in `get_config`, leave it out by `exclude={outer!r}`, or say `in_place=True`."
    )
    return checks.fail(name, "for layers that configs reach", value, advice)
