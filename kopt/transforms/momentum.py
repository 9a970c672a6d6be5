"""Heavy-ball momentum and Nesterov's variant of it."""

from collections.abc import Sequence
from typing import Any

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class Momentum(Transform):
    """Adds up the updates, older ones fading by `momentum` at each step.

    ```
    m <- momentum m + u
    u  = m                    plain
    u  = u + momentum m       Nesterov
    ```

    The learning rate is applied afterwards, as in torch and optax, so that a new rate acts at once on the whole
    buffer. Keras keeps the rate inside the buffer; both agree while the rate is constant.

    Args:
        momentum: In [0, 1).
        nesterov: Whether to look one step ahead.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Polyak 1964, "Some methods of speeding up the convergence of iteration methods"; Sutskever et al. 2013, "On the
        importance of initialization and momentum in deep learning".
    """

    schedulable = ("momentum",)

    def __init__(self, momentum: Hyperparameter = 0.9, *, nesterov: bool = False) -> None:
        self.momentum = checks.fraction("momentum", momentum)
        self.nesterov = checks.flag("nesterov", nesterov)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("momentum")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"momentum": self.momentum}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        m = slots["momentum"] * h["momentum"] + u
        return (u + m * h["momentum"] if self.nesterov else m), {"momentum": m}
