"""Trials that are pruned, fail, are run again or lose their worker, as the oracle sees it."""

import copy
import math
import threading
import time

import keras_tuner
import numpy as np
import optuna
import pytest
from search_spaces import finish, loss_of, once, oracle_in

# KerasTuner's lock asks threads for their names in the old way, at each call.
pytestmark = [once, pytest.mark.filterwarnings("ignore:(currentThread|getName):DeprecationWarning")]


def reported(oracle, trial, values):
    """Reports until told to stop; returns how many reports there were."""
    for step, value in enumerate(values):
        if oracle.update_trial(trial.trial_id, {"__report__": value}, step=step).status == "STOPPED":
            return step + 1
    return len(values)


@pytest.mark.parametrize("pruner", ["asha", "successive_halving", "hyperband", "median", "patience", "threshold"])
def test_a_bad_trial_is_stopped_and_a_good_one_is_not(pruner, tmp_path):
    oracle = oracle_in(tmp_path, 20, pruner=pruner)
    for _ in range(8):
        trial = oracle.create_trial("tuner")
        assert reported(oracle, trial, np.linspace(1, 0.1, 9)) == 9
        finish(oracle, trial, {"loss": 0.1})
    bad = {"patience": np.arange(9.0), "threshold": [math.nan] * 9}.get(pruner, [9.0] * 9)
    lengths = []
    for _ in range(4):  # Hyperband has brackets in which it waits.
        trial = oracle.create_trial("tuner")
        lengths.append(reported(oracle, trial, bad))
        assert oracle.is_pruned(trial.trial_id) == (lengths[-1] < 9)
        finish(oracle, trial, {"loss": -3.0 if lengths[-1] < 9 else 8.0})
    assert min(lengths) < 9
    best = oracle.get_best_trials(12)
    assert [trial.status for trial in best] == ["COMPLETED"] * 12
    pruned = [oracle.is_pruned(trial.trial_id) for trial in best]
    # Last, although the value that they were stopped with is the lowest.
    assert pruned == sorted(pruned)
    again = oracle_in(tmp_path, 20, pruner=pruner)
    assert [t.trial_id for t in again.get_best_trials(12)] == [t.trial_id for t in best]
    assert any(again.is_pruned(trial.trial_id) for trial in best)


def test_a_search_with_pruning_survives_an_interruption(tmp_path):
    def run(oracle, most):
        lengths = []
        for _ in range(most):
            trial = oracle.create_trial("tuner")
            if trial.status == "STOPPED":
                break
            loss = loss_of(trial.hyperparameters.values)
            lengths.append(reported(oracle, trial, [loss + 1 / (e + 1) for e in range(9)]))
            finish(oracle, trial, {"loss": loss + 1 / lengths[-1]})
        return [(t.hyperparameters.values, oracle.is_pruned(t.trial_id)) for t in oracle.trials.values()]

    whole = run(oracle_in(tmp_path / "whole", 24, pruner="asha"), 99)
    oracle = oracle_in(tmp_path / "parts", 24, pruner="asha")
    run(oracle, 13)
    reported(oracle, oracle.create_trial("tuner"), [3.0] * 4)  # Killed in the middle of a trial that had been stopped.
    assert run(oracle_in(tmp_path / "parts", 24, pruner="asha"), 99) == whole
    assert 0 < sum(pruned for _, pruned in whole) < 24


