"""Clipping: by value, by the norm or root mean square of each variable, by the norm of all of them."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.transforms.transform import State, Tensor, Transform


class Clipper(Transform):
    """What the clipping transforms share: one limit."""

    clips = True
    schedulable = ("limit",)

    def __init__(self, limit: Hyperparameter) -> None:
        self.limit = checks.positive("limit", limit)

    def scalars(self, t: Tensor, learning_rate: Tensor) -> dict[str, Any]:
        return {"limit": self.limit}


@register
class ClipByValue(Clipper):
    """Cuts every element to [-limit, limit].

    Args:
        limit: Largest absolute value, > 0.
    """

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return ops.minimum(ops.maximum(u, -h["limit"]), h["limit"]), slots


@register
class ClipByNorm(Clipper):
    """Shortens the update of each variable whose Euclidean norm is above `limit` to that norm.

    Args:
        limit: Largest norm, > 0.
    """

    elementwise = False

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        norm = ops.sqrt(ops.sum(ops.square(u)))
        return u * (h["limit"] / ops.maximum(norm, h["limit"])), slots


@register
class ClipByRms(Clipper):
    """Shrinks the update of each variable whose root mean square is above `limit` to that size.

    It is `ClipByNorm` with a limit that grows with the root of the number of elements.

    Args:
        limit: Largest root mean square, > 0.

    Raises:
        ValueError: `limit` is not above 0.

    References:
        Shazeer and Stern 2018, section 6, https://arxiv.org/abs/1804.04235.
    """

    elementwise = False

    def __init__(self, limit: float = 1.0) -> None:
        super().__init__(limit)

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        rms = ops.sqrt(ops.mean(ops.square(u)))
        return u * (h["limit"] / ops.maximum(rms, h["limit"])), slots


@register
class ClipByGlobalNorm(Clipper):
    """Shortens all updates by one factor, so that the norm of them all together is at most `limit`.

    The norm spans every variable that the transform serves, over all groups that are not frozen. If it is not finite,
    every update becomes NaN, as in Keras: one bad gradient is not hidden among good ones.

    Args:
        limit: Largest norm, > 0.

    References:
        Pascanu et al. 2012, https://arxiv.org/abs/1211.5063.
    """

    def shared(
        self, updates: Sequence[Tensor], params: Sequence[Tensor], slots: Sequence[State], own: State, h: State
    ) -> tuple[State, State]:
        squares = [ops.cast(ops.sum(ops.square(u)), "float32") for u in updates]
        norm = ops.sqrt(ops.sum(ops.stack(squares)))
        scale = h["limit"] / ops.maximum(norm, h["limit"])
        return {"scale": scale + (norm - norm)}, own

    def update(self, u: Tensor, x: Tensor, slots: State, h: State) -> tuple[Tensor, State]:
        return u * h["scale"], slots
