"""Random conditional search spaces, as KerasTuner declares them, and a search over one without training."""

import contextlib
import math

import keras
import keras_tuner
import pytest
from hypothesis import strategies as st

from kopt.tuning import OptunaOracle

once = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="Nothing here runs on a backend.")
LOSS = keras_tuner.Objective("loss", "min")


@st.composite
def hyperparameters(draw, most=7):
    """Draws a space of KerasTuner: all kinds of parameters, nested conditions, names that are used twice."""
    hp = keras_tuner.HyperParameters()
    parents = []
    for i in range(draw(st.integers(1, most))):
        scopes = []
        if parents and draw(st.booleans()):
            name, values, above = draw(st.sampled_from(parents))
            chosen = draw(st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True))
            scopes = [*above, (name, chosen)]
        name = draw(st.sampled_from([f"p{i}", "again"])) if scopes else f"p{i}"
        with contextlib.ExitStack() as stack:
            for scope in scopes:
                stack.enter_context(hp.conditional_scope(*scope))
            values = draw(st.sampled_from(KINDS))(draw, hp, name)
        if values and name != "again":
            parents.append((name, values, scopes))
    return hp


def _choice(draw, hp, name):
    values = draw(st.sampled_from([["a", "b", "c"], [32, 8, 16], [0.5, 0.1], [True, False], ["only"]]))
    hp.Choice(name, values)
    return values


def _boolean(draw, hp, name):
    hp.Boolean(name)
    return [True, False]


def _fixed(draw, hp, name):
    hp.Fixed(name, 3)
    return [3]


def _integer(draw, hp, name):
    low = draw(st.integers(-3, 5))
    step = draw(st.sampled_from([None, 1, 3]))
    hp.Int(name, low, low + draw(st.integers(0, 9)), step=step)
    return [low]


def _log_integer(draw, hp, name):
    low = draw(st.integers(1, 5))
    sampling = draw(st.sampled_from(["log", "reverse_log"]))
    hp.Int(
        name, low, low * draw(st.sampled_from([1, 3, 8, 100])), step=draw(st.sampled_from([None, 2])), sampling=sampling
    )


def _real(draw, hp, name):
    low = draw(st.sampled_from([-1.0, 0.0, 0.3]))
    hp.Float(name, low, low + draw(st.sampled_from([0.0, 1.0, 2.5])), step=draw(st.sampled_from([None, 0.1, 0.7])))


def _log_real(draw, hp, name):
    low = draw(st.sampled_from([1e-5, 0.3]))
    sampling = draw(st.sampled_from(["log", "reverse_log"]))
    hp.Float(
        name,
        low,
        low * draw(st.sampled_from([1.0, 10.0, 1e4])),
        step=draw(st.sampled_from([None, 10])),
        sampling=sampling,
    )


KINDS = [_choice, _boolean, _fixed, _integer, _log_integer, _real, _log_real]


def branches(trial):
    """Three branches with parameters of their own; the best one is the least likely to look good early."""
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    if kind == "a":
        return 1 + abs(trial.suggest_float("u", 0, 1) - 0.5)
    if kind == "b":
        rate = trial.suggest_float("rate", 1e-5, 1, log=True)
        return 0.5 + abs(math.log10(rate) + 3)
    depth = trial.suggest_int("depth", 1, 4)
    width = trial.suggest_int("width", 8, 512, log=True) if depth > 2 else 8
    return 0.2 * (4 - depth) + 0.3 * abs(math.log2(width) - 7)


def small_space(hp):
    """Declares a conditional space with one name under two conditions."""
    hp.Choice("optimizer", ["sgd", "adam"])
    with hp.conditional_scope("optimizer", ["sgd"]):
        hp.Float("rate", 1e-4, 1.0, sampling="log")
        hp.Float("momentum", 0.0, 0.99)
    with hp.conditional_scope("optimizer", ["adam"]):
        hp.Float("rate", 1e-5, 1e-1, sampling="log")
    hp.Choice("batch", [64, 16, 32])
    hp.Int("units", 8, 64, step=8)
    hp.Float("dropout", 0.0, 0.5, step=0.1)
    hp.Fixed("layers", 3)


def loss_of(values):
    """Returns a number to minimise for values of `small_space`."""
    loss = (math.log10(values["rate"]) + 2) ** 2 + values["dropout"] + values.get("momentum", 0.0)
    return loss + 0.2 * (values["optimizer"] == "adam") + abs(values["units"] - 24) / 100


def oracle_in(folder, trials, *, declare=small_space, objective=LOSS, **arguments):
    """Returns an oracle with its project in `folder`, reloaded if there is one."""
    hp = keras_tuner.HyperParameters()
    declare(hp)
    oracle = OptunaOracle(objective, trials, hyperparameters=hp, **{"seed": 0, **arguments})
    oracle._set_project_dir(str(folder), "search")
    oracle.verbose = 0
    if (folder / "search" / "oracle.json").exists():
        oracle.reload()
    return oracle


def finish(oracle, trial, metrics, status="COMPLETED"):
    """Ends a trial as a tuner does."""
    if status == "COMPLETED":
        oracle.update_trial(trial.trial_id, metrics)
    trial.status = status
    oracle.end_trial(trial)


def searched(oracle, most=10**6, metrics=lambda values: {"loss": loss_of(values)}):
    """Runs up to `most` trials and begins another one, or runs to the end; returns all values."""
    for _ in range(most):
        trial = oracle.create_trial("tuner")
        if trial.status == "STOPPED":
            break
        finish(oracle, trial, metrics(trial.hyperparameters.values))
    else:
        oracle.create_trial("tuner")
    return [trial.hyperparameters.values for trial in oracle.trials.values()]
