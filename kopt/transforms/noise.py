"""Gradient noise, which is the same wherever it is computed."""

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt._core.random_numbers import normals
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class AddNoise(Transform):
    """Adds Gaussian noise to the gradient, less from step to step.

    ```
    u <- u + n,   n ~ N(0, eta / t^gamma)            t = 1 at the first step: the paper counts from 0 and adds 1
    ```

    The noise is a function of `seed`, the step, the variable's place among those that the transform serves, and the
    element's place in it: it is the same on each backend to float32 rounding and on each device of a distributed
    training, and goes on after loading as if nothing had happened. Rows of an embedding that no batch has seen get
    noise, too.

    In `before=[...]` the recipe averages the noise as it does the gradient, as in the paper; `after=[...]` adds it to
    the direction, which the optimizer may have scaled.

    Args:
        eta: Variance at the first step, >= 0.
        gamma: Power of the step by which the variance falls, >= 0.
        seed: An integer >= 0, of which the lowest 32 bits count. Two in one optimizer need two, and so do two runs
            whose results are to be averaged.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Neelakantan et al. 2015, https://arxiv.org/abs/1511.06807; Salmon et al. 2011, "Parallel random numbers: as easy
        as 1, 2, 3" (Threefry-2x32, 20 rounds); Box and Muller 1958, "A note on the generation of random normal
        deviates".
    """

    elementwise = False
    schedulable = ("eta", "gamma")

    def __init__(self, eta: Hyperparameter = 0.3, gamma: Hyperparameter = 0.55, seed: int = 0) -> None:
        self.eta = checks.non_negative("eta", eta)
        self.gamma = checks.non_negative("gamma", gamma)
        self.seed = checks.count("seed", seed, least=0)

    def decide(self, variables: Sequence[Any]) -> Sequence[float] | None:
        return [float(i) for i in range(len(variables))]

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("place", (), "decided")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {
            "deviation": self.eta**0.5 * ops.power(t, -self.gamma / 2),
            "t": t,
            # float32 holds integers of 24 bits.
            "seed_upper": self.seed >> 16 & 0xFFFF,
            "seed_lower": self.seed & 0xFFFF,
        }

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        upper, lower, t, place = (
            ops.cast(n, "int32") for n in (h["seed_upper"], h["seed_lower"], h["t"], slots["place"])
        )
        key = (ops.bitwise_or(ops.bitwise_left_shift(upper, 16), lower), t)
        n = ops.reshape(normals(math.prod(u.shape), key, place), u.shape)
        return u + h["deviation"] * ops.cast(n, u.dtype), slots
