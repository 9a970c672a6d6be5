"""What a trial's training is watched by: epochs counted, numbers checked, the best epoch kept, pruning asked for."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import keras
import keras_tuner
import numpy as np
from keras import ops

from kopt.tuning.front import Objectives

REPORT = "__report__"


def missing_objective(objective: Any, known: Iterable[str]) -> ValueError:
    """Returns the error that ends a search whose objective nobody computes."""
    names = ", ".join(repr(name) for name in known) or "none"
    return keras_tuner.errors.FatalValueError(
        f"`objective` must be a metric that training produces; these exist: {names}. "
        f"Received: objective={objective.name!r}. "
        "Metrics of validation need `validation_data`, `validation_split` or `cv`; others are given to `compile`."
    )


class Watch(keras.callbacks.Callback):
    """Watches one training of a trial.

    Attributes:
        epochs: Epochs that have ended.
        best_epoch: The number of the best one, None without one.
        values: The objective after each epoch; of several, the leading one.
        pruned: Whether the oracle has asked to stop.

    Args:
        objectives: Of the search.
        report: Is told the objective and how many epochs there were; returns whether to stop. None asks nobody.
        spares: Whether stopping after the last epoch spares other trainings; if not, nobody is asked then.
        must_exist: Whether an epoch without the objective is an error.
        keeps: Whether to keep a copy of the best epoch's weights and optimizer in the host's memory.
    """

    def __init__(
        self,
        objectives: Objectives,
        *,
        report: Callable[[float, int], bool] | None,
        spares: bool,
        must_exist: bool,
        keeps: bool,
    ) -> None:
        super().__init__()
        self._objective = objectives.lead
        self._trained = objectives.trained
        self._report = report
        self._spares = spares
        self._must_exist = must_exist
        self._keeps = keeps
        self._kept: list[np.ndarray] | None = None
        self._best = math.nan
        self.epochs = 0
        self.best_epoch: int | None = None
        self.values: list[float] = []
        self.pruned = False

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = logs or {}
        self.epochs += 1
        missing = [objective for objective in self._trained if not objective.has_value(logs)]
        if missing:
            if self._must_exist:
                raise missing_objective(missing[0], logs)
            return
        self._check(logs, epoch)
        value = float(self._objective.get_value(logs))
        self.values.append(value)
        if self.best_epoch is None or self._objective.better_than(value, self._best):
            self._best, self.best_epoch = value, epoch
            if self._keeps:
                self._kept = [ops.convert_to_numpy(v).copy() for v in _state(self.model)]
        is_last = epoch + 1 == (self.params or {}).get("epochs")
        if self._report is not None and (self._spares or not is_last) and self._report(value, epoch + 1):
            self.pruned = True
            self.model.stop_training = True

    def restore(self, model: Any) -> None:
        """Puts the best epoch's weights and optimizer back into a model, if they were kept."""
        if self._kept is not None and len(self._kept) == len(_state(model)):
            for variable, value in zip(_state(model), self._kept, strict=True):
                variable.assign(value)

    def _check(self, logs: dict[str, Any], epoch: int) -> None:
        for objective in self._trained:
            value = float(objective.get_value(logs))
            if not math.isfinite(value):
                raise keras_tuner.errors.FailedTrialError(
                    f"The objective {objective.name!r} was {value} after epoch {epoch + 1}."
                )
        # The mean loss of an epoch is NaN also where an optimizer has skipped the step that it came from.
        if not math.isfinite(float(logs.get("loss", 0.0))):
            bad = [v.path for v in self.model.trainable_variables if not np.isfinite(_floats(v)).all()]
            if bad:
                raise keras_tuner.errors.FailedTrialError(
                    f"The loss was {float(logs['loss'])} after epoch {epoch + 1}, and weights are not finite: {bad[0]}."
                )


def _floats(variable: Any) -> np.ndarray:
    return ops.convert_to_numpy(ops.cast(variable, "float32"))


def _state(model: Any) -> list[Any]:
    optimizer = getattr(model, "optimizer", None)
    return [*model.variables, *(optimizer.variables if optimizer is not None and optimizer.built else ())]


class Hooks(keras.callbacks.Callback):
    """Calls the methods that a subclass of the tuner overrides for what happens within a trial.

    Args:
        tuner: The tuner.
        trial: The trial.
    """

    NAMES = ("on_epoch_begin", "on_epoch_end", "on_batch_begin", "on_batch_end")

    def __init__(self, tuner: Any, trial: Any) -> None:
        super().__init__()
        for name in self.NAMES:
            if getattr(type(tuner), name) is not getattr(keras_tuner.Tuner, name):
                setattr(self, name, self._calling(getattr(tuner, name), trial))

    def _calling(self, method: Callable[..., None], trial: Any) -> Callable[..., None]:
        return lambda number, logs=None: method(trial, self.model, number, logs)
