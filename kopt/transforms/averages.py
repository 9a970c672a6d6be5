"""Averages of the weights along the run: evaluated with, or pulled back to."""

from collections.abc import Sequence
from typing import Any, Literal

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class Lookahead(Transform):
    """Every `sync_period` steps, moves slow weights a part of the way to the fast ones and starts again from there.

    ```
    at steps k, 2k, ...:   slow <- slow + slow_step_size (x - slow),   x <- slow
    ```

    It stands at the end of a chain (`after=[...]` puts it there). Evaluation uses the slow weights: `fit` ends with
    them in the model, and the next step goes on from the fast ones.

    Args:
        sync_period: k, an integer >= 1.
        slow_step_size: In (0, 1].

    Raises:
        ValueError: An argument is out of its range.

    References:
        Zhang et al. 2019, https://arxiv.org/abs/1907.08610.
    """

    acts_on: Literal["direction", "step"] = "step"
    averages = True
    schedulable = ("slow_step_size",)

    def __init__(self, sync_period: int = 6, slow_step_size: Hyperparameter = 0.5) -> None:
        self.sync_period = checks.count("sync_period", sync_period)
        self.slow_step_size = checks.fraction("slow_step_size", slow_step_size, zero=False, one=True)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("slow_weights", start="variable")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        due = ops.cast(ops.equal(ops.mod(t, self.sync_period), 0), "float32")
        return {"due": due, "pull": due * self.slow_step_size}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        fast, slow = x - u, slots["slow_weights"]
        slow = slow + h["pull"] * (fast - slow)
        return u + h["due"] * (fast - slow), {"slow_weights": slow}

    def to_average(self, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return slots["slow_weights"], {"slow_weights": x}

    from_average = to_average


class AverageOfWeights(Transform):
    """What averages of weights share: a <- a + weight (x - a), with the `weight` that `scalars` gives."""

    acts_on: Literal["direction", "step"] = "step"
    averages = True

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("average", start="variable")]

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        a = slots["average"]
        return u, {"average": a + h["weight"] * (x - u - a)}

    def to_average(self, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return slots["average"], {"average": x}

    from_average = to_average


@register
class ExponentialMovingAverage(AverageOfWeights):
    """Keeps a moving average of the weights, and evaluates with it; training goes on with the weights themselves.

    ```
    a <- d a + (1 - d) x,   d = min(momentum, (1 + t) / (10 + t)) with warm-up, else momentum
    ```

    Unlike Keras' `use_ema`, which leaves the average in the model for good, the next step after `fit` goes on from the
    weights. It stands at the end of a chain (`after=[...]` puts it there).

    Args:
        momentum: Decay rate d, in [0, 1).
        warmup: Whether the first steps count more, so that the start is soon forgotten.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging"; Izmailov et al. 2018,
        https://arxiv.org/abs/1803.05407.
    """

    def __init__(self, momentum: float = 0.999, *, warmup: bool = True) -> None:
        self.momentum = checks.fraction("momentum", momentum)
        self.warmup = checks.flag("warmup", warmup)

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        if not self.warmup:
            return {"weight": 1 - self.momentum}
        return {"weight": ops.maximum(1 - self.momentum, 9 / (10 + t))}


@register
class StochasticWeightAveraging(AverageOfWeights):
    """Averages the weights that a run passes through, from `start` on, every `period` steps, all with equal weight.

    Give it a constant or cyclic learning rate from `start` on. Evaluation uses the average, which before `start` is the
    weights themselves. Batch normalisation needs its statistics anew with averaged weights. It stands at the end of a
    chain (`after=[...]` puts it there).

    Args:
        start: The first step that counts, an integer >= 1.
        period: Count each `period`-th step from there, an integer >= 1.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Izmailov et al. 2018, https://arxiv.org/abs/1803.05407.
    """

    def __init__(self, start: int, period: int = 1) -> None:
        self.start = checks.count("start", start)
        self.period = checks.count("period", period)

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        since = t - self.start
        counted = ops.floor((since + 0.5) / self.period)
        due = ops.logical_and(since >= 0, ops.equal(since - counted * self.period, 0))
        # Before the start the average follows the weights.
        weight = ops.where(due, 1 / (ops.maximum(counted, 0.0) + 1), ops.where(since < 0, 1.0, 0.0))
        return {"weight": weight}
