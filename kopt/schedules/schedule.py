"""What a schedule is: a pure function from the optimizer step to a learning rate."""

import numbers
from typing import Any, Self

import keras
from keras import ops

from kopt._core import checks
from kopt._core.configured import Configured
from kopt.schedules.length import By, checked_by, checked_length, unresolved


class Schedule(Configured, keras.optimizers.schedules.LearningRateSchedule):
    """A `keras.optimizers.schedules.LearningRateSchedule` whose config follows from its constructor.

    Works in kopt's and in Keras' own optimizers. `__call__` takes the number of steps taken so far (0 at the first
    update), a scalar or an array, and returns float32 of the same shape.

    Schedules can be scaled, added, subtracted and multiplied: `0.1 * a`, `a / 2`, `a + b`, `a - b`, `a * b`, where one
    of the two may also be a number or a schedule of Keras. The result is a `Combination`.

    Attributes:
        by: Whether lengths are given in steps ("step") or as fractions of the run ("fraction").
        run_steps: The steps of the run, once they are known; needed by "fraction" only, and set by `resolve`.
    """

    # numpy's numbers then leave `np.float32(0.1) * schedule` to the schedule.
    __array_ufunc__ = None

    by: By = "step"
    run_steps: int | None = None

    def __call__(self, step: Any) -> Any:
        return self.value(ops.cast(step, "float32"))

    @property
    def parts(self) -> tuple[keras.optimizers.schedules.LearningRateSchedule, ...]:
        """The schedules that this one is made of."""
        return ()

    @property
    def is_elementwise(self) -> bool:
        """Whether an array of steps may be given: not when Keras' own schedules are inside, which take one step."""
        return all(isinstance(part, Schedule) and part.is_elementwise for part in self.parts)

    @property
    def waits_for_length(self) -> bool:
        """Whether the schedule counts in fractions, here or inside, of a run whose length is not known yet."""
        own = self.by == "fraction" and self.run_steps is None
        return own or any(getattr(part, "waits_for_length", False) for part in self.parts)

    def begin(self, initial_learning_rate: float, decay_steps: float, by: By) -> None:
        """Checks and keeps what most schedules are given: the first rate, a length, and the unit of lengths."""
        self.by = checked_by(by)
        self.initial_learning_rate = checks.non_negative("initial_learning_rate", initial_learning_rate)
        self.decay_steps = checked_length("decay_steps", decay_steps, self.by)

    def value(self, step: Any) -> Any:
        """Returns the learning rate at `step`, a float32 tensor of any shape."""
        raise NotImplementedError(f"{type(self).__name__} must define `value(step)`.")

    def in_steps(self, length: float) -> float:
        """Returns a length that was given by `by` in steps: at least 1, or 0 if it was 0."""
        if self.by == "step":
            return length
        if self.run_steps is None:
            raise unresolved(type(self).__name__)
        return max(1.0, length * self.run_steps) if length else 0.0

    def whole_steps(self, length: float) -> int:
        """Returns `in_steps(length)` as the nearest whole number."""
        return round(self.in_steps(length))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | ({} if self.run_steps is None else {"run_steps": self.run_steps})

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> Self:
        config = dict(config)
        run_steps = config.pop("run_steps", None)
        schedule = super().from_config(config, custom_objects)
        schedule.run_steps = run_steps
        return schedule

    def __add__(self, other: Any) -> "Schedule":
        return _combined("add", self, other)

    def __radd__(self, other: Any) -> "Schedule":
        return _combined("add", other, self)

    def __sub__(self, other: Any) -> "Schedule":
        return _combined("subtract", self, other)

    def __rsub__(self, other: Any) -> "Schedule":
        return _combined("subtract", other, self)

    def __mul__(self, other: Any) -> "Schedule":
        return _combined("multiply", self, other)

    def __rmul__(self, other: Any) -> "Schedule":
        return _combined("multiply", other, self)

    def __truediv__(self, other: Any) -> "Schedule":
        return _combined("divide", self, other)


def _combined(operation: str, first: Any, second: Any) -> Schedule:
    from kopt.schedules.arithmetic import Combination

    operands = (float(x) if isinstance(x, numbers.Real) and not isinstance(x, bool) else x for x in (first, second))
    return Combination(operation, *operands)


def as_schedule(name: str, schedule: Any) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns a schedule as it is, and a number as a constant schedule."""
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return schedule
    if isinstance(schedule, type):
        raise checks.fail(name, "an instance of a schedule", schedule, f"Call it: {schedule.__name__}(...).")
    if isinstance(schedule, bool) or not isinstance(schedule, numbers.Real):
        raise checks.fail(name, "a schedule or a number", schedule)
    from kopt.schedules.decays import Constant

    return Constant(checks.non_negative(name, schedule))


def rates_of(schedule: Any, step: Any) -> Any:
    """Returns the rates of a schedule of kopt or Keras as a float32 tensor."""
    return ops.cast(schedule(step), "float32")
