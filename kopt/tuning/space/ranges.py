"""What one hyperparameter may be: a range, a list of values, perhaps nothing at all."""

import math
import numbers
from collections.abc import Iterable
from typing import Any, Literal

from kopt._core import checks
from kopt._core.configured import Configured

Value = bool | int | float | str
Sampling = Literal["linear", "log", "reverse_log"]
SAMPLINGS = ("linear", "log", "reverse_log")


class Range(Configured):
    """What all ranges have in common: they declare themselves to KerasTuner under a name that they are given."""

    def declare(self, hp: Any, name: str) -> Any:
        """Returns the value that `hp` has for `name`, or None where it is inactive.

        Args:
            hp: A `keras_tuner.HyperParameters`.
            name: Of the hyperparameter.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `declare(hp, name)`.")

    def largest(self) -> Any:
        """Returns the largest value that may be drawn."""
        raise NotImplementedError(f"{type(self).__name__} must define `largest()`.")

    def smallest(self) -> Any:
        """Returns the smallest value that may be drawn."""
        raise NotImplementedError(f"{type(self).__name__} must define `smallest()`.")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Range) and other.arguments == self.arguments

    def __hash__(self) -> int:
        return hash((type(self).__name__, repr(self.arguments)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.arguments.items())})"


class Float(Range):
    """A real number between two.

    Args:
        min_value: The least, finite; > 0 for "log" and "reverse_log".
        max_value: The greatest, finite, >= `min_value`.
        step: Distance between values, > 0; with "log" the factor between them, > 1. None for any number.
        sampling: "linear", "log" (as many values between 1e-4 and 1e-3 as between 1e-3 and 1e-2), or "reverse_log".
        default: What a search tries that takes defaults; `min_value` for None.

    Raises:
        ValueError: An argument is out of its range.

    Example:

    ```python
    kopt.tuning.Float(1e-4, 1e-1, sampling="log")
    ```
    """

    def __init__(
        self,
        min_value: float,
        max_value: float,
        *,
        step: float | None = None,
        sampling: Sampling = "linear",
        default: float | None = None,
    ) -> None:
        for name, value in (("min_value", min_value), ("max_value", max_value)):
            if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
                raise checks.fail(name, "a finite number", value)
        self.min_value, self.max_value = float(min_value), float(max_value)
        self.sampling = checks.choice("sampling", sampling, SAMPLINGS)
        self.step = _checked_step(step, self.sampling)
        self.default = _checked_ends(self.min_value, self.max_value, self.sampling, default)

    def declare(self, hp: Any, name: str) -> Any:
        return hp.Float(
            name, self.min_value, self.max_value, step=self.step, sampling=self.sampling, default=self.default
        )

    def largest(self) -> float:
        return self.max_value

    def smallest(self) -> float:
        return self.min_value


class Int(Range):
    """A whole number between two, both included.

    Args:
        min_value: The least, an integer; >= 1 for "log" and "reverse_log".
        max_value: The greatest, an integer >= `min_value`.
        step: Distance between values, an integer >= 1; with "log" the factor between them, >= 2. None for any integer.
        sampling: "linear", "log" or "reverse_log".
        default: What a search tries that takes defaults; `min_value` for None.

    Raises:
        ValueError: An argument is out of its range.

    Example:

    ```python
    kopt.tuning.Int(16, 256, step=2, sampling="log")  # 16, 32, 64, 128, 256
    ```
    """

    def __init__(
        self,
        min_value: int,
        max_value: int,
        *,
        step: int | None = None,
        sampling: Sampling = "linear",
        default: int | None = None,
    ) -> None:
        for name, value in (("min_value", min_value), ("max_value", max_value)):
            if isinstance(value, bool) or not isinstance(value, numbers.Integral):
                raise checks.fail(name, "an integer", value)
        self.min_value, self.max_value = int(min_value), int(max_value)
        self.sampling = checks.choice("sampling", sampling, SAMPLINGS)
        least = 1 if self.sampling == "linear" else 2
        self.step = checks.optional(checks.count, "step", step, least=least)
        self.default = _checked_ends(self.min_value, self.max_value, self.sampling, default)

    def declare(self, hp: Any, name: str) -> Any:
        return hp.Int(
            name, self.min_value, self.max_value, step=self.step, sampling=self.sampling, default=self.default
        )

    def largest(self) -> int:
        return self.max_value

    def smallest(self) -> int:
        return self.min_value


class Choice(Range):
    """One of several values. Numbers count as ordered, names do not.

    Args:
        values: One or more different values, all bool, all int, all float or all str. Integers among floats become
            floats.
        default: What a search tries that takes defaults; the first for None.

    Raises:
        ValueError: An argument is out of its range.

    Example:

    ```python
    kopt.tuning.Choice([0.9, 0.95, 0.99], default=0.9)
    ```
    """

    def __init__(self, values: Iterable[Value], *, default: Value | None = None) -> None:
        rule = "a list of one or more different values, all bool, all int, all float or all str"
        if isinstance(values, str | bytes | dict) or not isinstance(values, Iterable):
            raise checks.fail("values", rule, values)
        found = list(values)
        if {type(value) for value in found} == {int, float}:
            found = [float(value) for value in found]
        kinds = {type(value) for value in found}
        if len(kinds) != 1 or not kinds <= {bool, int, float, str} or len(set(found)) != len(found):
            raise checks.fail("values", rule, values)
        if any(isinstance(value, float) and not math.isfinite(value) for value in found):
            raise checks.fail("values", "finite", values)
        self.values = found
        self.default = default if default is None else kinds.pop()(default)
        if default is not None and self.default not in found:
            raise checks.fail("default", f"one of {found}", default)

    def declare(self, hp: Any, name: str) -> Any:
        if isinstance(self.values[0], bool):  # KerasTuner's `Choice` makes integers of them.
            if len(self.values) == 1:
                return hp.Fixed(name, self.values[0])
            return hp.Boolean(name, default=self.values[0] if self.default is None else self.default)
        return hp.Choice(name, self.values, default=self.default)

    def largest(self) -> Any:
        return max(self.values)

    def smallest(self) -> Any:
        return min(self.values)


class Maybe(Range):
    """A range or nothing: a switch `<name>/on`, and the range only while that is on.

    For what is best left out as often as not, and for ranges on a log scale, which cannot reach 0.

    Args:
        values: The range, or a number to switch on and off.
        otherwise: What stands for "off": 0.0 for a penalty or a decay; None to leave the argument at its own default.
        default: Whether a search that takes defaults has it on.

    Raises:
        ValueError: An argument is of another kind.

    Example:

    ```python
    kopt.tuning.SearchSpace(l2=kopt.tuning.Maybe(kopt.tuning.Float(1e-6, 1e-2, sampling="log")))
    ```
    """

    def __init__(self, values: "Range | Value", *, otherwise: Value | None = 0.0, default: bool = False) -> None:
        if isinstance(values, Maybe) or not isinstance(values, Range | Value):
            raise checks.fail("values", "a Float, Int or Choice, or one value", values)
        self.values = values
        self.otherwise = otherwise
        self.default = checks.flag("default", default)

    def declare(self, hp: Any, name: str) -> Any:
        switch = f"{name}/on"
        is_on = hp.Boolean(switch, default=self.default)
        with hp.conditional_scope(switch, [True]):
            value = declared(hp, name, self.values)
        return value if is_on else self.otherwise

    def largest(self) -> Any:
        return self._with_otherwise(ends(self.values)[1], max)

    def smallest(self) -> Any:
        return self._with_otherwise(ends(self.values)[0], min)

    def _with_otherwise(self, end: Any, pick: Any) -> Any:
        is_number = isinstance(end, int | float) and isinstance(self.otherwise, int | float)
        return pick(end, self.otherwise) if is_number else end


def declared(hp: Any, name: str, values: Any) -> Any:
    """Returns what `hp` has for a range or a fixed value, or None where that is inactive.

    What KerasTuner cannot hold (a list of groups, say) is not declared and comes back as it is.
    """
    if isinstance(values, Range):
        return values.declare(hp, name)
    return hp.Fixed(name, values) if isinstance(values, Value) else values


def ends(values: Any) -> tuple[Any, Any]:
    """Returns the smallest and the largest value of a range; a fixed value is both."""
    return (values.smallest(), values.largest()) if isinstance(values, Range) else (values, values)


def checked_numbers(name: str, values: Any, check: Any) -> Any:
    """Returns a range or fixed value whose ends pass a check of numbers; None stays None."""
    if isinstance(values, type) and issubclass(values, Range):
        raise checks.fail(name, "an instance of a range", values, f"Call it: {values.__name__}(...).")
    if values is not None:
        for end in ends(values):
            check(name, end)
    return values


def _checked_step(step: Any, sampling: str) -> float | None:
    step = checks.optional(checks.positive, "step", step)
    if step is not None and sampling != "linear" and step <= 1:
        raise checks.fail("step", f'a factor > 1 with sampling="{sampling}"', step)
    return step


def _checked_ends(low: Any, high: Any, sampling: str, default: Any) -> Any:
    if low > high:
        raise checks.fail("min_value", f"at most `max_value`, which is {high!r}", low)
    if sampling != "linear" and low <= 0:
        advice = "A logarithm does not reach 0: `Maybe(Float(...))` adds the choice of none."
        raise checks.fail("min_value", f'> 0 with sampling="{sampling}"', low, advice)
    if default is None:
        return None
    if isinstance(default, bool) or not isinstance(default, numbers.Real) or not low <= default <= high:
        raise checks.fail("default", f"a number in [{low!r}, {high!r}]", default)
    return type(low)(default)
