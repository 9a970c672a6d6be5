"""Validation and checkpoints with the averaged weights of optimizers that have them."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras

from kopt._backend import watch
from kopt._core import checks
from kopt.callbacks import batch_statistics
from kopt.callbacks.guard import stop_if_stuck
from kopt.callbacks.report import tell_metrics
from kopt.callbacks.run_length import tell_run_length
from kopt.optimizers import ComposedOptimizer


class AveragedWeights(keras.callbacks.Callback):
    """Puts the weights to evaluate with into the model while it is evaluated and saved, and takes them out again.

    For optimizers that evaluate with other weights than they train: the schedule-free ones, and those with `Lookahead`,
    `ExponentialMovingAverage` or `StochasticWeightAveraging` in their chain. In `fit` the model holds the average from
    the beginning of validation (or the end of the epoch, without validation data) to the beginning of the next epoch.
    Training then goes on with the very weights that it had: the callback changes nothing in what is learnt. At the
    beginning of a `fit` that follows another one, also after saving and loading, it goes back to the weights to train
    with before the first gradient is taken. Given to `evaluate` or `predict`, it puts the average there for their time.

    Batch normalization evaluates with moving statistics that belong to the weights that were trained, not to their
    average. With `batch_norm_data` they are computed anew each time that the average is put into the model, by one pass
    over the data without gradients: the mean over the batches of the batch's mean and (biased) variance. They come and
    go with the average; `fit` ends with those of the average in the model, and the optimizer keeps those of training,
    in the file too. Dropout is on in this pass, as in training, but its seeds, the weights and all other state stay as
    they are. Frozen layers keep their statistics, and so do those that the model calls with `training=False`. On Keras'
    own average (`use_ema=True`) the callback has no influence.

    Callbacks that save or read weights at the end of an epoch (`ModelCheckpoint`, `EarlyStopping` with
    `restore_best_weights`) see the average if this one is in front of them in the list. Behind them it is in time too,
    but only in epochs with validation data. `ModelCheckpoint(save_freq=<number>)` saves in the middle of an epoch: the
    weights to train with. A file saved with the average can be trained on as any other.

    While the average is in the model, a copy of the weights to train with is kept. Weights and statistics that another
    callback puts into the model in the meantime are taken for an average and trained on. A `fit` without the callback
    finds the weights to train with by itself, but goes on from the average's statistics.

    Args:
        batch_norm_data: Inputs like those of training: arrays, or what yields batches each time that it is iterated (a
            `tf.data.Dataset`, a `PyDataset`, a `DataLoader`), of which targets and sample weights are left out. None
            leaves the statistics as they are, with a warning if the model has batch normalization.
        batch_norm_batches: At most so many batches are used, an integer >= 1; None for all.
        batch_norm_batch_size: Samples in each batch of arrays, an integer >= 1: that of training is best.

    Raises:
        ValueError: An argument is out of its range; or (when training or evaluation begins) the model's optimizer has
            no average.

    Example:

    ```python
    averaged = kopt.callbacks.AveragedWeights(batch_norm_data=x)
    checkpoint = keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True)
    model.fit(x, y, validation_data=(x_val, y_val), epochs=10, callbacks=[averaged, checkpoint])
    ```

    References:
        Izmailov et al. 2018, https://arxiv.org/abs/1803.05407 (section 3.2: batch normalization).
    """

    def __init__(
        self, batch_norm_data: Any = None, batch_norm_batches: int | None = None, batch_norm_batch_size: int = 32
    ) -> None:
        super().__init__()
        if isinstance(batch_norm_data, Iterator):
            advice = "It is needed at each evaluation."
            rule = "data that can be iterated over again and again"
            raise checks.fail("batch_norm_data", rule, batch_norm_data, advice)
        self.batch_norm_data = batch_norm_data
        self.batch_norm_batches = checks.optional(checks.count, "batch_norm_batches", batch_norm_batches)
        self.batch_norm_batch_size = checks.count("batch_norm_batch_size", batch_norm_batch_size)
        self._is_in_fit = False
        self._has_warned = False
        self._ways_back: list[Callable[[], None]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        tell_run_length(self.model, self.params)
        self._is_in_fit = True
        self._ways_back = []  # A fit that ended by an exception may have left some.
        for optimizer in self._optimizers():
            optimizer.from_average()
            batch_statistics.restore(self.model, optimizer)
        self._warn_once()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._go_back()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._go_back()  # From an evaluation in the middle of an epoch.
        stop_if_stuck(self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        tell_metrics(self.model, logs)
        self._exchange()

    def on_train_end(self, logs: Any = None) -> None:
        self._is_in_fit = False
        self._ways_back = []  # `fit` leaves the average.

    def on_test_begin(self, logs: Any = None) -> None:
        self._exchange()

    def on_test_end(self, logs: Any = None) -> None:
        if not self._is_in_fit:
            self._go_back()

    def on_predict_begin(self, logs: Any = None) -> None:
        self._exchange()

    def on_predict_end(self, logs: Any = None) -> None:
        if not self._is_in_fit:
            self._go_back()

    def _exchange(self) -> None:
        if self._ways_back:
            return
        self._warn_once()
        optimizers = self._optimizers()
        for optimizer in optimizers:
            self._ways_back.append(_way_back(optimizer))
        if self.batch_norm_data is not None and any(optimizer.is_exchangeable for optimizer in optimizers):
            data = batch_statistics.batches_of(
                self.batch_norm_data, self.batch_norm_batches, self.batch_norm_batch_size
            )
            self._ways_back.append(batch_statistics.exchange(self.model, optimizers[0], data))

    def _go_back(self) -> None:
        ways, self._ways_back = self._ways_back, []
        for go_back in ways:
            go_back()

    def _normalizes(self) -> bool:
        return any(layer.trainable for layer in batch_statistics.normalizations(self.model))

    def _warn_once(self) -> None:
        if self.batch_norm_data is None and not self._has_warned and self._normalizes():
            self._has_warned = True
            warnings.warn(
                "The statistics of the model's `BatchNormalization` layers are those of the weights that are trained, "
                "and do not fit their average. Pass the training inputs, `AveragedWeights(batch_norm_data=x)`, to have "
                "them computed anew.",
                stacklevel=4,
            )

    def _optimizers(self) -> list[ComposedOptimizer]:
        outer = watch.innermost(self.model.optimizer)
        parts = watch.inner_optimizers(outer)
        found = [part for part in parts if getattr(part, "averages", False)]
        if parts and not found:  # A `MultiOptimizer` has no parts before it is built.
            raise ValueError(
                "`AveragedWeights` needs an optimizer that evaluates with other weights than it trains, such as "
                f"`kopt.optimizers.ScheduleFreeAdamW`. Received: {type(outer).__name__}. For the average of "
                "`use_ema=True` there is `keras.callbacks.SwapEMAWeights`."
            )
        return found


def _way_back(optimizer: ComposedOptimizer) -> Callable[[], None]:
    replaced = optimizer.to_average()
    return lambda: None if replaced is None else optimizer.from_average(replaced)
