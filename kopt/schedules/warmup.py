"""Warm-up for any schedule."""

import warnings
from typing import Any

import keras
from keras import ops

from kopt._core import checks
from kopt._core.configured import register
from kopt.schedules.length import By, checked_by, checked_length
from kopt.schedules.schedule import Schedule, as_schedule, rates_of


@register
class Warmup(Schedule):
    """Scales the first steps of a schedule up to it: w(t) s(t), with w rising in a straight line to 1.

    w(t) = f + (1 - f) min((t + 1) / n, 1): the first step (t = 0) already moves, and from step n - 1 on the schedule is
    exactly the one that was given. It is not shifted: `Warmup(CosineDecay(1e-3, 1000), 100)` ends at step 1000. (optax
    joins a ramp from 0 in front and starts the schedule after it.)

    Args:
        schedule: The schedule, Keras' or kopt's, or a number.
        steps: n, an integer >= 1, or a fraction of the run.
        initial_factor: f, in [0, 1].
        by: "step", or "fraction" if `steps` is a share of the run: see `resolve`. The schedule inside has its own.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Goyal et al. 2017, https://arxiv.org/abs/1706.02677.
    """

    def __init__(
        self,
        schedule: keras.optimizers.schedules.LearningRateSchedule | float,
        steps: float,
        initial_factor: float = 0.0,
        *,
        by: By = "step",
    ) -> None:
        self.by = checked_by(by)
        self.schedule = as_schedule("schedule", schedule)
        self.steps = checked_length("steps", steps, self.by)
        self.initial_factor = checks.fraction("initial_factor", initial_factor, one=True)
        length = getattr(self.schedule, "decay_steps", None)
        if type(self.schedule).__name__ != "CosineDecay" or not isinstance(length, int | float):
            return
        if getattr(self.schedule, "by", "step") == self.by and self.steps > length:
            self._warn(self.steps, f"the schedule, which has {length}", stacklevel=4)

    @property
    def parts(self) -> tuple[keras.optimizers.schedules.LearningRateSchedule, ...]:
        return (self.schedule,)

    def warn_if_longer_than(self, run: int) -> None:
        """Warns when warm-up is still under way after a run of so many steps."""
        steps = self.in_steps(self.steps)
        if steps > run:
            self._warn(steps, f"the run, which has {run}", stacklevel=3)

    def _warn(self, steps: float, limit: str, stacklevel: int) -> None:
        unit = "steps" if self.by == "step" else "of the run"
        warnings.warn(
            f"Warm-up of {steps} {unit} is longer than {limit}: the learning rate that was asked for is never reached.",
            stacklevel=stacklevel,
        )

    def value(self, step: Any) -> Any:
        rise = ops.minimum((step + 1.0) / self.in_steps(self.steps), 1.0)
        ramp = self.initial_factor + (1 - self.initial_factor) * rise
        return ramp * rates_of(self.schedule, step)
