"""The cautious mask: move only where the direction and the gradient agree."""

from keras import ops

from kopt._core.configured import register
from kopt.transforms.transform import State, Tensor, Transform


@register
class Cautious(Transform):
    """Sets the elements of the direction to 0 whose sign is not that of the gradient, and lengthens the others.

    ```
    a = 1 where u g > 0, else 0
    u <- u a n / (sum(a) + 1)              n: number of elements
    ```

    It belongs in `after=[...]` of an optimizer with momentum: there it sees the direction before weight decay and rate,
    and the gradient of the step.

    References:
        Liang et al. 2024, https://arxiv.org/abs/2411.16085 (with its n / (sum(a) + 1); later code divides by a mean).
    """

    elementwise = False
    sees_gradient = True

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        a = ops.cast(u * slots["gradient"] > 0, u.dtype)
        size = ops.cast(ops.size(a), u.dtype)
        return u * a * (size / (ops.sum(a) + 1)), slots
