"""The oracle in KerasTuner's place: resumable, seeded, pruning, never stuck."""

import importlib.util
import json
import math
import re

import keras
import keras_tuner
import numpy as np
import optuna
import pytest
from search_spaces import LOSS, finish, loss_of, once, oracle_in, searched

from kopt.tuning import OptunaOracle

NAMED = ["auto", "random", "grid", "sobol", "halton", "tpe", "cmaes", "nsga2", "instance"]
SAMPLERS = [*NAMED, pytest.param("gp", marks=pytest.mark.slow)]
# KerasTuner's lock asks threads for their names in the old way, at each call.
pytestmark = pytest.mark.filterwarnings("ignore:(currentThread|getName):DeprecationWarning")
HAS_TORCH = importlib.util.find_spec("torch") is not None


def sampler_of(name):
    if name == "gp" and not HAS_TORCH:
        pytest.skip("Optuna's Gaussian process needs torch.")
    return optuna.samplers.TPESampler(seed=3, n_startup_trials=4) if name == "instance" else name


def discrete(hp):
    hp.Choice("kind", ["a", "b"])
    with hp.conditional_scope("kind", ["a"]):
        hp.Int("n", 1, 3)
    hp.Boolean("flag")


def number_of(values):
    return {"loss": float(values.get("n", 7) + 2 * values["flag"])}


# On every backend.


def test_it_takes_the_place_of_keras_tuners_oracles(tmp_path):
    def build(hp):
        kind = hp.Choice("optimizer", ["sgd", "adam"])
        with hp.conditional_scope("optimizer", ["sgd"]):
            momentum = hp.Float("momentum", 0.0, 0.9) if kind == "sgd" else None
        rate = hp.Float("rate", 1e-3, 1.0, sampling="log")
        model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
        model.compile(keras.optimizers.SGD(rate, momentum) if kind == "sgd" else keras.optimizers.Adam(rate), "mse")
        return model

    x = np.random.default_rng(0).normal(size=(32, 2)).astype("float32")
    oracle = OptunaOracle("val_loss", 2, seed=0)
    tuner = keras_tuner.Tuner(oracle=oracle, hypermodel=build, directory=tmp_path, project_name="search")
    tuner.search(x, x.sum(1), validation_data=(x, x.sum(1)), epochs=1, verbose=0)
    trials = list(oracle.trials.values())
    assert [trial.status for trial in trials] == ["COMPLETED"] * 2
    for trial in trials:
        assert ("momentum" in trial.hyperparameters.values) == (trial.hyperparameters["optimizer"] == "sgd")
    assert tuner.get_best_hyperparameters()[0].values == min(trials, key=lambda t: t.score).hyperparameters.values


# Resuming and seeds.


@once
@pytest.mark.parametrize("name", SAMPLERS)
def test_an_interrupted_search_proposes_what_an_uninterrupted_one_does(name, tmp_path):
    trials = 12 if name == "gp" else 14  # Its first ten are drawn.
    whole = searched(oracle_in(tmp_path / "whole", trials, sampler=sampler_of(name)))
    for stop in (3, 8):  # Each time in the middle of a trial.
        searched(oracle_in(tmp_path / "parts", trials, sampler=sampler_of(name)), stop - (3 if stop == 8 else 0))
    assert searched(oracle_in(tmp_path / "parts", trials, sampler=sampler_of(name))) == whole
    assert len(whole) == trials


@once
@pytest.mark.parametrize("name", ["nsga2", "cmaes"])
def test_generations_survive_an_interruption(name, tmp_path):
    """What these two carry from one generation to the next stands in attributes of the study and its trials."""
    samplers = {
        "nsga2": optuna.samplers.NSGAIISampler(population_size=6, seed=0),
        "cmaes": optuna.samplers.CmaEsSampler(popsize=5, seed=0, warn_independent_sampling=False),
    }

    def declare(hp):
        hp.Float("x", -1, 1)
        hp.Float("y", -1, 1)

    def bowl(values):
        return {"loss": values["x"] ** 2 + (values["y"] - 0.3) ** 2}

    arguments = {"sampler": samplers[name], "declare": declare}
    whole = searched(oracle_in(tmp_path / "whole", 30, **arguments), metrics=bowl)
    searched(oracle_in(tmp_path / "parts", 30, **arguments), 17, metrics=bowl)
    assert searched(oracle_in(tmp_path / "parts", 30, **arguments), metrics=bowl) == whole
    losses = [bowl(values)["loss"] for values in whole]
    assert np.median(losses[15:]) < np.median(losses[:15])


