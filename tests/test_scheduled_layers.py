"""Schedules in layers: the numbers of each step, who counts, and how the length of a run is learnt."""

import devices
import keras
import numpy as np
import pytest
from keras import ops

import kopt
import kopt.callbacks
from kopt import layers, optimizers, schedules
from kopt.testing import problems

# XLA is tried in `test_layers.py`; on TensorFlow it would be most of the time here.
COMPILED = {"jit_compile": keras.backend.backend() == "jax"}
RATES = schedules.Linear(0.0, 8, 0.8)
MAKERS = {
    "ScheduledDropout": lambda number: layers.ScheduledDropout(number, seed=1),
    "DropPath": lambda number: layers.DropPath(number, seed=1),
    "Temperature": layers.Temperature,
}
every_layer = pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in MAKERS.items()])


class Watch(keras.callbacks.Callback):
    """Notes numbers after each epoch: inside one, JAX keeps them elsewhere."""

    def __init__(self, *variables):
        super().__init__()
        self.variables, self.seen = variables, []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append([float(ops.convert_to_numpy(variable.value)) for variable in self.variables])


def value(variable):
    return float(ops.convert_to_numpy(variable))


def model_with(layer, optimizer=None, **compiled):
    model = keras.Sequential([keras.Input((4,)), problems.dense(4, "first", 1), layer, problems.dense(1, "last", 2)])
    model.compile(optimizer or optimizers.SGD(0.01), "mse", **COMPILED | compiled)
    return model


@every_layer
def test_numbers_follow_the_schedule_batch_by_batch(make):
    """Twelve samples in batches of 12: a batch an epoch. The number after step t is the schedule's at t - 1."""
    layer = make(schedules.Linear(0.9, 8, 0.1))
    watch = Watch(layer._number, layer.steps)
    problems.fit(model_with(layer), epochs=4, batch=12, callbacks=[watch])
    np.testing.assert_allclose(watch.seen, [[0.9, 1], [0.8, 2], [0.7, 3], [0.6, 4]], rtol=1e-6)


class Factor(keras.layers.Layer):
    """A trainable number, since Keras' step wants one."""

    def build(self, shape):
        self.w = self.add_weight(shape=(), initializer="ones", name="w")

    def call(self, x):
        return x * self.w


def test_the_compiled_step_uses_the_numbers():
    """Rates 0, then 0.8: the first batch is seen whole and the second is not, in one compiled step."""
    layer = layers.ScheduledDropout(schedules.Join([0.0, 0.8], [1]), seed=1)
    model = keras.Sequential([keras.Input((500,)), layer, Factor()])
    model.compile(optimizers.SGD(0.0), "mse")
    ones = np.ones((1, 500), "float32")
    losses = [model.fit(ones, ones, epochs=1, verbose=0).history["loss"][0] for _ in range(2)]
    assert losses[0] == 0.0
    # (5 - 1)^2 a fifth of the time, and 1 else: 4 on average, with a deviation of 6 / sqrt(500).
    assert abs(losses[1] - 4.0) < 5 * 6 / np.sqrt(500)


def test_accumulation_counts_micro_batches():
    layer = layers.ScheduledDropout(RATES)
    problems.fit(model_with(layer, optimizers.SGD(0.01, gradient_accumulation_steps=3)), batch=4)
    assert value(layer.steps) == 3


@every_layer
def test_a_layer_that_is_called_twice_in_a_pass_counts_once(make):
    layer = make(schedules.Linear(0.9, 8, 0.1))
    x = keras.Input((4,))
    hidden = layer(problems.dense(4, "first", 1)(layer(x)))
    model = keras.Model(x, problems.dense(1, "last", 2)(hidden))
    model.compile(optimizers.SGD(0.01), "mse", **COMPILED)
    problems.fit(model, epochs=2, batch=6)
    assert value(layer.steps) == 4
    np.testing.assert_allclose(value(layer._number), 0.6, rtol=1e-6)


def test_passes_in_a_loop_of_ones_own_count_each():
    layer = layers.ScheduledDropout(RATES)
    for _ in range(3):
        layer(np.ones((2, 2), "float32"), training=True)
    layer(np.ones((2, 2), "float32"), training=False)
    assert value(layer.steps) == 3


