"""Validation and checkpoints with the averaged weights of optimizers that have them."""

from collections.abc import Callable
from typing import Any

import keras

from kopt._backend import watch
from kopt.callbacks.guard import stop_if_stuck
from kopt.callbacks.run_length import tell_run_length
from kopt.optimizers import ComposedOptimizer


class AveragedWeights(keras.callbacks.Callback):
    """Puts the weights to evaluate with into the model while it is evaluated and saved, and takes them out again.

    For optimizers that evaluate with other weights than they train, such as `ScheduleFreeAdamW`. In `fit` the model
    holds the average from the beginning of validation (or the end of the epoch, without validation data) to the
    beginning of the next epoch. Training then goes on with the very weights that it had: the callback changes nothing
    in what is learnt, nor in what `fit` leaves. At the beginning of a `fit` that follows another one, it goes back to
    the weights to train with before the first gradient is taken. Given to `evaluate` or `predict`, it puts the average
    there for their time.

    Callbacks that save or read weights at the end of an epoch (`ModelCheckpoint`, `EarlyStopping` with
    `restore_best_weights`) see the average if this one is in front of them in the list. Behind them it is in time too,
    but only in epochs with validation data. `ModelCheckpoint(save_freq=<number>)` saves in the middle of an epoch: the
    weights to train with. A file saved with the average can be trained on as any other.

    While the average is in the model, a copy of the weights to train with is kept. Weights that another callback puts
    into the model in the meantime are taken for an average and trained on.

    Raises:
        ValueError: (when training or evaluation begins) the model's optimizer has no average.

    Example:

    ```python
    averaged = kopt.callbacks.AveragedWeights()
    checkpoint = keras.callbacks.ModelCheckpoint("best.keras", save_best_only=True)
    model.fit(x, y, validation_data=(x_val, y_val), epochs=10, callbacks=[averaged, checkpoint])
    ```
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_in_fit = False
        self._ways_back: list[Callable[[], None]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        tell_run_length(self.model, self.params)
        self._is_in_fit = True
        self._ways_back = []  # A fit that ended by an exception may have left some.
        for optimizer in self._optimizers():
            optimizer.from_average()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._go_back()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._go_back()  # From an evaluation in the middle of an epoch.

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        stop_if_stuck(self.model)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
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
        for optimizer in self._optimizers():
            self._ways_back.append(_way_back(optimizer))

    def _go_back(self) -> None:
        ways, self._ways_back = self._ways_back, []
        for go_back in ways:
            go_back()

    def _optimizers(self) -> list[ComposedOptimizer]:
        outer = watch.innermost(self.model.optimizer)
        parts = getattr(outer, "optimizers", [outer])
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
