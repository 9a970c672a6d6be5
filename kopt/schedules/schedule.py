"""What a schedule is: a pure function from the optimizer step to a learning rate."""

from typing import Any

import keras
from keras import ops

from kopt._core import checks
from kopt._core.configured import Configured


class Schedule(Configured, keras.optimizers.schedules.LearningRateSchedule):
    """A `keras.optimizers.schedules.LearningRateSchedule` whose config follows from its constructor.

    Works in kopt's and in Keras' own optimizers. `__call__` takes the number of steps taken so far (0 at the first
    update), a scalar or an array, and returns float32 of the same shape.
    """

    def __call__(self, step: Any) -> Any:
        return self.value(ops.cast(step, "float32"))

    @property
    def is_elementwise(self) -> bool:
        """Whether an array of steps may be given: not when Keras' own schedules are inside, which take one step."""
        return True

    def value(self, step: Any) -> Any:
        """Returns the learning rate at `step`, a float32 tensor of any shape."""
        raise NotImplementedError(f"{type(self).__name__} must define `value(step)`.")


def as_schedule(name: str, schedule: Any) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns a schedule as it is, and a number as a constant schedule."""
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return schedule
    if isinstance(schedule, type):
        raise checks.fail(name, "an instance of a schedule", schedule, f"Call it: {schedule.__name__}(...).")
    if isinstance(schedule, bool) or not isinstance(schedule, int | float):
        raise checks.fail(name, "a schedule or a number", schedule)
    from kopt.schedules.decays import Constant

    return Constant(checks.non_negative(name, schedule))
