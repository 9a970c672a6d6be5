"""A search in a storage, by several tuners that take turns: they are one search, and know of each other's trials."""

import json
import shutil
import time

import databases
import keras
import keras_tuner
import optuna
import pytest
import searches
import sqlalchemy.exc

from kopt import tuning
from kopt.tuning import stored
from kopt.tuning.storage import history as marks
from kopt.tuning.storage.address import address_of
from kopt.tuning.storage.history import History
from kopt.tuning.storage.journal import JournalFile
from kopt.tuning.storage.passing import Patient
from kopt.tuning.storage.reading import read
from kopt.tuning.storage.silence import Silence
from kopt.tuning.storage.study import SharedStudy
from kopt.tuning.storage.worker import identity, is_dead

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="no backend is involved: once is enough")


def slow(*kinds):
    return [pytest.param(kind, marks=pytest.mark.slow) for kind in kinds]


def opened(kind, directory):
    if kind == "postgresql":
        with databases.Postgres() as server:
            yield server.address
    else:
        yield "journal" if kind == "journal" else f"sqlite:///{directory}/search.db"


@pytest.fixture(params=["journal", *slow("sqlite", "postgresql")])
def storage(request, tmp_path):
    yield from opened(request.param, tmp_path)


@pytest.fixture(params=["journal", "sqlite", *slow("postgresql")])
def any_storage(request, tmp_path):
    yield from opened(request.param, tmp_path)


def shared(directory, acts=None, **options):
    return searches.curve_tuner(directory, acts, **{"storage": "journal", **options})


def settings(tuner):
    return [(row["trial"].lstrip("0"), row["hp/u"], row["hp/kind"], row["score"]) for row in tuner.rows()]


def test_a_shared_search_finds_what_one_without_a_storage_finds(tmp_path, storage):
    alone = searches.curve_tuner(tmp_path / "alone", max_trials=12)
    alone.search(verbose=0)
    first = shared(tmp_path / "shared", storage=storage, max_trials=12)
    first.search(verbose=0)
    assert settings(first) == settings(alone)
    assert len({row["hp/u"] for row in first.rows()}) == 12


def stop():
    raise KeyboardInterrupt


def test_workers_in_turn_are_one_search(tmp_path, storage):
    first = shared(tmp_path, {3: stop}, storage=storage, max_trials=6, max_deaths_per_trial=1)
    with pytest.raises(KeyboardInterrupt):
        first.search(verbose=0)
    second = shared(tmp_path, storage=storage, max_trials=6, max_deaths_per_trial=1, seed=None)
    assert [row["status"] for row in second.rows()] == ["completed"] * 3 + ["running"]
    second.search(verbose=0)
    # The trial that was given up is the first that the next one runs: with the same values, and not as a death.
    assert second.hypermodel.calls[0] == first.hypermodel.calls[3]
    assert len(second.hypermodel.calls) == 3
    assert [row["status"] for row in second.rows()] == ["completed"] * 6
    assert first.rows() == second.rows()
    assert first.best_hyperparameters()[0].values == second.best_hyperparameters()[0].values
    more = shared(tmp_path, storage=storage, max_trials=8)
    more.search(verbose=0)
    assert len(more.rows()) == 8
    assert len(more.hypermodel.calls) == 2


def fail():
    raise ArithmeticError("diverged")


def test_what_one_worker_found_the_others_and_a_reader_know(tmp_path):
    first = shared(tmp_path / "a", {1: fail}, storage=f"journal://{tmp_path}/trials.log")
    first.search(verbose=0)
    second = shared(tmp_path / "b", storage=f"journal://{tmp_path}/trials.log")
    assert second.rows() == first.rows()
    assert second.rows()[1]["status"] == "failed"
    assert "diverged" in second.rows()[1]["error"]
    assert "ArithmeticError" in second.outcomes["0001"].traceback
    assert second.report(tmp_path / "report.html").exists()
    described = json.loads((tmp_path / "b" / "search" / "project.json").read_text())
    assert described["storage"] == f"journal://{tmp_path}/trials.log"
    trials, outcomes, workers = read(tmp_path / "b" / "search", described)
    assert outcomes == second.outcomes
    assert {row["trial"]: row["tries"] for row in second.rows()} == {key: own["tries"] for key, own in workers.items()}
    shown = stored.read(tmp_path / "b" / "search").rows()  # what `kopt table` shows
    assert shown == second.rows()
    assert all(row["worker"] for row in shown)
    for key, trial in second.oracle.trials.items():
        assert trials[key].get_state() == trial.get_state()
    ranked = [trial.trial_id for trial in first.best_trials(3)]
    assert ranked == sorted(outcomes, key=lambda key: outcomes[key].metrics.get("score", 9))[:3]


