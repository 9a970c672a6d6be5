"""What a tuner refuses before the first trial trains, and what it says."""

import keras
import keras_tuner
import numpy as np
import pytest
import searches

from kopt import tuning

once = pytest.mark.skipif(keras.backend.backend() != "torch", reason="no backend is involved: once is enough")
X, Y = searches.data()
FIT = {"x": X, "y": Y, "validation_split": 0.5, "epochs": 9, "verbose": 0}


def model(hp=None):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(hp.Int("units", 1, 4) if hp else 4)])


def having(declare):
    def build(hp):
        declare(hp)
        return model(hp)

    return build


def made(hypermodel, directory, **options):
    return tuning.Tuner(hypermodel, **{"objective": "val_loss", "max_trials": 2, "directory": directory} | options)


HYPERMODELS = {
    "a model": (model(), r"a keras_tuner.HyperModel\. Received.*kopt.tuning.make_hypermodel"),
    "a class": (searches.Curve, r"Call it: Curve\(...\)"),
    "a class that is none": (dict, "must be a function of `hp`"),
    "a text": ("build", "Received: hypermodel='build'"),
    "of nothing": (lambda: model(), "It takes no argument"),
    "of two": (lambda hp, units: model(), "It needs hp, units"),
    "min > max": (having(lambda hp: hp.Float("a", 1.0, 0.5)), "name='a'.*min_value 1.0 is greater than the max_value"),
    "log at 0": (having(lambda hp: hp.Float("a", 0.0, 1.0, sampling="log")), "name='a'.*sampling='log'.*min_value: 0"),
    "not a number": (having(lambda hp: hp.Float("a", float("nan"), 1.0)), r"`a` .* a finite range. Received: a=\[nan"),
    "infinite": (having(lambda hp: hp.Float("a", 0.0, float("inf"))), "`a` must be a hyperparameter with a finite"),
    "step of 0": (having(lambda hp: hp.Int("a", 0, 4, step=0)), "`a` .* step is greater than 0. Received: a=0"),
    "factor of 1": (having(lambda hp: hp.Int("a", 1, 4, step=1, sampling="log")), "expected step > 1"),
    "no values": (having(lambda hp: hp.Choice("a", [])), "`values` must be provided"),
}


@once
@pytest.mark.parametrize("name", HYPERMODELS)
def test_a_hypermodel_that_is_none_is_refused(tmp_path, name):
    hypermodel, message = HYPERMODELS[name]
    with pytest.raises(ValueError, match=message):
        made(hypermodel, tmp_path)


@once
def test_functions_that_can_be_called_with_hp_are_taken(tmp_path):
    def build(hp, depth=1, *, rate=0.1):
        hp.Float("u", 0.0, 1.0)
        return model()

    class Builder:
        def __call__(self, *args):
            return build(*args)

    for number, hypermodel in enumerate((build, Builder())):
        made(hypermodel, tmp_path, project_name=f"p{number}")


@once
def test_a_search_by_a_number_that_nobody_returns_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`objective` must be given, unless `HyperModel.fit` returns a number"):
        made(searches.build, tmp_path, objective=None)


@once
@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"epoch": 2}, TypeError, r"no argument `epoch`. Did you mean `epochs`\?"),
        ({"x": None, "y": None, "validation_split": None, "validation_data": (X, Y)}, ValueError, "`x` must be given"),
        ({"epochs": 0}, ValueError, "`epochs` must be an integer >= 1"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be an integer >= 1"),
        ({"batch_size": 49}, ValueError, "`batch_size` must be at most the number of rows, 48"),
        ({"validation_split": 1.5}, ValueError, r"`validation_split` must be a number in \[0, 1\)"),
        ({"y": Y[:-1]}, ValueError, "the same number of rows. Received: {'x': 48, 'y': 47}"),
        ({"sample_weight": np.ones(5)}, ValueError, "the same number of rows"),
    ],
)
def test_what_would_fail_every_trial_is_told_before_the_first_one(tmp_path, changed, error, message):
    tuner = made(searches.build, tmp_path)
    with pytest.raises(error, match=message):
        tuner.search(**FIT | changed)
    assert not tuner.oracle.trials