def test_sam_counts_a_batch_once():
    layer = layers.ScheduledDropout(RATES)
    sam = kopt.SAM(model_with(layer), 0.1)
    sam.compile(optimizers.SGD(0.01), "mse")
    problems.fit(sam, batch=4)
    assert value(layer.steps) == 3


def test_a_rate_is_assigned_between_epochs():
    class Raise(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            layer.rate.assign([0.0, 0.25, 0.5][epoch])

    layer = layers.ScheduledDropout(0.1)
    watch = Watch(layer.rate)
    problems.fit(model_with(layer), epochs=3, callbacks=[Raise(), watch])
    assert watch.seen == [[0.0], [0.25], [0.5]]


def test_schedules_of_keras_are_followed_too():
    layer = layers.Temperature(keras.optimizers.schedules.PolynomialDecay(4.0, 4, 2.0))
    problems.fit(model_with(layer), batch=4)
    np.testing.assert_allclose(value(layer.temperature), 3.0, rtol=1e-6)


# Lengths as fractions of the run


def fraction():
    return schedules.Linear(0.8, 0.5, 0.0, by="fraction")


@every_layer
def test_a_callback_tells_the_length_to_layers(make):
    layer = make(fraction() + 0.1)
    model = keras.Sequential([keras.Sequential([keras.Input((4,)), layer]), problems.dense(1, "last", 2)])
    model.compile(optimizers.SGD(0.01), "mse", **COMPILED)
    watch = Watch(layer._number)
    problems.fit(model, epochs=8, batch=12, callbacks=[kopt.callbacks.Report(), watch])
    np.testing.assert_allclose(np.ravel(watch.seen), [0.9, 0.7, 0.5, 0.3, 0.1, 0.1, 0.1, 0.1], rtol=1e-5)


@every_layer
def test_without_it_training_says_what_to_do(make):
    with pytest.raises(ValueError, match=r"one of kopt's callbacks.*kopt.schedules.resolve\(.*with the model"):
        problems.fit(model_with(make(fraction() + 0.1)))


def test_resolve_takes_a_model_and_the_schedule_goes_on_after_loading(tmp_path):
    model = model_with(
        layers.ScheduledDropout(fraction()), optimizers.SGD(schedules.CosineDecay(0.01, 1.0, by="fraction"))
    )
    schedules.resolve(model, epochs=2, steps_per_epoch=3)
    problems.fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    seen = []
    for part in (model, loaded):
        for _ in range(2):
            problems.fit(part, batch=12)
            layer = part.layers[1]
            seen.append([value(layer.steps), value(layer.rate)])
    np.testing.assert_allclose(seen, [[4, 0.0], [5, 0.0]] * 2, atol=1e-6)
    # Three batches of six have passed; the rate is 0 from the third on.
    assert loaded.layers[1].followed[0].schedule.run_steps == 6


def test_values_outside_the_range_are_found_when_the_length_is_known():
    layer = layers.ScheduledDropout(schedules.Linear(0.5, 1.0, 1.5, by="fraction"))
    model = model_with(layer)
    with pytest.raises(ValueError, match=r"`rate` must be a number in \[0, 1\).*at step 50\."):
        schedules.resolve(model, epochs=10, steps_per_epoch=10)


def test_one_schedule_cannot_have_two_lengths():
    schedule = fraction()
    model = model_with(layers.ScheduledDropout(schedule), optimizers.SGD(schedule, gradient_accumulation_steps=2))
    with pytest.raises(ValueError, match=r"runs of 5 and 10 steps\. Make a second schedule"):
        schedules.resolve(model, epochs=1, steps_per_epoch=10)
    shared = schedules.Linear(0.8, 0.5, 0.0, by="fraction")
    schedules.resolve(model_with(layers.ScheduledDropout(shared), optimizers.SGD(shared)), 1, 10)
    assert shared.run_steps == 10


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="is about tf.distribute")
def test_replicas_agree():
    with devices.mirrored():
        layer = layers.ScheduledDropout(schedules.Linear(0.9, 8, 0.1))
        model = model_with(layer)
    problems.fit(model, batch=4)
    assert value(layer.steps) == 3
    np.testing.assert_allclose(value(layer.rate), 0.7, rtol=1e-6)
