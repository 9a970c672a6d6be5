"""The tuner: its project on disk, trials that fail, budgets, and searches that go on after anything."""

import gc
import json
import logging
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import keras
import keras_tuner
import numpy as np
import pytest
from searches import Curve, curve_tuner

from kopt import tuning
from kopt.tuning import project

only_once = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="trains nothing: the same anywhere")
SCORE = keras_tuner.Objective("score", "min")


def tried(tuner):
    return [trial.hyperparameters.get("u") for _, trial in sorted(tuner.oracle.trials.items())]


def states(tuner):
    return [tuner.outcomes[key].status for key in sorted(tuner.outcomes)]


def test_a_search_finds_the_best_and_says_so(tmp_path):
    tuner = curve_tuner(tmp_path, max_trials=8)
    tuner.search(verbose=0)
    values = tried(tuner)
    assert len(values) == 8
    assert states(tuner) == ["completed"] * 8
    best = min(values, key=lambda u: (u - 0.3) ** 2)
    assert tuner.best_hyperparameters()[0].get("u") == best
    table = tuner.results()
    assert list(table["hp/u"]) == values
    np.testing.assert_allclose(table["score"], [(u - 0.3) ** 2 for u in values], rtol=1e-12)
    assert set(table["status"]) == {"completed"}


@only_once
def test_seeds_give_searches_of_their_own(tmp_path):
    found = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1), ("d", 2)):
        tuner = curve_tuner(tmp_path, seed=seed, project_name=name)
        tuner.search(verbose=0)
        found[name] = tried(tuner)
    assert found["a"] == found["b"]
    assert not set(found["a"]) & set(found["c"])
    assert not set(found["c"]) & set(found["d"])


@only_once
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cv": 1}, r"`cv` must be an integer >= 2"),
        ({"cv": "five"}, r"`cv` must be None, a number of folds >= 2, or a scikit-learn splitter"),
        ({"on_existing": "reload"}, r"`on_existing` must be one of 'error', 'resume', 'overwrite'"),
        ({"keep_models": -1}, r"`keep_models` must be an integer >= 0"),
        ({"time_budget": 0}, r"`time_budget` must be a finite number > 0"),
        ({"max_epochs_total": 0}, r"`max_epochs_total` must be an integer >= 1"),
        ({"max_consecutive_failures": 0}, r"`max_consecutive_failures` must be an integer >= 1"),
        ({"max_trials": 0}, r"`max_trials` must be an integer >= 1"),
        ({"seed": -1}, r"`seed` must be an integer >= 0"),
        ({"executions_per_trial": 0}, r"`executions_per_trial` must be an integer >= 1"),
        ({"project_name": "a/b"}, r"`project_name` must be a string that can name a directory"),
        ({"oracle": keras_tuner.oracles.RandomSearchOracle}, r"`oracle` must be a keras_tuner.Oracle.* Call it"),
        ({"oracle": keras_tuner.oracles.RandomSearchOracle(SCORE)}, r"`objective` must be None if there is an oracle"),
    ],
)
def test_bad_arguments_are_told_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        curve_tuner(tmp_path, **options)
    assert not list(tmp_path.iterdir())


@only_once
def test_unknown_arguments_raise(tmp_path):
    with pytest.raises(TypeError, match=r"no argument `max_trial`. Did you mean `max_trials`\?"):
        tuning.Tuner(Curve(), objective="val_loss", directory=tmp_path, max_trial=3)
    with pytest.raises(TypeError, match='pass on_existing="overwrite"'):
        tuning.Tuner(Curve(), objective="val_loss", directory=tmp_path, overwrite=True)


@only_once
def test_what_is_no_search_raises(tmp_path):
    with pytest.raises(TypeError, match=r"`hypermodel` must be a function that returns a compiled keras.Model"):
        tuning.Tuner(lambda hp: hp.Float("u", 0, 1), objective="val_loss", directory=tmp_path)
    with pytest.raises(ValueError, match="`hypermodel` must have hyperparameters"):
        tuning.Tuner(lambda hp: keras.Sequential([]), objective="val_loss", directory=tmp_path / "empty")


