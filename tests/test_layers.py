"""Layers: a row per layer, and what each of them has to keep, crossed over the rows."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from keras import ops

import kopt
from kopt import layers, schedules
from kopt.testing import problems
from kopt.testing.training_checks import policy

IDENTITY = lambda x: x  # noqa: E731
RAMP = schedules.Linear(0.1, 8, 0.5)


@dataclasses.dataclass(frozen=True)
class Row:
    """A layer at non-default values.

    Attributes:
        make: Makes it, with more options of a layer.
        shape: Of a sample that it takes.
        inference: What it makes of numbers in inference.
        mean: What it makes of them on average in training; None if it keeps no expectation of single elements.
    """

    make: object
    shape: tuple = (6,)
    inference: object = IDENTITY
    mean: object = IDENTITY


ROWS = {
    "ScheduledDropout": Row(lambda **o: layers.ScheduledDropout(0.3, seed=3, **o)),
    "ScheduledDropout-shape": Row(lambda **o: layers.ScheduledDropout(0.3, [None, 1, 4], 3, **o), (5, 4)),
    "ScheduledDropout-schedule": Row(lambda **o: layers.ScheduledDropout(RAMP, seed=3, **o)),
    "DropPath": Row(lambda **o: layers.DropPath(0.4, seed=4, **o), (3, 2)),
    "DropPath-schedule": Row(lambda **o: layers.DropPath(RAMP, seed=4, **o)),
    "Temperature": Row(lambda **o: layers.Temperature(2.5, **o), inference=lambda x: x / 2.5, mean=lambda x: x / 2.5),
}
every_row = pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in ROWS.items()])


def inputs(row, count=64, seed=0):
    return np.random.default_rng(seed).normal(1.0, 1.0, size=(count, *row.shape)).astype("float32")


def array(tensor):
    return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")))


def network(layer, shape):
    """Returns a network with trainable weights in front of the layer and behind it."""
    first = problems.dense(shape[-1], "first", 1, activation="tanh")
    body = [first, layer, keras.layers.Flatten(), problems.dense(1, "last", 2)]
    return keras.Sequential([keras.Input(shape), *body])


def trained(model, shape, epochs=1, **compiled):
    if compiled or not model.compiled:
        model.compile(kopt.optimizers.SGD(0.05), "mse", **compiled)
    x = np.random.default_rng(5).normal(size=(12, *shape)).astype("float32")
    model.fit(x, x.reshape(12, -1)[:, :1], batch_size=4, epochs=epochs, shuffle=False, verbose=0)
    return model


@every_row
def test_inference_changes_nothing_that_training_adds(row):
    x, layer = inputs(row), row.make()
    for y in (layer(x), layer(x, training=False)):
        if row.inference is IDENTITY:
            np.testing.assert_array_equal(array(y), x)
        else:  # JAX divides by multiplying: half a unit in the last place more
            np.testing.assert_allclose(array(y), row.inference(x), rtol=3e-7)


@every_row
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_its_dtype(row, dtype):
    layer = row.make(dtype=dtype)
    x = ops.cast(ops.convert_to_tensor(inputs(row)), dtype.removeprefix("mixed_"))
    for training in (True, False):
        y = layer(x, training=training)
        assert keras.backend.standardize_dtype(y.dtype) == dtype.removeprefix("mixed_")
        assert np.isfinite(array(y)).all()
    assert all(keras.backend.standardize_dtype(v.dtype) != "float16" for v in layer.weights)


@every_row
def test_the_config_survives_json(row):
    layer = row.make(name="mine")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(layer)
    assert keras.saving.serialize_keras_object(again) == keras.saving.serialize_keras_object(layer)
    assert keras.saving.get_registered_name(type(layer)) == f"kopt>{type(layer).__name__}"


@every_row
def test_the_expectation_is_kept(row):
    """Mean over passes at one input; the bound is 5 standard errors of what was seen (chance 6e-7 an element)."""
    if row.mean is None:
        return
    layer, x = row.make(), inputs(row, 1)
    many = np.repeat(x, 4096, axis=0)
    passes = np.concatenate([array(layer(many, training=True)) for _ in range(2)]).astype("float64")
    error = np.abs(passes.mean(axis=0) - row.mean(x[0]))
    bound = 5 * passes.std(axis=0) / np.sqrt(len(passes)) + 1e-6 * np.abs(x[0])
    assert (error <= bound).all()
    assert bound.max() < 0.2


COMPILATIONS = {
    "tensorflow": [{"jit_compile": False}, {"jit_compile": True}, {"run_eagerly": True}],
    "jax": [{"jit_compile": True}, {"run_eagerly": True}],
    "torch": [{"run_eagerly": True}],  # Keras compiles on PyTorch with Dynamo, which needs a C++ compiler
}[keras.backend.backend()]
USUAL, *OTHERS = COMPILATIONS
compilations = [
    pytest.param(USUAL, id=str(USUAL)),
    *(pytest.param(o, id=str(o), marks=pytest.mark.slow) for o in OTHERS),
]


@every_row
@pytest.mark.parametrize("compilation", compilations)
def test_it_trains_is_saved_and_goes_on(row, compilation, tmp_path):
    model = network(row.make(name="mine"), row.shape)
    before = {v.path: array(v) for v in model.weights}
    trained(model, row.shape, **compilation)
    first = [v for v in model.trainable_variables if "first" in v.path]
    assert len(first) == 2
    assert all(np.abs(array(v) - before[v.path]).max() > 0 for v in first), "no gradient came through the layer"
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    x = inputs(row)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    trained(loaded, row.shape)
    assert all(np.isfinite(w).all() for w in problems.values(loaded.weights))
    layer = loaded.get_layer("mine")
    assert int(ops.convert_to_numpy(layer.steps)) == 6
    number = layer.followed[0]
    expected = number.first if number.schedule is None else float(ops.convert_to_numpy(number.at(5)))
    np.testing.assert_allclose(array(layer._number), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_all_in_one_compiled_network(dtype):
    """The rows that take vectors; XLA takes seconds for each program, so they share one."""
    with policy(dtype):
        model = keras.Sequential([keras.Input((6,)), problems.dense(6, "first", 1)])
        for row in ROWS.values():
            if row.shape == (6,):
                model.add(row.make())
        model.add(problems.dense(1, "last", 2))
        trained(model, (6,), jit_compile=problems.traces())
    assert all(np.isfinite(w).all() for w in problems.values(model.weights))


@every_row
def test_a_misspelt_keyword_raises(row):
    with pytest.raises((ValueError, TypeError), match="ratee"):
        row.make(ratee=0.1)


# What single layers do


def test_dropout_drops_as_many_as_it_says_and_scales_the_rest():
    layer = layers.ScheduledDropout(0.3, seed=1)
    y = array(layer(np.ones((400, 50), "float32"), training=True))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1) / np.float32(0.7)}
    assert abs((y == 0).mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / y.size)


def test_a_noise_shape_shares_decisions():
    layer = layers.ScheduledDropout(0.5, noise_shape=[None, 1, 3], seed=1)
    y = array(layer(np.ones((50, 7, 3), "float32"), training=True))
    assert (y == y[:, :1]).all()
    assert not (y == y[:, :, :1]).all()


def test_drop_path_decides_for_whole_samples():
    y = array(layers.DropPath(0.5, seed=1)(np.ones((60, 4, 3), "float32"), training=True))
    assert set(np.unique(y)) == {0.0, 2.0}
    assert (y == y[:, :1, :1]).all()


def test_two_layers_with_different_seeds_differ_and_seeds_repeat():
    x = np.ones((8, 8), "float32")
    first, again, other = (
        array(layers.ScheduledDropout(0.5, seed=seed)(x, training=True)) for seed in (1, 1, 2)
    )  # fmt: skip
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_drop_path_rates():
    np.testing.assert_allclose(layers.drop_path_rates(4, 0.3), [0.0, 0.1, 0.2, 0.3])
    assert layers.drop_path_rates(1, 0.3) == [0.3]


def test_dropout_of_nothing_can_be_given_a_rate_later():
    layer = layers.ScheduledDropout(0.0, seed=1)
    x = np.ones((20, 20), "float32")
    np.testing.assert_array_equal(array(layer(x, training=True)), x)
    layer.rate.assign(0.5)
    assert (array(layer(x, training=True)) == 0).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: layers.ScheduledDropout(1.0), r"`rate` must be a number in \[0, 1\). Received: rate=1.0"),
        (lambda: layers.ScheduledDropout("0.5"), r"`rate` must be a number in \[0, 1\). Received: rate='0.5'"),
        (lambda: layers.ScheduledDropout(schedules.Linear), r"`rate` must be .*Call it: Linear\(...\)."),
        (lambda: layers.ScheduledDropout(schedules.Linear(0.5, 10, 1.0)), "at step 10."),
        (lambda: layers.ScheduledDropout(0.5, 3), "`noise_shape` must be a list of integers"),
        (lambda: layers.ScheduledDropout(0.5, [0]), r"`noise_shape\[0\]` must be an integer >= 1"),
        (lambda: layers.ScheduledDropout(0.5, seed=-1), "`seed` must be an integer >= 0"),
        (lambda: layers.ScheduledDropout(0.5, [1])(np.ones((2, 2)), training=True), "a list of 2 entries"),
        (lambda: layers.DropPath(-0.1), r"`rate` must be a number in \[0, 1\). Received: rate=-0.1"),
        (lambda: layers.drop_path_rates(0, 0.1), "`depth` must be an integer >= 1"),
        (lambda: layers.drop_path_rates(3, 1), "`rate` must be a number"),
        (lambda: layers.Temperature(0.0), "`temperature` must be a finite number > 0"),
        (lambda: layers.Temperature(schedules.Linear(2.0, 1000, 0.0)), "at step 1000."),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
