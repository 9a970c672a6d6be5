"""Signs: the plain one, and Lion's, which is taken of one average of the gradients while another is kept."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleBySign(Transform):
    """Replaces each element by its sign: u <- sign(u), which is 0 for 0.

    References:
        Bernstein et al. 2018, https://arxiv.org/abs/1802.04434.
    """

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return ops.sign(u), slots


@register
class ScaleByLion(Transform):
    """Takes the sign of a mixture of the newest gradient and an average of the older ones.

    ```
    u  = sign(beta_1 m + (1 - beta_1) g)
    m <- beta_2 m + (1 - beta_2) g
    ```

    Args:
        beta_1: Share of the average in the mixture, in [0, 1).
        beta_2: Decay rate of the average, in [0, 1).

    Raises:
        ValueError: An argument is out of its range.

    References:
        Chen et al. 2023, https://arxiv.org/abs/2302.06675.
    """

    schedulable = ("beta_1", "beta_2")

    def __init__(self, beta_1: Hyperparameter = 0.9, beta_2: Hyperparameter = 0.99) -> None:
        self.beta_1 = checks.fraction("beta_1", beta_1)
        self.beta_2 = checks.fraction("beta_2", beta_2)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("momentum")]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"weight_1": 1 - self.beta_1, "weight_2": 1 - self.beta_2}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        m, g = slots["momentum"], u
        return ops.sign(m + (g - m) * h["weight_1"]), {"momentum": m + (g - m) * h["weight_2"]}
