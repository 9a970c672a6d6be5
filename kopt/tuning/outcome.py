"""What came of a trial: read from what its training returned."""

import math
import numbers
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import keras
import keras_tuner
import numpy as np

from kopt.tuning.ended import FILE, Outcome, Training, read
from kopt.tuning.front import Objectives
from kopt.tuning.watching import missing_objective

__all__ = ["FILE", "Outcome", "Training", "metrics_of", "read", "summary"]


def metrics_of(
    results: Any, objectives: Objectives, measured: Mapping[str, float] | None = None
) -> tuple[dict[str, float], int]:
    """Returns the metrics of the best epoch, and its number, of what `HyperModel.fit` returned.

    Args:
        results: A History, a dict of metrics, or the objective as a number.
        objectives: Of the search; the leading one says which epoch is the best.
        measured: What was measured of the model.

    Raises:
        ValueError: The objective is not there: ends the search.
        TypeError: Something else was returned: ends the search.
        keras_tuner.errors.FailedTrialError: The objective is not finite.
    """
    objective = objectives.lead
    if isinstance(results, keras.callbacks.History):
        metrics, epoch = _best(results, objective)
    elif isinstance(results, Mapping):
        metrics, epoch = {name: float(value) for name, value in results.items()}, 0
    elif isinstance(results, numbers.Real | np.number) and not isinstance(results, bool):
        metrics, epoch = {objective.name: float(results)}, 0
    else:
        raise keras_tuner.errors.FatalTypeError(
            "`HyperModel.fit` must return what `model.fit` returned, a dict of metrics, or the objective as a number. "
            f"Received: {results!r} of class {type(results).__name__}."
        )
    metrics |= measured or {}
    for wanted in objectives.all:
        if wanted.name not in metrics:
            if not wanted.has_value(metrics):
                raise missing_objective(wanted, metrics)
            metrics[wanted.name] = float(wanted.get_value(metrics))
        if not math.isfinite(metrics[wanted.name]):
            raise keras_tuner.errors.FailedTrialError(f"The objective {wanted.name!r} is {metrics[wanted.name]}.")
    return metrics, epoch


def _best(history: Any, objective: Any) -> tuple[dict[str, float], int]:
    """Returns metrics and number of the best epoch of a History."""
    count = max((len(values) for values in history.history.values()), default=0)
    epochs = [
        {name: float(values[i]) for name, values in history.history.items() if len(values) == count}
        for i in range(count)
    ]
    if not epochs or not objective.has_value(epochs[0]):
        raise missing_objective(objective, history.history)
    best = 0
    for number, metrics in enumerate(epochs):
        if objective.better_than(objective.get_value(metrics), objective.get_value(epochs[best])):
            best = number
    return epochs[best], history.epoch[best] if len(history.epoch) == count else best


def summary(trainings: Sequence[Training], *, with_std: bool, fixed: Collection[str] = ()) -> dict[str, float]:
    """Returns the mean of each metric, and with folds also its standard deviation (over folds, not of the mean).

    Args:
        trainings: Of a trial.
        with_std: Whether there are standard deviations.
        fixed: Metrics that are the same in each training, and have none.
    """
    names = [name for name in trainings[0].metrics if all(name in training.metrics for training in trainings)]
    columns = {name: np.array([training.metrics[name] for training in trainings]) for name in names}
    means = {name: float(column.mean()) for name, column in columns.items()}
    spread = {f"{name}_std": float(column.std()) for name, column in columns.items() if name not in fixed}
    return means | (spread if with_std else {})
