"""Decides at which steps of a `fit` to look at gradients, arms the instrument there, and delivers what it saw."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from kopt._backend import adapter_module, watch
from kopt.callbacks.instrument import Instrument, is_armed, unsupported


class Observer:
    """What a callback does with gradients, apart from where the numbers go.

    Args:
        deliver: Gets the optimizer step, scalars by tag, and bucket counts by path.
        interval: Optimizer steps from one look to the next; 0 for never.
        histograms: Whether to count the gradients' elements into buckets as well.
    """

    def __init__(
        self,
        deliver: Callable[[int, dict[str, float], dict[str, np.ndarray]], None],
        interval: int,
        *,
        histograms: bool,
    ) -> None:
        self._deliver = deliver
        self._interval = interval
        self._histograms = histograms
        self._model: Any = None
        self._instrument: Instrument | None = None
        self._batches_in_fit: int | None = None
        self._batches_before_epoch = 0
        self._steps_passed = 0
        self._function_is_old = False

    def set_model(self, model: Any) -> None:
        """To be called before `fit` makes the train function of a newly compiled model."""
        self._model = model
        self._function_is_old = model.train_function is not None

    def begin(self, params: dict[str, Any] | None) -> None:
        """To be called when `fit` starts, with the callback's parameters."""
        self._batches_in_fit = (params or {}).get("steps")
        if self._instrument is not None:
            self._instrument.disarm()  # A fit that ended by an exception may have left it armed.
        self._steps_passed = self._steps_done()
        reason = unsupported(self._model) if self._interval else None
        if reason is not None:
            self._give_up(reason)

    def begin_epoch(self) -> None:
        """To be called when an epoch begins."""
        self._batches_before_epoch = watch.micro_steps(self._model.optimizer)
        self._steps_passed = min(self._steps_passed, self._steps_done())

    def begin_batch(self, batch: int) -> None:
        """To be called where a batch begins, after `collect`: arms the instrument if the batch ends in a due step."""
        if not self._interval or not self._is_due(batch):
            return
        if is_armed(self._model):
            self._give_up("another kopt TensorBoard callback of this fit logs them.")
            return
        if self._instrument is None or not self._instrument.fits(self._model):
            if self._function_is_old and adapter_module.has_stale_trace(self._model):
                self._give_up("`trainable` has changed, and the model was not compiled after that.")
                return
            self._instrument = Instrument(self._model, histograms=self._histograms)
        self._instrument.arm()

    def collect(self) -> None:
        """Delivers what the last instrumented step saw, if that has not been done."""
        if self._instrument is None:
            return
        seen = self._instrument.take()
        if seen is None:
            if self._instrument.is_blind and self._interval:
                self._give_up("the model's `train_step` does not call its `optimizer`.")
            return
        scalars, counts = seen
        step = int(scalars.pop("step"))
        self._deliver(step, scalars, counts)

    def finish(self) -> None:
        """To be called when `fit` ends."""
        if self._instrument is not None:
            self._instrument.disarm()
        self.collect()

    def _steps_done(self) -> int:
        optimizer = self._model.optimizer
        return 0 if optimizer is None else watch.micro_steps(optimizer) // watch.accumulation(optimizer)

    def _is_due(self, batch: int) -> bool:
        """Returns whether the call that begins at `batch` ends with an optimizer step, and it or one since is due."""
        batches = self._model.steps_per_execution
        if self._batches_in_fit:
            batches = min(batches, self._batches_in_fit - batch)
        done = self._batches_before_epoch + batch + batches
        step, rest = divmod(done, watch.accumulation(self._model.optimizer))
        if rest:
            return False
        first, self._steps_passed = self._steps_passed + 1, step
        return any(step == 1 or step % self._interval == 0 for step in range(first, step + 1))

    def _give_up(self, reason: str) -> None:
        warnings.warn(f"Gradients are not logged: {reason} Training goes on.", stacklevel=3)
        self._interval = 0
