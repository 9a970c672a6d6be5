"""Logits at a temperature, which may be annealed."""

from typing import Any, ClassVar

import keras
from keras import ops

from kopt._core import checks
from kopt._core.configured import Hyperparameter, register
from kopt.layers.following import FollowingLayer


@register
class Temperature(FollowingLayer):
    """Divides logits by a temperature: `y = x / T`. Above 1 a softmax behind it is flatter, below 1 steeper.

    Args:
        temperature: T, > 0, or a schedule of it: as the rate of `ScheduledDropout`. In inference T is what it was
            at the last step of training.
        **options: `name`, `dtype`, `trainable` of a Keras layer.

    Raises:
        ValueError: T is not above 0, or the schedule's value is not at a step that is looked at.

    Example:

    ```python
    anneal = kopt.layers.Temperature(kopt.schedules.Linear(5.0, 10_000, 1.0))  # from 5 to 1 in 10,000 batches
    attention = keras.layers.Softmax()(anneal(scores))
    ```

    References:
        Hinton et al. 2015, https://arxiv.org/abs/1503.02531.
    """

    number_name: ClassVar[str] = "temperature"
    default: ClassVar[float] = 1.0

    def __init__(self, temperature: Hyperparameter, **options: Any) -> None:
        super().__init__(**options)
        self.follow(temperature, checks.positive)

    @property
    def temperature(self) -> keras.Variable:
        """The temperature, a float32 variable."""
        return self._number

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002
        """Returns the inputs, divided by the temperature."""
        wide = keras.backend.result_type(inputs.dtype, "float32")
        divided = ops.cast(inputs, wide) / ops.cast(self.number(training=training), wide)
        return ops.cast(divided, inputs.dtype)
