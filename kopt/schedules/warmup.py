"""Warm-up for any schedule."""

import warnings
from typing import Any

import keras
from keras import ops

from kopt._core import checks
from kopt._core.configured import register
from kopt.schedules.schedule import Schedule, as_schedule


@register
class Warmup(Schedule):
    """Scales the first steps of a schedule up to it: w(t) s(t), with w rising in a straight line to 1.

    w(t) = f + (1 - f) min((t + 1) / n, 1): the first step (t = 0) already moves, and from step n - 1 on the schedule is
    exactly the one that was given. It is not shifted: `Warmup(CosineDecay(1e-3, 1000), 100)` ends at step 1000. (optax
    joins a ramp from 0 in front and starts the schedule after it.)

    Args:
        schedule: The schedule, Keras' or kopt's, or a number.
        steps: n, an integer >= 1.
        initial_factor: f, in [0, 1].

    Raises:
        ValueError: An argument is out of its range.

    References:
        Goyal et al. 2017, https://arxiv.org/abs/1706.02677.
    """

    def __init__(
        self,
        schedule: keras.optimizers.schedules.LearningRateSchedule | float,
        steps: int,
        initial_factor: float = 0.0,
    ) -> None:
        self.schedule = as_schedule("schedule", schedule)
        self.steps = checks.count("steps", steps)
        self.initial_factor = checks.fraction("initial_factor", initial_factor, one=True)
        length = getattr(self.schedule, "decay_steps", None)
        if type(self.schedule).__name__ == "CosineDecay" and isinstance(length, int):
            self.warn_if_longer_than(length, "the schedule", stacklevel=4)

    @property
    def is_elementwise(self) -> bool:
        return isinstance(self.schedule, Schedule) and self.schedule.is_elementwise

    def warn_if_longer_than(self, length: int, what: str = "the run", stacklevel: int = 2) -> None:
        """Warns when warm-up is still under way at step `length`."""
        if self.steps > length:
            warnings.warn(
                f"Warm-up of {self.steps} steps is longer than {what}, which has {length}: the learning rate that was "
                "asked for is never reached.",
                stacklevel=stacklevel,
            )

    def value(self, step: Any) -> Any:
        ramp = self.initial_factor + (1 - self.initial_factor) * ops.minimum((step + 1.0) / self.steps, 1.0)
        return ramp * ops.cast(self.schedule(step), "float32")
