"""What an oracle remembers: its trials as an Optuna study, their files, and what came before."""

import logging
import math
import os
import random
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from kopt._core import checks
from kopt.tuning.algorithms import pruner_of, sampler_maker
from kopt.tuning.earlier import earlier_results, finished_trials
from kopt.tuning.mapping import SpaceMap
from kopt.tuning.study_log import Record, StudyLog, read, record_of, trial_of, unknown_trial

STATE = "kopt"
logger = logging.getLogger(__name__)


class RecordedOracle(keras_tuner.Oracle):
    """An oracle whose trials are also those of an Optuna study, which is built again from the project's files.

    It proposes nothing: subclasses define `populate_space`.

    Args:
        sampler: As for `OptunaOracle`.
        pruner: As for `OptunaOracle`.
        seed: As for `OptunaOracle`.
        keywords: Of `keras_tuner.Oracle`.
    """

    def __init__(
        self, sampler: str | BaseSampler, pruner: str | BasePruner | None, seed: int | None, **keywords: Any
    ) -> None:
        super().__init__(**keywords)
        self.seed = random.SystemRandom().randrange(2**32) if seed is None else seed
        several = getattr(self.objective, "objectives", None)
        self.objectives: list[Any] = several or [self.objective]
        self.sampler, self.pruner = sampler, pruner
        self._make = sampler_maker(sampler, self.seed, len(self.objectives))
        self._pruner = pruner_of(pruner, len(self.objectives))
        self.trials: dict[str, Trial] = {}
        self._log: StudyLog | None = None
        self._numbers: dict[str, int] = {}
        self._pruned: set[str] = set()
        self._sources: list[tuple[dict[str, Any], list[float]]] = []
        self._earlier: list[Record] = []
        self._attributes: dict[str, Any] = {}
        self._length = 0

    def add_trials(self, source: "str | os.PathLike[str] | keras_tuner.Oracle") -> int:
        """Has the search begin with what another one found. They do not count as trials of this one.

        A trial whose values are not legal in this search's space is left out, with a message in the log.

        Args:
            source: A KerasTuner project directory (which contains `trial_*`), or an oracle, of any class.

        Returns:
            How many completed trials have the objective. 0 if this search has begun.

        Raises:
            ValueError: There is no trial there, or none has the objective.
        """
        if self.trials:
            logger.info("This search has begun: earlier trials are not added.")
            return 0
        found = finished_trials(source, [objective.name for objective in self.objectives])
        self._sources.extend(found)
        return len(found)

    def is_pruned(self, trial_id: str) -> bool:
        """Returns whether the trial was told to stop early."""
        return trial_id in self._pruned

    def get_best_trials(self, num_trials: int = 1) -> list[Trial]:
        sign = -1.0 if self.objective.direction == "max" else 1.0
        complete = [trial for trial in self.trials.values() if trial.status == "COMPLETED"]
        others = [trial for trial in self.trials.values() if trial.status != "COMPLETED"]
        ranked = sorted(complete, key=lambda trial: (self.is_pruned(trial.trial_id), sign * trial.score))
        return [*ranked, *others][:num_trials]

    def pareto_trials(self) -> list[Trial]:
        """Returns the completed trials that no other one beats in one objective and equals in the rest."""
        names = {number: trial_id for trial_id, number in self._numbers.items()}
        best = self._study().study.best_trials
        return [self.trials[names[trial.number]] for trial in best if trial.number in names]

    def score_trial(self, trial: Trial) -> None:
        if len(self.objectives) == 1:
            super().score_trial(trial)
        else:
            signed = zip(self.objectives, self._values(trial), strict=True)
            trial.score = sum(value if objective.direction == "min" else -value for objective, value in signed)
            trial.best_step = trial.metrics.get_best_step(self.objectives[0].name)
        if not math.isfinite(trial.score):
            trial.message = f"The objective is not finite. Received: {self.objective.name}={trial.score}."
            trial.score = math.nan  # Which is what makes KerasTuner fail the trial.

    def _values(self, trial: Trial) -> list[float]:
        return [float(trial.metrics.get_best_value(objective.name)) for objective in self.objectives]

    def _tell(self, trial: Trial, log: StudyLog) -> None:
        """Tells the study how a trial ended, and writes it down."""
        number = self._numbers[trial.trial_id]
        space = SpaceMap(self.hyperparameters)
        log.study.sampler = self._make(number, space.tree())
        if trial.status != "COMPLETED":
            self._pruned.discard(trial.trial_id)
            log.tell(number, TrialState.FAIL)
        elif trial.trial_id in self._pruned:
            log.tell(number, TrialState.PRUNED)
        else:
            log.tell(number, TrialState.COMPLETE, self._values(trial))
        log.write(number, self._get_trial_dir(trial.trial_id))

    def get_state(self) -> dict[str, Any]:
        log = self._log
        state = super().get_state()
        state[STATE] = {
            "numbers": self._numbers,
            "pruned": sorted(self._pruned),
            "earlier": self._earlier,
            "attributes": log.attributes if log else self._attributes,
            "length": len(log.trials) if log else len(self._earlier),
        }
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        if STATE not in state:
            advice = "It was written by another oracle: choose another directory, or overwrite it."
            raise checks.fail(
                "directory", "that of a project of kopt.tuning.OptunaOracle", str(self._directory), advice
            )
        super().set_state(state)
        own = state[STATE]
        self._numbers, self._pruned = own["numbers"], set(own["pruned"])
        self._earlier, self._attributes, self._length = own["earlier"], own["attributes"], own["length"]
        self._sources = []
        self._make = sampler_maker(self.sampler, self.seed, len(self.objectives))

    def reload(self) -> None:
        super().reload()
        # Killed between the two files that KerasTuner writes, a trial would be neither running nor waiting.
        known = {*self._retry_queue, *self.end_order}
        self._retry_queue.extend(i for i, t in self.trials.items() if t.status == "RUNNING" and i not in known)
        self.trials = dict(sorted(self.trials.items()))
        self._log = None
        if self.trials or self._earlier:
            self._log = self._read()

    def _read(self) -> StudyLog:
        """Returns the study as the project's files have it."""
        records = {record["number"]: record for record in self._earlier}
        for trial_id in self.trials:
            record = read(Path(self._project_dir) / f"trial_{trial_id}")
            if record is not None:
                records[record["number"]] = record
                self._numbers[trial_id] = record["number"]
        length = max([self._length, *(number + 1 for number in records)])
        trials = [trial_of(records[n]) if n in records else unknown_trial(n) for n in range(length)]
        log = StudyLog([o.direction for o in self.objectives], self._pruner, trials, self._attributes)
        for trial_id in self.end_order:
            if not log.trials[self._numbers[trial_id]].state.is_finished():
                self._tell(self.trials[trial_id], log)
        return log

    def _study(self) -> StudyLog:
        if self._log is None:
            earlier = earlier_results(self._sources, SpaceMap(self.hyperparameters))
            self._log = StudyLog([o.direction for o in self.objectives], self._pruner, earlier)
            self._earlier = [record_of(trial) for trial in self._log.trials]
        return self._log
