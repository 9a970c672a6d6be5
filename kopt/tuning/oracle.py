"""The oracle: KerasTuner asks it what to try next, Optuna's algorithms or kopt's own answer."""

import copy
import logging
import math
import operator
import os
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from kopt._core import checks
from kopt.tuning.algorithms import MakeSampler, pruner_of, sampler_maker
from kopt.tuning.alone import alone
from kopt.tuning.earlier import earlier_results, finished_trials
from kopt.tuning.mapping import SpaceMap, active_values
from kopt.tuning.study_log import Record, StudyLog, placeholder, read, record_of, trial_of

REPORT = "__report__"
STATE = "kopt"
COLLISIONS = 20
logger = logging.getLogger(__name__)


class OptunaOracle(keras_tuner.Oracle):
    """Proposes trials by kopt's conditional Gaussian process or by one of Optuna's samplers, and stops bad ones early.

    It takes the place of KerasTuner's own oracles in any of its tuners, also in chief and worker processes. Conditional
    scopes are respected: an inactive hyperparameter has no value, and no sampler learns from it. Ordered choices, steps
    and scales are passed on as such. No configuration is tried twice; a space of which everything was tried ends the
    search. A trial depends on the seed, its number and the trials before it only: an interrupted search that is started
    again proposes what it would have proposed without the interruption. The trial that was running runs again.

    A result that is NaN or infinite fails its trial. A pruned trial is COMPLETED for KerasTuner, with the value
    that it had when it was stopped; `get_best_trials` lists it after all others that completed.

    Pruning: whoever trains calls `update_trial(trial_id, {"__report__": value}, step=epoch)`, and stops the trial when
    the answer's status is "STOPPED". This goes through KerasTuner's own messages between processes.

    Several objectives: `sampler="auto"` is NSGA-II then; `pareto_trials` returns those that none is better than in
    everything. `get_best_trials` ranks by KerasTuner's signed sum.

    Args:
        objective: As for KerasTuner: a metric's name, a `keras_tuner.Objective`, a list of these, or None where the
            tuner returns a number to minimise.
        max_trials: How many trials at most, >= 1.
        sampler: "auto" (`ConditionalGPSampler`), "random", "grid" (in order, ten values of a continuous range),
            "sobol", "halton", "tpe" (multivariate and grouped), "gp" (Optuna's, needs torch), "cmaes" (needs cmaes),
            "nsga2", or an `optuna.samplers.BaseSampler`, of which each trial gets a copy with seeds of its own.
        pruner: None, "asha" or "successive_halving" (from the first epoch on, factor 4), "hyperband", "median",
            "patience" (3 reports worse than the best), "threshold" (NaN, infinite or beyond 1e30), or an instance of
            `optuna.pruners.BasePruner`.
        seed: An integer >= 0; None draws one, which is stored with the project.
        hyperparameters: As for KerasTuner.
        allow_new_entries: As for KerasTuner.
        tune_new_entries: As for KerasTuner.
        max_retries_per_trial: As for KerasTuner, >= 0.
        max_consecutive_failed_trials: How many trials may fail in a row before the search ends with a RuntimeError;
            None for any number. (In KerasTuner it is 3.)

    Raises:
        ValueError: An argument is out of its range, or a sampler or pruner cannot do with several objectives.
        ImportError: What a sampler needs is not installed.

    Example:

    ```python
    oracle = kopt.tuning.OptunaOracle("val_loss", max_trials=50, seed=0)
    tuner = keras_tuner.Tuner(oracle=oracle, hypermodel=build, directory="searches", project_name="digits")
    tuner.search(x, y, validation_data=(x_val, y_val))
    ```

    References:
        Akiba et al. 2019, "Optuna: a next-generation hyperparameter optimization framework",
        https://arxiv.org/abs/1907.10902; Li et al. 2020 (ASHA), https://arxiv.org/abs/1810.05934.
    """

    def __init__(
        self,
        objective: Any = None,
        max_trials: int = 10,
        sampler: str | BaseSampler = "auto",
        pruner: str | BasePruner | None = None,
        seed: int | None = None,
        *,
        hyperparameters: keras_tuner.HyperParameters | None = None,
        allow_new_entries: bool = True,
        tune_new_entries: bool = True,
        max_retries_per_trial: int = 0,
        max_consecutive_failed_trials: int | None = None,
    ) -> None:
        checks.count("max_trials", max_trials)
        checks.optional(checks.count, "seed", seed, least=0)
        checks.count("max_retries_per_trial", max_retries_per_trial, least=0)
        self.most_failures = checks.optional(
            checks.count, "max_consecutive_failed_trials", max_consecutive_failed_trials
        )
        super().__init__(
            objective=list(objective) if isinstance(objective, tuple) else objective,
            max_trials=max_trials,
            hyperparameters=hyperparameters,
            allow_new_entries=checks.flag("allow_new_entries", allow_new_entries),
            tune_new_entries=checks.flag("tune_new_entries", tune_new_entries),
            # KerasTuner's own check raises before the trial is saved and given back.
            max_consecutive_failed_trials=-1,
            max_retries_per_trial=max_retries_per_trial,
        )
        self.seed = random.SystemRandom().randrange(2**32) if seed is None else seed
        several = getattr(self.objective, "objectives", None)
        self.objectives: list[Any] = several or [self.objective]
        self.sampler = sampler
        self._make: MakeSampler = sampler_maker(sampler, self.seed, len(self.objectives))
        self._pruner = pruner_of(pruner, len(self.objectives))
        self.trials: dict[str, Trial] = {}
        self._log: StudyLog | None = None
        self._numbers: dict[str, int] = {}
        self._pruned: set[str] = set()
        self._queue: list[dict[str, Any]] = []
        self._queued_ever: list[dict[str, Any]] = []
        self._sources: list[tuple[dict[str, Any], list[float]]] = []
        self._earlier: list[Record] = []
        self._attributes: dict[str, Any] = {}
        self._ended = False

    def enqueue(self, values: Mapping[str, Any]) -> None:
        """Has a configuration tried before all others; what was enqueued before is not enqueued again.

        Args:
            values: Of hyperparameters by name; the sampler chooses those that are missing.

        Raises:
            ValueError: A name is not in the space or a value not legal; before the space is known, the first trial
                raises it.
        """
        wanted = dict(values)
        if self.hyperparameters.space:
            SpaceMap(self.hyperparameters).internal(wanted, partly=True)
        if wanted not in self._queued_ever:
            self._queue.append(wanted)
            self._queued_ever.append(wanted)

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

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the values of a new trial; the status is "STOPPED" if there is none to be had."""
        space = SpaceMap(self.hyperparameters)
        log = self._study(space)
        for _ in range(COLLISIONS):
            number = len(log.trials)
            log.study.sampler = self._make(number, space.tree())
            fixed = self._fixed(space)
            if fixed is None and self._is_exhausted(space):
                break
            if fixed:
                log.study.enqueue_trial(fixed)
            trial = log.study.ask()
            values = space.walk(operator.methodcaller("suggest", trial))
            if not self._duplicate(values):
                self._numbers[trial_id] = number
                log.write(number, self._get_trial_dir(trial_id))
                return {"status": "RUNNING", "values": values}
            log.repeat(number)
        return {"status": "STOPPED", "values": None}

    def _record_values(self, trial: Trial) -> None:
        """Remembers what was tried, as KerasTuner does, whose own method forgets or replaces by lot the value of a name
        that stands under several conditions."""
        hyperparameters = trial.hyperparameters
        hyperparameters.values = active_values(hyperparameters)
        old, new = self._id_to_hash[trial.trial_id], self._compute_values_hash(hyperparameters.values)
        if old != new:
            self._tried_so_far.discard(old)
        self._tried_so_far.add(new)
        self._id_to_hash[trial.trial_id] = new

    def _fixed(self, space: SpaceMap) -> dict[str, Any] | None:
        """Returns Optuna's values that are given for the next trial: enqueued ones, or the next point of the grid."""
        if self._queue:
            return space.internal(self._queue.pop(0), partly=True)
        if self.sampler != "grid":
            return None
        return next((point for point in space.grid() if not self._duplicate(space.walk(_from(point)))), None)

    def _is_exhausted(self, space: SpaceMap) -> bool:
        """Returns whether there is nothing left to try: on the grid, or in a space as small as what was tried."""
        if self.sampler == "grid":
            return True
        rows = space.tree().all_rows(len(self._tried_so_far))
        return rows is not None and all(self._duplicate(space.walk(_at(space, row))) for row in rows)

    def create_trial(self, tuner_id: str) -> Trial:
        return alone(self, lambda: self._create(tuner_id))

    def _create(self, tuner_id: str) -> Trial:
        waiting = set(self._retry_queue)
        if self._ended:
            self.tuner_ids.discard(tuner_id)
            return Trial(self.hyperparameters.copy(), trial_id="", status="STOPPED")
        trial = super().create_trial(tuner_id)
        if trial.trial_id in waiting:
            self._pruned.discard(trial.trial_id)
            self._study(SpaceMap(self.hyperparameters)).restart(self._numbers[trial.trial_id])
        return trial

    def update_trial(self, trial_id: str, metrics: Mapping[str, Any], step: int = 0) -> Trial:
        if REPORT in metrics:
            return alone(self, lambda: self._report(trial_id, float(metrics[REPORT]), int(step)))
        return alone(self, lambda: super(OptunaOracle, self).update_trial(trial_id, metrics, step=step))

    def _report(self, trial_id: str, value: float, step: int) -> Trial:
        answer = copy.copy(self.trials[trial_id])
        if len(self.objectives) == 1 and trial_id not in self.end_order:
            log = self._study(SpaceMap(self.hyperparameters))
            if log.report(self._numbers[trial_id], value, step):
                self._pruned.add(trial_id)
                answer.status = "STOPPED"
        return answer

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

    def end_trial(self, trial: Trial) -> None:
        alone(self, lambda: self._end(trial))

    def _end(self, trial: Trial) -> None:
        if trial.trial_id in self.end_order:
            logger.warning("Trial %s has ended before: what came now is ignored.", trial.trial_id)
            return
        super().end_trial(trial)
        ended = self.trials[trial.trial_id]
        if ended.trial_id in self.end_order:
            self._tell(ended, self._study(SpaceMap(self.hyperparameters)))
            self._stop_after_failures()

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

    def _stop_after_failures(self) -> None:
        last = self.end_order[-self.most_failures :] if self.most_failures else []
        if not last or len(last) < self.most_failures or any(self.trials[i].status != "FAILED" for i in last):
            return
        self._ended = True
        self._retry_queue.clear()
        text = f"{self.most_failures} trials failed in a row. The last one said:\n{self.trials[last[-1]].message or ''}"
        if "chief" in os.environ.get("KERASTUNER_TUNER_ID", ""):
            # An error here would end the worker that asked, and leave the chief waiting for it for ever.
            logger.error(text)
            return
        raise RuntimeError(text)

    def get_best_trials(self, num_trials: int = 1) -> list[Trial]:
        sign = -1.0 if self.objective.direction == "max" else 1.0
        complete = [trial for trial in self.trials.values() if trial.status == "COMPLETED"]
        others = [trial for trial in self.trials.values() if trial.status != "COMPLETED"]
        ranked = sorted(complete, key=lambda trial: (self.is_pruned(trial.trial_id), sign * trial.score))
        return [*ranked, *others][:num_trials]

    def pareto_trials(self) -> list[Trial]:
        """Returns the completed trials that no other one beats in one objective and equals in the rest."""
        names = {number: trial_id for trial_id, number in self._numbers.items()}
        best = self._study(SpaceMap(self.hyperparameters)).study.best_trials
        return [self.trials[names[trial.number]] for trial in best if trial.number in names]

    def get_state(self) -> dict[str, Any]:
        log = self._log
        state = super().get_state()
        state[STATE] = {
            "numbers": self._numbers,
            "pruned": sorted(self._pruned),
            "queue": self._queue,
            "queued_ever": self._queued_ever,
            "earlier": self._earlier,
            "attributes": log.attributes if log else self._attributes,
            "length": len(log.trials) if log else len(self._earlier),
            "ended": self._ended,
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
        self._queue, self._queued_ever, self._earlier = own["queue"], own["queued_ever"], own["earlier"]
        self._attributes, self._length, self._ended = own["attributes"], own["length"], own["ended"]
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
        trials = [trial_of(records[n]) if n in records else placeholder(n) for n in range(length)]
        log = StudyLog([o.direction for o in self.objectives], self._pruner, trials, self._attributes)
        for trial_id in self.end_order:
            if not log.trials[self._numbers[trial_id]].state.is_finished():
                self._tell(self.trials[trial_id], log)
        return log

    def _study(self, space: SpaceMap) -> StudyLog:
        if self._log is None:
            earlier = earlier_results(self._sources, space)
            self._log = StudyLog([o.direction for o in self.objectives], self._pruner, earlier)
            self._earlier = [record_of(trial) for trial in self._log.trials]
        return self._log


def _from(point: Mapping[str, Any]) -> Any:
    return lambda item: point[item.key]


def _at(space: SpaceMap, row: np.ndarray) -> Any:
    return _from(space.tree().values(row))
