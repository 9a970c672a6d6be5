"""The search itself: runs the trials that an oracle proposes, and loses none of what they gave."""

import contextlib
import gc
import inspect
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras_tuner

from kopt._core import checks
from kopt._core.configured import unknown_argument
from kopt.tuning import folds, outcome, project
from kopt.tuning.before import check_batch_sizes, check_fit, check_hypermodel, check_ranges, checked_builds
from kopt.tuning.boards import Boards
from kopt.tuning.budget import Budget
from kopt.tuning.chief import ends_with_chief
from kopt.tuning.conditions import conditions
from kopt.tuning.front import Objectives
from kopt.tuning.hypermodel import SpaceHyperModel
from kopt.tuning.isolated import Isolation
from kopt.tuning.oracle import OptunaOracle
from kopt.tuning.outcome import Outcome
from kopt.tuning.progress import SearchProgress
from kopt.tuning.results import Searched
from kopt.tuning.running import copied
from kopt.tuning.seeding import derived_seed
from kopt.tuning.sharing import found, on_existing_of, shared_oracle, sharing

_log = logging.getLogger(__name__)
_ORACLE = ("sampler", "pruner", "hyperparameters", "tune_new_entries", "allow_new_entries", "max_retries_per_trial")
_TUNER = ("max_model_size", "optimizer", "loss", "metrics", "distribution_strategy", "tuner_id")