@only_once
def test_a_search_that_is_there_is_not_touched_unless_asked(tmp_path):
    tuner = curve_tuner(tmp_path)
    tuner.search(verbose=0)
    with pytest.raises(ValueError, match=r'There is a search in .* already. .*on_existing="resume"'):
        curve_tuner(tmp_path)
    again = curve_tuner(tmp_path, on_existing="resume", max_trials=7)
    assert tried(again) == tried(tuner)
    again.search(verbose=0)
    assert tried(again)[:5] == tried(tuner)
    assert len(again.hypermodel.calls) == 2
    fresh = curve_tuner(tmp_path, on_existing="overwrite")
    assert fresh.oracle.trials == {}
    assert not list(tmp_path.glob("search/trial_*"))


@only_once
def test_what_is_no_search_is_never_deleted(tmp_path):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="is not deleted"):
        curve_tuner(tmp_path, on_existing="overwrite")
    assert (tmp_path / "search" / "thesis.txt").exists()


class Wider(Curve):
    def build(self, hp):
        hp.Float("u", 0.0, 2.0)
        hp.Int("units", 1, 4)
        return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])


@only_once
def test_another_search_is_never_mixed_in(tmp_path):
    curve_tuner(tmp_path).search(np.zeros((4, 1)), np.zeros(4), verbose=0)
    options = {"directory": tmp_path, "on_existing": "resume"}
    with pytest.raises(ValueError, match="another one") as error:
        tuning.Tuner(Wider(), objective=keras_tuner.Objective("score", "max"), cv=3, **options)
    for part in ("`u`", "`units`: is new", "`kind`: is gone", "'max'", "folds: None, now 3"):
        assert part in str(error.value)
    with pytest.raises(ValueError, match="oracle: OptunaOracle, now BayesianOptimizationOracle"):
        tuning.Tuner(Curve(), keras_tuner.oracles.BayesianOptimizationOracle(SCORE), **options)
    with pytest.raises(ValueError, match=r"`seed` must be 0, as in the search that goes on, or None"):
        curve_tuner(tmp_path, on_existing="resume", seed=1)
    same = curve_tuner(tmp_path, on_existing="resume", max_trials=9, seed=None)
    for x, part in ((np.zeros((5, 1)), "(5, 1)"), (np.zeros((4, 1), "float32"), "float32"), (np.ones((4, 1)), "data")):
        with pytest.raises(ValueError, match=f"data `x`.*{re.escape(part)}|{re.escape(part)} `x`"):
            same.search(x, np.zeros(4), verbose=0)
    assert len(same.oracle.trials) == 5
    same.search(np.zeros((4, 1)), np.zeros(4), verbose=0)
    assert len(same.oracle.trials) == 9


@only_once
def test_projects_of_others_are_refused(tmp_path):
    keras_tuner.RandomSearch(Curve(), SCORE, directory=tmp_path, project_name="search").save()
    with pytest.raises(ValueError, match="was not made by kopt"):
        curve_tuner(tmp_path, on_existing="resume")
    curve_tuner(tmp_path, on_existing="overwrite")
    record = tmp_path / "search" / project.RECORD
    record.write_text(json.dumps(json.loads(record.read_text()) | {"format": 99}))
    with pytest.raises(ValueError, match=r"of another version of kopt\. Received: format 99"):
        curve_tuner(tmp_path, on_existing="resume")


def zero_division():
    return 1 / 0


def no_memory():
    raise MemoryError("cannot allocate 3 TB")


FAILURES = {
    0: lambda: {"score": float("inf")},
    1: zero_division,
    2: no_memory,
    3: lambda: {"score": float("nan")},
    4: lambda: {"score": float("-inf")},
}


def test_failures_are_kept_and_do_not_end_the_search(tmp_path, caplog):
    tuner = curve_tuner(tmp_path, FAILURES, max_trials=7)
    with caplog.at_level(logging.WARNING):
        tuner.search(verbose=0)
    assert states(tuner) == ["failed"] * 5 + ["completed"] * 2
    assert "Trial 1 failed: ZeroDivisionError: division by zero" in caplog.text
    stored = json.loads((tmp_path / "search" / "trial_1" / "outcome.json").read_text())
    assert stored["error"] == "ZeroDivisionError: division by zero"
    assert "in zero_division" in stored["traceback"]
    assert tuner.outcomes["2"].error == "MemoryError: cannot allocate 3 TB"
    assert [trial.trial_id for trial in tuner.best_trials(9)] in (["5", "6"], ["6", "5"])
    assert list(tuner.results()["error"] != "") == [True] * 5 + [False] * 2