@once
@pytest.mark.parametrize("name", ["auto", "random", "sobol", "tpe", "instance"])
def test_seeds(name, tmp_path):
    runs = [
        searched(oracle_in(tmp_path / str(i), 4, sampler=sampler_of(name), seed=seed))
        for i, seed in enumerate((0, 0, 1, None, None))
    ]
    assert runs[0] == runs[1]
    shared = [sum(a == b for a, b in zip(runs[i], runs[j], strict=True)) for i, j in ((0, 2), (0, 3), (3, 4))]
    assert shared == [0, 0, 0]
    # Not the same trials a few places further on, either, as KerasTuner's neighbouring seeds give.
    assert not [values for values in runs[2] if values in runs[0]]


@once
def test_a_drawn_seed_is_stored(tmp_path):
    first = oracle_in(tmp_path, 6, seed=None)
    searched(first, 2)
    assert oracle_in(tmp_path, 6, seed=None).seed == first.seed


@once
def test_trials_that_run_at_once_survive_an_interruption(tmp_path):
    oracles = [oracle_in(tmp_path / name, 20) for name in ("whole", "parts")]
    for oracle in oracles:
        running = [oracle.create_trial(f"tuner{i}") for i in range(3)]
        for i in range(9):
            trial = running.pop(0)
            finish(oracle, trial, {"loss": loss_of(trial.hyperparameters.values)})
            running.append(oracle.create_trial(f"tuner{i % 3}"))
    for trial in sorted(oracles[0].ongoing_trials.values(), key=lambda t: t.trial_id):
        finish(oracles[0], trial, {"loss": loss_of(trial.hyperparameters.values)})
    resumed = oracle_in(tmp_path / "parts", 20)
    again = [resumed.create_trial(f"tuner{i}") for i in range(3)]
    assert {trial.trial_id for trial in again} == {t.trial_id for t in oracles[1].ongoing_trials.values()}
    for trial in sorted(again, key=lambda t: t.trial_id):
        finish(resumed, trial, {"loss": loss_of(trial.hyperparameters.values)})
    following = [oracle.create_trial("tuner0").hyperparameters.values for oracle in (oracles[0], resumed)]
    assert following[0] == following[1]
    assert len(resumed.trials) == 13


@once
def test_a_trial_is_run_again_if_only_its_own_file_was_written(tmp_path):
    oracle = oracle_in(tmp_path, 6)
    searched(oracle, 2)
    file = tmp_path / "search" / "oracle.json"
    state = json.loads(file.read_text())
    state["ongoing_trials"] = {}
    file.write_text(json.dumps(state))
    assert oracle_in(tmp_path, 6).create_trial("tuner").trial_id == "2"


@once
def test_the_directory_of_another_oracle_is_refused(tmp_path):
    hp = keras_tuner.HyperParameters()
    discrete(hp)
    other = keras_tuner.oracles.RandomSearchOracle(objective=LOSS, max_trials=3, hyperparameters=hp)
    other._set_project_dir(str(tmp_path), "search")
    other.verbose = 0
    searched(other, metrics=number_of)
    with pytest.raises(ValueError, match=r"a project of kopt\.tuning\.OptunaOracle\. Received: directory="):
        oracle_in(tmp_path, 3, declare=discrete)


# What is proposed.


@once
def test_a_grid_is_in_order_and_ends(tmp_path):
    values = searched(oracle_in(tmp_path, 99, sampler="grid", declare=discrete), metrics=number_of)
    branch = [{"kind": "a", "n": n, "flag": flag} for n in (1, 2, 3) for flag in (False, True)]
    assert values == [*branch, {"kind": "b", "flag": False}, {"kind": "b", "flag": True}]


def wide(hp):
    for name in "abcdef":
        hp.Float(name, 0, 1)


