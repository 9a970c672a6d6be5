"""Trials in processes of their own: what they give back, how they are pruned, and what does not kill the search."""

import os
import signal

import keras
import pytest
import searches
from test_tuner_pareto import SEARCH, sized

from kopt import tuning

X, Y = searches.data()


def dying(hp):
    """Builds the usual model, except that some trials raise and some processes die."""
    fate = hp.Fixed("fate", os.environ["FATE"])
    hp.Float("rate", 1e-3, 1.0)
    if os.environ["PARENT"] != str(os.getpid()):
        if fate == "raise":
            raise ZeroDivisionError("in the other process")
        os.kill(os.getpid(), signal.SIGSEGV)
    return searches.build(hp)


@pytest.mark.slow
def test_a_process_of_its_own_gives_what_this_one_gives(tmp_path):
    def searched(name, **options):
        oracle = searches.MedianOracle("val_loss", max_trials=1, seed=1)
        tuner = tuning.Tuner(searches.build, oracle, cv=2, directory=tmp_path / name, seed=0, **options)
        tuner.search(X, Y, epochs=2, batch_size=16, verbose=0)
        return tuner

    here, there = searched("here"), searched("there", isolate="process")
    for one, other in zip(here.outcomes["0"].trainings, there.outcomes["0"].trainings, strict=True):
        assert one.values == pytest.approx(other.values, rel=1e-5)
        assert one.epochs == other.epochs == 2
    assert sorted(there.oracle.reports["0"]) == [1, 2]
    rows = there._splits[1][1]
    found = there.best_model(1).evaluate(X[rows], Y[rows], verbose=0, return_dict=True)
    assert found["loss"] == pytest.approx(there.outcomes["0"].trainings[1].metrics["val_loss"], rel=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="trains nothing: once is enough")
def test_what_kills_a_trial_does_not_kill_the_search(tmp_path, monkeypatch):
    monkeypatch.setenv("PARENT", str(os.getpid()))
    for fate, error in (
        ("die", "RuntimeError: The process of the trial was ended by the signal SIGSEGV."),
        ("raise", "ZeroDivisionError: in the other process"),
    ):
        monkeypatch.setenv("FATE", fate)
        options = {"objective": "val_loss", "max_trials": 1, "directory": tmp_path, "project_name": fate}
        tuner = tuning.Tuner(dying, isolate="process", **options)
        tuner.search(X, Y, validation_split=0.5, verbose=0)
        assert tuner.outcomes["0"].status == "failed"
        assert tuner.outcomes["0"].error == error
    assert "in dying" in tuner.outcomes["0"].traceback


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="trains nothing: once is enough")
def test_what_cannot_be_sent_is_told_before_the_first_trial(tmp_path):
    tuner = tuning.Tuner(searches.build, objective="loss", directory=tmp_path, isolate="process")
    with pytest.raises(ValueError, match=r"`isolate` must be None for this search.*cannot be pickled"):
        tuner.search((row for row in zip(X, Y, strict=True)), verbose=0)
    assert not tuner.oracle.trials
    with pytest.raises(ValueError, match="`isolate` must be one of 'process'"):
        tuning.Tuner(searches.build, objective="loss", directory=tmp_path, project_name="b", isolate="thread")


class Interrupts(keras.callbacks.Callback):
    """Sends Ctrl-C, as a terminal does, to the search and to the process of its trial."""

    def on_epoch_begin(self, epoch, logs=None):
        for process in (os.getpid(), os.getppid()):
            os.kill(process, signal.SIGINT)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="trains nothing: once is enough")
def test_ctrl_c_ends_both_processes_and_only_one_of_them_tells(tmp_path, capfd):
    tuner = tuning.Tuner(searches.build, objective="loss", max_trials=1, directory=tmp_path, isolate="process")
    with pytest.raises(KeyboardInterrupt):
        tuner.search(X, Y, epochs=10**6, callbacks=[Interrupts()], verbose=0)
    assert not tuner.outcomes
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_a_process_of_its_own_measures_as_well(tmp_path):
    options = {"objective": ["val_loss", tuning.ModelSize("bytes")], "max_trials": 2, "seed": 0, "cv": 2}
    found = []
    for name, isolate in (("here", None), ("there", "process")):
        tuner = tuning.Tuner(sized, directory=tmp_path / name, isolate=isolate, **options)
        tuner.search(X, Y, **SEARCH)
        found.append(tuner.rows())
        assert (
            tuner.best_model(1, by="model_bytes").count_params() * 4
            == tuner.pareto_front("model_bytes").iloc[0].model_bytes
        )
    for one, other in zip(*found, strict=True):
        assert one["pareto"] == other["pareto"]
        for key in ("hp/units", "model_bytes"):
            assert one[key] == other[key]
        assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e-5)