@only_once
def test_failures_in_a_row_end_the_search_if_asked(tmp_path):
    tuner = curve_tuner(tmp_path, dict.fromkeys((0, 2, 3), zero_division), max_trials=9, max_consecutive_failures=2)
    with pytest.raises(RuntimeError, match=r"2 trials in a row have failed.*division by zero"):
        tuner.search(verbose=0)
    assert states(tuner) == ["failed", "completed", "failed", "failed"]
    going_on = curve_tuner(tmp_path, on_existing="resume", max_trials=9)
    going_on.search(verbose=0)
    assert states(going_on) == ["failed", "completed", "failed", "failed"] + ["completed"] * 5


@only_once
def test_failed_trials_are_tried_again_if_asked(tmp_path):
    tuner = curve_tuner(tmp_path, {0: zero_division}, max_retries_per_trial=1, max_trials=3)
    tuner.search(verbose=0)
    assert states(tuner) == ["completed"] * 3
    assert len(tuner.hypermodel.calls) == 4


@only_once
def test_ctrl_c_says_how_to_go_on(tmp_path, caplog):
    def interrupted():
        raise KeyboardInterrupt

    tuner = curve_tuner(tmp_path, {2: interrupted})
    with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
        tuner.search(verbose=0)
    assert 'Interrupted with 2 trials ended. To go on, run the same script with on_existing="resume"' in caplog.text
    assert states(tuner) == ["completed"] * 2
    assert [row["status"] for row in tuner.rows()] == ["completed", "completed", "running"]
    straight = curve_tuner(tmp_path, project_name="straight")
    straight.search(verbose=0)
    again = curve_tuner(tmp_path, on_existing="resume")
    again.search(verbose=0)
    assert states(again) == ["completed"] * 5
    assert again.hypermodel.calls[0] == tuner.hypermodel.calls[2]
    assert tried(again) == tried(straight)


@only_once
def test_an_objective_that_fit_does_not_return_ends_the_search(tmp_path):
    tuner = curve_tuner(tmp_path, {0: lambda: {"scores": 1.0, "loss": 2.0}})
    with pytest.raises(ValueError, match=r"these exist: 'scores', 'loss'. Received: objective='score'"):
        tuner.search(verbose=0)
    tuner = curve_tuner(tmp_path, {0: lambda: "good"}, project_name="text")
    with pytest.raises(TypeError, match=r"`HyperModel.fit` must return .* Received: 'good' of class str"):
        tuner.search(verbose=0)


@only_once
def test_time_ends_a_search(tmp_path):
    tuner = curve_tuner(tmp_path, {1: lambda: signal.sigtimedwait([], 0.2)}, max_trials=50, time_budget=0.2)
    tuner.search(verbose=0)
    # The second trial lasts as long as the whole budget, and ends as usual.
    assert 1 <= len(tuner.outcomes) <= 2


class Killed(BaseException):
    """What no search catches."""


