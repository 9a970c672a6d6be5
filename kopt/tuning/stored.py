"""What is in the directory of a search, read while it runs or afterwards, without its script and without Keras."""

import contextlib
import dataclasses
import json
import math
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kopt._core import checks
from kopt.tuning import ended, project
from kopt.tuning.ended import Outcome
from kopt.tuning.front import Objectives

_ENDED = ("COMPLETED", "FAILED")
State = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class StoredObjective:
    """What a search has minimised or maximised.

    Args:
        name: Of a metric.
        direction: "min" or "max".
    """

    name: str
    direction: str


@dataclasses.dataclass
class StoredSearch:
    """A search as its directory has it at this moment.

    Args:
        directory: Of the project.
        objectives: One, or several.
        trials: What `Trial.get_state` returned, by trial, in order.
        outcomes: Of the trials that have ended.
        workers: Who has run each trial, in columns for the table; empty for a search without a storage.
        limits: `max_trials` and `max_epochs_total`, as far as they are known.
        changed: When a file of a trial was last written, in seconds as `time.time` has them; None if there is none.
        unreadable: Files of trials that could not be read.
    """

    directory: Path
    objectives: list[StoredObjective]
    trials: dict[str, State]
    outcomes: dict[str, Outcome]
    workers: dict[str, dict[str, Any]]
    limits: dict[str, Any]
    changed: float | None
    unreadable: list[Path]

    @property
    def name(self) -> str:
        """The project's name."""
        return self.directory.resolve().name

    @property
    def objective(self) -> Any:
        """The objective as a report wants it: one, or what has several as its `objectives`."""
        one = self.objectives[0]
        return one if len(self.objectives) == 1 else types.SimpleNamespace(objectives=self.objectives)

    def rows(self, *, folds: bool = False) -> list[dict[str, Any]]:
        """Returns what `Tuner.rows` does.

        Args:
            folds: Whether to have a row for each training.
        """
        front = self._front()
        more = {key: dict(self.workers.get(key, {})) for key in self.trials}
        if front is not None:
            more = {key: own | {"pareto": key in front} for key, own in more.items()}
        return rows(self.trials, self.outcomes, folds=folds, more=more)

    def ranked(self, by: str | None = None) -> list[dict[str, Any]]:
        """Returns the rows of the trials that have run to their end, best first; of several objectives, their front.

        Args:
            by: The objective that says which is the best; None for the first.
        """
        one = self.objective_named(by)
        done = [row for row in self.rows() if row["status"] == "completed" and row.get("pareto", True)]
        return sorted(done, key=lambda row: row[one.name] * (-1.0 if one.direction == "max" else 1.0))

    def objective_named(self, name: str | None) -> StoredObjective:
        """Returns the objective of this name, the first one for None.

        Args:
            name: One of those that there are, or None.
        """
        names = [one.name for one in self.objectives]
        return self.objectives[0 if name is None else names.index(checks.choice("by", name, names))]

    def _front(self) -> set[str] | None:
        """Returns the trials that none beats, None if there is one objective only."""
        if len(self.objectives) == 1:
            return None
        over = {key for key, state in self.trials.items() if state["status"] == "COMPLETED"}
        done = {key: one.metrics for key, one in self.outcomes.items() if key in over and one.status == "completed"}
        return set(Objectives(self.objective).front(done))


