"""Hypermodels: models made anew per trial, KerasTuner's own tuners on them, and what is refused before training."""

import gc
import inspect
from typing import ClassVar

import keras
import keras_tuner
import numpy as np
import pytest
from keras import layers, ops

import kopt
from kopt.tuning import Choice, Float, Maybe, OptimizerSpace, ScheduleSpace, SearchSpace, make_hypermodel
from kopt.tuning.rebuild import rebuilt
from kopt.tuning.wanted import Wanted

LOG = {"sampling": "log"}
ROWS, BATCH = 32, 16
KERNELS = ("kernel", "recurrent_kernel", "depthwise_kernel", "pointwise_kernel")
FACTOR = 3.0

rng = np.random.default_rng(0)
X = rng.normal(size=(ROWS, 4)).astype("float32")
Y = (X[:, :1] + X[:, 1:2] > 0).astype("float32")


def mlp(dropout=0.1):
    return keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, "relu"), layers.Dropout(dropout), layers.Dense(1, "sigmoid")]
    )


def tripled(x):
    return FACTOR * x


def functional():
    x = keras.Input((4,), name="table")
    shared = layers.Dense(4, kernel_regularizer="l1")
    h = layers.Dropout(0.7)(shared(shared(x)))
    tower = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.Dropout(0.3)], name="tower")
    h = layers.Add()([h, layers.Lambda(lambda t: FACTOR * ops.tanh(t))(tower(h))])
    y = layers.Dense(1, activation=tripled)(layers.Dense(2, activation=lambda t: FACTOR * t)(h))
    return keras.Model({"table": x}, {"y": y})


def recurrent():
    cells = layers.Bidirectional(layers.GRU(3, dropout=0.1, recurrent_dropout=0.2, return_sequences=True))
    return keras.Sequential([keras.Input((5, 3)), cells, layers.TimeDistributed(layers.Dense(3)), layers.LSTM(2)])


def attention():
    x = keras.Input((5, 8))
    h = layers.LayerNormalization()(layers.MultiHeadAttention(2, 4, dropout=0.1)(x, x))
    return keras.Model(x, layers.Dense(1)(layers.SpatialDropout1D(0.4)(h)))


def convolutional():
    return keras.Sequential(
        [keras.Input((6, 6, 2)), layers.SeparableConv2D(3, 3), layers.BatchNormalization(), layers.DepthwiseConv2D(2),
         layers.SpatialDropout2D(0.2), layers.SpectralNormalization(layers.Conv2D(2, 1)), layers.GaussianDropout(0.1),
         layers.Flatten(), layers.Dense(1)]
    )  # fmt: skip


on_one = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="configs do not depend on the backend")
MODELS = [mlp, functional, *(pytest.param(make, marks=on_one) for make in (recurrent, attention, convolutional))]


def called(model):
    shapes = {"functional": (2, 4), "recurrent": (2, 5, 3), "attention": (2, 5, 8), "convolutional": (2, 6, 6, 2)}
    data = np.random.default_rng(1).normal(size=shapes.get(model.made_by, (2, 4))).astype("float32")
    found = model.predict({"table": data} if model.made_by == "functional" else data, verbose=0)
    return keras.tree.flatten(found)[0]


def made(make):
    model = make()
    model.made_by = make.__name__
    return model


def kernels_of(model):
    """Returns each kernel once: shared layers have one, wrapped ones are not those of the wrapper again."""
    found = {id(v): v for v in model.trainable_variables if v.name in KERNELS}
    return [ops.convert_to_numpy(v) for v in found.values()]


# Models made anew