@only_once
def test_a_search_goes_on_after_an_end_between_any_two_files(tmp_path, monkeypatch):
    straight = curve_tuner(tmp_path, project_name="straight", max_trials=3)
    straight.search(verbose=0)
    write, ends = project.write_json, 0
    monkeypatch.setattr(gc, "collect", lambda: 0)  # Half a second each, of which there would be a hundred.
    for last in range(1, 100):
        writes = iter(range(last))

        def dying(path, content, writes=writes):
            if next(writes, None) is None:
                raise Killed
            write(path, content)

        options = {"project_name": f"end{last}", "max_trials": 3, "on_existing": "resume", "keep_models": 0}
        with monkeypatch.context() as patched:
            for module in (project, tuning.ended, tuning.study_log):
                patched.setattr(module, "write_json", dying)
            try:
                tuner = curve_tuner(tmp_path, **options)
                tuner.search(verbose=0)
                break
            except Killed:
                ends += 1
        tuner = curve_tuner(tmp_path, **options)
        tuner.search(verbose=0)
        assert states(tuner) == ["completed"] * 3, last
        assert tried(tuner) == tried(straight), last
        assert sorted(tuner.oracle.end_order) == ["0", "1", "2"], last
        assert all(len(trial.metrics.get_history("score")[0].value) == 1 for trial in tuner.oracle.trials.values())
    assert ends > 15


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import searches
searches.curve_tuner({directory!r}, {{2: lambda: os.kill(os.getpid(), signal.SIGKILL)}}).search(verbose=0)
"""


@only_once
def test_a_killed_process_loses_only_the_trial_that_was_running(tmp_path):
    code = KILLED.format(tests=str(Path(__file__).parent), directory=str(tmp_path))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    tuner = curve_tuner(tmp_path, on_existing="resume")
    assert [row["status"] for row in tuner.rows()] == ["completed", "completed", "running"]
    tuner.search(verbose=0)
    assert states(tuner) == ["completed"] * 5
    assert len(tuner.hypermodel.calls) == 3
    assert len(set(tried(tuner))) == 5


class Heavy(Curve):
    """Has weights of 400 kB to write."""

    def build(self, hp):
        hp.Float("u", 0.0, 1.0)
        return keras.Sequential([keras.Input((100,)), keras.layers.Dense(1000)])


def test_a_full_disk_is_told_and_loses_nothing(tmp_path):
    tuner = tuning.Tuner(Heavy(), objective=SCORE, max_trials=2, directory=tmp_path, seed=0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    act = {1: lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))}
    tuner.hypermodel.acts = act
    try:
        with pytest.raises(OSError, match=r'The disk is full.*The finished trials are all there.*on_existing="resume"'):
            tuner.search(verbose=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    tuner = tuning.Tuner(Heavy(), objective=SCORE, max_trials=2, directory=tmp_path, seed=0, on_existing="resume")
    assert [row["status"] for row in tuner.rows()] == ["completed", "running"]
    assert tuner.best_model().count_params() == 101_000
    tuner.search(verbose=0)
    assert states(tuner) == ["completed"] * 2
    assert not list(tmp_path.rglob("part-*"))


@only_once
@pytest.mark.parametrize(
    "make",
    [
        lambda: keras_tuner.oracles.GridSearchOracle(SCORE, max_trials=9),
        pytest.param(
            lambda: keras_tuner.oracles.BayesianOptimizationOracle(SCORE, max_trials=9, num_initial_points=8, seed=1),
            marks=pytest.mark.slow,
        ),
        pytest.param(
            lambda: keras_tuner.oracles.HyperbandOracle(SCORE, max_epochs=4, factor=2, seed=1), marks=pytest.mark.slow
        ),
    ],
    ids=["grid", "Bayesian", "Hyperband"],
)
def test_oracles_of_kerastuner_go_on_as_well(tmp_path, make):
    def interrupted():
        raise KeyboardInterrupt

    def tuner(acts=None, **options):
        return tuning.Tuner(Curve(acts), make(), directory=tmp_path, keep_models=0, seed=0, **options)

    straight = tuner(project_name="straight")
    straight.search(verbose=0)
    with pytest.raises(KeyboardInterrupt):
        tuner({4: interrupted}).search(verbose=0)
    again = tuner(on_existing="resume")
    again.search(verbose=0)
    assert states(again) == states(straight) == ["completed"] * len(straight.outcomes)
    assert len(again.hypermodel.calls) == len(straight.outcomes) - 4
    if "Grid" in type(again.oracle).__name__:
        assert tried(again) == tried(straight)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="no backend is involved: once is enough")
def test_a_worker_whose_chief_is_gone_ends(tmp_path, monkeypatch, caplog):
    import grpc

    def asked():
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:  # Nobody listens there.
            return channel.unary_unary("/keras_tuner.Oracle/GetSpace")(b"", timeout=60)

    tuner = curve_tuner(tmp_path)
    monkeypatch.setattr(tuner.oracle, "get_space", asked)
    tuner.search(verbose=0)
    assert "The chief of this search does not answer" in caplog.text
    assert tuner.outcomes == {}
