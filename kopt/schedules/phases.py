"""Schedules of several phases, one after the other."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import keras
from keras import ops

from kopt._core import checks
from kopt._core.configured import register
from kopt.schedules.curves import half_cosine, kept, share_left
from kopt.schedules.length import By, checked_boundaries, checked_by, checked_length
from kopt.schedules.schedule import Schedule, as_schedule, rates_of


@register
class Join(Schedule):
    """Runs schedules one after the other; each sees the steps since its own start, as with `optax.join_schedules`.

    At a boundary, the next schedule is at its step 0. Fractions inside are of the whole run, not of the phase.

    Args:
        schedules: Two or more, each of kopt or Keras, or a number.
        boundaries: The step at which each but the first starts, increasing: integers >= 1, or fractions of the run.
        by: "step", or "fraction" if `boundaries` are shares of the run: see `resolve`. Each schedule has its own.

    Raises:
        ValueError: An argument is out of its range, or there is not one schedule more than boundaries.

    Example:

    ```python
    ramp = kopt.schedules.Linear(0.0, 100, 1e-3)
    kopt.schedules.Join([ramp, 1e-3, kopt.schedules.CosineDecay(1e-3, 200)], [100, 800])
    ```
    """

    def __init__(
        self,
        schedules: Sequence[keras.optimizers.schedules.LearningRateSchedule | float],
        boundaries: Sequence[float],
        *,
        by: By = "step",
    ) -> None:
        self.by = checked_by(by)
        if isinstance(schedules, str | dict) or not isinstance(schedules, Iterable):
            raise checks.fail("schedules", "a list of schedules or numbers", schedules)
        self.schedules = tuple(as_schedule(f"schedules[{i}]", schedule) for i, schedule in enumerate(schedules))
        self.boundaries = checked_boundaries("boundaries", boundaries, self.by)
        if len(self.schedules) != len(self.boundaries) + 1:
            rule = f"one fewer than the schedules, of which there are {len(self.schedules)}"
            raise checks.fail("boundaries", rule, boundaries)

    @property
    def parts(self) -> tuple[keras.optimizers.schedules.LearningRateSchedule, ...]:
        return self.schedules

    def value(self, step: Any) -> Any:
        rate = rates_of(self.schedules[0], step)
        for boundary, schedule in zip(map(self.whole_steps, self.boundaries), self.schedules[1:], strict=True):
            # Before its start a schedule is shown step 0: a negative one might give NaN.
            rate = ops.where(step < boundary, rate, rates_of(schedule, ops.maximum(step - boundary, 0.0)))
        return rate


@register
class MultiStep(Schedule):
    """Multiplies the rate by `factor` at each boundary: a f^(number of boundaries <= t).

    As in torch and optax, step b is the first with the new rate; Keras' `PiecewiseConstantDecay` changes one later.

    Args:
        initial_learning_rate: a, >= 0.
        boundaries: One or more steps, increasing: integers >= 1, or fractions of the run.
        factor: f, > 0.
        by: "step", or "fraction" for boundaries that are shares of the run: see `resolve`.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self, initial_learning_rate: float, boundaries: Sequence[float], factor: float = 0.1, *, by: By = "step"
    ) -> None:
        self.by = checked_by(by)
        self.initial_learning_rate = checks.non_negative("initial_learning_rate", initial_learning_rate)
        self.boundaries = checked_boundaries("boundaries", boundaries, self.by)
        self.factor = checks.positive("factor", factor)

    def value(self, step: Any) -> Any:
        rate = ops.full_like(step, self.initial_learning_rate)
        for boundary in map(self.whole_steps, self.boundaries):
            rate = ops.where(step < boundary, rate, rate * self.factor)
        return rate


# What is left of the decay -> what is left of the rate, both from 1 to 0.
SHAPES = {
    "linear": lambda left: left,
    "cosine": half_cosine,
    # 1 - sqrt(1 - left), without the cancellation
    "sqrt": lambda left: left / (1.0 + ops.sqrt(1.0 - left)),
    "square": lambda left: left * (2.0 - left),
}


@register
class WarmupStableDecay(Schedule):
    """Rises, stays, and falls at the end: a trapezoid, whose plateau can be prolonged without a new plan.

    The rate is a min((t + 1) / w, 1) for w + s steps, as with `Warmup` (others start at 0, one step later). Then, with
    p = (t - w - s) / d, it is a ((1 - alpha) q(p) + alpha), and q stays 0 after p = 1:

    | shape | q(p) |
    |---|---|
    | "linear" | 1 - p |
    | "cosine" | (1 + cos(pi p)) / 2 |
    | "sqrt" | 1 - sqrt(p) |
    | "square" | 1 - p^2 |

    Args:
        learning_rate: a, >= 0.
        warmup_steps: w, an integer >= 0, or a fraction of the run.
        stable_steps: s, an integer >= 0, or a fraction of the run.
        decay_steps: d, an integer >= 1, or a fraction of the run.
        alpha: Share of the rate that is left at the end, in [0, 1].
        shape: "linear", "cosine", "sqrt" or "square".
        by: "step", or "fraction" for lengths that are shares of the run: see `resolve`.

    Raises:
        ValueError: An argument is out of its range, or the fractions are more than the run.

    References:
        Hu et al. 2024, https://arxiv.org/abs/2404.06395; Haegele et al. 2024 (the shapes),
        https://arxiv.org/abs/2405.18392.
    """

    def __init__(
        self,
        learning_rate: float,
        warmup_steps: float,
        stable_steps: float,
        decay_steps: float,
        alpha: float = 0.0,
        shape: Literal["linear", "cosine", "sqrt", "square"] = "linear",
        *,
        by: By = "step",
    ) -> None:
        self.by = checked_by(by)
        self.learning_rate = checks.non_negative("learning_rate", learning_rate)
        self.warmup_steps = checked_length("warmup_steps", warmup_steps, self.by, least=0)
        self.stable_steps = checked_length("stable_steps", stable_steps, self.by, least=0)
        self.decay_steps = checked_length("decay_steps", decay_steps, self.by)
        self.alpha = checks.fraction("alpha", alpha, one=True)
        self.shape = checks.choice("shape", shape, tuple(SHAPES))
        total = self.warmup_steps + self.stable_steps + self.decay_steps
        if self.by == "fraction" and total > 1 + 1e-9:
            rule = "at most what `warmup_steps` and `stable_steps` leave of the run"
            raise checks.fail("decay_steps", rule, decay_steps)

    def value(self, step: Any) -> Any:
        warmup = self.whole_steps(self.warmup_steps)
        start = self.whole_steps(self.warmup_steps + self.stable_steps)
        end = self.whole_steps(self.warmup_steps + self.stable_steps + self.decay_steps)
        rate = self.learning_rate * kept(SHAPES[self.shape](share_left(step, start, max(end, start + 1))), self.alpha)
        return rate * ops.minimum((step + 1.0) / max(warmup, 1), 1.0)