@pytest.mark.parametrize("make", MODELS)
def test_a_model_made_anew_has_fresh_weights_the_penalty_and_the_rates(make):
    model = made(make)
    before = [np.array(w) for w in model.get_weights()]
    wanted = Wanted.of({"l1": 0.25, "l2": 0.5, "dropout": 0.125, "batch_size": 3}, model)
    new = rebuilt(model, wanted)
    assert [w.shape for w in new.weights] == [w.shape for w in model.weights]
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))
    for old, fresh in zip(kernels_of(model), kernels_of(new), strict=True):
        assert not np.array_equal(old, fresh)
    # Attention's kernels and all others, by the formula.
    expected = sum(0.25 * np.abs(k).sum() + 0.5 * np.square(k).sum() for k in kernels_of(new))
    np.testing.assert_allclose(sum(float(ops.convert_to_numpy(loss)) for loss in new.losses), expected, rtol=1e-4)
    rates = [
        getattr(layer, name)
        for layer in new._flatten_layers()
        for name in ("rate", "dropout", "recurrent_dropout")
        if isinstance(getattr(layer, name, None), float) and getattr(layer, name) > 0
    ]
    assert rates
    assert set(rates) == {0.125}


@pytest.mark.parametrize("make", MODELS)
def test_a_model_made_anew_with_its_weights_predicts_the_same(make):
    model = made(make)
    new = rebuilt(model, Wanted(l2=0.5), keep_weights=True)
    new.made_by = model.made_by
    np.testing.assert_array_equal(called(model), called(new))
    assert [layer.name for layer in model.layers] == [layer.name for layer in new.layers]
    assert model.input_names == new.input_names if hasattr(model, "input_names") else True


def test_a_penalty_of_zero_takes_away_what_the_model_had():
    assert functional().losses
    assert not rebuilt(functional(), Wanted(l1=0.0, l2=0.0)).losses
    assert rebuilt(functional(), Wanted()).losses


def test_frozen_layers_and_adapted_ones_keep_what_they_have_learnt():
    norm = layers.Normalization()
    norm.adapt(5 * X + 1)
    model = keras.Sequential([keras.Input((4,)), norm, layers.Dense(3), layers.BatchNormalization(), layers.Dense(1)])
    model.layers[1].trainable = False
    model.layers[2].trainable = False
    model.layers[2].set_weights([np.full(3, value) for value in (2.0, 3.0, 4.0, 5.0)])
    new = rebuilt(model, Wanted(l2=0.1))
    assert [layer.trainable for layer in new.layers] == [layer.trainable for layer in model.layers]
    for kept in (0, 1, 2):
        for old, weight in zip(model.layers[kept].get_weights(), new.layers[kept].get_weights(), strict=True):
            np.testing.assert_array_equal(old, weight)
    np.testing.assert_array_equal(*(ops.convert_to_numpy(m.layers[0](X)) for m in (model, new)))
    assert not np.array_equal(model.layers[3].get_weights()[0], new.layers[3].get_weights()[0])
    assert len(new.losses) == 1  # A frozen layer has no penalty.


def test_layers_of_the_user_need_no_registration():
    class Scaled(layers.Layer):
        def __init__(self, size, kernel_regularizer=None, **keywords):
            super().__init__(**keywords)
            self.size = size
            self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

        def build(self, input_shape):
            self.kernel = self.add_weight(shape=(input_shape[-1],), regularizer=self.kernel_regularizer)

        def call(self, x):
            return self.size * x * self.kernel

        def get_config(self):
            penalty = keras.regularizers.serialize(self.kernel_regularizer)
            return super().get_config() | {"size": self.size, "kernel_regularizer": penalty}

    new = rebuilt(keras.Sequential([keras.Input((4,)), Scaled(2.0), layers.Dense(1)]), Wanted(l2=0.5))
    assert type(new.layers[0]) is Scaled
    assert len(new.losses) == 2


class DropPath(layers.Layer):
    def __init__(self, rate, **keywords):
        super().__init__(**keywords)
        self.rate = rate

    def call(self, x):
        return x

    def get_config(self):
        return super().get_config() | {"rate": self.rate}


def test_drop_paths_keep_their_proportion_to_the_largest():
    model = keras.Sequential([keras.Input((4,)), *map(DropPath, (0.0, 0.1, 0.2)), layers.Dense(1)])
    new = rebuilt(model, Wanted.of({"drop_path": 0.5}, model))
    assert [layer.rate for layer in new.layers[:3]] == [0.0, 0.25, 0.5]


def without_config():
    class Mine(keras.Model):
        def __init__(self, units, dense):
            super().__init__()
            self.dense = dense

        def call(self, x):
            return self.dense(x)

    return Mine(3, layers.Dense(1))


