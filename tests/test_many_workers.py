"""Many workers on one storage, as processes that are killed: every trial ends once, whatever becomes of its worker."""

import json
import signal
import time
from pathlib import Path

import databases
import keras
import optuna
import pytest
from many_workers import Crew, Source, stop_between_writes, until

from kopt.tuning.storage.address import address_of
from kopt.tuning.storage.reading import read

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="no backend is involved: once is enough")


@pytest.fixture(scope="module")
def source():
    with Source() as made:
        yield made


def found(directory):
    """Returns the trials and outcomes of the search in a directory."""
    place = Path(directory) / "shared"
    trials, outcomes, _ = read(place, json.loads((place / "project.json").read_text()))
    return trials, outcomes


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


def killed(source, directory, storage, *, count, kills, trials, seconds, during=None):
    """Runs a search whose workers are killed, and checks it."""
    with Crew(source, directory, storage, "--trials", trials, "--seconds", seconds) as crew:
        assert crew.run(count, kills=kills, longest=2.5 * seconds, during=during) == kills
        check(crew, directory, storage, trials)


def test_two_workers_and_two_kills(source, tmp_path):
    killed(source, tmp_path, "journal", count=2, kills=2, trials=8, seconds=0.4)


def test_workers_that_propose_at_once_try_each_point_of_a_grid_once(source, tmp_path):
    with Crew(source, tmp_path, "journal", "--grid", 9, "--trials", 50, "--seconds", 0) as crew:
        crew.run(3, kills=0, longest=1.0)
        trials, outcomes = found(tmp_path)
        points = [
            (trial.hyperparameters.values["u"], trial.hyperparameters.values["kind"]) for trial in trials.values()
        ]
        assert sorted(points) == [(u, kind) for u in range(10) for kind in "ab"]
        assert {outcome.status for outcome in outcomes.values()} == {"completed"}
        begun = [note for worker in crew.all for note in worker.notes if note.startswith("begin")]
        assert len(begun) == 20
        assert all(any(note.startswith("begin") for note in worker.notes) for worker in crew.all)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["journal", "sqlite", "postgresql"])
def test_twenty_kills_lose_nothing(source, tmp_path, kind):
    if kind == "postgresql":
        with databases.Postgres() as server:
            killed(source, tmp_path, server.address, count=4, kills=20, trials=60, seconds=0.6)
    else:
        storage = "journal" if kind == "journal" else f"sqlite:///{tmp_path}/search.db"
        killed(source, tmp_path, storage, count=4, kills=20, trials=60, seconds=0.6)


def test_a_worker_that_comes_back_changes_nothing(source, tmp_path):
    with Crew(source, tmp_path, "journal", "--trials", 14, "--seconds", 0.4, "--timeout", 2) as crew:
        stopped = crew.start()
        until(lambda: len(stopped.notes) == 3)  # It has ended one trial and is in the middle of the second.
        stop_between_writes(stopped, tmp_path / "shared" / "journal.log")
        (value,) = [note.removeprefix("begin ") for note in stopped.notes[2:]]
        other = crew.start()
        until(lambda: f"end {value}" in other.notes)
        key = next(k for k, t in found(tmp_path)[0].items() if repr(t.hyperparameters.values["u"]) == value)
        until(lambda: key in found(tmp_path)[1])
        before = found(tmp_path)[1][key]
        stopped.signal(signal.SIGCONT)
        until(lambda: f"end {value}" in stopped.notes)
        until(lambda: stopped.poll() is not None and other.poll() is not None)
        assert stopped.code == other.code == 0
        assert "is given away" in other.errors
        assert f"Trial {key} had been given away" in stopped.errors
        assert found(tmp_path)[1][key] == before
        assert sum(note.startswith("end") for note in stopped.notes) > 2  # It has gone on.
        digests = {worker.notes[-1] for worker in crew.all}
        assert len(digests) == 1
        values = [trial.hyperparameters.values["u"] for trial in found(tmp_path)[0].values()]
        assert len(values) == len(set(values)) == 14


def test_a_worker_dies_before_its_first_sign_of_life(source, tmp_path):
    with Crew(source, tmp_path, "journal", "--trials", 3, "--seconds", 0.05, "--timeout", 60) as crew:
        first = crew.start("--die-in", 1)
        until(lambda: first.poll() is not None)
        assert first.code == -signal.SIGKILL
        (lost,) = [note.removeprefix("begin ") for note in first.notes]
        second = crew.start()
        until(lambda: second.poll() is not None)
        assert second.code == 0, second.errors
        assert f"end {lost}" in second.notes
        check(crew, tmp_path, "journal", 3)


def test_a_trial_that_kills_its_workers_does_not_end_the_search(source, tmp_path):
    arguments = ("journal", "--trials", 6, "--seconds", 0.05, "--deaths", 2, "--poison")
    with Crew(source, tmp_path, *arguments) as crew:
        workers = [crew.start()]
        while workers[-1].code != 0:
            until(lambda: workers[-1].poll() is not None)
            if workers[-1].code != 0:
                workers.append(crew.start())
        trials, outcomes = found(tmp_path)
        assert len(trials) == len(outcomes) == 6
        for key, trial in trials.items():
            poisonous = trial.hyperparameters.values["kind"] == "b"
            assert outcomes[key].status == ("failed" if poisonous else "completed")
            assert ("The workers that ran it died" in outcomes[key].error) == poisonous
        lethal = sum(outcome.status == "failed" for outcome in outcomes.values())
        assert lethal > 0
        assert len(workers) == 2 * lethal + 1


@pytest.mark.slow
def test_a_database_that_is_started_again_loses_nothing(source, tmp_path):
    with databases.Postgres() as server:
        done = []

        def restart():
            if not done and len(found(tmp_path)[1] if (tmp_path / "shared" / "project.json").exists() else ()) > 3:
                server.stop()
                time.sleep(3)
                server.start()
                done.append(True)

        with Crew(source, tmp_path, server.address, "--trials", 16, "--seconds", 0.5) as crew:
            crew.run(2, kills=0, longest=1.0, during=restart)
            assert done
            assert "Trying again" in crew.errors
            check(crew, tmp_path, server.address, 16)
