"""Schedules that go up and down."""

import math
from typing import Any, Literal

import numpy as np
from keras import ops

from kopt._core import checks
from kopt._core.configured import register
from kopt.schedules.curves import half_cosine, kept, periods_done, share_done, share_left
from kopt.schedules.length import By, checked_by, checked_length
from kopt.schedules.schedule import Schedule

LAST_STEP = 2.0**24  # float32 counts no further


@register
class OneCycle(Schedule):
    """Up to a high rate and down to one far below the first: one cycle for the whole run, as torch defines it.

    From m / d it rises to m at step p T - 1, and falls to m / (d D) at step T - 1, the last of the run; there it
    stays. With `three_phase=True` it falls back to m / d at step 2 p T - 2 first, and further from there. (optax counts
    p T and T instead; torch raises after T.)

    Args:
        max_learning_rate: m, >= 0.
        total_steps: T, an integer >= 1, or a fraction of the run.
        pct_start: p, the share of T that is spent rising, in [0, 1); at most 1/2 with `three_phase=True`.
        anneal: "cosine" (half cosines) or "linear".
        div_factor: d, > 0.
        final_div_factor: D, > 0.
        three_phase: Whether there is a phase of its own for the last fall.
        by: "step", or "fraction" for lengths that are shares of the run: see `resolve`.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Smith and Topin 2017, https://arxiv.org/abs/1708.07120.
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: float,
        pct_start: float = 0.3,
        anneal: Literal["cosine", "linear"] = "cosine",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        *,
        three_phase: bool = False,
        by: By = "step",
    ) -> None:
        self.by = checked_by(by)
        self.max_learning_rate = checks.non_negative("max_learning_rate", max_learning_rate)
        self.total_steps = checked_length("total_steps", total_steps, self.by)
        self.pct_start = checks.fraction("pct_start", pct_start)
        self.anneal = checks.choice("anneal", anneal, ("cosine", "linear"))
        self.div_factor = checks.positive("div_factor", div_factor)
        self.final_div_factor = checks.positive("final_div_factor", final_div_factor)
        self.three_phase = checks.flag("three_phase", three_phase)
        if three_phase and self.pct_start > 0.5:
            raise checks.fail("pct_start", "at most 0.5 if `three_phase=True`", pct_start)

    def value(self, step: Any) -> Any:
        top, total = self.max_learning_rate, self.in_steps(self.total_steps)
        first = top / self.div_factor
        ends, rates = [self.pct_start * total - 1, total - 1], [first, top, first / self.final_div_factor]
        if self.three_phase:
            ends.insert(1, 2 * self.pct_start * total - 2)
            rates.insert(2, first)
        rate = ops.full_like(step, rates[-1])
        # Backwards, so that each phase has the last word up to its end, and one of no length says nothing.
        for i in reversed(range(len(ends))):
            end, start = ends[i], ends[i - 1] if i else 0.0
            if end > start:
                rate = ops.where(step <= end, self._between(rates[i], rates[i + 1], step, start, end), rate)
        return rate

    def _between(self, first: float, last: float, step: Any, start: float, end: float) -> Any:
        done, left = share_done(step, start, end), share_left(step, start, end)
        if self.anneal == "cosine":
            done, left = half_cosine(done), half_cosine(left)
        return first * left + last * done


@register
class Cyclic(Schedule):
    """Up and down in straight lines between two rates: a + (m - a) h f(t), as torch defines it.

    h rises from 0 to 1 in u steps and falls back to 0 in d. f makes the triangles smaller: it is 1 for "triangular",
    2^-c in cycle c = 0, 1, ... for "triangular2", and g^t for "exp_range".

    Args:
        initial_learning_rate: a, >= 0.
        max_learning_rate: m, at least a.
        up_steps: u, an integer >= 1, or a fraction of the run.
        down_steps: d, the same; None for as many as u.
        mode: "triangular", "triangular2" or "exp_range".
        decay_rate: g, > 0; for "exp_range" only, which needs it.
        by: "step", or "fraction" for lengths that are shares of the run: see `resolve`.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Smith 2015, https://arxiv.org/abs/1506.01186.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        max_learning_rate: float,
        up_steps: float,
        down_steps: float | None = None,
        mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        decay_rate: float | None = None,
        *,
        by: By = "step",
    ) -> None:
        self.by = checked_by(by)
        self.initial_learning_rate = checks.non_negative("initial_learning_rate", initial_learning_rate)
        self.max_learning_rate = checks.non_negative("max_learning_rate", max_learning_rate)
        self.up_steps = checked_length("up_steps", up_steps, self.by)
        self.down_steps = checks.optional(checked_length, "down_steps", down_steps, by=self.by)
        self.mode = checks.choice("mode", mode, ("triangular", "triangular2", "exp_range"))
        self.decay_rate = checks.optional(checks.positive, "decay_rate", decay_rate)
        if self.max_learning_rate < self.initial_learning_rate:
            rule = f"at least `initial_learning_rate`, which is {initial_learning_rate}"
            raise checks.fail("max_learning_rate", rule, max_learning_rate)
        if (decay_rate is None) == (mode == "exp_range"):
            raise checks.fail("decay_rate", 'given with `mode="exp_range"`, and only with it', decay_rate)

    def value(self, step: Any) -> Any:
        up = self.in_steps(self.up_steps)
        down = up if self.down_steps is None else self.in_steps(self.down_steps)
        cycle = periods_done(step, up + down)
        x = ops.maximum(step - cycle * (up + down), 0.0)
        height = ops.minimum(share_done(x, 0, up), share_left(x, up, up + down))
        if self.mode == "triangular2":
            height = height * ops.exp(cycle * -math.log(2))
        elif self.decay_rate is not None:
            height = height * ops.exp(step * math.log(self.decay_rate))
        return self.initial_learning_rate + (self.max_learning_rate - self.initial_learning_rate) * height


