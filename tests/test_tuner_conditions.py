"""What makes a search another one: how its trials train."""

import json

import keras
import keras_tuner
import numpy as np
import pytest

from kopt import tuning
from kopt.tuning import project

pytestmark = pytest.mark.skipif(keras.backend.backend() != "torch", reason="no backend is involved: once is enough")


def narrow(hp):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(hp.Float("rate", 1e-3, 1e-2)), "mse")
    return model


def test_trials_of_other_conditions_are_never_mixed_in(tmp_path):
    """Epochs, batch size, weights of classes, ... are part of what a search is; how much it says is not."""
    x, y = np.zeros((8, 1)), np.zeros(8)

    def going_on(hypermodel=narrow, **options):
        options = {"objective": "loss", "max_trials": 1, "on_existing": "resume", **options}
        return tuning.Tuner(hypermodel, directory=tmp_path, seed=0, **options)

    first = {"epochs": 2, "batch_size": 4, "class_weight": {0: 1.0, 1: 2.0}, "verbose": 0}
    going_on().search(x, y, **first)
    for changed, message in (
        ({"epochs": 3}, "`epochs`: 2, now 3"),
        ({"batch_size": None}, "`batch_size`: 4, now 32"),
        ({"class_weight": {0: 1.0, 1: 3.0}}, r"`class_weight\[1\]`: 2.0, now 3.0"),
        ({"steps_per_epoch": 1}, "`steps_per_epoch`: None, now 1"),
        ({"shuffle": False, "class_weight": None}, "`class_weight.*`shuffle`: None, now False"),
    ):
        with pytest.raises(ValueError, match=f"(?s)another one.*{message}.*Received: on_existing='resume'"):
            going_on(max_trials=2).search(x, y, **(first | changed))
    with pytest.raises(ValueError, match="`executions_per_trial`: 1, now 2"):
        going_on(max_trials=2, executions_per_trial=2).search(x, y, **first)
    going_on(max_trials=2).search(x, y, 4, shuffle=True, callbacks=[keras.callbacks.TerminateOnNaN()],
                                  **{name: first[name] for name in ("epochs", "class_weight", "verbose")})  # fmt: skip
    record = tmp_path / "search" / project.RECORD
    stored = json.loads(record.read_text())
    del stored["conditions"]  # As an older version wrote it.
    record.write_text(json.dumps(stored))
    older = going_on(max_trials=3)
    older.search(x, y, epochs=3, verbose=0)
    assert [row["status"] for row in older.rows()] == ["completed"] * 3
    with pytest.raises(ValueError, match="`epochs`: 3, now 2"):
        going_on(max_trials=4).search(x, y, epochs=2, verbose=0)


def test_what_a_hypermodel_trains_with_is_compared_as_well(tmp_path):
    x, y, smoothed = np.zeros((8, 1)), np.zeros(8), lambda share: keras.losses.BinaryCrossentropy(label_smoothing=share)

    def going_on(**options):
        space = tuning.SearchSpace(optimizer=tuning.OptimizerSpace("sgd", learning_rate=tuning.Float(0.01, 0.1)))
        build = tuning.make_hypermodel(narrow, space, **{"loss": smoothed(0.1), "epochs": 2} | options)
        return tuning.Tuner(build, objective="loss", max_trials=1, on_existing="resume", directory=tmp_path, seed=0)

    going_on().search(x, y, verbose=0)
    going_on(epochs=None).search(x, y, epochs=2, verbose=0)
    for changed, message in (
        ({"epochs": 3}, "`epochs`: 2, now 3"),
        ({"loss": smoothed(0.2)}, r"`loss`: .*BinaryCrossentropy.*0.1.*, now .*BinaryCrossentropy.*0.2"),
        ({"loss": "mse"}, "`loss`: .*BinaryCrossentropy.*, now 'mse'"),
        ({"no_decay": False}, "`no_decay`: True, now False"),
    ):
        with pytest.raises(ValueError, match=message):
            going_on(**changed).search(x, y, verbose=0)


class Alone(tuning.Tuner):
    """Has no hypermodel, as KerasTuner allows."""

    def run_trial(self, trial, *args, **kwargs):
        return (trial.hyperparameters.Float("u", 0.0, 1.0) - 0.3) ** 2


def test_a_subclass_may_run_trials_without_a_hypermodel(tmp_path):
    tuner = Alone(max_trials=3, directory=tmp_path, seed=0)
    tuner.search()
    assert [row["default_objective"] for row in tuner.rows()] == [(u - 0.3) ** 2 for u in tuner.results()["hp/u"]]
    with pytest.raises(ValueError, match="`hypermodel` must be given, unless a subclass defines `run_trial`"):
        tuning.Tuner(max_trials=3, directory=tmp_path, on_existing="overwrite")
    assert (tmp_path / "search").exists()


class Own(keras_tuner.HyperModel):
    """Has a `fit` of its own, with arguments of its own."""

    returns_history = True

    def build(self, hp):
        return narrow(hp)

    def fit(self, hp, model, x, y, noise=0.0, note="", **kwargs):
        return model.fit(x + noise, y, **kwargs)


def test_arguments_of_a_fit_of_ones_own_count(tmp_path):
    x, y = np.zeros((8, 1)), np.zeros(8)

    def going_on(trials):
        options = {"objective": "loss", "max_trials": trials, "on_existing": "resume", "seed": 0}
        return tuning.Tuner(Own(), directory=tmp_path, **options)

    going_on(1).search(x, y, noise=0.5, note="first", verbose=0)
    going_on(2).search(x, y, noise=0.5, note="second", verbose=0)
    with pytest.raises(ValueError, match=r"`noise`: 0.5, now 0.25"):
        going_on(3).search(x, y, noise=0.25, verbose=0)
