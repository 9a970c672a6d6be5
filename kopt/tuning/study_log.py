"""The Optuna study behind a KerasTuner project: in memory, with a file per trial from which it is built again."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.pruners import BasePruner
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from kopt.tuning.project import read_json, write_json
from kopt.tuning.sampler.sampler import REPEAT

FILE = "optuna.json"
NAME = "kopt"  # Hyperband deals out its brackets by it: it must not differ between the parts of a search.
RUNG = "completed_rung_"
Record = dict[str, Any]


class StudyLog:
    """A study in memory that can be written down and built again, trial numbers and all.

    Args:
        directions: "min" or "max" for each objective.
        pruner: Of Optuna.
        trials: What the study starts with, in the order of their numbers.
        attributes: Its system attributes, where samplers keep what belongs to no single trial.
    """

    def __init__(
        self,
        directions: Sequence[str],
        pruner: BasePruner,
        trials: Iterable[FrozenTrial] = (),
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self.directions, self.pruner = list(directions), pruner
        self._build(trials, attributes or {})

    def _build(self, trials: Iterable[FrozenTrial], attributes: Mapping[str, Any]) -> None:
        self.storage = InMemoryStorage()
        self._id = new_study(self.storage, NAME, self.directions)
        self.study = Study(NAME, self.storage, sampler=RandomSampler(seed=0), pruner=self.pruner)
        for trial in trials:
            self.study.add_trial(trial)
        for name, value in attributes.items():
            self.storage.set_study_system_attr(self._id, name, value)

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials by number; not to be changed."""
        return self.study.get_trials(deepcopy=False)

    @property
    def attributes(self) -> dict[str, Any]:
        """The study's system attributes."""
        return self.storage.get_study_system_attrs(self._id)

    def report(self, number: int, value: float, step: int) -> bool:
        """Keeps an intermediate value and returns whether the trial should be pruned."""
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(self._id, number)
        self.storage.set_trial_intermediate_value(trial_id, step, value)
        return self.pruner.prune(self.study, self.storage.get_trial(trial_id))

    def tell(self, number: int, state: TrialState, values: Sequence[float] | None = None) -> None:
        """Ends a trial."""
        self.study.tell(number, list(values) if values is not None else None, state=state)

    def repeat(self, number: int) -> None:
        """Ends a trial that proposed what an earlier one did: no sampler counts it."""
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(self._id, number)
        self.storage.set_trial_user_attr(trial_id, REPEAT, value=True)
        self.tell(number, TrialState.FAIL)

    def restart(self, number: int) -> None:
        """Forgets what a running trial reported, as it is run again from the start."""
        trials = self.study.get_trials()
        trials[number].intermediate_values = {}
        attributes = trials[number].system_attrs
        trials[number].system_attrs = {n: v for n, v in attributes.items() if not n.startswith(RUNG)}
        self._build(trials, self.attributes)

    def write(self, number: int, folder: str) -> None:
        """Writes a trial's file, whole or not at all."""
        write_json(Path(folder) / FILE, record_of(self.trials[number]))


def new_study(storage: BaseStorage, name: str, directions: Iterable[str]) -> int:
    """Makes a study without announcing it, as Optuna would, and returns its id.

    Args:
        storage: Where.
        name: Of the study.
        directions: "min" or "max" for each objective.
    """
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, optuna.logging.WARNING))
    try:
        signs = [StudyDirection.MAXIMIZE if d == "max" else StudyDirection.MINIMIZE for d in directions]
        return storage.create_new_study(signs, name)
    finally:
        optuna.logging.set_verbosity(level)


def record_of(trial: FrozenTrial) -> Record:
    """Returns a trial as JSON can hold it."""
    return {
        "number": trial.number,
        "state": trial.state.name,
        "values": trial.values,
        "params": trial.params,
        "distributions": {name: distribution_to_json(d) for name, d in trial.distributions.items()},
        "user_attrs": trial.user_attrs,
        "system_attrs": trial.system_attrs,
        "intermediate_values": list(trial.intermediate_values.items()),
        "start": trial.datetime_start.isoformat() if trial.datetime_start else None,
        "complete": trial.datetime_complete.isoformat() if trial.datetime_complete else None,
    }


def trial_of(record: Record) -> FrozenTrial:
    """Returns the trial that `record_of` was given."""
    times = [datetime.fromisoformat(record[name]) if record[name] else None for name in ("start", "complete")]
    return FrozenTrial(
        number=record["number"],
        trial_id=record["number"],
        state=TrialState[record["state"]],
        value=None,
        values=record["values"],
        datetime_start=times[0],
        datetime_complete=times[1],
        params=record["params"],
        distributions={name: json_to_distribution(text) for name, text in record["distributions"].items()},
        user_attrs=record["user_attrs"],
        system_attrs=record["system_attrs"],
        intermediate_values=dict(record["intermediate_values"]),
    )


def unknown_trial(number: int) -> FrozenTrial:
    """Returns a trial that counts for nothing, for a number whose trial proposed a configuration a second time."""
    trial = optuna.trial.create_trial(state=TrialState.FAIL, user_attrs={REPEAT: True})
    trial.number = number
    return trial


def read(folder: str | Path) -> Record | None:
    """Returns the record in a trial's folder; None if there is none."""
    path = Path(folder) / FILE
    return read_json(path) if path.exists() else None
