"""Schedules that go from one rate to another along one formula, or down for ever."""

from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import register
from kopt.schedules.curves import kept, periods_done, periods_passed, share_done, share_left
from kopt.schedules.length import By
from kopt.schedules.schedule import Schedule


@register
class Linear(Schedule):
    """Goes in a straight line, down or up: a (1 - t / T) + e t / T, and stays at e after T.

    Args:
        initial_learning_rate: a, >= 0.
        decay_steps: T, an integer >= 1, or a fraction of the run.
        end_learning_rate: e, >= 0.
        by: "step", or "fraction" for lengths that are shares of the run: see `resolve`.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, end_learning_rate: float = 0.0, *, by: By = "step"
    ) -> None:
        self.begin(initial_learning_rate, decay_steps, by)
        self.end_learning_rate = checks.non_negative("end_learning_rate", end_learning_rate)

    def value(self, step: Any) -> Any:
        length = self.in_steps(self.decay_steps)
        start = self.initial_learning_rate * share_left(step, 0, length)
        return start + self.end_learning_rate * share_done(step, 0, length)


@register
class Polynomial(Schedule):
    """Goes along a power of what is left: (a - e) (1 - t / T)^p + e, and stays at e after T.

    With `cycle=True`, T grows to its next multiple each time that it is reached: the rate is e there, jumps up, and
    comes down again, each time from a lower point and more slowly.

    Args:
        initial_learning_rate: a, >= 0.
        decay_steps: T, an integer >= 1, or a fraction of the run.
        end_learning_rate: e, >= 0.
        power: p, > 0; 1 is a straight line.
        cycle: Whether to start again.
        by: "step", or "fraction" for lengths that are shares of the run: see `resolve`.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0,
        power: float = 1.0,
        *,
        cycle: bool = False,
        by: By = "step",
    ) -> None:
        self.begin(initial_learning_rate, decay_steps, by)
        self.end_learning_rate = checks.non_negative("end_learning_rate", end_learning_rate)
        self.power = checks.positive("power", power)
        self.cycle = checks.flag("cycle", cycle)

    def value(self, step: Any) -> Any:
        end = self.in_steps(self.decay_steps)
        if self.cycle:
            # A step before this one has completed the periods: at a multiple of T itself, the rate is e.
            end = end * (1.0 + periods_done(ops.maximum(step - 1.0, 0.0), end))
        left = share_left(step, 0, end)
        return (self.initial_learning_rate - self.end_learning_rate) * left**self.power + self.end_learning_rate


@register
class InverseSqrt(Schedule):
    """Falls with the root of the step: a sqrt(s / max(t + 1, s)), which is a for s steps and half of it at step 4 s.

    `Warmup(InverseSqrt(d**-0.5 * s**-0.5, s), s)` is the schedule of the Transformer, d^-0.5 min(n^-0.5, n s^-1.5) with
    n = t + 1.

    Args:
        initial_learning_rate: a, >= 0.
        decay_steps: s, an integer >= 1, or a fraction of the run.
        by: "step", or "fraction" for lengths that are shares of the run: see `resolve`.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Vaswani et al. 2017, section 5.3, https://arxiv.org/abs/1706.03762.
    """

    def __init__(self, initial_learning_rate: float, decay_steps: float, *, by: By = "step") -> None:
        self.begin(initial_learning_rate, decay_steps, by)

    def value(self, step: Any) -> Any:
        length = self.in_steps(self.decay_steps)
        return self.initial_learning_rate * ops.sqrt(length / ops.maximum(step + 1.0, length))


@register
class InverseTime(Schedule):
    """Falls with the step itself: a / (1 + k t / s).

    Args:
        initial_learning_rate: a, >= 0.
        decay_rate: k, > 0.
        decay_steps: s, an integer >= 1, or a fraction of the run. The default 1 is one step, or the whole run.
        staircase: Whether to round t / s down.
        by: "step", or "fraction" for lengths that are shares of the run: see `resolve`.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_rate: float,
        decay_steps: float = 1,
        *,
        staircase: bool = False,
        by: By = "step",
    ) -> None:
        self.begin(initial_learning_rate, decay_steps, by)
        self.decay_rate = checks.positive("decay_rate", decay_rate)
        self.staircase = checks.flag("staircase", staircase)

    def value(self, step: Any) -> Any:
        periods = periods_passed(step, self.in_steps(self.decay_steps), staircase=self.staircase)
        return self.initial_learning_rate / (1.0 + self.decay_rate * periods)


@register
class REX(Schedule):
    """Falls slowly at first and fast at the end: a ((1 - alpha) z / (1/2 + z/2) + alpha), with z = 1 - t / T.

    Args:
        initial_learning_rate: a, >= 0.
        decay_steps: T, an integer >= 1, or a fraction of the run.
        alpha: Share of the rate that is left from T on, in [0, 1]; 0 in the paper.
        by: "step", or "fraction" for lengths that are shares of the run: see `resolve`.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Chen, Wolfe and Kyrillidis 2021, https://arxiv.org/abs/2107.04197.
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, alpha: float = 0.0, *, by: By = "step"
    ) -> None:
        self.begin(initial_learning_rate, decay_steps, by)
        self.alpha = checks.fraction("alpha", alpha, one=True)

    def value(self, step: Any) -> Any:
        z = share_left(step, 0, self.in_steps(self.decay_steps))
        return self.initial_learning_rate * kept(z / (0.5 + 0.5 * z), self.alpha)
