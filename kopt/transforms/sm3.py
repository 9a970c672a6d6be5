"""SM3's direction: Adagrad's, with one accumulator for each index of each axis in place of one for each weight."""

import functools
from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class ScaleBySm3(Transform):
    """Divides the gradient by the root of the tightest bound that the accumulators give on the sum of its squares.

    ```
    n    = min over the axes a of c_a(index of the element along a) + g^2
    c_a <- for each index along a, the maximum of n over all other axes
    u    = g / sqrt(n + epsilon)
    ```

    This is SM3-II with rows, columns and so on as the cover. A vector keeps one number per element, which makes it
    Adagrad; so does a scalar. Where `n` is 0, so is `u`.

    Args:
        epsilon: Added under the root, >= 0. The paper has none.

    Raises:
        ValueError: `epsilon` is negative or not finite.

    References:
        Anil et al. 2019, https://arxiv.org/abs/1901.11150.
    """

    elementwise = False
    schedulable = ("epsilon",)

    def __init__(self, epsilon: Hyperparameter = 1e-30) -> None:
        self.epsilon = checks.non_negative("epsilon", epsilon)

    def slots(self, variable: Any) -> Sequence[Slot]:
        axes = _axes(variable.shape).items()
        return [Slot(name, () if axis is None else (int(variable.shape[axis]),)) for name, axis in axes]

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"epsilon": self.epsilon}

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        axes = _axes(u.shape)
        bounds = [ops.reshape(slots[name], _along(axis, u.shape)) for name, axis in axes.items()]
        n = functools.reduce(ops.minimum, bounds) + ops.square(u)
        new = {name: _largest(n, axis) for name, axis in axes.items()}
        return ops.where(n > 0, u * ops.rsqrt(n + h["epsilon"]), ops.zeros_like(u)), new


def _axes(shape: Sequence[int]) -> dict[str, int | None]:
    """Returns the axis of each accumulator by its name; a scalar has one accumulator, and no axis."""
    return {f"accumulator_{axis}": axis for axis in range(len(shape))} or {"accumulator": None}


def _along(axis: int | None, shape: Sequence[int]) -> list[int]:
    """Returns the shape in which a vector along `axis` broadcasts to `shape`."""
    return [-1 if other == axis else 1 for other in range(len(shape))]


def _largest(n: Tensor, axis: int | None) -> Tensor:
    """Returns the maximum over all axes but one."""
    others = tuple(other for other in range(len(n.shape)) if other != axis)
    return ops.max(n, axis=others) if others else n
