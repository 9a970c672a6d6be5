"""What the layers here have in common: a number in a variable, which may follow a schedule."""

from collections.abc import Callable
from typing import Any, ClassVar

import keras
from keras import ops

from kopt._core.configured import deserialized, serialized
from kopt._core.followed import Followed, begins_step


class FollowingLayer(keras.layers.Layer):
    """A layer with one number that may follow a schedule, as variables that Keras saves.

    The variable named as the argument holds the number: between steps it can be assigned, unless it follows a schedule.
    `steps` counts the calls in training: in `fit` these are batches, of which gradient accumulation makes several
    to one step. A layer that is called several times in one pass through the model counts once.

    Attributes:
        number_name: The argument's name.
        default: Stands for the number while a schedule does not know the length of the run.
    """

    number_name: ClassVar[str] = "rate"
    default: ClassVar[float] = 0.0

    def follow(self, value: Any, check: Callable[..., float]) -> None:
        """Checks what the user gave, and makes the variables."""
        number = Followed(self.number_name, value, check, self.default)
        self.followed = (number,)
        self.supports_masking = True
        options = {"shape": (), "trainable": False, "autocast": False, "aggregation": "only_first_replica"}
        start = keras.initializers.Constant(number.first)
        self._number = self.add_weight(name=number.name, initializer=start, dtype="float32", **options)
        self.steps = self.add_weight(name="steps", initializer="zeros", dtype="int32", **options)

    def number(self, *, training: bool) -> Any:
        """Returns the number as a float32 tensor: in training that of this step, which is then counted."""
        if not training or not begins_step(self):
            return self._number.value + 0.0  # A tensor of its own: PyTorch assigns in place.
        if self.followed[0].schedule is None:
            value = self._number.value + 0.0
        else:
            value = self.followed[0].at(self.steps.value)
            self._number.assign(value)
        self.steps.assign(self.steps.value + 1)
        return value

    def build(self, input_shape: Any) -> None:
        """Marks the layer as built: its variables exist since it was made."""
        self.built = True

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the inputs."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {self.number_name: serialized(self.followed[0].argument)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "FollowingLayer":
        return cls(**config | {cls.number_name: deserialized(config[cls.number_name])})


def kept_or_zero(x: Any, is_kept: Any, share: Any) -> Any:
    """Returns x where it is kept, divided by the share that is, and elsewhere 0, in the dtype of x.

    The division is float32 at least: 1 / 0.9 in bfloat16 is off by 0.2 %, which would not be the expectation any more.
    """
    wide = keras.backend.result_type(x.dtype, "float32")
    scaled = ops.cast(x, wide) / ops.cast(share, wide)
    return ops.cast(ops.where(is_kept, scaled, ops.zeros_like(scaled)), x.dtype)
