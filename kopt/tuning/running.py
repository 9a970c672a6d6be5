"""One trial after the other: trained on each fold, watched, judged, its weights kept while it is among the best."""

import copy
import logging
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np

from kopt._core import checks
from kopt.tuning import folds, outcome, project
from kopt.tuning.before import FirstBatch, is_model
from kopt.tuning.boards import Boards
from kopt.tuning.front import Objectives
from kopt.tuning.isolated import Isolation
from kopt.tuning.objectives import Measures
from kopt.tuning.outcome import Outcome, Training
from kopt.tuning.promotion import FullLength, epochs_of, is_state, read_weights, state_path, write_weights
from kopt.tuning.seeding import derived_seed, seed_training
from kopt.tuning.watching import REPORT, Hooks, Watch

Reporter = Callable[[float, int], bool]
_log = logging.getLogger(__name__)


class TrialRunner(keras_tuner.Tuner):
    """The part of `kopt.tuning.Tuner` that runs a trial.

    Attributes:
        cv: A number of folds, a splitter, or None.
        keep_models: How many of the best trials keep their weights, None for the whole front.
        objectives: Of the search.
        outcomes: What came of the trials that have ended, by trial.
        boards: What logs for TensorBoard.
        trainings: Of the trial that runs.
    """

    cv: Any
    keep_models: int | None
    objectives: Objectives
    outcomes: dict[str, Outcome]
    boards: Boards
    _prunes: bool
    trainings: list[Training]
    _isolation: Isolation | None = None
    _report: Reporter | None = None
    _measures: Measures
    _running: Outcome
    _seed: int | None = None
    _splits: list[folds.Split] | None = None

    @property
    def trains_plainly(self) -> bool:
        """Whether training is `model.fit`, so that what an epoch's logs hold is all that there will be."""
        fit = getattr(type(self.hypermodel), "fit", None)  # There may be no hypermodel.
        return type(self).run_trial is TrialRunner.run_trial and fit is keras_tuner.HyperModel.fit

    @property
    def has_history(self) -> bool:
        """Whether the objective is a metric of each epoch."""
        return self.trains_plainly or getattr(self.hypermodel, "returns_history", False)

    @property
    def _shared(self) -> Any:
        """The oracle of a search with a storage; None without one."""
        return self.oracle if hasattr(self.oracle, "hand_in") else None

    def refreshed(self, *, read: bool = True) -> dict[str, Outcome]:
        """Returns what came of the trials that have ended, those of other workers included.

        Args:
            read: Whether to read it now; otherwise, what was read last.
        """
        if self._shared is not None:
            if read:
                self._shared.refresh()
            self.outcomes = dict(self._shared.outcomes)
        return self.outcomes

    def on_trial_begin(self, trial: Any) -> None:
        """Forgets what a run of this trial has left that was killed or is tried again."""
        trial.metrics = type(trial.metrics)()
        self.boards.begin_trial(trial)
        super().on_trial_begin(trial)

    def on_trial_end(self, trial: Any) -> None:
        """Writes what came of the trial, tells the oracle, and deletes weights that are no longer among the best."""
        found, files = self.outcomes[trial.trial_id], self._files_of(trial.trial_id)
        if self._shared is None:
            found.write(Path(self.get_trial_dir(trial.trial_id)))
        else:
            self._shared.hand_in(found)
        super().on_trial_end(trial)
        if self._is_worker():
            self.outcomes = outcome.read(Path(self.project_dir))  # Others have trials, too.
        elif self._shared is not None and self._shared.refused(trial.trial_id):
            for path in files:
                path.unlink(missing_ok=True)
        self.refreshed()
        kept = {best.trial_id for best in self.best_trials(self.keep_models)}
        for path in self._files():
            key = path.parent.name.removeprefix("trial_")
            stays = key in kept and (self._shared is None or path in self._files_of(key))
            if key in self.outcomes and not stays and not is_state(path):
                path.unlink(missing_ok=True)  # Another worker may have been faster.

    def _try_run_and_update_trial(self, trial: Any, *fit_args: Any, **fit_kwargs: Any) -> None:
        begin = time.monotonic()
        found = self._running = Outcome(trial.trial_id)
        self.trainings, self._measures = [], Measures(self.objectives.measured)
        try:
            self._run_and_update_trial(trial, *fit_args, **fit_kwargs)
            trial.status = "COMPLETED"
        except keras_tuner.errors.FatalError:
            raise
        except Exception as error:  # Whatever the user's model raises is a result of the trial.
            if project.is_full(error):
                raise
            given_up = isinstance(error, keras_tuner.errors.FailedTrialError)
            trial.status = "FAILED" if given_up else "INVALID"
            found.status = "failed"
            found.error = f"{str(error) or type(error).__name__}" if given_up else f"{type(error).__name__}: {error}"
            found.traceback = trial.message = traceback.format_exc()
            _log.warning("Trial %s failed: %s", trial.trial_id, found.error)
        found.trainings = self.trainings
        found.epochs = sum(training.epochs for training in self.trainings)
        found.seconds = time.monotonic() - begin
        self.outcomes[trial.trial_id] = found  # Not sooner: what is interrupted has no outcome.

    def _run_and_update_trial(self, trial: Any, *fit_args: Any, **fit_kwargs: Any) -> None:
        self._report = self._reporter(trial)
        if self._isolation is None:
            results = self.run_trial(trial, *fit_args, **fit_kwargs)
        else:
            results = self.trainings
            self._isolation.run(trial, self._report, self.trainings, self._suffix(trial.trial_id))
        found = self._running
        if not self.trainings:  # A subclass has run it in its own way.
            for result in results if isinstance(results, list) else [results]:
                metrics, best = outcome.metrics_of(result, self.objectives)
                self.trainings.append(Training(None, len(self.trainings), metrics, best, 0, []))
        is_pruned = any(training.pruned for training in self.trainings)
        found.status = "pruned" if is_pruned else "completed"
        fixed = [objective.name for objective in self.objectives.measured]
        found.metrics = outcome.summary(self.trainings, with_std=self.cv is not None and not is_pruned, fixed=fixed)
        best = round(float(np.mean([training.best_epoch for training in self.trainings])))
        told = dict(found.metrics)
        if self.objectives.several:  # By this signed sum KerasTuner's own oracles search.
            told[self.oracle.objective.name] = self.oracle.objective.get_value(found.metrics)
        self.oracle.update_trial(trial.trial_id, told, step=best)

    def run_trial(self, trial: Any, *fit_args: Any, **fit_kwargs: Any) -> Any:
        """Trains the model of a trial: once, or once per execution and fold; a pruned one ends early."""
        given = folds.Arguments(fit_args, fit_kwargs)
        parts = [(None, given)] if self._splits is None else [*enumerate(self._splits)]
        for execution in range(self.executions_per_trial):
            for fold, part in parts:
                own = part if isinstance(part, folds.Arguments) else given.of_fold(part)
                self._train(trial, own, fold, execution)
                if self.trainings[-1].pruned:
                    return self.trainings
        return self.trainings

    def _train(self, trial: Any, given: folds.Arguments, fold: int | None, execution: int) -> None:
        """Trains once, and adds what came of it to the trainings of this trial."""
        first = not self.trainings
        seed_training(derived_seed(self._seed or 0, trial.trial_id.lstrip("0"), execution, fold))
        model = self._try_build(trial.hyperparameters)
        self._measures.take(model)
        watch = Watch(
            self.objectives,
            report=self._report if first else None,
            spares=self.cv is not None or self.executions_per_trial > 1,
            must_exist=self.has_history,
            keeps=self.keep_models != 0,
        )
        training = Training(fold, execution, {}, 0, 0, watch.values)
        self.trainings.append(training)
        boards = self._boards(trial, training)
        given = self._go_on(trial, model, given, fold)
        theirs = copied(given.get("callbacks") or [])
        first_ones = [*self._length(trial), self._measures]
        if self.has_history and not self.outcomes and len(self.trainings) == 1:
            validated = any(given.get(name) is not None for name in ("validation_data", "validation_split"))
            first_ones.append(FirstBatch(self.objectives.trained, [*theirs, self], validated=validated))
        own = given.replaced(callbacks=[*first_ones, *theirs, *boards, Hooks(self, trial), watch])
        try:
            results = self.hypermodel.fit(trial.hyperparameters, model, *own.args, **own.kwargs)
        finally:
            training.epochs = watch.epochs
            for board in boards:
                board.close()  # An exception leaves it open.
        self._measures.take(model, must=True)
        training.metrics, training.best_epoch = outcome.metrics_of(results, self.objectives, self._measures.values)
        training.pruned = watch.pruned
        if model.built and epochs_of(trial.hyperparameters.values):
            write_weights(model, state_path(self._weights(trial.trial_id, fold)))
        if self.keep_models != 0 and model.built and not watch.pruned:
            self._keep(trial, model, watch, training)

    def run_here(self, trial: Any, report: Reporter | None, *fit_args: Any, **fit_kwargs: Any) -> None:
        """Runs a trial in the process that is there for it."""
        self._report, self._measures = report, Measures(self.objectives.measured)
        self.run_trial(trial, *fit_args, **fit_kwargs)

    def _length(self, trial: Any) -> list[Any]:
        """Returns what tells schedules how long the longest trial is, if trials have different lengths."""
        longest = getattr(self.oracle, "max_epochs", None)
        return [FullLength(longest)] if longest and epochs_of(trial.hyperparameters.values) else []

    def _boards(self, trial: Any, training: Training) -> list[Any]:
        """Returns the callbacks that log one training."""
        parts = [] if training.fold is None else [f"fold_{training.fold}"]
        parts += [f"execution_{training.execution}"] if self.executions_per_trial > 1 else []
        return self.boards.callbacks(trial, "-".join(parts) or None)

    def _reporter(self, trial: Any) -> Reporter | None:
        """Returns what tells the oracle of an epoch, and whether to stop; None if the oracle does not prune."""
        if not self._prunes:
            return None

        def report(value: float, epochs: int) -> bool:
            told = self.oracle.update_trial(trial.trial_id, {REPORT: value}, step=epochs)
            return bool(told.status == "STOPPED")

        return report

    # The weights.

    def _weights(self, trial_id: str, fold: int | None) -> Path:
        name = "checkpoint" if fold is None else f"fold_{fold}"
        return Path(self.get_trial_dir(trial_id)) / f"{name}{self._suffix(trial_id)}.weights.h5"

    def _suffix(self, trial_id: str) -> str:
        """Returns what tells the files of one try at a trial from those of another one, whose worker may still live."""
        return getattr(self.oracle, "suffix_of", lambda _: "")(trial_id)

    def _files_of(self, trial_id: str) -> list[Path]:
        """Returns where the weights of a trial may be: those of the try that counts."""
        count = 1 if self._splits is None else len(self._splits)
        return [self._weights(trial_id, None if self._splits is None else fold) for fold in range(count)]

    def _keep(self, trial: Any, model: Any, watch: Watch, training: Training) -> None:
        """Writes the best epoch's weights and optimizer, unless another execution of the same fold was better."""
        objective = self.objectives.lead
        for other in self.trainings[:-1]:
            mine, best = training.metrics[objective.name], other.metrics[objective.name]
            if other.fold == training.fold and not objective.better_than(mine, best):
                return
        watch.restore(model)
        write_weights(model, self._weights(trial.trial_id, training.fold))

    def _go_on(self, trial: Any, model: Any, given: folds.Arguments, fold: int | None) -> folds.Arguments:
        """Puts the state of the trial that this one goes on with into the model, and returns the arguments for that.

        Hyperband promotes trials so. Without the state, of a trial that failed, the training begins at the beginning.
        """
        values = trial.hyperparameters.values
        wanted = epochs_of(values)
        if wanted.get("initial_epoch"):
            path = state_path(self._weights(values["tuner/trial_id"], fold))
            if path.exists():
                read_weights(model, path)
            else:
                wanted["initial_epoch"] = 0
        return given.replaced(**wanted)

    def on_search_end(self) -> None:
        """Deletes the states that no trial goes on with any more."""
        for path in self._files():
            if is_state(path):
                path.unlink(missing_ok=True)  # Another worker may have been faster.
        super().on_search_end()

    def _files(self) -> list[Path]:
        return list(Path(self.project_dir).glob("trial_*/*.weights.h5"))

    def load_model(self, trial: Any, fold: int = 0) -> Any:
        """Returns the model of a trial with the weights and the optimizer of its best epoch.

        Args:
            trial: A trial of this search that has kept its weights.
            fold: Of which fold, if there are any.
        """
        path = self._weights(trial.trial_id, None if self.cv is None else fold)
        found = self.outcomes.get(trial.trial_id)
        folds_of = {training.fold for training in found.trainings} if found is not None else set()
        if self.cv is not None and folds_of and fold not in folds_of:
            raise checks.fail("fold", f"less than the number of folds, {len(folds_of)}", fold)
        if not path.exists():
            if self._shared is not None:
                raise ValueError(
                    f"Trial {trial.trial_id} has no weights here. Received: keep_models={self.keep_models}; it was run "
                    f"by {self._shared.whereabouts(trial.trial_id)}. Load it there, let all workers have one "
                    "`directory`, or train with its hyperparameters anew: `refit`."
                )
            kept = "the front's trials" if self.keep_models is None else f"only the {self.keep_models} best trials"
            raise ValueError(
                f"Trial {trial.trial_id} has no weights on disk. Received: keep_models={self.keep_models}: {kept} keep "
                "theirs. `refit` trains with its hyperparameters anew."
            )
        model = self._try_build(trial.hyperparameters)
        read_weights(model, path)
        return model

    def best_trials(self, n: int | None = 1, by: str | None = None) -> list[Any]:
        """Returns the best `n` trials, best first, of those that have run to their end.

        With several objectives these are trials of the Pareto front.

        Args:
            n: How many, >= 0; None for all.
            by: With several objectives: by which one; None for the first one that is a metric of the training.

        Raises:
            ValueError: `by` is no objective.
        """
        self.objectives.named(by)
        if n == 0:
            return []
        if self.objectives.several:
            return [self.oracle.get_trial(key) for key in self._front(by)[:n]]
        ranked = self.oracle.get_best_trials(len(self.outcomes) + 1)
        done = self._done()
        return [trial for trial in ranked if trial.status == "COMPLETED" and trial.trial_id in done][:n]

    def _done(self) -> dict[str, dict[str, float]]:
        """Returns the metrics of the trials that have run to their end."""
        known = getattr(self.oracle, "trials", None)  # A worker's proxy has none.
        return {
            key: found.metrics
            for key, found in self.outcomes.items()
            if found.status == "completed" and (known is None or (key in known and known[key].status == "COMPLETED"))
        }

    def _front(self, by: str | None = None) -> list[str]:
        return self.objectives.front(self._done(), by)

    def _try_build(self, hp: Any) -> Any:
        """Builds a model under names that count from nothing, without KerasTuner's collection of all garbage."""
        keras.utils.clear_session(free_memory=False)
        model = self._build_hypermodel(hp)
        size = sum(int(np.prod(v.shape)) for v in model.trainable_variables) if is_model(model).built else 0
        if self.trains_plainly and not model.compiled:
            raise keras_tuner.errors.FatalValueError(
                "`hypermodel` must be a function that returns a compiled keras.Model, or a HyperModel whose `build` "
                f"does. Received: {model.name!r}, which is not compiled. Call `model.compile(...)` in it."
            )
        if self.max_model_size and size > self.max_model_size:
            raise keras_tuner.errors.FailedTrialError(
                f"The model has {size} parameters, more than `max_model_size`, {self.max_model_size}."
            )
        return model


def copied(callbacks: Any) -> list[Any]:
    """Returns deep copies of callbacks: state of one training is none of the next one's."""
    try:
        return [copy.deepcopy(callback) for callback in callbacks]
    except TypeError as error:
        names = ", ".join(type(callback).__name__ for callback in callbacks)
        raise keras_tuner.errors.FatalValueError(
            f"`callbacks` must be callbacks that can be copied: each training has its own ({error}). Received: {names}."
        ) from error
