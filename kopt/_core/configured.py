"""Configs from constructor signatures: an object's config is the arguments that it was built with."""

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Self

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule as Schedule

from kopt._backend import adapter_module

Hyperparameter = float | Schedule
PROBED = (0, 1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)

register = keras.saving.register_keras_serializable(package="kopt")


def serialized(value: Any) -> Any:
    """Returns `value` as JSON can hold it: Keras objects become their configs, containers are entered."""
    if isinstance(value, list | tuple):
        return [serialized(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return keras.saving.serialize_keras_object(value)


def deserialized(value: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Returns what `serialized` was given."""
    if isinstance(value, list):
        return [deserialized(item, custom_objects) for item in value]
    if isinstance(value, dict) and "class_name" in value:
        return keras.saving.deserialize_keras_object(value, custom_objects=custom_objects)
    return value


def unknown_argument(owner: str, name: str, known: Iterable[str]) -> TypeError:
    """Returns the error for a misspelt keyword, with the nearest right one."""
    names = list(known)
    nearest = difflib.get_close_matches(name, names, n=1)
    guess = f" Did you mean `{nearest[0]}`?" if nearest else ""
    return TypeError(f"{owner} has no argument `{name}`.{guess} Its arguments are: {', '.join(names)}.")


class Configured:
    """Remembers the arguments of its outermost constructor; `get_config` and `from_config` follow from them.

    A class whose constructor ends in `**keywords` names the accepted keywords in `keyword_names`; any other keyword
    raises.

    Attributes:
        schedulable: Arguments that may be a `keras.optimizers.schedules.LearningRateSchedule`. The constructor is shown
            the value at step 0, and values later on to check; the schedule itself is kept in `scheduled`.
    """

    keyword_names: ClassVar[tuple[str, ...]] = ()
    schedulable: ClassVar[tuple[str, ...]] = ()
    _arguments: dict[str, Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__init__ is object.__init__:
            cls.__init__ = _takes_nothing  # type: ignore[method-assign]
        if "__init__" in cls.__dict__:
            cls.__init__ = _recording(cls.__init__)  # type: ignore[method-assign]

    @property
    def arguments(self) -> dict[str, Any]:
        """The constructor's explicit arguments, defaults filled in."""
        return dict(self._arguments)

    @property
    def scheduled(self) -> dict[str, Schedule]:
        """The arguments that follow a schedule, by name."""
        return self.__dict__.get("_scheduled", {})

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments in a form that JSON can hold."""
        return {name: serialized(value) for name, value in self._arguments.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        """Builds the object whose `get_config` returned `config`."""
        return cls(**{name: deserialized(value, custom_objects) for name, value in config.items()})


def _takes_nothing(self: Any) -> None:
    """Stands in for `object.__init__`, whose signature admits anything."""


def _recording(init: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(init)
    parameters = list(signature.parameters.values())[1:]
    explicit = [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    has_keywords = any(p.kind is p.VAR_KEYWORD for p in parameters)

    @functools.wraps(init)
    def recording_init(self: Configured, *args: Any, **kwargs: Any) -> None:
        if "_arguments" not in self.__dict__:
            known = [*explicit, *(type(self).keyword_names if has_keywords else ())]
            for name in kwargs:
                if name not in known:
                    raise unknown_argument(type(self).__name__, name, known)
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            # Keras optimizers track and wrap what is set as an attribute: the record must stay plain.
            self.__dict__["_arguments"] = {name: bound.arguments[name] for name in explicit}
            args, kwargs = _with_numbers(self, init, bound)
        init(self, *args, **kwargs)

    return recording_init


def _with_numbers(
    made: Configured, init: Callable[..., None], bound: inspect.BoundArguments
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Returns the arguments with numbers in place of the schedules that may be given, after a check of later ones."""
    names = [name for name in type(made).schedulable if isinstance(bound.arguments.get(name), Schedule)]
    if names:
        made.__dict__["_scheduled"] = {name: bound.arguments[name] for name in names}
    for step in reversed(PROBED) if names else ():
        bound.arguments.update(
            {name: number_at(made.scheduled[name], step, bound.signature.parameters[name].default) for name in names}
        )
        try:
            init(*bound.args, **bound.kwargs)
        except ValueError as error:
            raise ValueError(f"{error} This is what the schedule gives at step {step}.") from error
    return bound.args[1:], bound.kwargs


def number_at(schedule: Any, step: int, default: float = 0.0) -> float:
    """Returns what a schedule gives; the argument's default stands in until the length of the run is known."""
    if getattr(schedule, "waits_for_length", False):
        return default
    with adapter_module.outside_traces():  # Keras may build an optimizer inside a step that it compiles.
        return float(ops.convert_to_numpy(schedule(step)))
