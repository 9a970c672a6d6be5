"""Models around a model that train it on another loss: what they have in common."""

from collections.abc import Callable
from typing import Any, ClassVar

import keras
from keras import ops

from kopt._core import checks
from kopt._core.configured import deserialized
from kopt._core.followed import Followed, counting

Plain = Callable[[Any], Any]


class Objective(keras.Model):
    """A model that trains the model inside it on a loss of its own, with Keras' train step.

    It counts the training steps in `steps`, a variable that is saved, so that numbers of the compiled loss can follow
    schedules: in `fit` these are batches, of which gradient accumulation makes several to one step. In validation the
    numbers are those of the next step.

    Objectives can be put around each other, and `kopt.SAM` around them.

    Attributes:
        prefix: Begins the name of the model.
    """

    prefix: ClassVar[str]
    followed: tuple[Followed, ...] = ()

    def __init__(self, model: keras.Model, name: str | None) -> None:
        checked_model(model, type(self).__name__)
        super().__init__(name=name or f"{self.prefix}_{model.name}")
        self.model = model
        options = {"trainable": False, "aggregation": "only_first_replica"}
        self.steps = self.add_weight(shape=(), dtype="int32", initializer="zeros", name="steps", **options)

    def build(self, input_shape: Any) -> None:
        """Builds the model inside."""
        if not self.model.built:
            self.model.build(input_shape)
        self.built = True

    def call(self, inputs: Any, training: Any = None) -> Any:
        """Returns the model's prediction."""
        with counting(self.steps.value):  # For activity regularizers.
            return self.model(inputs, training=training)

    @property
    def losses(self) -> list[Any]:
        """The penalties, those of regularizers with a schedule at the step under way."""
        with counting(self.steps.value):
            return super().losses

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,  # noqa: FBT001, FBT002
    ) -> Any:
        """Returns the loss that is trained or shown."""
        compiled = super().compute_loss

        def plain(prediction: Any) -> Any:
            return compiled(x, y, prediction, sample_weight, training)

        return self.counted(plain, x, y_pred, training=training)

    def counted(self, plain: Plain, x: Any, y_pred: Any, *, training: bool) -> Any:
        """Returns the objective of the step under way, and counts it in training."""
        with counting(self.steps.value):
            loss = self.objective(plain, x, y_pred, training=training)
        part: Any = self
        while training and isinstance(part, Objective):
            part.steps.assign(part.steps.value + 1)
            part = part.model
        return loss

    def objective(self, plain: Plain, x: Any, y_pred: Any, *, training: bool) -> Any:
        """Returns the objective for a batch: that of an objective inside, if there is one, else the compiled loss.

        Args:
            plain: Returns the compiled loss of a prediction, penalties of layers included.
            x: The inputs.
            y_pred: The prediction that was made of them.
            training: Whether this is a training step.
        """
        inner = self.model
        return inner.objective(plain, x, y_pred, training=training) if isinstance(inner, Objective) else plain(y_pred)

    def get_config(self) -> dict[str, Any]:
        return {"model": keras.saving.serialize_keras_object(self.model), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "Objective":
        made = {name: deserialized(value, custom_objects) for name, value in config.items()}
        return cls(**made)


def checked_model(model: Any, wrapper: str) -> None:
    """Raises unless `model` is one whose training can be replaced by that of a model around it."""
    if not isinstance(model, keras.Model):
        raise checks.fail("model", "a keras.Model", model)
    kind = type(model)
    if kind.train_step is not keras.Model.train_step:
        advice = f"{wrapper} replaces the train step: move yours to the optimizer or the loss."
        raise checks.fail("model", "a model without a `train_step` of its own", kind.__name__, advice)
    if kind.compute_loss is not keras.Model.compute_loss and not isinstance(model, Objective):
        advice = f"{wrapper} replaces `compute_loss`: move yours to the compiled loss or to `add_loss` in a layer."
        raise checks.fail("model", "a model without a `compute_loss` of its own", kind.__name__, advice)


def replica_share() -> Any:
    """Returns what to multiply a mean over a batch with: below 1 where `tf.distribute` adds the losses of replicas."""
    return keras.losses.MeanAbsoluteError()(ops.zeros((1, 1)), ops.ones((1, 1)))
