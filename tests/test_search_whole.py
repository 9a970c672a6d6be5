"""Space, hypermodel, oracle and tuner together, as a user would have them: is a search that was broken off the same?"""

import keras
import numpy as np
import pytest
import searches

from kopt import tuning

EPOCHS = 3


class EndsIn(keras.callbacks.Callback):
    """Breaks the search off at the beginning of a training."""

    def __init__(self, trainings):
        super().__init__()
        self.left = [trainings]

    def __deepcopy__(self, memo):
        return self

    def on_epoch_begin(self, epoch, logs=None):
        self.left[0] -= epoch == 0
        if self.left[0] < 0:
            raise KeyboardInterrupt


def build():
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.1), keras.layers.Dense(3)]
    )


def tuner(directory, **options):
    space = tuning.SearchSpace(
        optimizer=["adamw", "sgd"],
        schedule=["constant", "cosine_decay"],
        dropout=tuning.Float(0.0, 0.5),
        l2=tuning.Maybe(tuning.Float(1e-6, 1e-2, sampling="log")),
        batch_size=tuning.Choice([8, 16]),
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    hypermodel = tuning.make_hypermodel(build, space, loss=loss, metrics=["accuracy"], epochs=EPOCHS)
    pruning = {"objective": "val_plain_loss", "max_trials": 8, "pruner": "asha", "seed": 0}
    return tuning.Tuner(hypermodel, **{**pruning, "directory": directory, **options})


def found(searched):
    return {
        key: (trial.hyperparameters.values, searched.outcomes[key].status, searched.outcomes[key].metrics)
        for key, trial in searched.oracle.trials.items()
    }


def test_a_search_that_was_broken_off_ends_like_one_that_was_not(tmp_path):
    x, y = searches.data()
    data = {"x": x, "y": y, "validation_data": searches.data(seed=1), "verbose": 0}
    whole = tuner(tmp_path / "whole")
    whole.search(**data)
    with pytest.raises(KeyboardInterrupt):
        tuner(tmp_path / "parts").search(**data, callbacks=[EndsIn(4)])
    parts = tuner(tmp_path / "parts", on_existing="resume")
    assert len(parts.oracle.end_order) == 4
    parts.search(**data)
    assert found(parts).keys() == found(whole).keys() == set("01234567")
    for key, (values, status, metrics) in found(whole).items():
        assert found(parts)[key][:2] == (values, status), key
        assert found(parts)[key][2] == pytest.approx(metrics, rel=1e-5), key
    statuses = [status for _, status, _ in found(whole).values()]
    assert "pruned" in statuses
    assert statuses.count("completed") >= 2
    for values, _, _ in found(whole).values():
        other = "sgd" if values["optimizer"] == "AdamW" else "adamw"
        assert not [name for name in values if name.lower().startswith(f"{other}/")]
    model, best = parts.best_model(), parts.best_hyperparameters(1)[0]
    assert model.optimizer.name.lower() == best.get("optimizer").lower()
    assert np.isfinite(model.evaluate(x, y, verbose=0, return_dict=True)["plain_loss"])
