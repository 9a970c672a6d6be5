"""The oracle: KerasTuner asks it what to try next, Optuna's algorithms or kopt's own answer."""

import copy
import logging
import operator
import os
import time
from collections.abc import Mapping
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

from kopt._core import checks
from kopt.tuning.alone import alone
from kopt.tuning.grids import tell_cut_grid
from kopt.tuning.leases import Leases
from kopt.tuning.mapping import SpaceMap, active_values
from kopt.tuning.objectives import directed
from kopt.tuning.recorded import STATE, RecordedOracle

REPORT = "__report__"
COLLISIONS = 20
PAUSE = 0.2  # Seconds; KerasTuner's workers ask again at once.
logger = logging.getLogger(__name__)


class OptunaOracle(RecordedOracle):
    """Proposes trials by kopt's conditional Gaussian process or by one of Optuna's samplers, and stops bad ones early.

    It takes the place of KerasTuner's own oracles in any of its tuners, also in chief and worker processes. Conditional
    scopes are respected: an inactive hyperparameter has no value, and no sampler learns from it. Ordered choices, steps
    and scales are passed on as such. No configuration is tried twice; a space of which everything was tried ends the
    search. A trial depends on the seed, its number and the trials before it only: an interrupted search that is started
    again proposes what it would have proposed without the interruption. The trial that was running runs again.

    A result that is NaN or infinite fails its trial. A pruned trial is COMPLETED for KerasTuner, with the value
    that it had when it was stopped; `get_best_trials` lists it after all others that completed.

    Pruning: whoever trains calls `update_trial(trial_id, {"__report__": value}, step=epochs)` after each epoch, with
    the number of epochs that the trial has had, and stops the trial when the answer's status is "STOPPED". This goes
    through KerasTuner's own messages between processes.

    Several objectives: `sampler="auto"` is Optuna's multivariate TPE then; `pareto_trials` returns those that none is
    better than in everything. `get_best_trials` ranks by KerasTuner's signed sum.

    Args:
        objective: As for KerasTuner: a metric's name, a `keras_tuner.Objective`, a list of these, or None where the
            tuner returns a number to minimise. What ends in "loss" is minimised, also if KerasTuner does not know it.
            `ModelSize` and other `ModelObjective`s are measured by `kopt.tuning.Tuner`; others must report them.
        max_trials: How many trials at most, >= 1.
        sampler: "auto" (`ConditionalGPSampler`; for several objectives "tpe"), "random", "grid" (in order, ten values
            of a continuous range), "sobol", "halton", "tpe" (multivariate and grouped), "gp" (Optuna's, needs torch),
            "cmaes" (needs cmaes), "nsga2", or an `optuna.samplers.BaseSampler`, of which each trial gets a copy with
            seeds of its own.
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
        worker_timeout: With several workers: seconds without an answer, a report or an end of a trial after which a
            worker counts as dead. Its trial is run once more by another one, and the chief does not wait for it.
            Longer than an epoch where each epoch is reported, longer than a trial otherwise; None for never.

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
        worker_timeout: float | None = None,
    ) -> None:
        checks.count("max_trials", max_trials)
        checks.optional(checks.count, "seed", seed, least=0)
        checks.count("max_retries_per_trial", max_retries_per_trial, least=0)
        self.most_failures = checks.optional(
            checks.count, "max_consecutive_failed_trials", max_consecutive_failed_trials
        )
        super().__init__(
            sampler,
            pruner,
            seed,
            objective=directed(objective),
            max_trials=max_trials,
            hyperparameters=hyperparameters,
            allow_new_entries=checks.flag("allow_new_entries", allow_new_entries),
            tune_new_entries=checks.flag("tune_new_entries", tune_new_entries),
            # KerasTuner's own check raises before the trial is saved and given back.
            max_consecutive_failed_trials=-1,
            max_retries_per_trial=max_retries_per_trial,
        )
        self._queue: list[dict[str, Any]] = []
        self._queued_ever: list[dict[str, Any]] = []
        self._ended = False
        self._leases = Leases(checks.optional(checks.positive, "worker_timeout", worker_timeout))
        self._given_away: set[str] = set()
        self._asking = ""

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

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the values of a new trial; the status is "STOPPED" if there is none to be had."""
        space = SpaceMap(self.hyperparameters)
        log = self._study()
        if self.sampler == "grid" and not self.trials and self.max_trials is not None:
            tell_cut_grid(space, self.max_trials)
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
        return {"status": "IDLE" if self._waits() else "STOPPED", "values": None}

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
        """Returns the next trial of a worker; as in KerasTuner, the status says whether it is to run, wait or stop."""
        trial = alone(self, lambda: self._create(tuner_id))
        if trial.status == "IDLE":
            time.sleep(PAUSE)
        return trial

    def _create(self, tuner_id: str) -> Trial:
        self._asking = tuner_id
        self._leases.hear(tuner_id)
        self._give_away()
        waiting = set(self._retry_queue)
        if self._ended:
            self.tuner_ids.discard(tuner_id)
            return Trial(self.hyperparameters.copy(), trial_id="", status="STOPPED")
        if (
            len(self.trials) >= self.max_trials
            and not waiting
            and tuner_id not in self.ongoing_trials
            and self._waits()
        ):
            return Trial(self.hyperparameters.copy(), trial_id="", status="IDLE")
        trial = super().create_trial(tuner_id)
        if trial.trial_id in waiting:
            self._pruned.discard(trial.trial_id)
            self._study().restart(self._numbers[trial.trial_id])
        return trial

    def _waits(self) -> bool:
        """Returns whether the worker that asks should ask again, as another one may die and leave its trial."""
        waits = self._leases.may_come_back(self.tuner_ids, self.ongoing_trials, self._asking)
        if waits:
            self._leases.waiting.add(self._asking)
        return waits

    def _give_away(self) -> None:
        """Has the trials of workers that are not heard of run again, once; a second time, they have failed."""
        for tuner_id in self._leases.silent(self.tuner_ids):
            self.tuner_ids.discard(tuner_id)
            trial = self.ongoing_trials.pop(tuner_id, None)
            if trial is None:
                continue
            logger.warning("Worker %s is not heard of; its trial %s is given away.", tuner_id, trial.trial_id)
            if trial.trial_id in self._given_away:
                trial.status, trial.message = "FAILED", "Two workers that ran this trial were not heard of again."
                self._end(trial)
            else:
                self._given_away.add(trial.trial_id)
                self._retry_queue.append(trial.trial_id)

    def update_trial(self, trial_id: str, metrics: Mapping[str, Any], step: int = 0) -> Trial:
        """Takes a trial's metrics; or, as `__report__`, the objective of an epoch, and may answer "STOPPED"."""
        return alone(self, lambda: self._update(trial_id, metrics, step))

    def _update(self, trial_id: str, metrics: Mapping[str, Any], step: int) -> Trial:
        for tuner_id, trial in self.ongoing_trials.items():
            if trial.trial_id == trial_id:
                self._leases.hear(tuner_id)
        if trial_id in self.end_order:
            return self.trials[trial_id]  # Of a worker whose trial was given away meanwhile.
        if REPORT in metrics:
            return self._report(trial_id, float(metrics[REPORT]), int(step))
        return super().update_trial(trial_id, metrics, step=step)

    def _report(self, trial_id: str, value: float, step: int) -> Trial:
        answer = copy.copy(self.trials[trial_id])
        if len(self.objectives) == 1:
            log = self._study()
            if log.report(self._numbers[trial_id], value, step):
                self._pruned.add(trial_id)
                answer.status = "STOPPED"
        return answer

    def end_trial(self, trial: Trial) -> None:
        """Ends a trial, or has it run again if it is "INVALID" and may be retried."""
        alone(self, lambda: self._end(trial))

    def _end(self, trial: Trial) -> None:
        if trial.trial_id in self.end_order:
            logger.warning("Trial %s has ended before: what came now is ignored.", trial.trial_id)
            return
        super().end_trial(trial)
        ended = self.trials[trial.trial_id]
        if ended.trial_id in self.end_order:
            self._tell(ended, self._study())
            self._stop_after_failures()

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

    def get_state(self) -> dict[str, Any]:
        state = super().get_state()
        state[STATE] |= {"queue": self._queue, "queued_ever": self._queued_ever, "ended": self._ended}
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        own = state[STATE]
        self._queue, self._queued_ever, self._ended = own["queue"], own["queued_ever"], own["ended"]


def _from(point: Mapping[str, Any]) -> Any:
    return lambda item: point[item.key]


def _at(space: SpaceMap, row: np.ndarray) -> Any:
    return _from(space.tree().values(row))
