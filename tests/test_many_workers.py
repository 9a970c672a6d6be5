"""Many workers on one storage, as processes that are killed: every trial ends once, whatever becomes of its worker."""

import json
import signal
import time
from pathlib import Path

import databases
import keras
import optuna
import pytest
from many_workers import Crew, until

from kopt.tuning.storage.address import address_of
from kopt.tuning.storage.reading import read

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="no backend is involved: once is enough")


def found(directory):
    """Returns the trials and outcomes of the search in a directory."""
    place = Path(directory) / "shared"
    return read(place, json.loads((place / "project.json").read_text()))


def stored(directory, storage):
    """Returns the trials as Optuna has them."""
    opened = address_of(storage, Path(directory) / "shared").open()
    return opened.get_all_trials(opened.get_study_id_from_name("shared"))


def check(crew, directory, storage, count):
    """Checks that all of `count` trials were run to their end, and counted once."""
    trials, outcomes = found(directory)
    assert len(trials) == len(outcomes) == count
    assert {outcome.status for outcome in outcomes.values()} == {"completed"}
    values = {key: trial.hyperparameters.values["u"] for key, trial in trials.items()}
    assert len(set(values.values())) == count
    for key, outcome in outcomes.items():
        assert outcome.metrics["score"] == (values[key] - 0.3) ** 2
    notes = [note for worker in crew.all for note in worker.notes]
    assert {f"end {value!r}" for value in values.values()} <= set(notes)
    # None was run again that had ended: but for those whose worker was killed before it could tell.
    ends = [note for note in notes if note.startswith("end")]
    assert len(ends) <= count + sum(worker.code != 0 for worker in crew.all)
    complete = [t for t in stored(directory, storage) if t.state == optuna.trial.TrialState.COMPLETE]
    assert sorted(trial.value for trial in complete) == sorted((value - 0.3) ** 2 for value in values.values())
    digests = {worker.notes[-1] for worker in crew.all if worker.code == 0}
    assert len(digests) == 1
    assert next(iter(digests)).startswith("over")


def killed(directory, storage, *, count, kills, trials, seconds, during=None):
    """Runs a search whose workers are killed, and checks it."""
    with Crew(directory, storage, "--trials", trials, "--seconds", seconds) as crew:
        assert crew.run(count, kills=kills, longest=2.5 * seconds, during=during) == kills
        check(crew, directory, storage, trials)


def test_two_workers_and_two_kills(tmp_path):
    killed(tmp_path, "journal", count=2, kills=2, trials=8, seconds=0.4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["journal", "sqlite", "postgresql"])
def test_twenty_kills_lose_nothing(tmp_path, kind):
    if kind == "postgresql":
        with databases.Postgres() as server:
            killed(tmp_path, server.address, count=4, kills=20, trials=60, seconds=0.6)
    else:
        storage = "journal" if kind == "journal" else f"sqlite:///{tmp_path}/search.db"
        killed(tmp_path, storage, count=4, kills=20, trials=60, seconds=0.6)