@once
@pytest.mark.parametrize(
    ("declare", "trials", "told"),
    [
        (discrete, 8, None),
        (discrete, 7, "has 8 cells, and `max_trials` is 7. .* some combinations will be left"),
        (discrete, 3, "has 8 cells, .* kind will keep the first value. Raise `max_trials`"),
        (wide, 1001, "has more than 10000 cells, .* a, b will keep the first value"),
        (wide, 10001, "has more than 10001 cells, .* a will keep the first value"),
    ],
)
def test_a_grid_that_is_larger_than_the_search_is_told(tmp_path, caplog, declare, trials, told):
    for most in (0, 1):  # Once: not again by the search that goes on.
        searched(oracle_in(tmp_path, trials, sampler="grid", declare=declare), most, metrics=lambda _: {"loss": 1.0})
    found = [record.getMessage() for record in caplog.records if "grid" in record.getMessage()]
    assert len(found) == (told is not None)
    assert told is None or re.search(told, found[0])


@once
@pytest.mark.parametrize("name", ["auto", "random", "tpe", "nsga2", "sobol"])
def test_a_small_space_is_tried_once_each_and_ends(name, tmp_path):
    values = searched(oracle_in(tmp_path, 99, sampler=name, declare=discrete), metrics=number_of)
    assert len(values) == len({tuple(sorted(v.items())) for v in values}) <= 8
    if name == "auto":
        assert len(values) == 8


@once
def test_a_sobol_sequence_fills_each_parameter_evenly(tmp_path):
    def declare(hp):
        hp.Choice("kind", ["a", "b"])
        hp.Float("u", 0, 1)
        with hp.conditional_scope("kind", ["a"]):
            hp.Float("v", 1e-4, 1, sampling="log")

    loss = {"loss": 0.0}
    values = searched(oracle_in(tmp_path, 16, sampler="sobol", declare=declare), metrics=lambda values: loss)
    assert sorted(int(16 * v["u"]) for v in values) == list(range(16))
    assert sum(v["kind"] == "a" for v in values) == 8
    inner = [int(4 * (1 + math.log10(v["v"]) / 4)) for v in values if "v" in v]
    assert len(inner) == 8
    assert set(inner) == {0, 1, 2, 3}


@once
def test_enqueued_trials_come_first_and_once(tmp_path):
    good = {"optimizer": "adam", "rate": 0.01, "batch": 32, "units": 24, "dropout": 0.1, "layers": 3}
    oracle = oracle_in(tmp_path, 6)
    oracle.enqueue(good)
    oracle.enqueue({"optimizer": "sgd", "momentum": 0.5})
    values = searched(oracle, 1)
    assert values[0] == pytest.approx(good)
    assert (values[1]["optimizer"], values[1]["momentum"]) == ("sgd", 0.5)
    assert set(values[1]) == {*good, "momentum"}
    again = oracle_in(tmp_path, 6)
    again.enqueue(good)  # A script that is started again says so again.
    assert sum(v == good for v in searched(again)) <= 1
    for wrong, message in (({"rates": 1}, "names from the space"), ({"units": 9}, "`units` must be a value of")):
        with pytest.raises(ValueError, match=message):
            oracle.enqueue(wrong)


@once
@pytest.mark.parametrize("from_directory", [True, False])
def test_an_older_search_is_a_start(from_directory, tmp_path):
    old = oracle_in(tmp_path / "old", 12)
    searched(old)
    source = tmp_path / "old" / "search" if from_directory else old

    def begun(folder):
        oracle = oracle_in(folder, 6, seed=5)
        assert oracle.add_trials(source) in (12, 0)
        return oracle

    whole = searched(begun(tmp_path / "new"))
    assert len(whole) == 6
    assert whole != searched(oracle_in(tmp_path / "without", 6, seed=5))
    searched(begun(tmp_path / "parts"), 2)
    assert searched(begun(tmp_path / "parts")) == whole
    # It goes on from the best of the old ones, where a search from nothing would begin with a Latin hypercube.
    assert np.median([loss_of(v) for v in whole]) < np.median([t.score for t in old.trials.values()])


@once
def test_an_older_search_that_is_none_is_refused(tmp_path):
    oracle = oracle_in(tmp_path, 2)
    with pytest.raises(ValueError, match="`source` must be a KerasTuner project directory with trials"):
        oracle.add_trials(tmp_path / "nowhere")
    searched(oracle)
    other = OptunaOracle("val_accuracy", 2)
    with pytest.raises(ValueError, match=r"that have val_accuracy \(these have \['loss'\]\)"):
        other.add_trials(oracle)


