"""Stochastic depth: whole residual branches are dropped, sample by sample."""

from typing import Any

import keras
from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.layers.following import FollowingLayer, kept_or_zero


@register
class DropPath(FollowingLayer):
    """Drops all that a residual branch gives for a sample: `y = x m / (1 - rate)`, with one m in {0, 1} per sample.

    Stands at the end of a branch, in front of the addition. The first axis is that of the samples.

    Args:
        rate: Share of the samples for which the branch is dropped, in [0, 1), or a schedule of it: as in
            `ScheduledDropout`.
        seed: Of the random numbers, an integer or None.
        **options: `name`, `dtype`, `trainable` of a Keras layer.

    Raises:
        ValueError: An argument is out of its range, or the schedule leaves [0, 1) at a step that is looked at.

    Example:

    ```python
    for rate in kopt.layers.drop_path_rates(depth=12, rate=0.1):
        branch = keras.layers.Dense(256, "gelu")(keras.layers.LayerNormalization()(x))
        x = x + kopt.layers.DropPath(rate)(branch)
    ```

    References:
        Huang et al. 2016, https://arxiv.org/abs/1603.09382 (which scales in inference, here in training); Larsson et
        al. 2017, https://arxiv.org/abs/1605.07648.
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
        """Returns the inputs, in training with those of some samples dropped."""
        if not training:
            return inputs
        share = 1.0 - self.number(training=True)
        shape = (ops.shape(inputs)[0], *[1] * (len(inputs.shape) - 1))
        is_kept = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator) < share
        return kept_or_zero(inputs, is_kept, share)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"seed": self.seed}


def drop_path_rates(depth: int, rate: float) -> list[float]:
    """Returns the rates of a network's residual blocks: from 0 in the first one, evenly up to `rate` in the last one.

    This is what DeiT and ConvNeXt do; Huang et al. give the first of L blocks `rate` / L.

    Args:
        depth: The number of blocks, >= 1. A single block gets `rate`.
        rate: Of the last block, in [0, 1).

    Raises:
        ValueError: An argument is out of its range.
    """
    blocks, last = checks.count("depth", depth), checks.fraction("rate", rate)
    return [last * block / (blocks - 1) for block in range(blocks)] if blocks > 1 else [last]