@once
def test_a_model_that_is_not_compiled_is_told_before_it_trains(tmp_path):
    tuner = made(model, tmp_path)
    with pytest.raises(ValueError, match=r"which is not compiled. Call `model.compile\(...\)` in it"):
        tuner.search(**FIT)
    assert not tuner.outcomes


class Counting(keras_tuner.HyperModel):
    """Counts the steps of the last training, by its optimizer."""

    def __init__(self, returns_history=False):
        super().__init__()
        self.returns_history = returns_history

    def build(self, hp):
        self.model = searches.build(hp)
        return self.model

    @property
    def steps(self):
        return int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))


class Fitting(Counting):
    def fit(self, hp, model, *args, **kwargs):
        return model.fit(*args, batch_size=hp.Choice("batch_size", [8, 64]), **kwargs)


@pytest.mark.parametrize("hypermodel", [Counting(), Fitting(returns_history=True)], ids=["plain", "own fit"])
@pytest.mark.parametrize("callbacks", [[], [keras.callbacks.EarlyStopping("loss")]], ids=["none", "of Keras"])
def test_an_objective_that_does_not_exist_costs_one_batch(tmp_path, hypermodel, callbacks):
    for number, objective in enumerate(("val_acc", ["val_loss", "val_acc"])):
        tuner = made(hypermodel, tmp_path, objective=objective, project_name=f"p{number}")
        with pytest.raises(ValueError, match=r"exist: .*'val_accuracy', 'val_loss'\. Received: objective='val_acc'"):
            tuner.search(**FIT, callbacks=callbacks)
        assert hypermodel.steps <= 1


@once
def test_what_a_space_calls_its_metrics_is_known_as_early(tmp_path):
    space = tuning.SearchSpace(optimizer="sgd", l2=tuning.Float(0.0, 0.1))
    hypermodel = tuning.make_hypermodel(searches.build, space, epochs=9)
    with pytest.raises(ValueError, match=r"these exist: .*'val_plain_loss'.* Received: objective='val_plainer_loss'"):
        made(hypermodel, tmp_path, objective="val_plainer_loss").search(X, Y, validation_split=0.5, verbose=0)


def add(epoch, logs=None):
    logs["val_acc"] = 1.0 / (epoch + 1)


class Adds(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        add(epoch, logs)


class Judged(keras.Sequential):
    def evaluate(self, *args, **kwargs):
        return super().evaluate(*args, **kwargs) | {"acc": 0.25}


def judged(hp):
    model, usual = Judged([keras.Input((4,)), keras.layers.Dense(searches.CLASSES)]), searches.build(hp)
    model.compile(usual.optimizer, usual.loss)
    return model


@once
@pytest.mark.parametrize(
    ("build", "callbacks", "values"),
    [
        (searches.build, [Adds()], [1.0, 0.5]),
        (searches.build, [keras.callbacks.LambdaCallback(on_epoch_end=add)], [1.0, 0.5]),
        (judged, [], [0.25, 0.25]),
    ],
    ids=["callback", "function", "model"],
)
def test_an_objective_that_something_of_the_users_adds_is_found(tmp_path, build, callbacks, values):
    tuner = made(build, tmp_path, objective="val_acc", max_trials=1)
    tuner.search(**FIT | {"epochs": 2}, callbacks=callbacks)
    assert tuner.outcomes["0"].trainings[0].values == values


@once
def test_batch_sizes_of_a_space_that_exceed_the_data_are_told_when_they_are_known(tmp_path):
    tuner = made(Fitting(), tmp_path)
    with pytest.raises(ValueError, match=r"`batch_size` must be at most the number of rows. Received: up to 64 .* 48"):
        tuner.search(**FIT)
    assert len(tuner.outcomes) == 1  # Whose `fit` has declared it.
    early = made(having(lambda hp: hp.Int("batch_size", 8, 64)), tmp_path, project_name="early")
    with pytest.raises(ValueError, match="Received: up to 64 for data of 48 rows"):
        early.search(**FIT)
    assert not early.oracle.trials
