"""Dropout of square blocks of feature maps."""

from typing import Any

import keras
from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.layers.following import FollowingLayer, kept_or_zero


@register
class DropBlock(FollowingLayer):
    """Drops squares of each feature map of an image, since neighbours tell what a single dropped pixel held.

    Each pixel is dropped with probability `rate`, and what is kept is divided by 1 - rate. Squares are drawn in each
    channel for itself, and may reach over the border. The paper draws them inside the image, drops fewer pixels at the
    border than in the middle, and fewer than `rate` where squares overlap; it divides by the share that was kept in the
    batch. Here the expectation of each pixel is its value.

    Args:
        rate: Share of the pixels that is dropped, in [0, 1), or a schedule of it: as in `ScheduledDropout`. The paper
            lets it rise from 0 to 0.1 during training.
        block_size: Side of a square in pixels, >= 1; 1 is dropout of pixels.
        data_format: "channels_last", "channels_first", or None for Keras' setting.
        seed: Of the random numbers, an integer or None.
        **options: `name`, `dtype`, `trainable` of a Keras layer.

    Raises:
        ValueError: An argument is out of its range, the schedule leaves [0, 1) at a step that is looked at, or the
            inputs do not have four axes.

    Example:

    ```python
    rising = kopt.schedules.Linear(0.0, 1.0, 0.1, by="fraction")
    x = kopt.layers.DropBlock(rising, block_size=7)(keras.layers.Conv2D(64, 3, activation="relu")(x))
    ```

    References:
        Ghiasi et al. 2018, https://arxiv.org/abs/1810.12890.
    """

    def __init__(
        self,
        rate: Hyperparameter,
        block_size: int = 7,
        data_format: str | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.block_size = checks.count("block_size", block_size)
        if data_format is not None:
            checks.choice("data_format", data_format, ("channels_last", "channels_first"))
        self.data_format = data_format or keras.config.image_data_format()
        self.seed = checks.optional(checks.count, "seed", seed, least=0)
        self.follow(rate, checks.fraction)
        self.seed_generator = keras.random.SeedGenerator(seed)

    @property
    def rate(self) -> keras.Variable:
        """The rate, a float32 variable."""
        return self._number

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Returns the inputs, in training with squares of them dropped."""
        if len(inputs.shape) != 4:
            raise checks.fail("inputs", "images: a tensor of four axes", tuple(inputs.shape))
        if not training:
            return inputs
        share = 1.0 - self.number(training=True)
        is_first = self.data_format == "channels_first"
        batch, *sides = ops.shape(inputs)
        height, width, channels = (*sides[1:], sides[0]) if is_first else sides
        more, size = self.block_size - 1, self.block_size
        # A pixel is kept if none of the size^2 squares that reach it is drawn.
        drawn = -ops.expm1(ops.log(share) / size**2)
        shape = (batch, height + more, width + more, channels)
        corners = ops.cast(keras.random.uniform(shape, dtype="float32", seed=self.seed_generator) < drawn, "float32")
        squares = ops.max_pool(corners, size, strides=1, padding="valid", data_format="channels_last")
        squares = ops.transpose(squares, (0, 3, 1, 2)) if is_first else squares
        return kept_or_zero(inputs, squares < 0.5, share)

    def get_config(self) -> dict[str, Any]:
        own = {"block_size": self.block_size, "data_format": self.data_format, "seed": self.seed}
        return super().get_config() | own