def test_a_reader_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match=r"`storage` must be one that is there. Received: storage='journal'."):
        read(tmp_path, {"storage": "journal"})
    shared(tmp_path)
    (tmp_path / "other").mkdir()
    shutil.copy(tmp_path / "search" / "journal.log", tmp_path / "other")
    with pytest.raises(ValueError, match="one that has the search 'other'"):
        read(tmp_path / "other", {"storage": "journal"})


# What `storage=` may be.


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (3, "`storage` must be None, \"journal\", an address such as .* Received: storage=3"),
        ("", "Received: storage=''"),
        ("search.db", "Received: storage='search.db'"),
        ("nosql://me:secret@host/db", "Received: storage='nosql://me@host/db'"),
        ("sqlite://", "a database that other processes see"),
        ("sqlite:///:memory:", "a database that other processes see"),
    ],
)  # fmt: skip
def test_wrong_storages(tmp_path, wrong, text):
    with pytest.raises(ValueError, match=text):
        shared(tmp_path, storage=wrong)


def test_storages_that_no_other_process_sees(tmp_path):
    with pytest.raises(ValueError, match="`storage` must be one that other processes see"):
        shared(tmp_path, storage=optuna.storages.InMemoryStorage())


def test_a_storage_that_cannot_be_reached(tmp_path):
    for address in ("postgresql://me:secret@127.0.0.1:9/db", "redis://:secret@127.0.0.1:9/0"):
        pytest.importorskip("psycopg" if address.startswith("postgresql") else "redis")
        with pytest.raises(ConnectionError, match="`storage` must be one that can be reached") as caught:
            shared(tmp_path, storage=address)
        assert "secret" not in str(caught.value)
        assert "127.0.0.1:9/" in str(caught.value)
        assert "No trial has begun." in str(caught.value)
    with pytest.raises(ConnectionError, match=r"There is no directory '.*nowhere'"):
        shared(tmp_path, storage=f"sqlite:///{tmp_path}/nowhere/search.db")
    with pytest.raises(ConnectionError, match=r"There is no directory '.*nowhere'"):
        shared(tmp_path, storage=f"journal://{tmp_path}/nowhere/trials.log")
    with pytest.raises(ImportError, match=r"`storage='oracle://me@host/db'` needs a driver that is not installed"):
        shared(tmp_path, storage="oracle://me:secret@host/db")


def test_other_arguments_that_a_storage_rules_out(tmp_path):
    with pytest.raises(ValueError, match="`on_existing` must be one of 'resume', 'error'"):
        shared(tmp_path, on_existing="overwrite")
    with pytest.raises(ValueError, match="`max_retries_per_trial` must be 0 with `storage`"):
        shared(tmp_path, max_retries_per_trial=2)
    with pytest.raises(ValueError, match="`worker_timeout` must be a finite number > 0"):
        shared(tmp_path, worker_timeout=0)
    with pytest.raises(ValueError, match="`max_deaths_per_trial` must be an integer >= 1"):
        shared(tmp_path, max_deaths_per_trial=0)
    oracle = tuning.OptunaOracle(keras_tuner.Objective("score", "min"))
    with pytest.raises(ValueError, match=r"`storage` must be None if there is an oracle, which has its own"):
        tuning.Tuner(searches.Curve(), oracle, storage="journal", directory=tmp_path)
    shared(tmp_path)
    with pytest.raises(ValueError, match=r"`on_existing` must be \"resume\".* take another `project_name`"):
        shared(tmp_path, on_existing="error")