@pytest.mark.parametrize("direction", ["min", "max"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_result_that_is_not_finite_fails_its_trial(direction, value, tmp_path):
    oracle = oracle_in(tmp_path, 5, objective=keras_tuner.Objective("loss", direction))
    for loss in (1.0, value, 2.0):
        finish(oracle, oracle.create_trial("tuner"), {"loss": loss})
    assert [trial.status for trial in oracle.trials.values()] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert oracle.get_best_trials()[0].score == {"min": 1.0, "max": 2.0}[direction]
    assert "not finite" in oracle.trials["1"].message


def test_failures_end_the_search_only_if_asked(tmp_path):
    oracle = oracle_in(tmp_path / "goes on", 5)
    for _ in range(5):
        finish(oracle, oracle.create_trial("tuner"), {}, status="FAILED")
    assert oracle.create_trial("tuner").status == "STOPPED"

    oracle = oracle_in(tmp_path / "ends", 9, max_consecutive_failed_trials=2)
    finish(oracle, oracle.create_trial("tuner"), {}, status="FAILED")
    finish(oracle, oracle.create_trial("tuner"), {"loss": 1.0})
    finish(oracle, oracle.create_trial("tuner"), {}, status="FAILED")
    trial = oracle.create_trial("tuner")
    trial.message = "out of memory"
    with pytest.raises(RuntimeError, match=r"2 trials failed in a row\. The last one said:\nout of memory"):
        finish(oracle, trial, {}, status="FAILED")
    # The trial is saved and given back all the same, and others that ask are told to stop.
    assert not oracle.ongoing_trials
    assert oracle.create_trial("other").status == "STOPPED"


def test_a_failed_trial_is_run_again_from_its_start(tmp_path):
    oracle = oracle_in(tmp_path, 4, max_retries_per_trial=1, pruner="asha")
    trial = oracle.create_trial("tuner")
    reported(oracle, trial, [9.0] * 5)
    finish(oracle, trial, {}, status="INVALID")
    again = oracle.create_trial("tuner")
    assert (again.trial_id, again.hyperparameters.values) == (trial.trial_id, trial.hyperparameters.values)
    reported(oracle, again, [1.0, 0.5])
    assert oracle._log.trials[0].intermediate_values == {0: 1.0, 1: 0.5}
    finish(oracle, again, {"loss": 0.5})
    assert oracle._log.trials[0].state == optuna.trial.TrialState.COMPLETE


def test_an_error_leaves_no_lock_behind(tmp_path):
    oracle = oracle_in(tmp_path, 4)
    trial = oracle.create_trial("tuner")
    with pytest.raises(ValueError, match="Objective value missing"):
        oracle.update_trial(trial.trial_id, {"accuracy": 1.0})
    with pytest.raises(KeyError):
        oracle.update_trial("no such trial", {"__report__": 1.0})
    answers = []
    other = threading.Thread(target=lambda: answers.append(oracle.create_trial("other")), name="other", daemon=True)
    other.start()
    other.join(timeout=20)
    assert [answer.status for answer in answers] == ["RUNNING"]


def test_a_trial_that_ended_stays_as_it_is(tmp_path):
    oracle = oracle_in(tmp_path, 4)
    trial = oracle.create_trial("tuner")
    finish(oracle, trial, {"loss": 1.0})
    trial.status = "FAILED"
    oracle.end_trial(trial)
    assert oracle.get_trial(trial.trial_id).score == 1.0
    assert oracle.end_order == [trial.trial_id]


def test_a_dead_workers_trial_is_run_by_another_one_and_nobody_waits_for_it(tmp_path):
    oracle = oracle_in(tmp_path, 2, worker_timeout=0.5)
    # A worker in another process has a copy of its trial.
    dead, alive = copy.copy(oracle.create_trial("dead")), oracle.create_trial("alive")
    finish(oracle, alive, {"loss": 1.0})
    # Nothing is left to begin, but the other worker may die: this one is to ask again.
    assert oracle.create_trial("alive").status == "IDLE"
    for _ in range(4):  # Whoever reports lives.
        oracle.update_trial(dead.trial_id, {"__report__": 1.0}, step=0)
        assert oracle.create_trial("alive").status == "IDLE"
    time.sleep(0.6)
    taken = oracle.create_trial("alive")
    assert (taken.trial_id, taken.hyperparameters.values) == (dead.trial_id, dead.hyperparameters.values)
    finish(oracle, taken, {"loss": 2.0})
    # It was only slow: what it says now changes nothing.
    oracle.update_trial(dead.trial_id, {"loss": 9.0})
    dead.status = "FAILED"
    oracle.end_trial(dead)
    assert (oracle.get_trial(dead.trial_id).score, oracle.get_trial(dead.trial_id).status) == (2.0, "COMPLETED")
    assert oracle.get_trial(dead.trial_id).metrics.get_last_value("loss") == 2.0
    assert oracle.create_trial("alive").status == "STOPPED"
    # What KerasTuner's chief waits for.
    assert not oracle.ongoing_trials
    assert not oracle.tuner_ids


def test_a_trial_that_kills_two_workers_has_failed(tmp_path):
    oracle = oracle_in(tmp_path, 1, worker_timeout=0.1)
    oracle.create_trial("first")
    time.sleep(0.2)
    assert oracle.create_trial("second").trial_id == "0"
    time.sleep(0.2)
    assert oracle.create_trial("third").status == "STOPPED"
    assert oracle.get_trial("0").status == "FAILED"
    assert "not heard of" in oracle.get_trial("0").message
