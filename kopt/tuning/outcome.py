"""What came of a trial: read from what its training returned, and kept as one small file per trial."""

import dataclasses
import math
import numbers
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np

from kopt.tuning.front import Objectives
from kopt.tuning.project import read_json, write_json
from kopt.tuning.watching import missing_objective

FILE = "outcome.json"


@dataclasses.dataclass
class Training:
    """One training of a trial: of a fold, or of one of several executions.

    Args:
        fold: Number of the fold, None without cross-validation.
        execution: Which of `executions_per_trial`.
        metrics: Of the best epoch.
        best_epoch: Its number, from 0.
        epochs: Epochs that were trained.
        values: The objective after each epoch; of several, the leading one.
        pruned: Whether it was stopped.
    """

    fold: int | None
    execution: int
    metrics: dict[str, float]
    best_epoch: int
    epochs: int
    values: list[float]
    pruned: bool = False


@dataclasses.dataclass
class Outcome:
    """What came of a trial.

    Args:
        trial_id: The trial's.
        status: "completed", "pruned" or "failed".
        metrics: Mean over the trainings, and with folds `<name>_std`.
        trainings: One by one.
        epochs: Epochs of all trainings together.
        seconds: Duration of the trial.
        error: In one line.
        traceback: All of it.
    """

    trial_id: str
    status: str = "completed"
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    trainings: list[Training] = dataclasses.field(default_factory=list)
    epochs: int = 0
    seconds: float = 0.0
    error: str = ""
    traceback: str = ""

    def write(self, directory: Path) -> None:
        """Writes the file of this trial into its directory."""
        write_json(directory / FILE, dataclasses.asdict(self))

    @property
    def best_epoch(self) -> int:
        """Mean over the trainings, rounded."""
        return round(float(np.mean([training.best_epoch for training in self.trainings or []] or [0])))


def read(directory: Path) -> dict[str, Outcome]:
    """Returns the outcomes in the directory of a search, by trial."""
    found = {}
    for path in sorted(directory.glob(f"trial_*/{FILE}")):
        stored = read_json(path)
        stored["trainings"] = [Training(**training) for training in stored["trainings"]]
        found[stored["trial_id"]] = Outcome(**stored)
    return found


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
