"""Trials that are promoted go on as if they had never stopped."""

import keras
import keras_tuner
import numpy as np
import pytest
import searches
from keras import ops

import kopt
from kopt import tuning

X, Y = searches.data()
STEPS = 3  # of an epoch: 48 rows in batches of 16


class Promoting(keras_tuner.Oracle):
    """Proposes one epoch, then two more of the same trial, then three epochs at once."""

    max_epochs = 3

    def populate_space(self, trial_id):
        rungs = [{"tuner/epochs": 1}, {"tuner/epochs": 3, "tuner/initial_epoch": 1, "tuner/trial_id": "0"},
                 {"tuner/epochs": 3}]  # fmt: skip
        return {"status": "RUNNING", "values": {"u": 0.5} | rungs[int(trial_id)]}


def build(hp):
    hp.Float("u", 0.0, 1.0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, kernel_initializer="ones")])
    rate = kopt.schedules.CosineDecay(0.05, 1.0, by="fraction")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(kopt.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model


class Seen(keras.callbacks.Callback):
    """Notes the number of steps and the learning rate at the end of each epoch."""

    def __init__(self, notes):
        super().__init__()
        self.notes = notes

    def __deepcopy__(self, memo):
        return Seen(self.notes)

    def on_epoch_end(self, epoch, logs=None):
        optimizer = self.model.optimizer
        steps = int(ops.convert_to_numpy(optimizer.iterations))
        self.notes.append((epoch, steps, float(ops.convert_to_numpy(optimizer.learning_rate)), logs["loss"]))


def test_a_promoted_trial_equals_one_that_never_stopped(tmp_path):
    notes = []
    oracle = Promoting("loss", max_trials=3)
    heard = []

    class Listening(tuning.Tuner):
        def on_epoch_end(self, trial, model, epoch, logs=None):
            heard.append((trial.trial_id, epoch, logs["loss"]))

    tuner = Listening(build, oracle, directory=tmp_path, seed=0, keep_models=0)
    tuner.search(X, Y, batch_size=16, epochs=99, shuffle=False, verbose=0, callbacks=[Seen(notes)])
    assert [outcome.status for outcome in tuner.outcomes.values()] == ["completed"] * 3
    assert [outcome.epochs for outcome in tuner.outcomes.values()] == [1, 2, 3]
    assert [(key, epoch) for key, epoch, _ in heard] == [("0", 0), ("1", 1), ("1", 2), ("2", 0), ("2", 1), ("2", 2)]
    assert [loss for *_, loss in heard] == [loss for *_, loss in notes]
    promoted, straight = notes[:3], notes[3:]
    assert [epoch for epoch, *_ in promoted] == [0, 1, 2]
    assert [steps for _, steps, *_ in promoted] == [STEPS, 2 * STEPS, 3 * STEPS]
    # The same operations in the same order; compiled programs may still sum in another one.
    np.testing.assert_allclose(np.array(promoted), np.array(straight), rtol=1e-5)
    assert promoted[0][2] > promoted[1][2] > 0.001
    assert not list(tmp_path.rglob("*.weights.h5"))


@pytest.mark.slow
def test_hyperband_of_kerastuner_runs(tmp_path):
    oracle = keras_tuner.oracles.HyperbandOracle("val_loss", max_epochs=4, factor=2, seed=0)
    tuner = tuning.Tuner(searches.build, oracle, directory=tmp_path, seed=0)
    tuner.search(X, Y, batch_size=16, validation_split=0.25, verbose=0)
    assert {outcome.status for outcome in tuner.outcomes.values()} == {"completed"}
    continued = [t for t in oracle.trials.values() if t.hyperparameters.values.get("tuner/initial_epoch")]
    assert continued
    for trial in continued:
        values = trial.hyperparameters.values
        expected = values["tuner/epochs"] - values["tuner/initial_epoch"]
        assert tuner.outcomes[trial.trial_id].epochs == expected
    tuner.best_model()
