"""The model around a model that tells its loss and its penalties which step is under way."""

from typing import ClassVar

import keras

from kopt._core.configured import register
from kopt.losses.objective import Objective


@register
class ScheduledLoss(Objective):
    """Trains a model with a loss or with regularizers whose numbers follow schedules.

    A Keras model does not know the variables of its loss and of `kopt.regularizers`; on JAX they would be compiled into
    the step as they were at the first batch. This model counts the steps in a variable of its own and shows each to
    them. The model inside is trained in place: after `fit`, use it or save it, or save this one to go on with the
    schedules where they are.

    Steps are batches; with gradient accumulation, micro-batches. In validation the loss has the numbers of the next
    training step: `val_loss` is smoothed like the training loss, and a metric can show the loss without that.

    Args:
        model: A Keras model, without a `train_step` or `compute_loss` of its own.
        name: Of this model.

    Raises:
        ValueError: `model` is not such a model.

    Example:

    ```python
    smoothing = kopt.schedules.Linear(0.2, 1.0, 0.0, by="fraction")
    loss = kopt.losses.SparseCategoricalCrossentropy(label_smoothing=smoothing, from_logits=True)
    trained = kopt.losses.ScheduledLoss(model)
    trained.compile("adam", loss, metrics=["accuracy"])
    trained.fit(x, y, epochs=10, callbacks=[kopt.callbacks.Report()])
    model.save("model.keras")
    ```
    """

    prefix: ClassVar[str] = "scheduled"

    def __init__(self, model: keras.Model, *, name: str | None = None) -> None:
        super().__init__(model, name)