class Tuner(Searched):
    """Searches for hyperparameters: `keras_tuner.Tuner`, with folds, pruning, and trials that may fail.

    Each trial builds a model, trains it (once per fold and execution) and is judged by its best epoch. A trial that
    raises, runs out of memory or diverges is a failed one, with its error kept on disk; the search goes on. What has
    finished is on disk, whole, at any moment: a search that was interrupted or killed goes on with
    `on_existing="resume"`, where the trial that was running is run again.

    Where this differs from KerasTuner: a project that is there already is not reloaded unless asked, and never if its
    space, objective, folds or data differ; an infinite objective fails the trial; failures in a row do not end the
    search; weights are on disk of the best trials only, with the optimizer of the same epoch; `seed=0` is a seed.

    Args:
        hypermodel: A `keras_tuner.HyperModel`, or a function of `hp` that returns a compiled model.
        oracle: A `keras_tuner.Oracle`. If it has `is_pruned`, it is told the objective after each epoch and may stop
            the trial. None makes an `OptunaOracle` of `objective`, `max_trials`, `seed` and what else that takes:
            `sampler`, `pruner`, `hyperparameters`, `tune_new_entries`, `allow_new_entries`, `max_retries_per_trial`.
        objective: Name of a metric, such as "val_loss", or a `keras_tuner.Objective`; or a list of several, among them
            `ModelSize` or another `ModelObjective`: the search is for their Pareto front then. The best epoch of a
            training is that of the first one that is a metric of the training.
        max_trials: Number of trials, >= 1; 10 if there is no oracle.
        cv: None, a number of folds >= 2, or a scikit-learn splitter. A number is stratified if `y` looks like classes
            (strings, 0 to k - 1, one-hot rows) and grouped if `search` is given `groups=`.
        on_existing: What to do with a search that is in the directory already: "error", "resume" or "overwrite". None
            is "error"; with `storage` it is "resume", which joins the search, and "overwrite" is none.
        keep_models: How many of the best trials keep their weights on disk, >= 0. None: the best one, and with several
            objectives all of the front. With several, a number keeps those of the front that are best in the first
            metric; a trial that is promoted later, when others have left the front, has none.
        time_budget: Seconds, > 0, after which no trial begins in one `search`; the running one ends as usual.
        max_epochs_total: Epochs of all trials and folds together, >= 1, after which no trial begins.
        max_consecutive_failures: Failed trials in a row, >= 1, that end the search with an error. None: never.
        executions_per_trial: Trainings of each trial (and fold), >= 1, which are averaged.
        isolate: "process" runs each trial in a process of its own, which takes the seconds that importing takes: its
            memory is given back, and if it dies, by a segmentation fault or for want of memory, the trial has failed.
            What `search` is given and the build function refers to must be picklable. POSIX only. None: in this one.
        storage: Where the trials are, for any number of workers: processes that run the same script. "journal" is a
            file in the project's directory ("journal:///path/to/file": elsewhere); addresses are "sqlite:///search.db",
            "postgresql://user@host/database", "redis://host:6379/0"; or an `optuna.storages.BaseStorage`. The search
            is known there by `project_name`. None: in the directory, for one process.
        worker_timeout: With `storage`: seconds without a sign of life, > 0, after which a worker counts as dead and its
            trial is run again by another one. None: never.
        max_deaths_per_trial: With `storage`: how many workers may die with a trial before it has failed, >= 1.
        tensorboard: Directory to log to for TensorBoard, with `kopt.callbacks.TensorBoard`: a run per trial and fold,
            the table of hyperparameters, and the scalar `search/best_so_far`. None logs nothing.
        directory: Where the project's directory is made; not a remote address.
        project_name: Name of that directory.
        seed: Of proposals, folds and trainings: each trial, execution and fold has one derived from it. None: the
            oracle's.
        **kwargs: What else `keras_tuner.Tuner` takes: `max_model_size`, `optimizer`, `loss`, `metrics`,
            `distribution_strategy`, `tuner_id`.

    Raises:
        ValueError: An argument is out of its range; there is a search already; the stored one is another one.
        TypeError: An unknown argument, or a build function that returns no model.
        ConnectionError: The storage cannot be reached.
        ImportError: The driver of the storage is not installed.

    Example:

    ```python
    tuner = kopt.tuning.Tuner(build, objective="val_accuracy", max_trials=20, cv=5, pruner="asha")
    tuner.search(x, y, epochs=10)
    print(tuner.results())
    model = tuner.best_model()
    ```
    """

    def __init__(
        self,
        hypermodel: Any = None,
        oracle: keras_tuner.Oracle | None = None,
        *,
        objective: Any = None,
        max_trials: int | None = None,
        cv: Any = None,
        on_existing: str | None = None,
        keep_models: int | None = None,
        time_budget: float | None = None,
        max_epochs_total: int | None = None,
        max_consecutive_failures: int | None = None,
        executions_per_trial: int = 1,
        isolate: str | None = None,
        storage: Any = None,
        worker_timeout: float | None = 60.0,
        max_deaths_per_trial: int = 3,
        tensorboard: str | os.PathLike[str] | None = None,
        directory: str | os.PathLike[str] | None = None,
        project_name: str = "search",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        check_hypermodel(hypermodel, needed=type(self).run_trial is Searched.run_trial)
        own = {"objective": objective, "max_trials": max_trials, "seed": seed}
        oracle = _oracle(oracle, own | sharing(storage, worker_timeout, max_deaths_per_trial), kwargs)
        self.cv = folds.checked_cv(cv)
        self.objectives = Objectives(oracle.objective)
        self.keep_models = _kept(keep_models, self.objectives)
        self.budget = Budget(time_budget, max_epochs_total, max_consecutive_failures)
        self.boards = Boards(tensorboard)
        self.isolate = checks.optional(checks.choice, "isolate", isolate, options=["process"])
        checks.count("executions_per_trial", executions_per_trial)
        on_existing = on_existing_of(on_existing, storage)
        place = _place(directory, project_name)
        self.outcomes: dict[str, Outcome] = {}
        self.trainings = []
        self._stored = None if self._is_worker() else found(oracle, place, on_existing)
        goes_on = self._stored is not None or self._is_worker()
        self.boards.prepare(goes_on=goes_on, overwrite=on_existing == "overwrite")
        self._prunes = hasattr(oracle, "is_pruned")  # A worker's proxy hides it.
        _take_over(oracle)
        kwargs |= {"directory": str(place.parent), "project_name": place.name}
        super().__init__(oracle, hypermodel, executions_per_trial=executions_per_trial, **kwargs)
        self._take_seed(seed)
        if self._stored is None or self._shared is not None:
            self._record()
        self.save()

    # The project: what it is, and whether it is the stored one.

    def _populate_initial_space(self) -> None:
        if self.hypermodel is None:  # A subclass trains in a way of its own.
            return
        with checked_builds(self.hypermodel) as built:
            super()._populate_initial_space()
        self._kind = type(built[-1])
        check_ranges(self.oracle.get_space().space)
        if self.has_history and self.objectives.lead.name == "default_objective":
            raise checks.fail("objective", "given, unless `HyperModel.fit` returns a number", None)
        if not self.oracle.get_space().space and self.trains_plainly:
            raise ValueError(
                "`hypermodel` must have hyperparameters. Received: a build function that asks `hp` for none. "
                "Call `hp.Float`, `hp.Int`, `hp.Choice` or `hp.Boolean` in it."
            )
        if self._stored is not None:
            project.check_same(self._stored, self._description(), Path(self.project_dir))

    def _description(self, **learnt: dict[str, str]) -> dict[str, Any]:
        described = {
            "format": project.FORMAT,
            "oracle": type(self.oracle).__name__,
            "objective": project.objective_config(self.oracle.objective),
            "folds": folds.describe(self.cv),
            "space": self.oracle.get_space().get_config()["space"],
            "limits": {"max_trials": self.oracle.max_trials, "max_epochs_total": self.budget.max_epochs_total},
            "storage": getattr(self.oracle, "address", None),
        } | {part: learnt.get(part, {}) for part in project.LEARNT_BY_SEARCH}
        return json.loads(json.dumps(described))

    def _record(self, **learnt: dict[str, str]) -> None:
        """Keeps what this search is, with the space that it began with; raises if it is another one than before."""
        if self._is_worker():
            return
        path = Path(self.project_dir) / project.RECORD
        now = self._description(**learnt)
        if self._stored is not None:
            now["space"] = self._stored["space"]  # It may have grown since: `HyperModel.fit` declares some, too.
            project.check_same(self._stored, now, Path(self.project_dir))
            now |= {part: self._stored.get(part) or now[part] for part in project.LEARNT_BY_SEARCH}
        if self._shared is not None:
            now = self._shared.settle(now, self._seed)
            self._seed = self._shared.seed
        project.write_json(path, now)
        self._stored = now

    def _take_seed(self, seed: int | None) -> None:
        """Takes the seed of a new search; one that goes on has its own, on which its folds depend."""
        if self._shared is not None and self._stored is not None:
            self._seed = self._shared.seed
        if self._seed is None:
            self._seed = getattr(self.oracle, "seed", 0) if seed is None else seed
        elif seed not in (None, self._seed):
            raise checks.fail("seed", f"{self._seed}, as in the search that goes on, or None", seed)

    def get_state(self) -> dict[str, Any]:
        return {"seed": self._seed}

    def set_state(self, state: dict[str, Any]) -> None:
        self._seed = state["seed"]

    def save(self) -> None:
        if self._shared is not None:
            return  # The storage has everything.
        if not self._is_worker():
            self.oracle.save()
        project.write_json(Path(self._get_tuner_fname()), self.get_state())

    def reload(self) -> None:
        self._populate_initial_space()
        super().reload()
        project.mend(self.oracle)
        self.outcomes = outcome.read(Path(self.project_dir))

    # The search.

    @ends_with_chief
    def search(self, *fit_args: Any, verbose: Any = "auto", groups: Any = None, **fit_kwargs: Any) -> None:
        """Runs trials until the oracle, a budget or the user ends it.

        Args:
            *fit_args: What `model.fit` takes, such as `x` and `y`.
            verbose: 0 is silent; 1 or "auto" shows how far the search is; 2 also a line of each epoch.
            groups: For cross-validation, of shape (n,): rows of one group are in one fold. Needs `cv`.
            **fit_kwargs: What `model.fit` takes, such as `epochs`, `validation_data` and `callbacks`. Each training has
                a deep copy of the callbacks.

        Raises:
            ValueError: Training produces no such objective; the folds cannot be made; the stored search has other data.
            RuntimeError: `max_consecutive_failures` trials have failed in a row.
            OSError: The disk is full.
        """
        given = folds.Arguments(fit_args, fit_kwargs)
        if os.environ.get("KERASTUNER_ORACLE_IP") and "chief" in os.environ.get("KERASTUNER_TUNER_ID", ""):
            super().search(*fit_args, **fit_kwargs)
            self.outcomes = outcome.read(Path(self.project_dir))
            return
        self._check_data(given, groups)
        train = self.run_trial if self.hypermodel is None else self.hypermodel.fit
        if "verbose" in inspect.signature(train).parameters or _takes_anything(train):
            given = given.replaced(verbose=2 if verbose == 2 else 0)
        self._given = given
        # What is in memory now stays: the collections between trials look at the trials' own objects only.
        gc.collect()
        gc.freeze()
        self._isolation = Isolation(self, given.args, given.kwargs) if self.isolate else None
        try:
            self._run_trials(given, verbose)
        except KeyboardInterrupt:
            self.save()
            _log.warning(
                'Interrupted with %d trials ended. To go on, run the same script with on_existing="resume"; the '
                "trial that was running is run again. The search is in %s.",
                len(self.outcomes), self.project_dir,
            )  # fmt: skip
            raise
        except OSError as error:
            if project.is_full(error):
                raise project.full_disk(error, Path(self.project_dir)) from error
            raise
        finally:
            gc.unfreeze()
            for held in (self._shared, self._isolation):
                if held is not None:
                    held.leave()

    def _check_data(self, given: folds.Arguments, groups: Any) -> None:
        """Checks what can be known before the first epoch, splits the data, and compares them with the stored ones."""
        if self.trains_plainly or getattr(type(self.hypermodel), "fit", None) is SpaceHyperModel.fit:
            check_fit(given, self._kind)
        check_batch_sizes(self.oracle.get_space().space, given.get("x"))
        names = ("x", "y", "sample_weight", "validation_data", "validation_split")
        data = {name: given.get(name) for name in names} | {"groups": groups}
        if self.cv is None and groups is not None:
            raise checks.fail("groups", "None without `cv`", type(groups).__name__)
        if self.cv is not None:
            folds.check_arguments(given)
            seed = derived_seed(self._seed or 0, "folds")
            self._splits = folds.split(self.cv, given.get("x"), given.get("y"), groups, seed)
        validated = self.cv is not None or any(data[name] is not None for name in names[3:])
        wanted = [one.name for one in self.objectives.trained if one.name.startswith("val_")]
        if self.trains_plainly and not validated and wanted:
            raise ValueError(
                f"`objective` must be a metric that training produces. Received: objective={wanted[0]!r}, but "
                "no data to validate with. Give `search` `validation_data` or `validation_split`, or the tuner `cv`."
            )
        copied(given.get("callbacks") or [])
        own = {
            "executions_per_trial": self.executions_per_trial,
            "max_epochs": getattr(self.oracle, "max_epochs", None),
        }
        trained_with = conditions(given, self.hypermodel, own)
        self._record(data=project.fingerprint(data), conditions=trained_with)

    def _run_trials(self, given: folds.Arguments, verbose: Any) -> None:
        self.budget.begin()
        total, shown = self.oracle.max_trials, verbose not in (0, False)
        with SearchProgress(total, self.objectives, shown=shown) as progress, contextlib.closing(self.boards):
            self.boards.run = getattr(self._shared, "board", self.boards.run)
            self.on_search_begin()
            self.refreshed()
            while not self.budget.is_spent(self.refreshed(read=False)):
                progress.update(self.outcomes, self._best_ids())
                self.pre_create_trial()
                check_batch_sizes(self.oracle.get_space().space, given.get("x"))  # `HyperModel.fit` may declare some.
                trial = self.oracle.create_trial(self.tuner_id)
                if trial.status == "STOPPED":
                    break
                if trial.status == "IDLE":
                    time.sleep(0.1)
                    continue
                self.on_trial_begin(trial)
                self._try_run_and_update_trial(trial, *given.args, **given.kwargs)
                self.on_trial_end(trial)
                gc.collect()
                if self._shared is not None and self._shared.refused(trial.trial_id):
                    continue
                ended, best = self.outcomes[trial.trial_id], self._best_ids()
                progress.update(self.outcomes, best, ended)
                metrics = {key: self.outcomes[key].metrics for key in best}
                values = {name: metrics[key][name] for name, key in self.objectives.best(metrics).items()}
                self.boards.end_trial(trial, ended, values, len(self.outcomes))
                self.budget.count(ended)
            self.on_search_end()

    def _best_ids(self) -> list[str]:
        """Returns the best trial, or the front; of another worker's trial nothing may be known yet."""
        best = self.best_trials(None if self.objectives.several else 1)
        return [trial.trial_id for trial in best if trial.trial_id in self.outcomes]


def _oracle(oracle: Any, own: dict[str, Any], kwargs: dict[str, Any]) -> keras_tuner.Oracle:
    """Returns the oracle, made of arguments if there is none; takes those from `kwargs` and checks the rest."""
    if "overwrite" in kwargs:
        raise TypeError('Tuner has no argument `overwrite`: pass on_existing="overwrite" or on_existing="resume".')
    names = [*inspect.signature(Tuner).parameters, *_ORACLE, *_TUNER]
    for name in kwargs:
        if name not in names:
            raise unknown_argument("Tuner", name, [name for name in names if name != "kwargs"])
    options = {name: kwargs.pop(name) for name in _ORACLE if name in kwargs}
    if oracle is None:
        own["max_trials"] = 10 if own["max_trials"] is None else checks.count("max_trials", own["max_trials"])
        if own["seed"] is not None:
            checks.count("seed", own["seed"], 0)
        return shared_oracle(**own, **options) if "storage" in own else OptunaOracle(**own, **options)
    if not isinstance(oracle, keras_tuner.Oracle):
        advice = f"Call it: {oracle.__name__}(...)." if isinstance(oracle, type) else ""
        raise checks.fail("oracle", "a keras_tuner.Oracle", oracle, advice)
    for name, value in (*own.items(), *options.items()):
        if value is not None and name != "seed":
            raise checks.fail(name, "None if there is an oracle, which has its own", value)
    return oracle


def _kept(keep_models: int | None, objectives: Objectives) -> int | None:
    """Returns how many trials keep their weights; None for those of the front."""
    if keep_models is None:
        return None if objectives.several else 1
    return checks.count("keep_models", keep_models, 0)


def _take_over(oracle: Any) -> None:
    """Leaves to the tuner what an oracle would do in another way."""
    project.write_whole(oracle)
    oracle.max_consecutive_failed_trials = None  # It would raise before it has saved the trial.
    oracle.verbose = 0


def _place(directory: Any, project_name: str) -> Path:
    """Returns the directory of a project."""
    if "://" in str(directory):
        raise checks.fail("directory", "a directory of this machine", str(directory))
    return Path(directory or ".") / checks.file_name("project_name", project_name)


def _takes_anything(function: Callable[..., Any]) -> bool:
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())
