"""Batch normalization under averaged weights: statistics computed anew, and those of training back again."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops
from normalized import (
    BACKEND,
    KINDS,
    MODELS,
    averaged,
    by_name,
    fit,
    inputs,
    make,
    normalization,
    norms,
    sequential,
    statistics,
    statistics_by_hand,
    without_dropout,
)
from test_averaged_weights import EAGER, validation

from kopt.callbacks import AveragedWeights
from kopt.testing import problems
from kopt.testing.training_checks import Numbers, compiled, policy


@pytest.mark.parametrize("network", MODELS)
def test_statistics_are_means_over_batches_with_the_averaged_weights(network):
    model = without_dropout(make(network=MODELS[network]))
    fit(model, [averaged()])
    x = inputs().astype("float64")
    expected = statistics_by_hand(model, [x[:4], x[4:8], x[8:]])
    problems.assert_close(statistics(model), expected)
    assert np.max(np.abs(expected[0])) > 0.5, "far from where they start"


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_as_without(kind):
    model, plain = make(kind), make(kind)
    history, without = fit(model, [averaged()], epochs=3), fit(plain, epochs=3)
    assert history["loss"] == without["loss"]
    assert history["val_loss"] != without["val_loss"]
    problems.assert_same(problems.values(model.optimizer.variables), problems.values(plain.optimizer.variables))
    problems.assert_same(problems.values(model.trainable_variables), problems.values(plain.trainable_variables))
    assert all(np.any(a != b) for a, b in zip(statistics(model), statistics(plain), strict=True))
    others = [
        [v for v in problems.values(m.non_trainable_variables) if v.ndim == 1 and v.dtype != np.float32]
        for m in (model, plain)
    ]
    assert others[0], "dropout has a seed"
    problems.assert_same(*others)


class StatisticsAt(keras.callbacks.Callback):
    """Notes the statistics that the first batch of each epoch meets."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:
            self.seen.append(statistics(self.model))


