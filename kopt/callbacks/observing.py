"""What callbacks that look into training steps have in common: when their observer is to be called."""

from typing import Any

import keras

from kopt.callbacks.guard import stop_if_stuck
from kopt.callbacks.report import tell_metrics
from kopt.callbacks.run_length import tell_run_length
from kopt.monitoring.observer import Observer


class Observing(keras.callbacks.Callback):
    """A callback with an observer. To come before a class of Keras among the bases, whose hooks it calls.

    Batch hooks use `_model`: on JAX `model` copies the state back, which there would race with the step under way.

    Attributes:
        async_safe: Says to Keras that it may run `on_train_batch_end` in a thread, which keeps JAX asynchronous.
    """

    async_safe = True
    _observer: Observer

    def set_model(self, model: Any) -> None:
        """Takes the model, before `fit` makes its train function."""
        self._observer.finish()  # A fit that ended by an exception left something behind.
        super().set_model(model)
        self._observer.set_model(model)

    def on_train_begin(self, logs: Any = None) -> None:
        tell_run_length(self._model, self.params)
        super().on_train_begin(logs)
        self._begin_fit()
        self._observer.begin(self.params)

    def _begin_fit(self) -> None:
        """Makes ready for a `fit`, before its first step is looked for."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_begin(epoch, logs)
        self._observer.begin_epoch()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_begin(batch, logs)
        self._observer.collect()
        stop_if_stuck(self._model)
        self._observer.begin_batch(batch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._observer.end_batch()
        super().on_train_batch_end(batch, logs)

    def on_test_begin(self, logs: Any = None) -> None:
        self._observer.collect(now=True)  # Validation is no part of a step's time.
        super().on_test_begin(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._end_epoch(logs)
        super().on_epoch_end(epoch, logs)

    def _end_epoch(self, logs: Any) -> None:
        tell_metrics(self._model, logs)
        self._observer.collect(now=True)

    def on_train_end(self, logs: Any = None) -> None:
        self._observer.finish()
        super().on_train_end(logs)
