"""A floor under the training loss."""

from typing import Any

import keras
from keras import ops

from kopt._core import checks
from kopt._core.configured import deserialized, register, serialized
from kopt._core.followed import Followed
from kopt.losses.objective import replica_share


@register
class Flooding(keras.losses.Loss):
    """Keeps the mean loss of a batch from falling below a level: `|L - b| + b`, which climbs where L is below b.

    It works on the mean over the batch (with Keras' reduction and sample weights), not sample by sample. Penalties of
    layers are added behind it. The loss that is shown, also in validation, is the flooded one.

    Args:
        loss: A Keras loss with a reduction.
        level: b, >= 0, in the unit of the loss: found by search, as 0.01 to 0.2 for cross-entropy.
        name: Of the loss.

    Raises:
        ValueError: An argument is out of its range.

    Example:

    ```python
    loss = kopt.losses.Flooding(keras.losses.SparseCategoricalCrossentropy(from_logits=True), 0.05)
    model.compile("adam", loss, metrics=["accuracy"])
    ```

    References:
        Ishida et al. 2020, https://arxiv.org/abs/2002.08709.
    """

    def __init__(self, loss: keras.losses.Loss, level: float, name: str | None = "flooding") -> None:
        if not isinstance(loss, keras.losses.Loss):
            advice = 'Not a name or a function: keras.losses.MeanSquaredError() in place of "mse".'
            raise checks.fail("loss", "an instance of a Keras loss", loss, advice)
        if loss.reduction is None:
            raise checks.fail("loss", "a loss with a reduction", loss.reduction)
        super().__init__(name=name, reduction=loss.reduction, dtype=loss.dtype)
        self.loss = loss
        self.level = checks.non_negative("level", level)

    @property
    def followed(self) -> tuple[Followed, ...]:
        """The numbers of the loss inside that may follow schedules."""
        return getattr(self.loss, "followed", ())

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        floor = ops.cast(self.level * replica_share(), self.dtype)
        return ops.abs(self.loss(y_true, y_pred, sample_weight) - floor) + floor

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments in a form that JSON can hold."""
        return {"loss": serialized(self.loss), "level": self.level, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Flooding":
        """Builds the loss whose `get_config` returned `config`."""
        return cls(**config | {"loss": deserialized(config["loss"])})