# Several objectives, and bad input.


@once
@pytest.mark.parametrize("name", ["auto", "tpe", "random"])
def test_several_objectives_give_a_pareto_set(name, tmp_path):
    def declare(hp):
        hp.Float("x", 0, 1)

    objective = [LOSS, keras_tuner.Objective("speed", "max")]
    arguments = {"objective": objective, "sampler": name, "declare": declare}

    def metrics(values):
        return {"loss": (values["x"] - 0.2) ** 2, "speed": -((values["x"] - 0.7) ** 2)}

    whole = searched(oracle_in(tmp_path / "whole", 16, **arguments), metrics=metrics)
    searched(oracle_in(tmp_path / "parts", 16, **arguments), 7, metrics=metrics)
    resumed = oracle_in(tmp_path / "parts", 16, **arguments)
    assert searched(resumed, metrics=metrics) == whole
    found = [trial.hyperparameters["x"] for trial in resumed.pareto_trials()]
    on_front = [v["x"] for v in whole if 0.2 <= v["x"] <= 0.7]
    assert set(on_front) <= set(found)
    beaten = [v for v in whole if any(all(abs(o - p) < abs(v["x"] - p) for p in (0.2, 0.7)) for o in found)]
    assert not set(found) & {v["x"] for v in beaten}
    assert resumed.get_best_trials()[0].hyperparameters["x"] == min(
        (v["x"] for v in whole), key=lambda x: abs(x - 0.45)
    )


@once
def test_what_it_uses_of_keras_tuner_beyond_the_documented_is_there(tmp_path):
    """A version without one of these would need other code here."""
    oracle = keras_tuner.oracles.RandomSearchOracle(objective=LOSS, max_trials=3)
    oracle._set_project_dir(str(tmp_path), "search")
    state = ["_directory", "_project_dir", "_id_to_hash", "_retry_queue", "_tried_so_far"]
    methods = ["_compute_values_hash", "_duplicate", "_get_trial_dir", "_record_values"]
    assert not [name for name in (*state, *methods) if not hasattr(oracle, name)]


@once
def test_less_of_the_plain_loss_is_better():
    """KerasTuner has not heard of the metric that spaces with label smoothing have, and refuses it by its name."""
    with pytest.raises(ValueError, match="val_plain_loss"):
        keras_tuner.oracles.RandomSearchOracle(objective="val_plain_loss", max_trials=3)
    for name in ("plain_loss", "val_plain_loss"):
        assert OptunaOracle(name, 3).objective == keras_tuner.Objective(name, "min")
    several = OptunaOracle(["val_accuracy", "val_plain_loss"], 3).objective
    assert several.name_to_direction == {"val_accuracy": "max", "val_plain_loss": "min"}
    assert OptunaOracle(keras_tuner.Objective("plain_loss", "max"), 3).objective.direction == "max"


@once
def test_bad_input(monkeypatch):
    for arguments, message in (
        ({"max_trials": 0}, "`max_trials` must be an integer >= 1"),
        ({"seed": -1}, "`seed` must be an integer >= 0"),
        ({"sampler": "bayes"}, "`sampler` must be one of 'auto', 'random'"),
        ({"sampler": 3}, "`sampler` must be a name or an instance of optuna"),
        ({"pruner": "early"}, "`pruner` must be one of 'asha'"),
        ({"pruner": 3}, "`pruner` must be a name or an instance of optuna"),
        ({"objective": ["loss", "val_loss"], "pruner": "asha"}, "`pruner` must be None with several objectives"),
        ({"objective": ["loss", "val_loss"], "sampler": "gp"}, "with several objectives"),
        ({"worker_timeout": 0}, "`worker_timeout` must be a finite number > 0"),
        ({"max_consecutive_failed_trials": 0}, "`max_consecutive_failed_trials` must be"),
    ):
        with pytest.raises(ValueError, match=message):
            OptunaOracle(**{"objective": LOSS, "max_trials": 3, **arguments})
    with pytest.raises(TypeError, match="seeds"):
        OptunaOracle(LOSS, 3, seeds=1)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for sampler in ("cmaes", "gp"):
        with pytest.raises(ImportError, match=f"`sampler='{sampler}'` needs .*pip install 'keras-kopt"):
            OptunaOracle(LOSS, 3, sampler)
