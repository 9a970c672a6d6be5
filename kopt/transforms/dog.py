"""Learning rates from the distance travelled and the gradients seen: DoG and DoWG."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import register
from kopt._core.sums import total_of_squares
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleByDog(Transform):
    """Leaves gradients as they are; the learning rate behind it is multiplied by distance over gradients.

    ```
    d <- max(d, |x - x_0|)                        from d = d0 (1 + |x_0|), or d0
    G <- G + |g|^2
    learning_rate <- learning_rate d / sqrt(G + epsilon)
    ```

    Norms are over all variables that the transform serves. It belongs in front of weight decay and
    `ScaleByLearningRate`.

    Args:
        d0: The first distance, > 0; too small costs a few steps, too large may diverge.
        epsilon: Added under the root, >= 0.
        relative: Whether `d0` is multiplied by 1 + |x_0|.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Ivgi et al. 2023, https://arxiv.org/abs/2302.12022.
    """

    estimates = ("distance",)

    def __init__(self, d0: float = 1e-6, epsilon: float = 1e-8, *, relative: bool = True) -> None:
        self.d0 = checks.positive("d0", d0)
        self.epsilon = checks.non_negative("epsilon", epsilon)
        self.relative = checks.flag("relative", relative)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("start", start="variable")]

    def own_slots(self) -> Sequence[Slot]:
        return [Slot("distance", ()), Slot("squares", ())]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"d0": self.d0, "epsilon": self.epsilon}

    def shared(
        self, updates: Sequence[Tensor], params: Sequence[Tensor], slots: Sequence[State], own: State, h: State
    ) -> tuple[State, State]:
        first = h["d0"]
        if self.relative:
            first = first * (1 + ops.sqrt(total_of_squares([s["start"] for s in slots])))
        # 0 says that no step was taken.
        d = ops.where(own["distance"] > 0, own["distance"], first)
        d = ops.maximum(d, _distance(params, slots))
        squares = own["squares"] + total_of_squares(updates)
        rate = d / ops.sqrt(ops.maximum(squares + h["epsilon"], 1e-30))
        return {"rate_factor": rate}, {"distance": d, "squares": squares}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return u, slots


@register
class ScaleByDowg(Transform):
    """Leaves gradients as they are; the learning rate behind it is multiplied by distance over weighted gradients.

    ```
    d <- max(d, |x - x_0|)                        from d = d0
    v <- v + d^2 |g|^2
    learning_rate <- learning_rate d^2 / (sqrt(v) + epsilon)
    ```

    Norms are over all variables that the transform serves. It belongs in front of weight decay and
    `ScaleByLearningRate`.

    Args:
        d0: The first distance, > 0; too small costs a few steps, too large may diverge.
        epsilon: Added to the root, >= 0.

    Raises:
        ValueError: An argument is out of its range.

    References:
        Khaled et al. 2023, https://arxiv.org/abs/2305.16284.
    """

    estimates = ("distance",)

    def __init__(self, d0: float = 1e-2, epsilon: float = 1e-4) -> None:
        self.d0 = checks.positive("d0", d0)
        self.epsilon = checks.non_negative("epsilon", epsilon)

    def slots(self, variable: Any) -> Sequence[Slot]:
        return [Slot("start", start="variable")]

    def own_slots(self) -> Sequence[Slot]:
        return [Slot("distance", (), self.d0), Slot("weighted_squares", ())]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"epsilon": self.epsilon}

    def shared(
        self, updates: Sequence[Tensor], params: Sequence[Tensor], slots: Sequence[State], own: State, h: State
    ) -> tuple[State, State]:
        d = ops.maximum(own["distance"], _distance(params, slots))
        v = own["weighted_squares"] + ops.square(d) * total_of_squares(updates)
        rate = ops.square(d) / ops.maximum(ops.sqrt(v) + h["epsilon"], 1e-30)
        return {"rate_factor": rate}, {"distance": d, "weighted_squares": v}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return u, slots


def _distance(params: Sequence[Tensor], slots: Sequence[State]) -> Tensor:
    return ops.sqrt(total_of_squares([x - s["start"] for x, s in zip(params, slots, strict=True)]))
