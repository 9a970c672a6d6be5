"""One optimizer of a space: its class, and what each of its arguments may be."""

from typing import Any

import keras

import kopt.optimizers as named
from kopt._core import checks
from kopt._core.configured import unknown_argument
from kopt.optimizers import Composed, ComposedOptimizer
from kopt.tuning.space.default_ranges import OPTIMIZERS, UNSCHEDULED, log
from kopt.tuning.space.named import arguments_of, checked_label, find
from kopt.tuning.space.ranges import Range, checked_numbers, declared, ends

_OWN: dict[str, type] = {label: getattr(named, label) for label in OPTIMIZERS}
_NOT_A_METHOD = ("LossScaleOptimizer", "MultiOptimizer", "Optimizer")
_KERAS: dict[str, type] = {
    label: kind
    for label, kind in vars(keras.optimizers).items()
    if isinstance(kind, type) and issubclass(kind, keras.optimizers.Optimizer) and label not in _NOT_A_METHOD
}
_QUALIFIED = {f"keras.{label}": kind for label, kind in _KERAS.items()}
_SHARES = ("momentum", "beta_1", "beta_2", "beta_3", "rho")
_SIZES = ("learning_rate", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm")


class OptimizerSpace:
    """An optimizer whose arguments are searched.

    Where kopt has the optimizer by name, every argument that matters has a range already; those given here replace
    them. Of other classes only the learning rate has one, from 1e-5 to 1e-1.

    Hyperparameters are called `<name>/<argument>`, and are active only while this optimizer is the chosen one.

    Args:
        kind: A name (`"adamw"`; kopt's optimizer where kopt and Keras have one of that name, `"keras.Adam"` for
            Keras') or a class of kopt, Keras or your own.
        name: What the choice is called; the class' name for None, with `keras.` in front of a class of Keras.
        scheduled: Whether the schedule of the space acts on it. By default not on those that keep or find their rate
            themselves, such as `ScheduleFreeAdamW`.
        **ranges: For any argument of the optimizer a `Float`, `Int`, `Choice`, `Maybe` or one value. None takes a range
            away: the argument then has the optimizer's own default.

    Raises:
        ValueError: The name is unknown, or a range leaves what the argument may be.
        TypeError: The optimizer has no such argument.

    Example:

    ```python
    rate = kopt.tuning.Float(1e-4, 1e-2, sampling="log")
    kopt.tuning.OptimizerSpace("AdamW", learning_rate=rate, beta_2=0.95)
    ```
    """

    def __init__(
        self, kind: str | type, *, name: str | None = None, scheduled: bool | None = None, **ranges: Any
    ) -> None:
        self.kind = _checked_kind(kind)
        own = self.kind.__name__
        is_keras = self.kind in _KERAS.values()
        self.name = checked_label(name if name is not None else f"keras.{own}" if is_keras else own)
        self._known, is_open = _arguments(self.kind)
        for argument in ranges:
            if argument not in self._known and not is_open:
                raise unknown_argument(own, argument, self._known)
        usual = {"learning_rate": log(1e-5, 1e-1, 1e-3)}
        if is_keras or self.kind in _OWN.values():
            usual |= OPTIMIZERS.get(own, {})
        merged = {argument: values for argument, values in usual.items() if argument in self._known} | ranges
        if "nesterov" not in ranges and not ends(merged.get("momentum"))[0]:
            merged.pop("nesterov", None)  # It needs momentum.
        self._given = ranges
        self.ranges = {argument: _checked_range(argument, values) for argument, values in merged.items()}
        self.ranges = {argument: values for argument, values in self.ranges.items() if values is not None}
        self.scheduled = own not in UNSCHEDULED if scheduled is None else checks.flag("scheduled", scheduled)
        for end in (0, 1):  # What the optimizer itself refuses is to be known before a search begins.
            self.make({argument: ends(values)[end] for argument, values in self.ranges.items()})

    def takes(self, argument: str) -> bool:
        """Returns whether the optimizer has such an argument.

        Args:
            argument: Its name.
        """
        return argument in self._known

    def with_ranges(self, **ranges: Any) -> "OptimizerSpace":
        """Returns this one with ranges for arguments that it has and was given none for.

        Args:
            **ranges: As in the constructor.
        """
        fitting = {argument: values for argument, values in ranges.items() if self.takes(argument)}
        return OptimizerSpace(self.kind, name=self.name, scheduled=self.scheduled, **(fitting | self._given))

    def make(self, arguments: dict[str, Any]) -> keras.optimizers.Optimizer:
        """Returns the optimizer with these arguments; None stands for its own default.

        Args:
            arguments: Values by name.
        """
        return self.kind(**{argument: value for argument, value in arguments.items() if value is not None})

    def declare(self, hp: Any) -> dict[str, Any]:
        """Returns the arguments that `hp` has for this optimizer; None for those that are inactive.

        Args:
            hp: A `keras_tuner.HyperParameters`.
        """
        return {argument: declared(hp, f"{self.name}/{argument}", values) for argument, values in self.ranges.items()}

    def __repr__(self) -> str:
        ranges = "".join(f", {argument}={values!r}" for argument, values in self.ranges.items())
        return f"OptimizerSpace({self.name!r}{ranges})"


def as_optimizer(kind: Any) -> OptimizerSpace:
    """Returns a name or class as a space with the usual ranges."""
    return kind if isinstance(kind, OptimizerSpace) else OptimizerSpace(kind)


def _arguments(kind: type) -> tuple[list[str], bool]:
    known, is_open = arguments_of(kind)
    if is_open:  # Keras' own hand `**kwargs` to their base, which refuses what it does not know.
        known += [name for name in arguments_of(keras.optimizers.Optimizer)[0] if name not in known]
    return known, is_open and kind not in _KERAS.values()


def _checked_kind(kind: Any) -> type:
    rule = "the name or class of an optimizer"
    if isinstance(kind, str):
        return find("optimizer", kind, (_OWN, _KERAS, _QUALIFIED), "the name of an optimizer of kopt or Keras")
    if isinstance(kind, keras.optimizers.Optimizer):
        advice = f"Give the class, `{type(kind).__name__}`, and what is to be searched: `OptimizerSpace(...)`."
        raise checks.fail("optimizer", rule, kind, advice)
    if not isinstance(kind, type) or not issubclass(kind, keras.optimizers.Optimizer):
        raise checks.fail("optimizer", rule, kind)
    if kind in (keras.optimizers.Optimizer, ComposedOptimizer, Composed):
        advice = "For a chain of your own, make it a class with the chain in its constructor."
        raise checks.fail("optimizer", "a class with a recipe", kind.__name__, advice)
    return kind


def _checked_range(argument: str, values: Any) -> Any:
    if argument in _SHARES:
        return checked_numbers(argument, values, checks.fraction)
    if argument in _SIZES:
        return checked_numbers(argument, values, checks.non_negative)
    if isinstance(values, type) and issubclass(values, Range):
        raise checks.fail(argument, "an instance of a range", values, f"Call it: {values.__name__}(...).")
    return values
