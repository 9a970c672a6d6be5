"""Hypermodels: what a trial is made of, KerasTuner's own tuners on them, and what is refused before training."""

import gc
import json
import pickle
from typing import ClassVar

import keras
import keras_tuner
import numpy as np
import pytest
from keras import layers, ops

import kopt
from kopt.tuning import Choice, Float, Maybe, OptimizerSpace, ScheduleSpace, SearchSpace, make_hypermodel

LOG = {"sampling": "log"}
ROWS, BATCH = 32, 16

rng = np.random.default_rng(0)
X = rng.normal(size=(ROWS, 4)).astype("float32")
Y = (X[:, :1] + X[:, 1:2] > 0).astype("float32")


def mlp(dropout=0.1):
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, "relu"), layers.Dropout(dropout), layers.Dense(1, "sigmoid")]
    )


# What a trial is made of

SPACE = SearchSpace.default(l2=Maybe(Float(1e-5, 1e-2, **LOG)), dropout=Float(0.0, 0.5), batch_size=Choice([8, BATCH]))


@pytest.fixture(scope="module", autouse=True)
def quick_collections():
    """KerasTuner collects garbage four times a trial: what is there already need not be looked at each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def hyperparameters(hypermodel, **values):
    hp = keras_tuner.HyperParameters()
    hypermodel.build(hp)
    hp.values |= values
    hp.ensure_active_values()
    return hp


class Seen(keras.callbacks.Callback):
    """Records what a fit was given; KerasTuner copies callbacks, so the record is the class'."""

    record: ClassVar[list] = []

    def on_train_begin(self, logs=None):
        schedules = [s for s in [self.model.optimizer._learning_rate] if isinstance(s, kopt.schedules.Schedule)]
        self.record.append({"steps": self.params["steps"], "epochs": self.params["epochs"], "first": None,
                            "schedules": schedules, "optimizer": type(self.model.optimizer).__name__})  # fmt: skip

    def on_epoch_begin(self, epoch, logs=None):
        if self.record[-1]["first"] is None:
            self.record[-1]["first"] = epoch
            self.record[-1]["iterations"] = int(ops.convert_to_numpy(self.model.optimizer.iterations))


@pytest.fixture
def record():
    Seen.record = []
    return Seen.record


def deeper(hp):
    model = keras.Sequential([keras.Input((4,))])
    for _ in range(hp.Int("depth", 1, 2)):
        model.add(layers.Dense(hp.Int("units", 3, 5), "relu"))
    model.add(layers.Dropout(hp.get("dropout")))
    model.add(layers.Dense(1, "sigmoid", kernel_regularizer="l2"))
    return model


# A compiled step costs more than a few eager ones, but not on JAX, which compiles those one by one.
EAGER = {"run_eagerly": keras.backend.backend() != "jax"}
TUNERS = {
    "RandomSearch": (keras_tuner.RandomSearch, {"max_trials": 2}, mlp, None),
    "GridSearch": (keras_tuner.GridSearch, {"max_trials": 2}, deeper, EAGER),
    "BayesianOptimization": (keras_tuner.BayesianOptimization, {"max_trials": 3, "num_initial_points": 2}, mlp, EAGER),
}


def search(tuner, **keywords):
    tuner.search(X, Y, validation_data=(X, Y), callbacks=[Seen()], verbose=0, **keywords)
    trials = list(tuner.oracle.trials.values())
    assert [trial.status for trial in trials] == ["COMPLETED"] * len(trials), [trial.message for trial in trials]
    return trials


