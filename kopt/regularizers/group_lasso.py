"""A penalty that makes whole units or filters small together."""

import math
from typing import Any, ClassVar

from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.regularizers.penalty import Penalty, safe_root


@register
class GroupLasso(Penalty):
    """Penalty `factor * sum_g sqrt(|g|) ||w_g||_2`: the weights of a group become small together, so it can be removed.

    Gradient steps do not end at exactly 0: at the end of training cut off the groups with small norms. A group that is
    0 has a gradient of 0 here.

    Args:
        factor: Strength, >= 0, or a schedule of it: as in `L1`.
        groups: "outputs": the weights that lead to one output unit or filter (the last axis is kept). "inputs": those
            that lead away from one input unit, channel or word of an embedding (the axis before it is kept).

    Raises:
        ValueError: `factor` is as `L1` refuses it, `groups` is no such word, or the weight has no axis of inputs.

    Example:

    ```python
    keras.layers.Conv2D(64, 3, kernel_regularizer=kopt.regularizers.GroupLasso(1e-4))  # fewer filters
    keras.layers.Dense(64, kernel_regularizer=kopt.regularizers.GroupLasso(1e-3, "inputs"))  # fewer features
    ```

    References:
        Yuan & Lin 2006, https://doi.org/10.1111/j.1467-9868.2005.00532.x; Scardapane et al. 2017 (networks),
        https://arxiv.org/abs/1607.00485.
    """

    extra: ClassVar[tuple[str, ...]] = ("groups",)

    def __init__(self, factor: Hyperparameter = 0.01, groups: str = "outputs") -> None:
        self.begin(factor=factor)
        self.groups = checks.choice("groups", groups, ("outputs", "inputs"))

    def penalty(self, x: Any) -> Any:
        shape = tuple(int(size) for size in x.shape)
        kept = len(shape) - (1 if self.groups == "outputs" else 2)
        if kept < 0:
            least = 1 if self.groups == "outputs" else 2
            raise checks.fail("x", f"a tensor of {least} or more dimensions", shape, "Put it on kernels.")
        others = tuple(axis for axis in range(len(shape)) if axis != kept)
        size = math.prod(shape[axis] for axis in others)
        squares = ops.sum(ops.square(x), axis=others) if others else ops.square(x)
        return math.sqrt(size) * ops.sum(safe_root(squares))
