"""The trials of a shared search as KerasTuner and the reports know them, also without the search that made them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial

from kopt._core import checks
from kopt.tuning.outcome import Outcome, Training
from kopt.tuning.storage.address import address_of
from kopt.tuning.storage.history import WORKER, Chain, History
from kopt.tuning.storage.worker import name_of

SEARCH = "kopt:search"  # What the search is, in the study's attributes.
SPACE = "kopt:space"  # What the space has become since, if it has.
_STATUS = {"completed": "COMPLETED", "pruned": "COMPLETED", "failed": "FAILED"}


def read(
    directory: Path, description: Mapping[str, Any]
) -> tuple[dict[str, Trial], dict[str, Outcome], dict[str, dict[str, Any]]]:
    """Returns by trial the trials of all workers, what came of those that have ended, and who has run each.

    Args:
        directory: Of the project; its name is that of the search.
        description: What its `project.json` holds, of a search with a storage.

    Raises:
        ValueError: The storage does not have this search.
        ConnectionError: It cannot be reached. A password is not in `project.json`: PostgreSQL's own ways to give one
            (`PGPASSWORD`, `~/.pgpass`) work.
        ImportError: Its driver is not installed.
    """
    address = address_of(description["storage"], directory.resolve())
    if address.path is not None and not address.path.exists():
        raise checks.fail("storage", "one that is there", address.text)
    storage, name = address.open(), directory.resolve().name
    try:
        study_id = storage.get_study_id_from_name(name)
    except KeyError as error:
        raise checks.fail("storage", f"one that has the search {name!r}", address.text) from error
    attributes = storage.get_study_user_attrs(study_id)
    stored = attributes.get(SEARCH, {})
    history = History(
        storage.get_all_trials(study_id, deepcopy=False),
        stored.get("max_trials", 2**31),
        stored.get("max_deaths", 2**31),
    )
    space = attributes.get(SPACE) or description["space"]
    hyperparameters = keras_tuner.HyperParameters.from_config({"space": space, "values": {}})
    trials = {id_of(chain): trial_of(chain, hyperparameters, description["objective"]) for chain in history.chains}
    return trials, outcomes_of(history.chains), {id_of(chain): run_by(chain) for chain in history.chains}


def id_of(chain: Chain) -> str:
    """Returns what a trial is called: its number in the study."""
    return f"{chain.number:04d}"


def run_by(chain: Chain) -> dict[str, Any]:
    """Returns who has run a trial, or runs it, and how many tries there were."""
    return {"worker": name_of(chain.last.user_attrs[WORKER]), "tries": len(chain.tries)}


def outcomes_of(chains: Sequence[Chain]) -> dict[str, Outcome]:
    """Returns what came of the trials that have ended, by trial."""
    found = {id_of(chain): outcome_of(chain) for chain in chains}
    return {key: outcome for key, outcome in found.items() if outcome is not None}


def outcome_of(chain: Chain) -> Outcome | None:
    """Returns what came of a trial; None if it has not ended."""
    if chain.outcome is not None:
        told = dict(chain.outcome["outcome"])
        told["trainings"] = [Training(**training) for training in told["trainings"]]
        return Outcome(**told)
    if chain.runs or chain.waits:
        return None
    names = ", ".join(name_of(one.user_attrs[WORKER]) for one in chain.tries)
    error = f"The workers that ran it died, or were not heard of again: {names}."
    return Outcome(id_of(chain), "failed", error=error)


def trial_of(chain: Chain, hyperparameters: keras_tuner.HyperParameters, objective: Any) -> Trial:
    """Returns a trial as KerasTuner has it.

    Args:
        chain: The trial.
        hyperparameters: The space.
        objective: As `project.objective_config` gives it: one, or a list.
    """
    own = hyperparameters.copy()
    own.values = dict(chain.values or {})
    trial = Trial(own, id_of(chain))
    outcome = outcome_of(chain)
    if outcome is None:
        return trial
    trial.status, trial.message = _STATUS[outcome.status], outcome.traceback or outcome.error or None
    told = chain.outcome or {}
    directions = {one["name"]: one["direction"] for one in (objective if isinstance(objective, list) else [objective])}
    for name, value in outcome.metrics.items():
        if not trial.metrics.exists(name):
            trial.metrics.register(name, directions.get(name))
        trial.metrics.update(name, value, step=told.get("best_step", 0))
    trial.score, trial.best_step = told.get("score"), told.get("best_step", 0)
    return trial