# Each trial is compiled anew, which costs JAX more than a second: its fast suite has the other tuners.
SLOW = {"BayesianOptimization"} if keras.backend.backend() == "jax" else set()


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in TUNERS])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_tuners_of_keras_tuner_search_it(name, tmp_path, record):
    kind, arguments, build, compiling = TUNERS[name]
    hypermodel = make_hypermodel(
        build if build is deeper else build(), SPACE, loss="binary_crossentropy", metrics=["accuracy"], epochs=2,
        compile_arguments=compiling,
    )  # fmt: skip
    tuner = kind(hypermodel, "val_accuracy", directory=tmp_path, project_name="p", seed=1, **arguments)
    found = {entry.name for entry in tuner.oracle.get_space().space}
    assert found == {*SPACE.names, *(["depth", "units"] if build is deeper else [])}
    trials = search(tuner)
    for trial, fitted in zip(trials, record, strict=True):
        values = trial.hyperparameters.values
        assert fitted["optimizer"] == values["optimizer"]
        assert fitted["epochs"] == 2
        assert fitted["steps"] == ROWS // values["batch_size"]
        lengths = {part.run_steps for schedule in fitted["schedules"] for part in (schedule, *schedule.parts)
                   if getattr(part, "by", "") == "fraction"}  # fmt: skip
        assert lengths == ({2 * ROWS // values["batch_size"]} if fitted["schedules"] else set())
    (best,) = tuner.oracle.get_best_trials(1)
    model = tuner.get_best_models(1)[0]
    assert model.evaluate(X, Y, verbose=0)[1] == pytest.approx(best.score, abs=1e-6)
    again = hypermodel.build(tuner.get_best_hyperparameters(1)[0])
    assert type(again.optimizer).__name__ == best.hyperparameters.values["optimizer"]
    dropouts = [layer.rate for layer in again.layers if isinstance(layer, layers.Dropout)]
    assert dropouts == [best.hyperparameters.values["dropout"]]
    assert [w.shape for w in again.weights] == [w.shape for w in model.weights]


def test_a_trial_that_hyperband_promotes_goes_on_with_its_optimizer(tmp_path, record):
    space = SearchSpace(optimizer="adamw", schedule="cosine_decay", batch_size=BATCH)
    line = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    hypermodel = make_hypermodel(line, space, loss="mse", run_epochs=4)
    tuner = keras_tuner.Hyperband(
        hypermodel, "val_loss", max_epochs=2, factor=2, directory=tmp_path, project_name="p", seed=2
    )
    trials = search(tuner)
    steps = ROWS // BATCH
    promoted = [fitted for fitted in record if fitted["first"]]
    assert len(promoted) == 1
    assert len(trials) > 3
    for fitted in record:
        assert (fitted["first"], fitted["epochs"]) in ((0, 1), (1, 2), (0, 2))
        assert fitted["iterations"] == fitted["first"] * steps
        assert {part.run_steps for schedule in fitted["schedules"] for part in (schedule, *schedule.parts)} == {
            4 * steps
        }


def test_build_takes_each_kind_of_source():
    space = SearchSpace(optimizer="adam", dropout=Choice([0.2, 0.4]))

    class Own(keras_tuner.HyperModel):
        def build(self, hp):
            return mlp(hp.Choice("rate", [0.1, 0.3]))

    for source in (mlp(), lambda: mlp(), lambda hp: mlp(hp.get("dropout")), lambda hp=None: mlp(), Own(), mlp):
        hypermodel = make_hypermodel(source, space, loss="mse")
        hp = hyperparameters(hypermodel, dropout=0.4)
        first, second = hypermodel.build(hp), hypermodel.build(hp)
        assert first is not second
        assert [layer.rate for layer in first.layers if isinstance(layer, layers.Dropout)] == [0.4]
        assert not np.array_equal(first.get_weights()[0], second.get_weights()[0])
        assert type(first.optimizer) is kopt.optimizers.Adam


def test_a_function_reads_what_the_space_has():
    space = SearchSpace(optimizer="adam", dropout=Maybe(Float(0.2, 0.4)), l2=Maybe(Float(0.1, 0.3)))
    seen = []

    def build(hp):
        seen.append((hp.get("dropout"), hp["l2"], hp.get("Adam/learning_rate")))
        return mlp()

    hypermodel = make_hypermodel(build, space, loss="mse")
    hyperparameters(hypermodel)
    hypermodel.build(hyperparameters(hypermodel, **{"dropout/on": True, "dropout": 0.25, "Adam/learning_rate": 0.5}))
    assert seen[0] == (0.0, 0.0, 1e-3)
    assert seen[-1] == (0.25, 0.0, 0.5)


def test_weights_that_a_function_loads_stay():
    space = SearchSpace(optimizer="adam", dropout=Choice([0.2, 0.4]))

    def loaded():
        model = mlp()
        model.set_weights([np.full_like(w, 0.5) for w in model.get_weights()])
        return model

    model = make_hypermodel(loaded, space, loss="mse").build(keras_tuner.HyperParameters())
    assert all((w == 0.5).all() for w in model.get_weights())
    source = loaded()
    for keep in (True, False):
        model = make_hypermodel(source, space, loss="mse", keep_weights=keep).build(keras_tuner.HyperParameters())
        assert all((w == 0.5).all() for w in model.get_weights()) is keep


def test_what_the_model_is_compiled_with_holds_where_nothing_else_is_said():
    model = mlp()
    accuracy = keras.metrics.BinaryAccuracy(threshold=0.25, name="own")
    model.compile(keras.optimizers.SGD(0.125), loss="mae", metrics=[accuracy])
    new = make_hypermodel(model, SearchSpace(dropout=Float(0.0, 0.5))).build(keras_tuner.HyperParameters())
    assert new.optimizer is not model.optimizer
    assert new.optimizer.get_config()["learning_rate"] == 0.125
    assert new.loss == "mae"
    new.fit(X, Y, verbose=0)
    assert [metric.name for metric in new.metrics] == ["loss", "own"] or "own" in new.evaluate(X, Y, return_dict=True)
    given = make_hypermodel(model, SearchSpace(optimizer="lion"), loss="mse", metrics=[accuracy])
    new = given.build(keras_tuner.HyperParameters())
    assert type(new.optimizer) is kopt.optimizers.Lion
    assert new.loss == "mse"
    new.fit(X, Y, verbose=0)
    assert float(ops.convert_to_numpy(accuracy.count)) == 0  # Each model counts with a metric of its own.


def test_label_smoothing_reaches_the_loss():
    space = SearchSpace(optimizer="adam", label_smoothing=Choice([0.0, 0.2]))
    hypermodel = make_hypermodel(mlp(), space, loss="binary_crossentropy")
    losses = {}
    for amount in (0.0, 0.2):
        model = hypermodel.build(hyperparameters(hypermodel, label_smoothing=amount))
        assert model.loss.get_config()["label_smoothing"] == amount
        model.set_weights([np.full_like(w, 0.3) for w in model.get_weights()])
        losses[amount] = model.evaluate(X, Y, verbose=0, return_dict=True)["loss"]
        p = np.clip(ops.convert_to_numpy(model(X)), 1e-7, 1 - 1e-7)
        target = Y * (1 - amount) + amount / 2
        expected = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean()
        np.testing.assert_allclose(losses[amount], expected, rtol=1e-5)
    assert losses[0.0] != losses[0.2]


@pytest.mark.parametrize(
    "loss",
    [
        "binary_crossentropy",
        keras.losses.BinaryCrossentropy(label_smoothing=0.1),
        keras.losses.BinaryCrossentropy(reduction="sum"),
    ],
)
def test_the_plain_loss_is_without_penalty_and_smoothing(loss):
    space = SearchSpace(optimizer="adam", label_smoothing=Choice([0.25, 0.3]), l2=Choice([0.5, 0.6]))
    model = make_hypermodel(mlp(), space, loss=loss, metrics=["accuracy"]).build(keras_tuner.HyperParameters())
    found = model.evaluate(X[:30], Y[:30, 0], batch_size=BATCH, return_dict=True, verbose=0)
    p = ops.convert_to_numpy(model(X[:30]))
    expected = -(Y[:30] * np.log(p) + (1 - Y[:30]) * np.log(1 - p)).mean()
    np.testing.assert_allclose(found["plain_loss"], expected, rtol=1e-5)
    assert found["loss"] > expected + 0.1
    (metric,) = [metric for metric in model.metrics[1].metrics if metric.name == "plain_loss"]
    again = type(metric).from_config(json.loads(json.dumps(metric.get_config())))
    again.update_state(Y, p[:1] * np.ones_like(Y))
    assert float(ops.convert_to_numpy(again.result())) > 0


def test_the_plain_loss_counts_integer_labels_and_is_left_out_of_what_it_does_not_suit():
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(3, "softmax")(x))
    labels = np.arange(ROWS) % 3
    make = make_hypermodel(model, SearchSpace(optimizer="adam", l1=0.25), loss="sparse_categorical_crossentropy")
    built = make.build(keras_tuner.HyperParameters())
    found = built.evaluate(X, labels, verbose=0, return_dict=True)
    expected = -np.log(ops.convert_to_numpy(built(X))[np.arange(ROWS), labels]).mean()
    np.testing.assert_allclose(found["plain_loss"], expected, rtol=1e-5)
    for space, loss in ((SearchSpace(optimizer="adam"), "mse"), (SearchSpace(optimizer="adam", l1=0.25), ["mse"])):
        built = make_hypermodel(model, space, loss=loss).build(keras_tuner.HyperParameters())
        assert "plain_loss" not in built.evaluate(X, np.ones((ROWS, 3)), verbose=0, return_dict=True)


def squared(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def test_the_plain_loss_of_a_function_meets_flat_labels():
    model = make_hypermodel(mlp(), SearchSpace(optimizer="adam", l1=0.25), loss=squared)
    built = model.build(keras_tuner.HyperParameters())
    found = built.evaluate(X, Y[:, 0], verbose=0, return_dict=True)["plain_loss"]
    np.testing.assert_allclose(found, np.square(Y - ops.convert_to_numpy(built(X))).mean(), rtol=1e-5)


def test_weight_decay_leaves_biases_alone_unless_told():
    space = SearchSpace(optimizer=OptimizerSpace("adamw", learning_rate=0.125, weight_decay=Choice([0.5, 0.25])))
    for no_decay, decayed in ((True, ["kernel", "kernel"]), (False, ["kernel", "bias", "kernel", "bias"])):
        model = make_hypermodel(mlp(), space, loss="mse", no_decay=no_decay).build(keras_tuner.HyperParameters())
        model.set_weights([np.ones_like(w) for w in model.get_weights()])
        model.optimizer.apply([ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
        moved = [v.name for v in model.trainable_variables if not np.all(ops.convert_to_numpy(v) == 1)]
        assert moved == decayed
        np.testing.assert_allclose(ops.convert_to_numpy(model.trainable_variables[0]), 1 - 0.125 * 0.5, rtol=1e-6)


def test_no_groups_are_made_where_nothing_decays():
    adam, adamw = OptimizerSpace("adam"), OptimizerSpace("adamw", weight_decay=0.0)
    for space in (adam, adamw, OptimizerSpace("adamw", groups=[])):
        model = make_hypermodel(mlp(), SearchSpace(optimizer=space), loss="mse").build(keras_tuner.HyperParameters())
        assert not model.optimizer.groups


def test_a_hypermodel_can_be_copied_between_a_build_and_the_next():
    hypermodel = make_hypermodel(mlp, SearchSpace(optimizer="adam"), loss="mse")
    hypermodel.build(keras_tuner.HyperParameters())
    again = pickle.loads(pickle.dumps(hypermodel))
    assert type(again.build(keras_tuner.HyperParameters()).optimizer) is kopt.optimizers.Adam


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return X[index::2], Y[index::2]


@pytest.mark.parametrize("optimizer", ["adam", "keras.Adam"])
def test_datasets_are_fitted_and_schedules_learn_their_length(optimizer):
    space = SearchSpace(optimizer=optimizer, schedule=ScheduleSpace("one_cycle", pct_start=Choice([0.2, 0.4])))
    hypermodel = make_hypermodel(mlp(), space, loss="mse", epochs=3)
    hp = keras_tuner.HyperParameters()
    model = hypermodel.build(hp)
    history = hypermodel.fit(hp, model, x=Batches(), validation_data=Batches(), verbose=0)
    assert len(history.history["val_loss"]) == 3
    assert model.optimizer._learning_rate.run_steps == 6


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.data on the backend that it belongs to")
def test_a_tf_dataset_is_fitted():
    import tensorflow as tf

    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH)
    hypermodel = make_hypermodel(mlp(), SearchSpace(optimizer="adam", schedule="linear"), loss="mse")
    hp = keras_tuner.HyperParameters()
    model = hypermodel.build(hp)
    hypermodel.fit(hp, model, data, epochs=2, verbose=0)
    assert model.optimizer._learning_rate.schedule.run_steps == 2 * ROWS // BATCH
    with_batch = make_hypermodel(mlp(), SPACE, loss="mse")
    with pytest.raises(ValueError, match="dataset makes its batches itself"):
        with_batch.fit(hp, model, data)


def test_validation_sees_the_average_of_optimizers_that_have_one():
    space = SearchSpace(optimizer=OptimizerSpace("schedulefreesgd", learning_rate=1.0))
    space.optimizers[0].ranges["momentum"] = Choice([0.5, 0.75])
    hypermodel = make_hypermodel(mlp(0.0), space, loss="mse")
    hp = keras_tuner.HyperParameters()
    model = hypermodel.build(hp)
    history = hypermodel.fit(hp, model, X, Y, batch_size=8, epochs=2, validation_data=(X, Y), verbose=0)
    np.testing.assert_allclose(history.history["val_loss"][-1], model.evaluate(X, Y, verbose=0), rtol=1e-5)


def test_epochs_of_the_space_are_those_of_the_trial():
    space = SearchSpace(optimizer="adam", epochs=Choice([1, 3]))
    hypermodel = make_hypermodel(mlp(), space, loss="mse", epochs=2)
    hp = hyperparameters(hypermodel, epochs=3)
    assert len(hypermodel.fit(hp, hypermodel.build(hp), X, Y, verbose=0).epoch) == 3
    with pytest.raises(ValueError, match="`epochs` must be in the space or an argument"):
        hypermodel.fit(hp, hypermodel.build(hp), X, Y, epochs=2, verbose=0)


def test_data_that_does_not_suit_ends_the_search_before_a_trial_trains(tmp_path, record):
    hypermodel = make_hypermodel(mlp(), SPACE, loss="binary_crossentropy")
    tuner = keras_tuner.RandomSearch(hypermodel, "loss", max_trials=3, directory=tmp_path)
    with pytest.raises(ValueError, match="at most the number of rows"):
        tuner.search(X[:12], Y[:12], callbacks=[Seen()], verbose=0)
    assert record == []
    assert len(tuner.oracle.trials) == 1
