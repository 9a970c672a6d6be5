"""Trials of an older search, as a start for a new one."""

import json
import logging
import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import optuna
from keras_tuner.engine.trial import Trial
from optuna.trial import FrozenTrial, TrialState

from kopt._core import checks
from kopt.tuning.mapping import SpaceMap
from kopt.tuning.study_log import read

Result = tuple[dict[str, Any], list[float]]
logger = logging.getLogger(__name__)


def finished_trials(source: "str | os.PathLike[str] | keras_tuner.Oracle", objectives: Sequence[str]) -> list[Result]:
    """Returns values and results of the completed trials of a search, without pruned ones.

    Args:
        source: A project directory or an oracle.
        objectives: The names of the metrics.

    Raises:
        ValueError: There is no trial there, or none has the objectives.
    """
    trials = _trials_of(source)
    if not trials:
        raise checks.fail("source", "a KerasTuner project directory with trials, or an oracle", source)
    complete = [trial for trial in trials if trial.status == "COMPLETED"]
    found = []
    for trial in complete:
        if all(trial.metrics.exists(name) for name in objectives):
            results = [float(trial.metrics.get_best_value(name)) for name in objectives]
            if np.all(np.isfinite(results)):
                found.append((dict(trial.hyperparameters.values), results))
    if not found:
        metrics = sorted({name for trial in complete for name in trial.metrics.metrics})
        rule = f"a search with completed trials that have {', '.join(objectives)} (these have {metrics})"
        raise checks.fail("source", rule, source)
    return found


def _trials_of(source: "str | os.PathLike[str] | keras_tuner.Oracle") -> list[Trial]:
    if isinstance(source, keras_tuner.Oracle):
        is_pruned = getattr(source, "is_pruned", None)
        return [trial for trial in source.trials.values() if is_pruned is None or not is_pruned(trial.trial_id)]
    if not isinstance(source, str | os.PathLike):
        raise checks.fail("source", "a KerasTuner project directory with trials, or an oracle", source)
    found = []
    for file in sorted(Path(source).glob("trial_*/trial.json")):
        record = read(file.parent)
        if record is None or record["state"] != TrialState.PRUNED.name:
            found.append(Trial.from_state(json.loads(file.read_text())))
    return found


def earlier_results(results: Sequence[Result], space: SpaceMap) -> list[FrozenTrial]:
    """Returns trials for a new study, those that its space allows.

    Args:
        results: What `finished_trials` returned.
        space: The new search's space.
    """
    distributions = {item.key: item.distribution for item in space.items}
    names = {item.name for item in space.items}
    found: list[FrozenTrial] = []
    for values, scores in results:
        try:
            params = space.internal({name: value for name, value in values.items() if name in names})
        except ValueError as error:
            logger.warning("An earlier trial does not fit this search's space and is left out: %s", error)
            continue
        trial = optuna.trial.create_trial(
            values=scores, params=params, distributions={key: distributions[key] for key in params}
        )
        # What came first is told by these times; those that Optuna has just taken may be equal.
        trial.datetime_complete = datetime(2000, 1, 1) + timedelta(seconds=len(found))
        found.append(trial)
    return found
