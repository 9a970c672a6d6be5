"""Sums, products and bounds of schedules."""

from typing import Any

import keras
from keras import ops

from kopt._core import checks
from kopt._core.configured import register
from kopt.schedules.schedule import Schedule, as_schedule, rates_of

OPERATIONS = ("add", "subtract", "multiply", "divide", "minimum", "maximum")


@register
class Combination(Schedule):
    """Two schedules, step by step put through one operation of `keras.ops`; `a + b`, `minimum(a, b)` make it.

    A difference may fall below 0, where an optimizer would climb: `maximum(a - b, 0.0)` stops there.

    Args:
        operation: "add", "subtract", "multiply", "divide", "minimum" or "maximum".
        first: A schedule of kopt or Keras, or a number.
        second: The same; to divide by, a number > 0 only.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        operation: str,
        first: keras.optimizers.schedules.LearningRateSchedule | float,
        second: keras.optimizers.schedules.LearningRateSchedule | float,
    ) -> None:
        self.operation = checks.choice("operation", operation, OPERATIONS)
        self.first = as_schedule("first", first)
        self.second = as_schedule("second", second)
        if operation == "divide":
            checks.positive("second", second, "Divide by a number.")

    @property
    def parts(self) -> tuple[keras.optimizers.schedules.LearningRateSchedule, ...]:
        return (self.first, self.second)

    def value(self, step: Any) -> Any:
        return getattr(ops, self.operation)(rates_of(self.first, step), rates_of(self.second, step))


def minimum(
    first: keras.optimizers.schedules.LearningRateSchedule | float,
    second: keras.optimizers.schedules.LearningRateSchedule | float,
) -> Combination:
    """Returns the lower of two schedules at each step: `minimum(schedule, 1e-3)` is a ceiling.

    Args:
        first: A schedule of kopt or Keras, or a number.
        second: The same.

    Returns:
        A schedule.
    """
    return Combination("minimum", first, second)


def maximum(
    first: keras.optimizers.schedules.LearningRateSchedule | float,
    second: keras.optimizers.schedules.LearningRateSchedule | float,
) -> Combination:
    """Returns the higher of two schedules at each step: `maximum(schedule, 1e-5)` is a floor.

    Args:
        first: A schedule of kopt or Keras, or a number.
        second: The same.

    Returns:
        A schedule.
    """
    return Combination("maximum", first, second)