def test_a_storage_of_the_users(tmp_path):
    made = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/search.db")
    shared(tmp_path / "a", storage=made).search(verbose=0)
    second = shared(tmp_path / "b", storage=f"sqlite:///{tmp_path}/search.db")
    assert len(second.outcomes or second.rows()) == 5
    assert json.loads((tmp_path / "a/search/project.json").read_text())["storage"] == f"sqlite:///{tmp_path}/search.db"


def test_a_connection_that_broke_within_a_transaction_is_tried_again(caplog):
    def asked():
        try:
            try:
                raise sqlalchemy.exc.OperationalError("SELECT 1", {}, OSError("server closed the connection"))
            except sqlalchemy.exc.OperationalError:
                raise sqlalchemy.exc.PendingRollbackError("Can't reconnect until it is rolled back.")  # noqa: B904
        except sqlalchemy.exc.SQLAlchemyError as error:
            raise optuna.exceptions.StorageInternalError("An exception is raised during the commit.") from error

    answers = iter([asked, asked, lambda: "the answer"])
    storage = Patient(optuna.storages.InMemoryStorage(), None, "postgresql://here/search")
    assert storage.call(lambda: next(answers)()) == "the answer"
    assert caplog.text.count("'postgresql://here/search' fails: server closed the connection. Trying again.") == 2

    def wrong():
        raise sqlalchemy.exc.PendingRollbackError("Somebody forgot to roll back.")

    with pytest.raises(sqlalchemy.exc.PendingRollbackError, match="forgot"):
        storage.call(wrong)


@pytest.mark.slow
def test_redis(tmp_path):
    pytest.importorskip("redis")
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    with databases.Redis() as server:
        first = shared(tmp_path / "a", storage=server.address)
        first.search(verbose=0)
        assert shared(tmp_path / "b", storage=server.address).rows() == first.rows()


# Whether it is the same search.


class Other(searches.Curve):
    """Has another range."""

    def build(self, hp):
        model = super().build(hp)
        hp.Int("more", 1, 3)
        return model


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"hypermodel": Other()}, "hyperparameter `more`: is new"),
        ({"objective": keras_tuner.Objective("score", "max")}, "objective: .*'min'.*, now .*'max'"),
        ({"cv": 2}, "folds"),
        ({"seed": 4}, "`seed` must be 0, as in the search that goes on"),
    ],
)
def test_another_search_is_not_mixed_in(tmp_path, change, text):
    storage = f"journal://{tmp_path}/trials.log"
    shared(tmp_path / "a", storage=storage)
    options = {"objective": keras_tuner.Objective("score", "min"), "seed": 0, "hypermodel": searches.Curve(), **change}
    with pytest.raises(ValueError, match=text):
        tuning.Tuner(**options, storage=storage, directory=tmp_path / "b")


def test_other_data_are_not_mixed_in(tmp_path):
    x, y = searches.data()
    shared(tmp_path).search(x, y, verbose=0)
    with pytest.raises(ValueError, match="data `x`"):
        shared(tmp_path, max_trials=7).search(x[:40], y[:40], verbose=0)


def test_a_search_without_a_storage_is_none_with_one(tmp_path):
    searches.curve_tuner(tmp_path)
    with pytest.raises(ValueError, match="`directory` must be that of a search with a storage"):
        shared(tmp_path)
    shared(tmp_path, project_name="shared")
    with pytest.raises(ValueError, match="There is a search in"):
        searches.curve_tuner(tmp_path, project_name="shared")
    with pytest.raises(ValueError, match="storage: journal, now None"):
        searches.curve_tuner(tmp_path, project_name="shared", on_existing="resume")


# What is proposed.


def in_turn(tmp_path, count, **options):
    """Runs a search by workers that run one trial each, and returns them."""
    workers = []
    for _ in range(count):
        workers.append(shared(tmp_path, {1: stop}, **options))
        with pytest.raises(KeyboardInterrupt):
            workers[-1].search(verbose=0)
    return workers


def test_each_point_of_a_grid_once(tmp_path):
    hp = keras_tuner.HyperParameters()
    hp.Int("u", 0, 2)
    options = {"sampler": "grid", "max_trials": 50, "hyperparameters": hp}
    in_turn(tmp_path, 4, **options)
    last = shared(tmp_path, **options)
    last.search(verbose=0)
    points = [(row["hp/u"], row["hp/kind"]) for row in last.rows()]
    assert points == [(u, kind) for u in range(3) for kind in "ab"]
    assert {row["status"] for row in last.rows()} == {"completed"}


