"""Updates of the rows that a batch has seen: what turns an elementwise method into a lazy one."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Schedule, register
from kopt.transforms.transform import Slot, State, Tensor, Transform


@register
class SeenRows(Transform):
    """Runs another transform on the rows that have an update; the other rows keep their state, and their update is 0.

    A row is what one index of the first axis selects: a row of a matrix, an element of a vector. It is seen when one of
    its elements of the update that comes in is not 0. So `SeenRows(ScaleByAdam())` is lazy Adam, and
    `SeenRows(AddDecayedWeights())` behind it is a decay that leaves alone what the step leaves alone.

    Args:
        transform: An elementwise transform without a part that sees all variables.

    Raises:
        ValueError: `transform` is not of this kind.

    Example:

    ```python
    lion = [kopt.transforms.SeenRows(kopt.transforms.ScaleByLion())]
    kopt.optimizers.AdamW(1e-3, groups=[kopt.optimizers.Group("embedding", transforms=lion)])
    ```
    """

    elementwise = False

    def __init__(self, transform: Transform) -> None:
        is_elementwise = isinstance(transform, Transform) and transform.elementwise and not transform.averages
        if not is_elementwise or type(transform).shared is not Transform.shared or transform.own_slots():
            rule = "an elementwise kopt.transforms.Transform without a part that sees all variables"
            raise checks.fail("transform", rule, transform)
        self.transform = transform
        self.acts_on = transform.acts_on
        self.decays = transform.decays

    @property
    def takes_decay(self) -> bool:
        return self.transform.takes_decay

    def with_weight_decay(self, weight_decay: float) -> "SeenRows | None":
        transform = self.transform.with_weight_decay(weight_decay)
        return None if transform is None else SeenRows(transform)

    def schedules(self) -> dict[str, Schedule]:
        return self.transform.schedules()

    def slots(self, variable: Any) -> Sequence[Slot]:
        return self.transform.slots(variable)

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return self.transform.at(t).scalars(t, learning_rate)

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        seen = ops.not_equal(u, 0.0)
        if len(u.shape) > 1:
            seen = ops.any(seen, axis=tuple(range(1, len(u.shape))), keepdims=True)
        new_u, new = self.transform.update(u, x, slots, h)
        kept = {name: ops.where(seen, new[name], tensor) for name, tensor in slots.items()}
        return ops.where(seen, new_u, ops.zeros_like(u)), kept