@register
class CosineRestarts(Schedule):
    """Half cosines one after the other, each starting high again: SGDR, as Keras defines it.

    In cycle i = 0, 1, ..., which has T k^i steps, with z the share of it that is left:
    a ((1 - alpha) m^i (1 - cos(pi z)) / 2 + alpha).

    Args:
        initial_learning_rate: a, >= 0.
        first_decay_steps: T, an integer >= 1, or a fraction of the run.
        t_mul: k, by which each cycle is longer than the one before, >= 1.
        m_mul: m, by which each cycle starts lower, > 0.
        alpha: Share of the rate that is left at the end of the cycles, in [0, 1].
        by: "step", or "fraction" for lengths that are shares of the run: see `resolve`.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Loshchilov and Hutter 2016, https://arxiv.org/abs/1608.03983.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        *,
        by: By = "step",
    ) -> None:
        self.by = checked_by(by)
        self.initial_learning_rate = checks.non_negative("initial_learning_rate", initial_learning_rate)
        self.first_decay_steps = checked_length("first_decay_steps", first_decay_steps, self.by)
        self.t_mul = checks.at_least_one("t_mul", t_mul)
        self.m_mul = checks.positive("m_mul", m_mul)
        self.alpha = checks.fraction("alpha", alpha, one=True)

    def value(self, step: Any) -> Any:
        length = self.in_steps(self.first_decay_steps)
        if self.t_mul == 1:
            cycle = periods_done(step, length)
            end = (cycle + 1.0) * length
        else:
            ends, lengths = self._cycles(length)
            cycle = ops.sum(ops.cast(ops.expand_dims(step, -1) >= ends, "float32"), axis=-1)
            number = ops.cast(cycle, "int32")
            end, length = ops.take(ends, number), ops.take(lengths, number)
        left = ops.clip((end - step) / length, 0.0, 1.0)
        height = ops.exp(cycle * math.log(self.m_mul)) * half_cosine(left)
        return self.initial_learning_rate * kept(height, self.alpha)

    def _cycles(self, first: float) -> tuple[Any, Any]:
        """Returns where cycles end and how long they are, for all steps that float32 counts.

        A table, because the logarithm that gives the number of the cycle is a little off just where one ends.
        """
        grown = 1 + LAST_STEP * (self.t_mul - 1) / first
        lengths = first * self.t_mul ** np.arange(math.ceil(math.log(grown) / math.log(self.t_mul)) + 2)
        return tuple(ops.convert_to_tensor(x, "float32") for x in (np.cumsum(lengths), lengths))