def rows(
    trials: Mapping[str, State],
    outcomes: Mapping[str, Outcome],
    *,
    folds: bool,
    more: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """Returns a row for each trial, or for each of its trainings, as `Tuner.results` describes them.

    Args:
        trials: What `Trial.get_state` returned, by trial.
        outcomes: Of the trials that have ended.
        folds: Whether to have a row for each training.
        more: Further columns, by trial.
    """
    found = []
    for key in sorted(trials, key=lambda key: key.zfill(20)):
        over = outcomes.get(key)
        values = {f"hp/{name}": value for name, value in settings(trials[key]["hyperparameters"]).items()}
        is_over = over is not None and trials[key]["status"] in _ENDED
        row: dict[str, Any] = {"trial": key, "status": over.status if is_over and over is not None else "running"}
        row |= (more or {}).get(key, {})
        if over is None or not folds:
            told = {} if over is None else {"epochs": over.epochs, "seconds": over.seconds, "error": over.error}
            found.append(row | (over.metrics if over is not None else {}) | told | values)
            continue
        for one in over.trainings:
            place = {"fold": one.fold, "execution": one.execution, "best_epoch": one.best_epoch}
            found.append(row | place | {"epochs": one.epochs} | one.metrics | values)
    return found


def settings(hyperparameters: State) -> dict[str, Any]:
    """Returns the values of the active hyperparameters.

    Args:
        hyperparameters: What `keras_tuner.HyperParameters.get_config` returns.
    """
    values = hyperparameters["values"]
    active: dict[str, bool] = {}  # A name may stand under several conditions.
    for entry in hyperparameters["space"]:
        conditions = [condition["config"] for condition in entry["config"]["conditions"]]
        holds = all(found["name"] in values and values[found["name"]] in found["values"] for found in conditions)
        active[entry["config"]["name"]] = holds or active.get(entry["config"]["name"], False)
    return {name: value for name, value in values.items() if active.get(name, True)}


def settings_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the active hyperparameters in a row."""
    return {key.removeprefix("hp/"): value for key, value in row.items() if key.startswith("hp/")}


def read(directory: Path) -> StoredSearch:
    """Reads the directory of a search, and changes nothing there.

    Args:
        directory: Of the project: `<directory>/<project_name>` of the tuner.

    Raises:
        ValueError: There is no search, or one of another version or of KerasTuner's own tuner.
        OSError: Something must not be read.
    """
    described = _described(directory)
    unreadable: list[Path] = []
    workers: dict[str, dict[str, Any]] = {}
    files, results = list(directory.glob("trial_*/trial.json")), list(directory.glob(f"trial_*/{ended.FILE}"))
    if described.get("storage") is not None:
        from kopt.tuning.storage import reading  # Needs Optuna, which takes a while.

        live, outcomes, workers = reading.read(directory, described)
        trials: dict[str, State] = {key: trial.get_state() for key, trial in live.items()}
    else:
        states = [_file(path, _state, unreadable) for path in files]
        trials = {state["trial_id"]: state for state in states if state is not None}
        over = [_file(path, ended.read_one, unreadable) for path in results]
        outcomes = {one.trial_id: one for one in over if one is not None}
    given = described["objective"]
    limits = {key: value for key, value in (described.get("limits") or {}).items() if value != math.inf}
    return StoredSearch(
        directory=directory,
        objectives=[StoredObjective(**one) for one in (given if isinstance(given, list) else [given])],
        trials=trials,
        outcomes=outcomes,
        workers=workers,
        limits=limits,
        changed=_last_change([*files, *results]),
        unreadable=unreadable,
    )


def _last_change(files: Iterable[Path]) -> float | None:
    times = []
    for path in files:
        with contextlib.suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times, default=None)


def _state(path: Path) -> State:
    """Returns a trial, if the file holds one."""
    state: State = project.read_json(path)
    settings(state["hyperparameters"])
    return {key: state[key] for key in ("trial_id", "status", "hyperparameters")}


def _file(path: Path, reader: Any, unreadable: list[Path]) -> Any:
    """Returns what is in a file; None if that is half there, or has gone since it was listed."""
    try:
        return reader(path)
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, KeyError):
        unreadable.append(path)
        return None


def _described(directory: Path) -> dict[str, Any]:
    """Returns what `project.json` holds, if that is of this version."""
    if not directory.is_dir():
        raise ValueError(f"`DIR` must be the directory of a search. Received: {directory}, which is no directory.")
    path = directory / project.RECORD
    if not path.exists():
        raise ValueError(f"`DIR` must be the directory of a search. Received: {directory}, {_instead(directory)}")
    try:
        described = project.read_json(path)
        version = described["format"]
    except (json.JSONDecodeError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise ValueError(f"{path} cannot be read: it is no description of a search ({error}).") from error
    if version != project.FORMAT:
        raise ValueError(
            f"The search in {directory} is of another version of kopt. Received: format {version}, needed: "
            f"{project.FORMAT}."
        )
    return dict(described)


def _instead(directory: Path) -> str:
    """Returns what is in a directory that is no search of kopt."""
    below = sorted(path.parent.name for path in directory.glob(f"*/{project.RECORD}"))
    if below:
        return f"in which there are searches: {', '.join(below)}. Name one of them."
    if project.exists(directory):
        return "which holds a search of KerasTuner's own tuner."
    return "in which there is none."
