"""The loss by itself, as a metric: what trials with different penalties and label smoothing can be compared by."""

from typing import Any, Self

import keras
from keras import ops

from kopt._core.configured import register

PLAIN_LOSS = "plain_loss"
_MEAN = ("sum_over_batch_size", "mean")


@register
class PlainLoss(keras.metrics.Mean):
    """The mean of a loss over samples, without penalties and sample weights.

    Args:
        loss: A loss of Keras by name, an instance, or a function of labels and predictions.
        name: Of the metric.
        dtype: Of what it counts in.
    """

    def __init__(self, loss: Any, name: str = PLAIN_LOSS, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.loss = loss
        self._value = _mean_of(loss)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true: Labels.
            y_pred: Predictions.
            sample_weight: Left out.
        """
        y_true, y_pred = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
        if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 1:
            y_true = ops.expand_dims(y_true, -1)  # As `compile` does for a loss: else N labels meet N predictions each.
        rows = ops.cast(ops.shape(y_pred)[0], "float32")
        super().update_state(self._value(y_true, y_pred), sample_weight=rows)

    def get_config(self) -> dict[str, Any]:
        loss = self.loss if isinstance(self.loss, str) else keras.saving.serialize_keras_object(self.loss)
        return {"name": self.name, "dtype": self.dtype, "loss": loss}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        loss = config["loss"]
        return cls(**config | {"loss": keras.saving.deserialize_keras_object(loss) if isinstance(loss, dict) else loss})


def with_plain_loss(metrics: Any, loss: Any) -> Any:
    """Returns the metrics of a model with one output and this one; others as they are.

    Args:
        metrics: As for `compile`.
        loss: Without smoothing.
    """
    is_one = isinstance(loss, str) or callable(loss)
    listed = [] if metrics is None else metrics
    if not is_one or not isinstance(listed, list) or any(isinstance(metric, list | dict) for metric in listed):
        return metrics
    return [*listed, PlainLoss(loss)]


def _mean_of(loss: Any) -> Any:
    """Returns the function from labels and predictions to the mean loss."""
    found = keras.losses.get(loss) if isinstance(loss, str) else loss() if isinstance(loss, type) else loss
    name = getattr(found, "__name__", "").replace("_", "")
    for label, kind in vars(keras.losses).items():
        if isinstance(kind, type) and name and label.lower() == name and issubclass(kind, keras.losses.Loss):
            return kind()
    if not isinstance(found, keras.losses.Loss):
        return lambda y_true, y_pred: ops.mean(found(y_true, y_pred))
    if found.reduction in _MEAN:
        return found
    return type(found).from_config(found.get_config() | {"reduction": _MEAN[0]})
