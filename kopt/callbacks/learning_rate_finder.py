"""A learning-rate range test before the first step of a `fit`, and what it finds put into the optimizer."""

import inspect
import logging
import os
from pathlib import Path
from typing import Any

import keras

from kopt._backend import undisturbed, watch
from kopt._core import checks
from kopt._core.configured import unknown_argument
from kopt.callbacks.pictures import curves, pixels
from kopt.callbacks.report import Report
from kopt.callbacks.writer import EventWriter, image_value, text_value
from kopt.probing import RangeTest, find_learning_rate
from kopt.schedules.arithmetic import Combination

_LOGGER = logging.getLogger(__name__)
_OWN = ("x", "y", "apply", "path", "log_dir")
_OPTIONS = [name for name in inspect.signature(find_learning_rate).parameters if name not in ("model", *_OWN)]


class LearningRateFinder(Report):
    """Tests a range of learning rates when `fit` begins, and trains with the one that it suggests.

    `kopt.find_learning_rate` says what the test does. Weights, optimizer, metrics and random states are then what they
    were: with `apply=False`, `fit` computes, bit by bit, what it computes without the callback.

    A learning rate that is a number is set to the suggestion. A schedule is kept and scaled, so that its highest rate
    over the run that `fit` begins is the suggestion; the scaled schedule is saved with the model. Both happen before
    the first step. Group factors stay as they are.

    Attributes:
        found: The `RangeTest` of the last `fit`; None before.

    Args:
        x: Inputs for the test, which a callback does not see: those of training, as `kopt.find_learning_rate` takes
            them.
        y: Targets, if `x` is arrays.
        apply: Whether to train with the suggestion; otherwise the test is only shown.
        path: File for the picture, such as "rates.png"; None for none.
        log_dir: Directory of TensorBoard's logs: the picture and the suggestions appear there in the run "finder".
        **options: What `kopt.find_learning_rate` takes, such as `batch_size`, `steps` and `suggest`.

    Raises:
        ValueError: An argument is out of its range; or (when `fit` begins) the test suggests nothing, or the rate is a
            function, or a schedule of a run whose length is not known.
        TypeError: An unknown argument.

    Example:

    ```python
    finder = kopt.callbacks.LearningRateFinder(x, y, batch_size=64, path="rates.png", log_dir="logs/first")
    model.fit(x, y, batch_size=64, epochs=10, callbacks=[finder])
    finder.found.suggestion
    ```

    References:
        Smith 2017, "Cyclical learning rates for training neural networks", https://arxiv.org/abs/1506.01186.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        *,
        apply: bool = True,
        path: str | Path | None = None,
        log_dir: str | Path | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        unknown = sorted(options.keys() - _OPTIONS)
        if unknown:
            raise unknown_argument(type(self).__name__, unknown[0], [*_OWN, *_OPTIONS])
        self._data = (x, y)
        self._apply = checks.flag("apply", apply)
        self._path = path
        self._log_dir = None if log_dir is None else str(log_dir)
        self._options = options
        self.found: RangeTest | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        super().on_train_begin(logs)
        optimizer, model = self.model.optimizer, self.model
        schedule = undisturbed.schedule_of(optimizer)
        peak = self._peak(schedule) if self._apply and schedule is not None else 0.0
        self.found = find_learning_rate(model, *self._data, **self._options)
        self._show(self.found)
        if self._apply and schedule is not None:
            scaled = Combination("multiply", schedule, self.found.suggestion / peak)
            undisturbed.set_schedule(model, optimizer, scaled)
        elif self._apply:
            optimizer.learning_rate = self.found.suggestion

    def _peak(self, schedule: Any) -> float:
        """Returns the highest rate of the optimizer's schedule over the run that `fit` begins."""
        if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            advice = "Or pass `apply=False`."
            raise checks.fail("learning_rate", "a number or a schedule, for a suggestion to be set", schedule, advice)
        epochs, steps = self.params.get("epochs") or 1, self.params.get("steps")
        if not steps:
            advice = "The schedule is scaled by its highest rate, which needs the length of the run."
            raise checks.fail("steps_per_epoch", "given to `fit`, for data without a length", steps, advice)
        peak = max(float(curve.rates.max()) for curve in curves(self.model.optimizer, epochs * steps))
        if peak <= 0:
            raise checks.fail("learning_rate", "a schedule that rises above 0, to be scaled", schedule)
        return peak

    def _show(self, found: RangeTest) -> None:
        _LOGGER.info("%s", found)
        if self._path is not None:
            found.save(self._path)
        if self._log_dir is None:
            return
        writer, step = EventWriter(os.path.join(self._log_dir, "finder")), watch.steps_done(self.model)
        writer.add([image_value("finder/range_test", pixels(found.plot())[None])], step)
        writer.add([text_value("finder/suggestions", f"```\n{found}\n```")], step)
        writer.add_scalars({f"finder/{name}": rate for name, rate in found.suggestions.items()}, step)
        writer.close()