def test_statistics_of_training_are_back_bit_for_bit_when_the_epoch_begins():
    with_callback, without = StatisticsAt(), StatisticsAt()
    fit(make(), [averaged(), with_callback], epochs=3)
    fit(make(), [without], epochs=3)
    for a, b in zip(with_callback.seen, without.seen, strict=True):
        problems.assert_same(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_validation_checkpoints_and_the_final_model_use_the_average(kind, tmp_path):
    checkpoint = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras"))
    model = without_dropout(make(kind))
    history = fit(model, [averaged(), checkpoint])
    for epoch in (1, 2):
        expected = without_dropout(make(kind))
        fit(expected, epochs=epoch)
        loaded = keras.models.load_model(tmp_path / f"{epoch}.keras")
        problems.assert_same(problems.values(loaded.trainable_variables), problems.values(expected.trainable_variables))
        x = inputs().astype("float64")
        problems.assert_close(statistics(loaded), statistics_by_hand(expected, [x[:4], x[4:8], x[8:]]), 3e-6)
        loss, mae = loaded.evaluate(*validation(), verbose=0)
        np.testing.assert_allclose([history["val_loss"][epoch - 1], history["val_mae"][epoch - 1]], [loss, mae], 1e-6)
    problems.assert_same(problems.values(loaded.weights), problems.values(model.weights))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("saved_by", ["save", "checkpoint"])
def test_a_fit_after_loading_goes_on_with_weights_and_statistics_of_training(kind, saved_by, tmp_path):
    path = str(tmp_path / "model.keras")
    model, seen = without_dropout(make(kind)), StatisticsAt()  # Keras' files have no counters of dropout.
    callbacks = [averaged(), *([keras.callbacks.ModelCheckpoint(path)] if saved_by == "checkpoint" else [])]
    fit(model, callbacks)
    if saved_by == "save":
        model.save(path)
    loaded = keras.models.load_model(path)
    loaded.run_eagerly = EAGER
    problems.assert_same(statistics(loaded), statistics(model))
    fit(loaded, [averaged(), seen], epochs=1)
    again = StatisticsAt()
    fit(model, [averaged(), again], epochs=1)
    uninterrupted = StatisticsAt()
    once = without_dropout(make(kind))
    fit(once, [uninterrupted], epochs=3)
    problems.assert_same(seen.seen[0], uninterrupted.seen[2])
    problems.assert_same(again.seen[0], uninterrupted.seen[2])
    Numbers.of(loaded).assert_same(Numbers.of(model))
    problems.assert_close(problems.values(loaded.trainable_variables), problems.values(once.trainable_variables))


@pytest.mark.filterwarnings("ignore:Skipping variable loading")
def test_what_was_not_kept_starts_from_the_statistics_of_the_average(tmp_path):
    """A fit without the callback in between, or a file of weights only, has none of training."""
    model, seen = make(), StatisticsAt()
    fit(model, [averaged()])
    final = statistics(model)
    fit(model, [seen], epochs=1)
    problems.assert_same(seen.seen[0], final)
    before = statistics(model)
    fit(model, [averaged(), seen], epochs=1)
    problems.assert_same(seen.seen[1], before)

    fit(model, [averaged()], epochs=1)
    model.save_weights(tmp_path / "model.weights.h5")
    other, seen = make(), StatisticsAt()
    other.load_weights(tmp_path / "model.weights.h5")
    fit(other, [averaged(), seen], epochs=1)
    problems.assert_same(seen.seen[0], statistics_in(tmp_path / "model.weights.h5"))


def statistics_in(path):
    model = make()
    model.load_weights(path)
    return statistics(model)


def test_a_file_without_statistics_of_training_forgets_those_in_memory(tmp_path):
    plain, model = make(), make()
    fit(plain, [], epochs=1)
    plain.save(tmp_path / "plain.keras")
    fit(model, [averaged()], epochs=1)
    assert model.optimizer.luggage
    plain.save_weights(tmp_path / "plain.weights.h5")
    model.load_weights(tmp_path / "plain.weights.h5")
    assert not model.optimizer.luggage
    seen = StatisticsAt()
    fit(model, [averaged(), seen], epochs=1)
    problems.assert_same(seen.seen[0], statistics(keras.models.load_model(tmp_path / "plain.keras")))


def test_the_optimizer_keeps_nothing_while_those_of_training_are_in_the_model():
    class Asks(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.kept = []

        def on_train_batch_end(self, batch, logs=None):
            self.kept.append(len(self.model.optimizer.luggage))

        def on_epoch_end(self, epoch, logs=None):
            self.kept.append(len(self.model.optimizer.luggage))

    asks = Asks()
    fit(make(), [averaged(), asks])
    assert asks.kept == [0, 0, 0, 5, 0, 0, 0, 5], "a step count and two statistics of two layers"


@pytest.mark.parametrize("name", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(name, tmp_path):
    with policy(name):
        model, seen = without_dropout(make()), StatisticsAt()
        fit(model, [averaged()])
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        fit(loaded, [averaged(), seen], epochs=1)
        fit(model, [averaged()], epochs=1)
    Numbers.of(loaded).assert_same(Numbers.of(model))
    assert all(np.all(np.isfinite(value)) for value in statistics(model))


def test_evaluate_and_predict_have_the_statistics_for_their_time():
    model = make()
    x, y = problems.data()
    for _ in range(4):
        model.train_on_batch(x, y)
    before, plain = Numbers.of(model), model.evaluate(x, y, verbose=0)[0]
    loss = model.evaluate(x, y, verbose=0, callbacks=[averaged()])[0]
    Numbers.of(model).assert_same(before)
    predictions = model.predict(x, verbose=0, callbacks=[averaged()])
    Numbers.of(model).assert_same(before)
    assert not model.optimizer.luggage
    np.testing.assert_allclose(np.mean((predictions - y) ** 2), loss, rtol=1e-5)
    assert loss != plain
    fit(model, [averaged()], epochs=1)
    after, kept = Numbers.of(model), dict(model.optimizer.luggage)
    model.evaluate(x, y, verbose=0, callbacks=[averaged(x)])
    Numbers.of(model).assert_same(after)
    problems.assert_same(list(model.optimizer.luggage.values()), list(kept.values()))


class ForInference(layers.Layer):
    """Normalizes as in evaluation, in training too."""

    def __init__(self):
        super().__init__()
        self.norm = normalization("norm1")

    def build(self, input_shape):
        self.norm.build(input_shape)

    def call(self, inputs):
        return self.norm(inputs, training=False)


def test_a_frozen_layer_and_one_called_for_inference_stay_as_they_are():
    frozen = normalization("norm2", trainable=False)
    model = keras.Sequential([keras.Input((4,)), ForInference(), frozen, normalization("norm3")])
    model.add(problems.dense(1, "last", 3))
    compiled(model, KINDS["ema"](), run_eagerly=EAGER)
    before = statistics(model)
    fit(model, [averaged()])
    after = statistics(model)
    problems.assert_same(after[:4], before[:4])
    assert all(np.any(a != b) for a, b in zip(after[4:], before[4:], strict=True))
    assert [layer.momentum for layer in norms(model)] == [0.8] * 3


def test_a_shared_layer_averages_over_all_that_passes_it():
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    shared = normalization("norm1")
    outputs = problems.dense(1, "last", 3)(layers.Concatenate()([shared(a), shared(b)]))
    model = compiled(keras.Model({"a": a, "b": b}, outputs), KINDS["ema"](), run_eagerly=EAGER)
    x, y = problems.data()
    data = {"a": inputs(), "b": (3 * inputs() - 5).astype("float64")}
    model.fit({"a": x, "b": -x}, y, 4, 2, verbose=0, callbacks=[averaged(data)])
    cut = [part[start : start + 4] for part in data.values() for start in (0, 4, 8)]
    problems.assert_close(
        statistics(model), [np.mean([c.mean(0) for c in cut], 0), np.mean([c.var(0) for c in cut], 0)], 3e-6
    )


def test_renorm_evaluates_with_the_means_too():
    model = without_dropout(make(network=lambda: sequential(renorm=True)))
    fit(model, [averaged()])
    x = inputs().astype("float64")
    (kernel,) = by_name(model)["first"]
    z = [part @ kernel for part in (x[:4], x[4:8], x[8:])]
    expected = [np.mean([part.mean(0) for part in z], 0), np.mean([part.var(0) for part in z], 0)]
    problems.assert_close(statistics(model)[:2], expected)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return inputs()[4 * index : 4 * index + 4], np.zeros(4)


class Again:
    """Yields batches each time that it is asked."""

    def __iter__(self):
        return (inputs()[start : start + 4] for start in (0, 4, 8))


def tf_dataset():
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((inputs(), np.zeros(11), np.ones(11))).batch(4)


DATA = {
    "float64": lambda: inputs().astype("float64"),
    "tensor": lambda: ops.convert_to_tensor(inputs()),
    "dataset": tf_dataset,
    "py_dataset": Batches,
    "iterable": Again,
}


@pytest.mark.parametrize("kind", DATA)
def test_data_of_many_kinds(kind):
    expected, model = make(), make()
    fit(expected, [averaged()], epochs=1)
    fit(model, [averaged(DATA[kind]())], epochs=1)
    problems.assert_same(statistics(model), statistics(expected))


@pytest.mark.parametrize("kind", ["float64", "iterable"])
def test_so_many_batches_and_no_more(kind):
    model = without_dropout(make())
    fit(model, [averaged(DATA[kind](), batch_norm_batches=2)], epochs=1)
    x = inputs().astype("float64")
    problems.assert_close(statistics(model), statistics_by_hand(model, [x[:4], x[4:8]]))


@pytest.mark.skipif(BACKEND != "torch", reason="is about PyTorch's own")
def test_pytorch_defines_the_same():
    """`update_bn` averages over batches as well; its variances are unbiased."""
    import torch

    model = without_dropout(make())
    x = inputs()[:8]
    fit(model, [averaged(x)])
    norm = torch.nn.BatchNorm1d(3)
    dense = torch.nn.Linear(4, 3, bias=False)
    with torch.no_grad():
        dense.weight.copy_(torch.tensor(by_name(model)["first"][0].T))
    torch.optim.swa_utils.update_bn([torch.tensor(x[:4]), torch.tensor(x[4:])], torch.nn.Sequential(dense, norm))
    mean, variance = norm.running_mean.numpy(), norm.running_var.numpy() * 3 / 4
    problems.assert_close(statistics(model)[:2], [mean, variance])


def test_without_data_the_statistics_stay_and_one_warning_says_what_to_pass():
    model, plain = make(), make()
    callback = AveragedWeights()
    with pytest.warns(UserWarning, match=r"Pass the training inputs, `AveragedWeights\(batch_norm_data=x\)`"):
        fit(model, [callback])
    fit(plain)
    problems.assert_same(statistics(model), statistics(plain))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*batch_norm_data")
        fit(model, [callback], epochs=1)


def test_weights_that_another_callback_loads_keep_their_statistics():
    class Resets(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                norms(self.model)[0].moving_mean.assign([7.0, 8.0, 9.0])

    seen, plain = StatisticsAt(), StatisticsAt()
    fit(make(), [averaged(), Resets(), seen])
    fit(make(), [plain])
    np.testing.assert_array_equal(seen.seen[1][0], [7, 8, 9])
    problems.assert_same(seen.seen[1][1:], plain.seen[1][1:])


def test_statistics_of_a_run_that_went_astray_are_computed_anew():
    model = make()
    x, y = problems.data()
    model.train_on_batch(x, y)
    norms(model)[0].moving_mean.assign(np.full(3, np.nan))
    loss = model.evaluate(x, y, verbose=0, callbacks=[averaged()])[0]
    assert np.isfinite(loss)
    assert np.all(np.isnan(statistics(model)[0]))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="other backends have no synchronized statistics")
def test_synchronized_layers_on_one_device():
    model, plain = make(network=lambda: sequential(synchronized=True)), make()
    for one in (model, plain):
        fit(one, [averaged()])
    problems.assert_close(statistics(model), statistics(plain), 3e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_norm_data": iter([])}, "`batch_norm_data` must be data that can be iterated over again and again"),
        ({"batch_norm_batches": 0}, "`batch_norm_batches` must be an integer >= 1. Received: batch_norm_batches=0."),
        ({"batch_norm_batch_size": 2.0}, "`batch_norm_batch_size` must be an integer >= 1. Received"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        AveragedWeights(**arguments)


def test_no_batch_is_refused_and_leaves_the_model_as_it_is():
    model = make()
    fit(model, epochs=1)
    before = Numbers.of(model)
    for data in (np.zeros((0, 4), "float32"), []):
        with pytest.raises(ValueError, match="`batch_norm_data` must be at least one batch of inputs"):
            model.evaluate(*validation(), verbose=0, callbacks=[AveragedWeights(data)])
    Numbers.of(model).assert_same(before)
    assert all("call" not in vars(layer) for layer in norms(model))
