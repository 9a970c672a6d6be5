"""Coin betting: each weight bets on its own gradient, with what it has won so far."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByCocob(Transform):
    """Moves each weight to where a gambler would be who bets on the sign of its next gradient.

    ```
    L <- max(L, |g|, epsilon)                     largest gradient
    S <- S + |g|                                  sum of their sizes
    R <- max(R - g (x - x_0), 0)                  reward
    C <- C - g                                    the way down
    u  = x - x_0 - C (L + R) / (L max(S + L, bet_divisor L))
    ```

    Args:
        bet_divisor: The paper's alpha, > 0: the first bets are at most one part in so many of the wealth.
        epsilon: The smallest bound on a gradient, >= 0.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Orabona and Tommasi 2017, algorithm 2, https://arxiv.org/abs/1705.07795.
    """

    schedulable = ("bet_divisor",)

    def __init__(self, bet_divisor: Hyperparameter = 100.0, epsilon: float = 1e-8) -> None:
        self.bet_divisor = checks.positive("bet_divisor", bet_divisor)
        self.epsilon = checks.non_negative("epsilon", epsilon)

    def slots(self, variable: Any) -> Sequence[Slot]:
        names = ("largest_gradient", "absolute_sum", "reward", "gradient_sum")
        return [*(Slot(name) for name in names), Slot("start", start="variable")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"bet_divisor": self.bet_divisor, "epsilon": self.epsilon}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        moved = x - slots["start"]
        largest = ops.maximum(ops.maximum(slots["largest_gradient"], ops.absolute(u)), h["epsilon"])
        seen = slots["absolute_sum"] + ops.absolute(u)
        reward = ops.maximum(slots["reward"] - u * moved, 0.0)
        down = slots["gradient_sum"] - u
        # Where no gradient was seen, 0 / 0 is no bet.
        caution = ops.maximum(ops.maximum(seen + largest, largest * h["bet_divisor"]), 1e-30)
        bet = down / ops.maximum(largest, 1e-30) * ((largest + reward) / caution)
        new = {"largest_gradient": largest, "absolute_sum": seen, "reward": reward, "gradient_sum": down}
        return moved - bet, new | {"start": slots["start"]}
