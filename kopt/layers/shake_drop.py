"""Residual branches whose size is disturbed, and otherwise in the backward pass than in the forward pass."""

from typing import Any

import keras
from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.layers.following import FollowingLayer


@register
class ShakeDrop(FollowingLayer):
    """Multiplies a residual branch by a random factor, and its gradient by another one, sample by sample.

    ```
    y = (b + a - b a) x / (1 - rate)         b = 1 with probability 1 - rate, else 0;  a uniform in [-1, 1]
    dx = (b + c - b c) dy / (1 - rate)       c uniform in [0, 1]
    ```

    So a branch passes as it is or, at `rate`, is disturbed. The mean of y is x. The paper does not divide, and
    multiplies by 1 - rate in inference instead; here the layer changes nothing in inference, as `DropPath`.

    Args:
        rate: Share of the samples whose branch is disturbed, in [0, 1), or a schedule of it: as in `ScheduledDropout`.
            The paper lets it rise with depth up to 0.5: `drop_path_rates`.
        seed: Of the random numbers, an integer or None.
        **options: `name`, `dtype`, `trainable` of a Keras layer.

    Raises:
        ValueError: An argument is out of its range, or the schedule leaves [0, 1) at a step that is looked at.

    Example:

    ```python
    x = x + kopt.layers.ShakeDrop(0.3)(branch)  # the branch ends in a BatchNormalization
    ```

    References:
        Yamada et al. 2018, https://arxiv.org/abs/1802.02375.
    """

    def __init__(self, rate: Hyperparameter, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.seed = checks.optional(checks.count, "seed", seed, least=0)
        self.follow(rate, checks.fraction)
        self.seed_generator = keras.random.SeedGenerator(seed)

    @property
    def rate(self) -> keras.Variable:
        """The rate, a float32 variable."""
        return self._number

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Returns the inputs, in training those of some samples times a random factor."""
        if not training:
            return inputs
        share = 1.0 - self.number(training=True)
        shape = (ops.shape(inputs)[0], *[1] * (len(inputs.shape) - 1))

        def uniform(low: float) -> Any:
            return keras.random.uniform(shape, low, 1.0, dtype="float32", seed=self.seed_generator)

        passes = uniform(0.0) < share
        forward, backward = (ops.where(passes, 1.0, uniform(low)) / share for low in (-1.0, 0.0))
        wide = keras.backend.result_type(inputs.dtype, "float32")
        x = ops.cast(inputs, wide)
        differentiable = x * ops.cast(backward, wide)
        y = differentiable + ops.stop_gradient(x * ops.cast(forward, wide) - differentiable)
        return ops.cast(y, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"seed": self.seed}
