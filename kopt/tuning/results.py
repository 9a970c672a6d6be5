"""What a search has found: the best settings and models, a table of all trials, a last training on all data."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np

from kopt._core import checks
from kopt.tuning import folds, report, stored
from kopt.tuning.importances import importances
from kopt.tuning.running import TrialRunner, copied
from kopt.tuning.seeding import derived_seed, seed_training


class Searched(TrialRunner):
    """The part of `kopt.tuning.Tuner` that answers what came of the search."""

    _given: folds.Arguments | None = None

    def best_hyperparameters(self, n: int = 1, *, by: str | None = None) -> list[keras_tuner.HyperParameters]:
        """Returns the hyperparameters of the best `n` trials, best first; pruned and failed ones are none of them.

        Args:
            n: How many, >= 1; with several objectives at most as many as the Pareto front has.
            by: With several objectives, the one by which trials of the front are the best, such as "val_loss"; None for
                the first one that is a metric of the training.
        """
        checks.count("n", n)
        self.refreshed()
        return [trial.hyperparameters for trial in self.best_trials(n, by)]

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[keras_tuner.HyperParameters]:
        """Returns `best_hyperparameters(num_trials)`."""
        return self.best_hyperparameters(num_trials)

    def best_model(self, fold: int = 0, *, by: str | None = None) -> Any:
        """Returns the model of the best trial with the weights, and the optimizer's state, of its best epoch.

        Args:
            fold: With cross-validation, which of the models: from 0.
            by: As for `best_hyperparameters`. `load_model` has any other model of `pareto_trials`.

        Raises:
            ValueError: No trial has run to its end, or its weights were not kept.
        """
        return self.load_model(self._best(by), checks.count("fold", fold, 0))

    def get_best_models(self, num_models: int = 1) -> list[Any]:
        """Returns the models of the best trials; only `keep_models` of them are on disk."""
        return [self.load_model(trial) for trial in self.best_trials(checks.count("num_models", num_models))]

    def pareto_trials(self, by: str | None = None) -> list[Any]:
        """Returns the trials that none beats: no other one is better in one objective and as good in all others.

        Failed and pruned trials do not count. With one objective these are the best trial and its equals.

        Args:
            by: The objective by which they are sorted, best first; None for the first one that is a metric of the
                training.
        """
        self.objectives.named(by)
        self.refreshed()
        return [self.oracle.get_trial(key) for key in self._front(by)]

    def pareto_front(self, by: str | None = None) -> Any:
        """Returns the rows of `results` that belong to `pareto_trials`, in that order.

        Args:
            by: As for `pareto_trials`.
        """
        self.objectives.named(by)
        rows = {row["trial"]: row for row in self.rows()}
        return _table([rows[key] for key in self._front(by)])

    def refit(
        self,
        *fit_args: Any,
        epochs: int | None = None,
        callbacks: Iterable[Any] = (),
        by: str | None = None,
        **fit_kwargs: Any,
    ) -> Any:
        """Trains a new model with the best hyperparameters, on all data, and returns it.

        Args:
            *fit_args: What `model.fit` takes. Nothing takes what `search` was given in this process, its validation
                data added to the training data.
            epochs: None for the best trial's best epoch (its mean over folds), if `search` was given `epochs`.
            callbacks: Those of this training; those of the search are not used, as there is no validation.
            by: With several objectives, as for `best_hyperparameters`.
            **fit_kwargs: What `model.fit` takes.

        Raises:
            ValueError: No trial has run to its end, or there are no data.
        """
        best = self._best(by)
        given = folds.Arguments(fit_args, fit_kwargs)
        if given.get("x") is None:
            if self._given is None or self._given.get("x") is None:
                raise ValueError("`refit` must be given data: `search` has not run in this process. Received: no data.")
            given = everything(self._given).replaced(**fit_kwargs)
        if epochs is not None:
            given = given.replaced(epochs=checks.count("epochs", epochs))
        elif self._given is not None and self._given.get("epochs") is not None and "epochs" not in fit_kwargs:
            given = given.replaced(epochs=self.outcomes[best.trial_id].best_epoch + 1)
        seed_training(derived_seed(self._seed or 0, best.trial_id, "refit"))
        model = self._try_build(best.hyperparameters)
        given = given.replaced(callbacks=copied(callbacks))
        self.hypermodel.fit(best.hyperparameters, model, *given.args, **given.kwargs)
        return model

    def results(self, *, folds: bool = False) -> Any:
        """Returns a table of all trials: a DataFrame if pandas is installed, else a list of dicts.

        Columns are `trial`, `status` ("completed", "pruned", "failed", "running"), with several objectives `pareto`
        (whether none beats it), the metrics of the best epoch (with folds their mean, and `<name>_std`), `epochs`,
        `seconds`, `hp/<name>` of the active hyperparameters, `error`; with a storage also `worker`, who has run it
        (host and process), and `tries`, the one that counts included.

        Args:
            folds: Whether to have a row for each training, with `fold`, `execution` and `best_epoch`, in place of a row
                for each trial.
        """
        return _table(self.rows(folds=folds))

    def rows(self, *, folds: bool = False) -> list[dict[str, Any]]:
        """Returns the rows of `results`."""
        self.refreshed()
        trials = {key: trial.get_state() for key, trial in getattr(self.oracle, "trials", {}).items()}
        front = set(self._front()) if self.objectives.several else set()
        more: dict[str, dict[str, Any]] = {}
        for key in trials:
            more[key] = {"pareto": key in front} if self.objectives.several else {}
            more[key] |= {} if self._shared is None else self._shared.run_by(key)
        return stored.rows(trials, self.outcomes, folds=folds, more=more)

    def importances(self, *, by: str | None = None) -> dict[str, float]:
        """Returns the share that each hyperparameter has in the objective, greatest first; they sum to 1.

        They are what a random forest loses when the values of one are shuffled between the trials that have run to
        their end: a guide for the next search, of a few trials a rough one.

        Args:
            by: With several objectives, for which one; None for the first one that is a metric of the training.

        Raises:
            ValueError: There are fewer than five such trials.
        """
        name = self.objectives.named(by).name
        done = [row for row in self.rows() if row["status"] == "completed"]
        values = [row[name] for row in done]
        return importances([stored.settings_of(row) for row in done], values)

    def report(self, path: str | os.PathLike[str] = "report.html") -> Path:
        """Writes one page in HTML that needs nothing else, and returns where it is.

        It has the best so far, parallel coordinates, importances, the objective over each hyperparameter, and a table
        of all trials with their errors; with several objectives all this for each one, and their Pareto front.

        Args:
            path: Of the file, in a directory that is there.
        """
        return report.write(path, self.project_name, self.rows(), self.oracle.objective, self.outcomes)

    def _best(self, by: str | None = None) -> Any:
        self.refreshed()
        best = self.best_trials(1, by)
        if not best:
            failed = [found.error for found in self.outcomes.values() if found.status == "failed"]
            last = f" The last error: {failed[-1]}" if failed else ""
            raise ValueError(
                f"`search` must have run a trial to its end. Received: {len(self.outcomes)} trials, {len(failed)} of "
                f"them failed.{last}"
            )
        return best[0]


def _table(rows: list[dict[str, Any]]) -> Any:
    """Returns rows as a DataFrame if pandas is installed."""
    try:
        import pandas
    except ImportError:
        return rows
    return pandas.DataFrame(rows)


def everything(given: folds.Arguments) -> folds.Arguments:
    """Returns arguments of `fit` with the validation data among the training data, and nothing to validate with."""
    validation = given.get("validation_data")
    if validation is None:
        return given.replaced(validation_split=None)
    if not isinstance(validation, list | tuple):
        raise ValueError(
            "`refit` must be given data: the validation data are no arrays that can be added to the training data. "
            f"Received: validation_data of class {type(validation).__name__}."
        )
    names = [name for name in ("x", "y", "sample_weight") if given.get(name) is not None]
    if names[-1] == "sample_weight" and len(validation) == 2:
        validation = (*validation, np.ones(folds.rows_of({"validation_data": validation[0]}), "float32"))
    joined = {
        name: keras.tree.map_structure(
            lambda a, b: np.concatenate([folds.as_array(a), folds.as_array(b)]), given.get(name), part
        )
        for name, part in zip(names, validation, strict=False)
    }
    return given.replaced(**joined, validation_data=None, validation_split=None)