def shared_between_models():
    shared = layers.Dense(4)
    first = keras.Sequential([keras.Input((4,)), shared])
    second = keras.Sequential([keras.Input((4,)), layers.Dense(4), shared])
    x = keras.Input((4,))
    return keras.Model(x, [first(x), second(x)])


class Block(layers.Layer):
    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.dense = layers.Dense(4)

    def build(self, input_shape):
        self.dense.build(input_shape)

    def call(self, x):
        return self.dense(x)


@pytest.mark.parametrize(
    ("make", "wanted", "message"),
    [
        (without_config, Wanted(), "function that builds the model"),
        (shared_between_models, Wanted(), "nested models share one.*function"),
        (lambda: keras.Sequential([keras.Input((4,)), layers.Dense(1)]), Wanted(dropout=0.1), "no dropout layers"),
        (lambda: keras.Sequential([keras.Input((4,)), layers.Dropout(0.1)]), Wanted(l2=0.1), "no kernels"),
        (mlp, Wanted(drop_path=0.1), "no `DropPath` layers"),
        (lambda: keras.Sequential([keras.Input((4,)), Block(), layers.Dense(1)]), Wanted(l2=0.1), "reach every layer"),
    ],
)
def test_what_cannot_be_made_anew_says_why_and_what_to_do(make, wanted, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        rebuilt(make(), wanted)


# Hypermodels

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


@pytest.mark.parametrize("name", TUNERS)
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
        losses[amount] = model.evaluate(X, Y, verbose=0)
        p = np.clip(ops.convert_to_numpy(model(X)), 1e-7, 1 - 1e-7)
        target = Y * (1 - amount) + amount / 2
        expected = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean()
        np.testing.assert_allclose(losses[amount], expected, rtol=1e-5)
    assert losses[0.0] != losses[0.2]


def test_weight_decay_leaves_biases_alone_unless_told():
    space = SearchSpace(optimizer=OptimizerSpace("adamw", learning_rate=0.125, weight_decay=Choice([0.5, 0.25])))
    for no_decay, decayed in ((True, ["kernel", "kernel"]), (False, ["kernel", "bias", "kernel", "bias"])):
        model = make_hypermodel(mlp(), space, loss="mse", no_decay=no_decay).build(keras_tuner.HyperParameters())
        model.set_weights([np.ones_like(w) for w in model.get_weights()])
        model.optimizer.apply([ops.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
        moved = [v.name for v in model.trainable_variables if not np.all(ops.convert_to_numpy(v) == 1)]
        assert moved == decayed
        np.testing.assert_allclose(ops.convert_to_numpy(model.trainable_variables[0]), 1 - 0.125 * 0.5, rtol=1e-6)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return X[index::2], Y[index::2]


def test_datasets_are_fitted_and_schedules_learn_their_length():
    space = SearchSpace(optimizer="adam", schedule=ScheduleSpace("one_cycle", pct_start=Choice([0.2, 0.4])))
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


# What is refused before a trial trains


def constructed(build, space=SPACE, **keywords):
    """Does what the construction of a tuner does first."""
    make_hypermodel(build, space, **({"loss": "binary_crossentropy"} | keywords)).build(keras_tuner.HyperParameters())


fixed = SearchSpace(optimizer=OptimizerSpace("sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.0))
smooth = SearchSpace.default(label_smoothing=Float(0.0, 0.2))
one = mlp()
REFUSED = {
    "no model": (lambda: constructed(lambda hp: None), "build.*returns a keras.Model.*None.*return model"),
    "something else": (lambda: constructed(lambda hp: 3), "build.*returns a keras.Model.*3"),
    "no function": (lambda: constructed("mlp"), "build.*a keras.Model, a function"),
    "class": (lambda: constructed(keras.Sequential), "build.*a keras.Model, a function"),
    "function of two": (lambda: constructed(lambda hp, units: None), "It needs hp, units"),
    "the same model": (lambda: [hm.build(keras_tuner.HyperParameters()) for hm in
                                [make_hypermodel(lambda: one, SearchSpace(optimizer="adam"), loss="mse")]
                                for _ in range(2)], "a new model each time"),
    "taken name": (lambda: constructed(lambda hp: mlp(hp.Float("dropout", 0, 1))), "name='dropout'.*hp.get"),
    "taken name of a branch": (lambda: constructed(lambda hp: mlp(hp.Float("SGD/momentum", 0, 1))), "SGD/momentum"),
    "nothing to search": (lambda: constructed(mlp(), fixed), "something to search"),
    "no space": (lambda: constructed(mlp(), {"l2": 0.1}), "space.*SearchSpace"),
    "no loss": (lambda: constructed(mlp(), loss=None), "loss.*given"),
    "loss without smoothing": (lambda: constructed(mlp(), smooth, loss="mse"), "loss.*label smoothing"),
    "no place for dropout": (lambda: constructed(lambda: keras.Sequential([keras.Input((4,)), layers.Dense(1)])),
                             "no dropout layers"),
    "epochs": (lambda: constructed(mlp(), epochs=0), "epochs"),
    "optimizer": (lambda: constructed(mlp(), compile_arguments={"optimizer": "sgd"}), "compile_arguments"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_refused_when_a_tuner_is_made(name):
    make, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        make()


def test_a_misspelt_argument_of_compile_is_refused():
    with pytest.raises(TypeError, match="Did you mean `jit_compile`"):
        constructed(mlp(), compile_arguments={"jit_compiel": True})


def test_a_name_in_a_scope_of_its_own_is_free():
    def build(hp):
        with hp.name_scope("block"):
            return mlp(hp.Float("dropout", 0.25, 0.5))

    space = SearchSpace(optimizer="adam", batch_size=Choice([8, 16]))
    constructed(build, space)
    hp = keras_tuner.HyperParameters()
    make_hypermodel(build, space, loss="mse").build(hp)
    assert hp.values["block/dropout"] == 0.25


@pytest.mark.parametrize(
    ("x", "keywords", "message"),
    [
        (X[:12], {}, "at most the number of rows. Received: up to 16 for data of 12 rows"),
        ({"a": X[:12], "b": X[:12]}, {}, "data of 12 rows"),
        (X, {"validation_split": 0.75}, "8 are left by validation_split"),
        (X, {"batch_size": 4}, "batch_size.*not both"),
        (Batches(), {}, "dataset makes its batches itself"),
        (iter([X]), {}, "dataset makes its batches itself"),
        (X, {"epoch": 3}, "no such arguments"),
    ],
)
def test_data_that_does_not_suit_is_refused(x, keywords, message):
    hypermodel = make_hypermodel(mlp(), SPACE, loss="binary_crossentropy")
    hp = hyperparameters(hypermodel, batch_size=8)  # The largest counts, not the one that is drawn.
    model = hypermodel.build(hp)
    with pytest.raises(keras_tuner.errors.FatalError, match=f"(?s){message}"):
        hypermodel.fit(hp, model, x, Y[: len(x)] if isinstance(x, np.ndarray) else None, verbose=0, **keywords)
    assert int(ops.convert_to_numpy(model.optimizer.iterations)) == 0


def test_data_that_does_not_suit_ends_the_search_before_a_trial_trains(tmp_path, record):
    hypermodel = make_hypermodel(mlp(), SPACE, loss="binary_crossentropy")
    tuner = keras_tuner.RandomSearch(hypermodel, "loss", max_trials=3, directory=tmp_path)
    with pytest.raises(ValueError, match="at most the number of rows"):
        tuner.search(X[:12], Y[:12], callbacks=[Seen()], verbose=0)
    assert record == []
    assert len(tuner.oracle.trials) == 1


def test_data_without_a_length_needs_one_for_schedules():
    hypermodel = make_hypermodel(mlp(), SearchSpace(optimizer="adam", schedule="rex"), loss="mse")
    hp = keras_tuner.HyperParameters()
    with pytest.raises(ValueError, match="steps_per_epoch"):
        hypermodel.fit(hp, hypermodel.build(hp), ((X, Y) for _ in range(2)), verbose=0)


def test_the_arguments_are_keywords():
    parameters = inspect.signature(make_hypermodel).parameters
    assert [p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY] == ["build", "space"]