def test_what_is_enqueued_is_tried_once(tmp_path):
    def worker(acts=None):
        made = shared(tmp_path, acts)
        made.oracle.enqueue({"u": 0.25, "kind": "b"})
        made.oracle.enqueue({"u": 0.75})
        return made

    with pytest.raises(KeyboardInterrupt):
        worker({1: stop}).search(verbose=0)
    last = worker()
    last.search(verbose=0)
    values = [row["hp/u"] for row in last.rows()]
    assert values[:2] == [0.25, 0.75]
    assert values.count(0.25) == values.count(0.75) == 1


def test_what_is_enqueued_and_was_tried_is_passed_over(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        shared(tmp_path, {1: stop}).search(verbose=0)
    last = shared(tmp_path)
    last.oracle.enqueue({name: last.rows()[0][f"hp/{name}"] for name in ("u", "kind")})
    last.oracle.enqueue({"u": 0.125})
    last.search(verbose=0)
    values = [row["hp/u"] for row in last.rows()]
    assert len(set(values)) == len(values) == 5
    assert 0.125 in values


def test_results_of_another_search_are_added_once(tmp_path):
    old = searches.curve_tuner(tmp_path / "old")
    old.search(verbose=0)

    def worker(acts=None):
        made = shared(tmp_path, acts, max_trials=3)
        made.oracle.add_trials(tmp_path / "old" / "search")
        return made

    with pytest.raises(KeyboardInterrupt):
        worker({1: stop}).search(verbose=0)
    last = worker()
    last.search(verbose=0)
    assert len(last.rows()) == 3
    trials = last.oracle._shared.study.get_trials()
    assert sum(marks.EARLIER in trial.user_attrs for trial in trials) == 5
    assert len(trials) == 8
    assert not {row["hp/u"] for row in last.rows()} & {row["hp/u"] for row in old.rows()}


class Growing(searches.Curve):
    """Declares a hyperparameter while it trains."""

    def fit(self, hp, model, *args, **kwargs):
        hp.Float("late", 0.0, 1.0)
        return super().fit(hp, model, *args, **kwargs)


def test_a_hyperparameter_that_a_training_declares_is_searched_by_all(tmp_path):
    def worker(acts):
        objective = keras_tuner.Objective("score", "min")
        return tuning.Tuner(
            Growing(acts), objective=objective, max_trials=4, seed=0, directory=tmp_path, storage="journal"
        )

    with pytest.raises(KeyboardInterrupt):
        worker({1: stop}).search(verbose=0)
    second = worker(None)
    second.search(verbose=0)
    late = [row["hp/late"] for row in second.rows()]
    assert late[0] == 0.0
    assert len(set(late[2:])) == 2
    assert 0.0 not in late[2:]


# What does not depend on a search.


def studies(tmp_path, storage, count=2):
    address = address_of(storage, tmp_path)
    made = [
        SharedStudy(address, "one", ["min"], optuna.pruners.NopPruner(), max_trials=3, max_deaths=2)
        for _ in range(count)
    ]
    assert [study.is_new for study in made] == [True] + [False] * (count - 1)
    return made


OUTCOME = {"status": "completed", "values": [1.0], "outcome": {}}


def test_a_trial_that_was_given_away_is_not_overwritten(tmp_path, any_storage):
    slow, other = studies(tmp_path, any_storage)
    trial = slow.claim({marks.WORKER: identity(tmp_path)})
    assert other.give_up(other.storage.get_trial(trial._trial_id))
    (chain,) = other.history().chains
    assert chain.waits
    assert not slow.tell(trial, OUTCOME)
    assert not slow.beat(trial, 1)
    assert not other.give_up(trial)
    (same,) = other.history().chains
    assert same.last == chain.last
    assert same.last.state == optuna.trial.TrialState.FAIL


def test_a_result_that_was_written_before_its_worker_died_counts(tmp_path, any_storage):
    slow, other = studies(tmp_path, any_storage)
    trial = slow.claim({marks.WORKER: identity(tmp_path)})
    slow.set(trial, marks.OUTCOME, OUTCOME)
    assert other.give_up(other.storage.get_trial(trial._trial_id))
    (chain,) = other.history().chains
    assert chain.outcome == OUTCOME
    assert chain.last.values == [1.0]
    assert slow.tell(trial, OUTCOME)  # Which it is told when it comes back.


def test_of_two_that_run_a_trial_again_one_counts(tmp_path, any_storage):
    first, second = studies(tmp_path, any_storage)
    worker = identity(tmp_path)
    first.give_up(first.claim({marks.WORKER: worker}))
    again = {marks.WORKER: worker, marks.ROOT: 0, marks.AFTER: 0, marks.TRY: 2, marks.DEATHS: 1}
    tries = [study.claim(again) for study in (first, second)]
    history = second.history()
    assert [history.counts(trial.number) for trial in tries] == [True, False]
    second.set(tries[1], marks.SPARE, value=True)
    second.give_up(tries[1])
    first.give_up(tries[0])
    (chain,) = first.history().chains
    assert (chain.deaths, chain.waits, chain.runs, chain.outcome) == (2, False, False, None)


def test_what_arrives_after_a_trial_runs_again_counts_for_nothing():
    # A database may let an attribute slip in beside the end of a trial, which a reader then finds.
    def trial(number, state, **attributes):
        made = optuna.trial.create_trial(
            state=state, user_attrs={marks.WORKER: {"host": "h", "pid": 1}, **attributes},
            value=1.0 if state == optuna.trial.TrialState.COMPLETE else None,
        )  # fmt: skip
        made.number = number
        return made

    states = optuna.trial.TrialState
    late = {marks.OUTCOME: OUTCOME}
    lost = trial(0, states.FAIL, **late)
    assert History([lost], 3, 2).chains[0].waits
    failed = trial(0, states.FAIL, **{marks.OUTCOME: OUTCOME | {"status": "failed"}})
    assert not History([failed], 3, 2).chains[0].waits
    again = trial(1, states.RUNNING, **{marks.ROOT: 0, marks.AFTER: 0})
    (chain,) = History([failed, again], 3, 2).chains
    assert chain.runs
    assert chain.last is again


def test_trials_beyond_the_last_do_not_count(tmp_path):
    (study,) = studies(tmp_path, "journal", count=1)
    made = [study.claim({marks.WORKER: identity(tmp_path)}) for _ in range(4)]
    history = study.history()
    assert history.is_full
    assert [history.counts(trial.number) for trial in made] == [True, True, True, False]


def test_silence_is_counted_by_those_that_are_awake():
    silence = Silence(0.02)
    silence.look({1: 0, 2: 0})
    time.sleep(0.03)
    silence.look({1: 0, 2: 1})
    assert silence.over() == set()  # It may have been this process that slept.
    time.sleep(0.03)
    silence.look({1: 0, 2: 2})
    assert silence.over() == {1}
    assert Silence(None).over() == set()


def test_workers_that_are_known_to_be_dead(tmp_path):
    worker = identity(tmp_path)
    assert not is_dead(worker)
    if worker["start"] is None:
        pytest.skip("there is no /proc")
    assert is_dead(worker | {"start": worker["start"] - 1})  # Another process had this id.
    assert not is_dead(worker | {"start": worker["start"] - 1, "where": "another machine"})
    assert not is_dead(worker | {"start": None, "where": None})


def test_a_journal_survives_half_a_line(tmp_path):
    path = tmp_path / "trials.log"
    first = JournalFile(path)
    first.append_logs([{"a": 1}, {"b": "é" * 5000}])
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"c": ' + b"x" * 9000)  # Its writer was killed.
    assert [*JournalFile(path).read_logs(0)] == [{"a": 1}, {"b": "é" * 5000}]
    JournalFile(path).append_logs([{"d": 2}])
    assert path.read_bytes() == whole + b'{"d":2}\n'
    reader = JournalFile(path)
    assert [*reader.read_logs(1)] == [{"b": "é" * 5000}, {"d": 2}]
    first.append_logs([{"e": 3}])
    assert [*reader.read_logs(3)] == [{"e": 3}]
    assert [*reader.read_logs(0)][3] == {"e": 3}
    assert [*reader.read_logs(4)] == []
