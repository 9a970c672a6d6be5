"""Cross-entropies whose label smoothing and temperature may follow schedules."""

from typing import Any, ClassVar

import keras
from keras import ops

from kopt._backend import passes
from kopt._core import checks
from kopt._core.configured import Hyperparameter, deserialized, register, serialized
from kopt._core.followed import Followed


class Crossentropy(keras.losses.Loss):
    """What the cross-entropies share: their numbers, and the logarithms of probabilities.

    Attributes:
        extra: Further arguments of the constructor.
    """

    extra: ClassVar[tuple[str, ...]] = ()

    def begin(self, label_smoothing: Any, temperature: Any, *, from_logits: bool, axis: int, **options: Any) -> None:
        """Checks and keeps what all of them are given."""
        super().__init__(**options)
        self.label_smoothing = Followed("label_smoothing", label_smoothing, checks.fraction, 0.0)
        self.temperature = Followed("temperature", temperature, checks.positive, 1.0)
        self.followed = (self.label_smoothing, self.temperature)
        self.from_logits = checks.flag("from_logits", from_logits)
        if isinstance(axis, bool) or not isinstance(axis, int):
            raise checks.fail("axis", "an integer", axis)
        self.axis = axis

    def log_probabilities(self, y_pred: Any) -> Any:
        """Returns the logarithms of the classes' probabilities at the temperature; the classes are the last axis."""
        y_pred = y_pred if self.axis == -1 else ops.moveaxis(y_pred, self.axis, -1)
        logits, is_one = y_pred, self.temperature.argument == 1.0
        if not self.from_logits:
            epsilon = keras.config.epsilon()
            shares = y_pred / ops.sum(y_pred, axis=-1, keepdims=True)
            logits = ops.log(ops.clip(shares, epsilon, 1.0 - epsilon))
            if is_one:
                return logits
        return ops.log_softmax(logits if is_one else logits / self.temperature.now(type(self).__name__), axis=-1)

    def smoothing(self) -> Any:
        """Returns the label smoothing of this step: 0.0 if there is none."""
        return self.label_smoothing.now(type(self).__name__)

    def smoothed(self, loss: Any, log_p: Any) -> Any:
        """Returns a loss of which this step's label smoothing is spread over all classes, the last axis of `log_p`."""
        if self.label_smoothing.argument == 0.0:
            return loss
        e = self.smoothing()
        return (1.0 - e) * loss - e * ops.mean(log_p, axis=-1)

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("from_logits", "axis", *self.extra)}
        return super().get_config() | own | {number.name: serialized(number.argument) for number in self.followed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Crossentropy":
        return cls(**config | {name: deserialized(config[name]) for name in ("label_smoothing", "temperature")})


@register
class SparseCategoricalCrossentropy(Crossentropy):
    """Cross-entropy for integer labels, with label smoothing, which Keras has for one-hot labels only.

    ```
    loss = -(1 - e) log p_y - e / K sum_k log p_k       p = softmax(logits / T), K classes
    ```

    Schedules need `kopt.losses.ScheduledLoss` around the model; without it training raises and says so.

    Args:
        label_smoothing: e, in [0, 1), or a schedule of it. At 0 the loss is Keras' own.
        temperature: T, > 0, or a schedule of it. The loss is not multiplied by T^2, as distillation does.
        from_logits: Whether predictions are logits; else probabilities, of which the logarithm is divided by T.
        ignore_class: A label whose positions count neither in the sum nor in the mean, such as -1 for padding, or
            None.
        axis: Of the classes in the predictions. Labels have the predictions' shape without it, or a last axis of 1.
        reduction: As in Keras' losses.
        name: Of the loss.
        dtype: As in Keras' losses.

    Raises:
        ValueError: An argument is out of its range, or a schedule is at a step that is looked at; in training, if a
            schedule does not know the step.

    Example:

    ```python
    loss = kopt.losses.SparseCategoricalCrossentropy(label_smoothing=0.1, from_logits=True)
    model.compile("adam", loss)
    ```

    References:
        Szegedy et al. 2016, section 7, https://arxiv.org/abs/1512.00567.
    """

    extra: ClassVar[tuple[str, ...]] = ("ignore_class",)

    def __init__(
        self,
        *,
        label_smoothing: Hyperparameter = 0.0,
        temperature: Hyperparameter = 1.0,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "sparse_categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        options = {"reduction": reduction, "name": name, "dtype": dtype}
        self.begin(label_smoothing, temperature, from_logits=from_logits, axis=axis, **options)
        if ignore_class is not None and (isinstance(ignore_class, bool) or not isinstance(ignore_class, int)):
            raise checks.fail("ignore_class", "an integer or None", ignore_class)
        self.ignore_class = ignore_class

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each position."""
        log_p = self.log_probabilities(y_pred)
        labels = ops.cast(y_true, "int32")
        if len(labels.shape) == len(log_p.shape) and labels.shape[-1] == 1:
            labels = ops.squeeze(labels, axis=-1)
        if len(labels.shape) != len(log_p.shape) - 1:
            rule = f"labels with {len(log_p.shape) - 1} axes, one less than the predictions"
            raise checks.fail("y_true", rule, tuple(y_true.shape), "One-hot labels are for CategoricalCrossentropy.")
        is_valid = None if self.ignore_class is None else ops.not_equal(labels, self.ignore_class)
        if is_valid is not None:
            labels = ops.where(is_valid, labels, ops.zeros_like(labels))
        of_label = ops.squeeze(ops.take_along_axis(log_p, ops.expand_dims(labels, -1), axis=-1), axis=-1)
        loss = self.smoothed(-of_label, log_p)
        if is_valid is None:
            return loss
        return passes.masked(ops.where(is_valid, loss, ops.zeros_like(loss)), is_valid)


@register
class CategoricalCrossentropy(Crossentropy):
    """Cross-entropy for one-hot or soft labels: `-sum_k ((1 - e) y_k + e / K) log p_k`, with p = softmax(logits / T).

    Keras' own takes numbers; here label smoothing and temperature may follow schedules, which need
    `kopt.losses.ScheduledLoss` around the model.

    Args:
        label_smoothing: e, in [0, 1), or a schedule of it.
        temperature: T, > 0, or a schedule of it. The loss is not multiplied by T^2, as distillation does.
        from_logits: Whether predictions are logits; else probabilities, of which the logarithm is divided by T.
        axis: Of the classes in labels and predictions.
        reduction: As in Keras' losses.
        name: Of the loss.
        dtype: As in Keras' losses.

    Raises:
        ValueError: As in `SparseCategoricalCrossentropy`.

    Example:

    ```python
    annealed = kopt.losses.CategoricalCrossentropy(temperature=kopt.schedules.Linear(4.0, 1_000, 1.0), from_logits=True)
    kopt.losses.ScheduledLoss(model).compile("adam", annealed)
    ```

    References:
        Szegedy et al. 2016, section 7, https://arxiv.org/abs/1512.00567.
    """

    def __init__(
        self,
        *,
        label_smoothing: Hyperparameter = 0.0,
        temperature: Hyperparameter = 1.0,
        from_logits: bool = False,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "categorical_crossentropy",
        dtype: Any = None,
    ) -> None:
        options = {"reduction": reduction, "name": name, "dtype": dtype}
        self.begin(label_smoothing, temperature, from_logits=from_logits, axis=axis, **options)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the loss of each position."""
        if len(y_true.shape) != len(y_pred.shape):
            advice = "Integer labels are for SparseCategoricalCrossentropy."
            raise checks.fail("y_true", "labels of the predictions' shape", tuple(y_true.shape), advice)
        log_p = self.log_probabilities(y_pred)
        y = y_true if self.axis == -1 else ops.moveaxis(y_true, self.axis, -1)
        return self.smoothed(-ops.sum(y * log_p, axis=-1), log_p)


@register
class BinaryCrossentropy(Crossentropy):
    """Cross-entropy for labels of 0 and 1: `-y log p - (1 - y) log(1 - p)`, with p = sigmoid(logits / T).

    Label smoothing e makes y (1 - e) + e / 2 of the labels. Keras' own takes a number; here label smoothing and
    temperature may follow schedules, which need `kopt.losses.ScheduledLoss` around the model.

    Args:
        label_smoothing: e, in [0, 1), or a schedule of it.
        temperature: T, > 0, or a schedule of it.
        from_logits: Whether predictions are logits; else they are probabilities, of which logits are made.
        axis: Over which the mean is taken in each sample.
        reduction: As in Keras' losses.
        name: Of the loss.
        dtype: As in Keras' losses.

    Raises:
        ValueError: As in `SparseCategoricalCrossentropy`.

    Example:

    ```python
    model.compile("adam", kopt.losses.BinaryCrossentropy(label_smoothing=0.1, from_logits=True))
    ```

    References:
        Szegedy et al. 2016, section 7, https://arxiv.org/abs/1512.00567.
    """

    def __init__(
        self,
        *,
        label_smoothing: Hyperparameter = 0.0,
        temperature: Hyperparameter = 1.0,
        from_logits: bool = False,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "binary_crossentropy",
        dtype: Any = None,
    ) -> None:
        options = {"reduction": reduction, "name": name, "dtype": dtype}
        self.begin(label_smoothing, temperature, from_logits=from_logits, axis=axis, **options)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Returns the mean loss of each sample."""
        y = y_true
        if len(y.shape) == len(y_pred.shape) - 1 and y_pred.shape[-1] == 1:
            y = ops.expand_dims(y, -1)
        if len(y.shape) != len(y_pred.shape):  # Would be broadcast against each other.
            raise checks.fail("y_true", "labels of the predictions' shape", tuple(y_true.shape))
        logits = y_pred
        if not self.from_logits:
            epsilon = keras.config.epsilon()
            p = ops.clip(y_pred, epsilon, 1.0 - epsilon)
            logits = ops.log(p) - ops.log1p(-p)
        if self.temperature.argument != 1.0:
            logits = logits / self.temperature.now(type(self).__name__)
        if self.label_smoothing.argument != 0.0:
            e = self.smoothing()
            y = y * (1.0 - e) + 0.5 * e
        return ops.mean(ops.binary_crossentropy(y, logits, from_logits=True), axis=self.axis)
