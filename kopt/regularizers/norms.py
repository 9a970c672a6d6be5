"""The sums of absolute values and of squares, with strengths that can change."""

from typing import Any, ClassVar

from keras import ops

from kopt._core.configured import Hyperparameter, register
from kopt.regularizers.penalty import Penalty, wide


@register
class L1(Penalty):
    """Penalty `l1 * sum |x|`: many weights become small, some stay large.

    Gradient steps go past 0 rather than stop there; for weights that are exactly 0, cut off the small ones at the end.

    Args:
        l1: Strength, >= 0, or a schedule of it, which needs `kopt.losses.ScheduledLoss` around the model. A number
            can be changed between epochs: `regularizer.l1.assign(1e-4)`.

    Raises:
        ValueError: `l1` is not such a number, or the schedule's value is not at a step that is looked at; in
            training, if a schedule does not know the step.

    Example:

    ```python
    keras.layers.Dense(64, kernel_regularizer=kopt.regularizers.L1(1e-4))
    ```

    References:
        Tibshirani 1996, https://doi.org/10.1111/j.2517-6161.1996.tb02080.x.
    """

    strengths: ClassVar[tuple[str, ...]] = ("l1",)

    def __init__(self, l1: Hyperparameter = 0.01) -> None:
        self.begin(l1=l1)

    def __call__(self, x: Any) -> Any:
        """Returns the penalty, a scalar."""
        return self.strength("l1") * absolute_sum(wide(x))


@register
class L2(Penalty):
    """Penalty `l2 * sum x^2`, as in Keras without a factor of 1/2: the gradient is `2 * l2 * x`.

    With plain gradient descent this is weight decay. With Adam and other adaptive methods it is not: they divide the
    penalty's gradient by the size of past gradients, so weights with large gradients are hardly held. There
    `kopt.optimizers.AdamW(weight_decay=...)` is what is meant.

    Args:
        l2: Strength, >= 0, or a schedule of it: as in `L1`.

    Raises:
        ValueError: As in `L1`.

    Example:

    ```python
    penalty = kopt.regularizers.L2(1e-4)
    model = keras.Sequential([keras.layers.Dense(64, "relu", kernel_regularizer=penalty), keras.layers.Dense(10)])
    model.compile("sgd", "mse")
    model.fit(x, y, epochs=5)
    penalty.l2.assign(1e-3)
    model.fit(x, y, epochs=5)
    ```

    References:
        Krogh & Hertz 1991, https://papers.nips.cc/paper/1991/hash/8eefcfdf5990e441f0fb6f3fad709e21-Abstract.html;
        Loshchilov & Hutter 2019 (Adam), https://arxiv.org/abs/1711.05101.
    """

    strengths: ClassVar[tuple[str, ...]] = ("l2",)

    def __init__(self, l2: Hyperparameter = 0.01) -> None:
        self.begin(l2=l2)

    def __call__(self, x: Any) -> Any:
        """Returns the penalty, a scalar."""
        return self.strength("l2") * ops.sum(ops.square(wide(x)))


@register
class L1L2(Penalty):
    """Penalty `l1 * sum |x| + l2 * sum x^2`, the elastic net.

    Args:
        l1: Strength of the absolute values, >= 0, or a schedule of it: as in `L1`.
        l2: Strength of the squares, likewise.

    Raises:
        ValueError: As in `L1`.

    Example:

    ```python
    keras.layers.Dense(64, kernel_regularizer=kopt.regularizers.L1L2(1e-5, 1e-4))
    ```

    References:
        Zou & Hastie 2005, https://doi.org/10.1111/j.1467-9868.2005.00503.x.
    """

    strengths: ClassVar[tuple[str, ...]] = ("l1", "l2")

    def __init__(self, l1: Hyperparameter = 0.0, l2: Hyperparameter = 0.0) -> None:
        self.begin(l1=l1, l2=l2)

    def __call__(self, x: Any) -> Any:
        """Returns the penalty, a scalar."""
        x = wide(x)
        return self.strength("l1") * absolute_sum(x) + self.strength("l2") * ops.sum(ops.square(x))


def absolute_sum(x: Any) -> Any:
    """Returns the sum of absolute values, of which the gradient at 0 is 0; JAX' own is 1 there."""
    return ops.sum(x * ops.stop_gradient(ops.sign(x)))
