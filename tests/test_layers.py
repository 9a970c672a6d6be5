"""Layers: a row per layer, and what each of them has to keep, crossed over the rows."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from compiling import dear_on_jax
from keras import ops

from kopt import layers, optimizers, schedules
from kopt._backend import derivatives
from kopt.testing import problems
from kopt.testing.training_checks import policy

RAMP = schedules.Linear(0.1, 8, 0.5)


def inner(units=3, **options):
    return problems.dense(units, "inside", 5, use_bias=False, **options)


@dataclasses.dataclass(frozen=True)
class Row:
    """A layer at non-default values.

    Attributes:
        make: Makes it, with more options of a layer.
        shape: Of a sample that it takes.
        inference: What it makes of numbers in inference; in training this is the mean.
        calls: How many passes it takes to see the mean: rows of a batch that share a draw count once.
        in_half: Makes it for a dtype policy.
    """

    make: object
    shape: tuple = (6,)
    inference: object = lambda layer, x: x
    calls: int = 2
    in_half: object = None

    def of_dtype(self, dtype):
        return self.make(dtype=dtype) if self.in_half is None else self.in_half(dtype)


def around(wrap):
    """Returns the row of a layer that disturbs another one's weights: a pass has one draw."""
    return Row(
        lambda **o: wrap(inner(), **o),
        inference=lambda layer, x: x @ array(layer.layer.kernel),
        calls=400,
        in_half=lambda dtype: wrap(inner(dtype=dtype)),
    )


ROWS = {
    "ScheduledDropout": Row(lambda **o: layers.ScheduledDropout(0.3, seed=3, **o)),
    "ScheduledDropout-shape": Row(lambda **o: layers.ScheduledDropout(0.3, [None, 1, 4], 3, **o), (5, 4)),
    "ScheduledDropout-schedule": Row(lambda **o: layers.ScheduledDropout(RAMP, seed=3, **o)),
    "DropPath": Row(lambda **o: layers.DropPath(0.4, seed=4, **o), (3, 2)),
    "DropPath-schedule": Row(lambda **o: layers.DropPath(RAMP, seed=4, **o)),
    "Temperature": Row(lambda **o: layers.Temperature(2.5, **o), inference=lambda layer, x: x / 2.5),
    "DropBlock": Row(lambda **o: layers.DropBlock(0.25, 3, seed=5, **o), (5, 4, 2)),
    "DropBlock-first": Row(lambda **o: layers.DropBlock(RAMP, 2, "channels_first", 5, **o), (2, 5, 4)),
    "ShakeDrop": Row(lambda **o: layers.ShakeDrop(0.4, seed=6, **o), (3, 2)),
    "DropConnect": around(lambda layer, **o: layers.DropConnect(layer, 0.3, seed=7, **o)),
    "WeightNoise": around(lambda layer, **o: layers.WeightNoise(layer, RAMP, ["kernel"], 8, **o)),
}
# One row of each layer, that with a schedule if there is one.
ONE_EACH = {name: row for name, row in ROWS.items() if not {f"{name}-schedule", f"{name}-first"} & set(ROWS)}
every_row = pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in ROWS.items()])


def inputs(row, count=64, seed=0):
    return np.random.default_rng(seed).normal(1.0, 1.0, size=(count, *row.shape)).astype("float32")


def array(tensor):
    return np.asarray(ops.convert_to_numpy(ops.cast(tensor, "float32")))


def body(name, row, **options):
    """Returns layers that give the row's layer what it takes, and make a vector of what comes out."""
    wide = problems.dense(int(np.prod(row.shape)), f"before_{name}", 1, activation="tanh")
    return [wide, keras.layers.Reshape(row.shape), row.make(name=name, **options), keras.layers.Flatten()]


def network(rows):
    parts = [part for name, row in rows.items() for part in body(name, row)]
    return keras.Sequential([keras.Input((4,)), *parts, problems.dense(1, "last", 2)])


def assert_trains_is_saved_and_goes_on(rows, path, **compiled):
    model = network(rows)
    kernels = [v for v in model.trainable_variables if "kernel" in v.path]
    before = problems.values(kernels)
    model.compile(optimizers.SGD(0.02), "mse", **compiled)
    problems.fit(model)
    for kernel, start in zip(kernels, before, strict=True):
        assert np.abs(array(kernel) - start).max() > 0, f"no gradient came to {kernel.path}"
    model.save(path)
    loaded = keras.models.load_model(path)
    x, _ = problems.data()
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
    problems.fit(loaded)
    assert all(np.isfinite(w).all() for w in problems.values(loaded.weights))
    for name in rows:
        layer = loaded.get_layer(name)
        assert int(ops.convert_to_numpy(layer.steps)) == 6
        number = layer.followed[0]
        expected = number.first if number.schedule is None else float(ops.convert_to_numpy(number.at(5)))
        np.testing.assert_allclose(array(layer._number), expected, rtol=1e-6)


XLA = pytest.param(True, marks=pytest.mark.slow) if keras.backend.backend() == "tensorflow" else problems.traces()
XLA_OR_NOT = [False, XLA] if keras.backend.backend() == "tensorflow" else [XLA]


@pytest.mark.parametrize("jit_compile", XLA_OR_NOT)
def test_all_in_one_network(jit_compile, tmp_path):
    """A program for each row takes the compilers seconds."""
    assert_trains_is_saved_and_goes_on(ONE_EACH, tmp_path / "model.keras", jit_compile=jit_compile)


COMPILATIONS = {
    "tensorflow": [{"jit_compile": False}, {"jit_compile": True}, {"run_eagerly": True}],
    "jax": [{"jit_compile": True}, {"run_eagerly": True}],
    "torch": [{"run_eagerly": True}],  # Keras compiles on PyTorch with Dynamo, which needs a C++ compiler
}[keras.backend.backend()]


@pytest.mark.slow
@pytest.mark.parametrize("compilation", COMPILATIONS, ids=str)
@pytest.mark.parametrize("name", ROWS)
def test_each_in_a_network(name, compilation, tmp_path):
    assert_trains_is_saved_and_goes_on({name: ROWS[name]}, tmp_path / "model.keras", **compilation)


def test_all_train_in_half_precision():
    with policy("mixed_bfloat16"):
        model = network(ONE_EACH)
    model.compile(optimizers.SGD(0.02), "mse", jit_compile=keras.backend.backend() == "jax")
    problems.fit(model)
    assert all(np.isfinite(w).all() for w in problems.values(model.weights))


@every_row
def test_inference_changes_nothing_that_training_adds(row):
    x, layer = inputs(row), row.make()
    for y in (layer(x), layer(x, training=False)):
        expected = row.inference(layer, x)
        if expected is x:
            np.testing.assert_array_equal(array(y), x)
        else:  # JAX divides by multiplying, and sums have their rounding
            np.testing.assert_allclose(array(y), expected, rtol=1e-6, atol=1e-6)


@dear_on_jax
@every_row
@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_keeps_its_dtype(row, dtype):
    layer = row.of_dtype(dtype)
    half = dtype.removeprefix("mixed_")
    x = ops.cast(ops.convert_to_tensor(inputs(row)), half)
    for training in (True, False):
        y = layer(x, training=training)
        assert keras.backend.standardize_dtype(y.dtype) == half
        assert np.isfinite(array(y)).all()
    assert layer.compute_output_spec(keras.KerasTensor((None, *row.shape), half)).dtype == half
    assert all(keras.backend.standardize_dtype(v.dtype) != half for v in layer.weights)


@every_row
def test_the_config_survives_json(row):
    layer = row.make(name="mine")
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(layer)
    assert json.loads(json.dumps(keras.saving.serialize_keras_object(again))) == config
    assert keras.saving.get_registered_name(type(layer)) == f"kopt>{type(layer).__name__}"


@every_row
def test_the_expectation_is_kept(row):
    """Mean over draws at one input; the bound is 5 standard errors of what was seen (chance 6e-7 an element)."""
    layer, x = row.make(), inputs(row, 1)
    many = np.repeat(x, 8192 // row.calls if row.calls < 100 else 1, axis=0)
    draws = np.concatenate([array(layer(many, training=True)) for _ in range(row.calls)]).astype("float64")
    mean = row.inference(layer, x)[0]
    error = np.abs(draws.mean(axis=0) - mean)
    bound = 5 * draws.std(axis=0) / np.sqrt(len(draws)) + 1e-6 * np.abs(mean)
    assert (error <= bound).all()
    assert bound.max() < 0.6


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


@dear_on_jax
@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_drop_block_drops_squares(data_format):
    """At a low rate squares stand alone: inside the image each has all of its pixels."""
    layer = layers.DropBlock(0.02, 3, data_format, seed=1)
    y = array(layer(np.ones((40, 12, 12, 12), "float32"), training=True))
    y = y if data_format == "channels_last" else np.moveaxis(y, 1, -1)
    dropped = (y == 0).transpose(0, 3, 1, 2)
    assert abs(dropped.mean() - 0.02) < 5 * 3 * np.sqrt(0.02 * 0.98 / dropped.size)  # nine pixels share a draw
    windows = np.lib.stride_tricks.sliding_window_view(dropped, (3, 3), axis=(2, 3)).all(axis=(-2, -1))
    covered = np.zeros_like(dropped)
    for i in range(3):
        for j in range(3):
            covered[:, :, i : i + 10, j : j + 10] |= windows
    middle = (slice(None), slice(None), slice(2, -2), slice(2, -2))
    np.testing.assert_array_equal(covered[middle], dropped[middle])
    assert dropped[middle].any()


@dear_on_jax
def test_drop_block_of_one_pixel_is_dropout():
    y = array(layers.DropBlock(0.3, 1, seed=1)(np.ones((20, 8, 8, 4), "float32"), training=True))
    assert abs((y == 0).mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / y.size)


def stateless(layer, x):
    """Returns a pure function of the inputs: what they become in training."""
    trainable = [v.value for v in layer.trainable_variables]
    others = [v.value for v in layer.non_trainable_variables]
    return lambda points, *_: ops.sum(layer.stateless_call(trainable, others, points[0], training=True)[0])


def test_shake_drop_has_another_factor_backward():
    layer, x = layers.ShakeDrop(0.6, seed=2), np.ones((300, 1), "float32")
    layer.build(x.shape)
    _, gradient = derivatives.gradient_of(stateless(layer, x))([ops.convert_to_tensor(x)])
    forward = array(layer(x, training=True))  # the gradient left no trace in the seed: the same draws
    backward = array(gradient[0])
    one = 1 / 0.4
    passes = np.isclose(forward, one)
    assert abs(passes.mean() - 0.4) < 5 * np.sqrt(0.4 * 0.6 / 300)
    np.testing.assert_allclose(backward[passes], one, rtol=1e-6)
    a, c = forward[~passes] / one, backward[~passes] / one
    assert ((a > -1) & (a < 1) & (c > 0) & (c < 1)).all()
    assert abs(a.mean()) < 5 * np.sqrt(1 / 3 / len(a))
    assert abs(c.mean() - 0.5) < 5 * np.sqrt(1 / 12 / len(c))
    assert abs(np.corrcoef(a, c)[0, 1]) < 5 / np.sqrt(len(a))


def test_drop_connect_drops_elements_of_the_kernel():
    layer = layers.DropConnect(inner(), 0.4, seed=1)
    eye = np.eye(6, dtype="float32")
    layer(eye)
    kernel = array(layer.layer.kernel)
    ratio = array(layer(eye, training=True)) / kernel  # of the identity the layer makes its kernel
    assert np.unique(np.round(ratio, 4)).tolist() == [0.0, np.round(np.float32(1 / 0.6), 4)]
    np.testing.assert_array_equal(array(layer.layer.kernel), kernel)


def test_weight_noise_has_the_deviation_that_it_says():
    layer = layers.WeightNoise(inner(500), 0.2, seed=1)
    eye = np.eye(6, dtype="float32")
    noise = array(layer(eye, training=True)) - array(layer(eye))
    assert abs(noise.std() - 0.2) < 5 * 0.2 / np.sqrt(2 * noise.size)
    assert abs(noise.mean()) < 5 * 0.2 / np.sqrt(noise.size)


@dear_on_jax
def test_what_the_layer_inside_keeps_is_kept():
    """Batch statistics move, dropout's masks change, and recurrent weights can be disturbed by name."""
    norm = keras.layers.BatchNormalization()
    layer = layers.WeightNoise(norm, 0.1, ["gamma"], seed=1)
    x = np.random.default_rng(0).normal(3.0, 1.0, (50, 2)).astype("float32")
    layer(x, training=True)
    np.testing.assert_allclose(array(norm.moving_mean), 0.01 * x.mean(axis=0), rtol=1e-4)
    recurrent = layers.DropConnect(keras.layers.GRU(3, dropout=0.5), 0.5, ["recurrent_kernel"], seed=1)
    sequences = np.ones((2, 4, 3), "float32")
    first, second = (array(recurrent(sequences, training=True)) for _ in range(2))
    assert (first != second).any()
    np.testing.assert_array_equal(array(recurrent(sequences)), array(recurrent.layer(sequences)))


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
        (lambda: layers.DropBlock(0.1, 0), "`block_size` must be an integer >= 1"),
        (lambda: layers.DropBlock(0.1, 3, "first"), "`data_format` must be one of 'channels_last', 'channels_first'"),
        (lambda: layers.DropBlock(0.1)(np.ones((2, 3))), "`inputs` must be images: a tensor of four axes"),
        (lambda: layers.ShakeDrop(1.5), "`rate` must be a number"),
        (lambda: layers.DropConnect("dense", 0.1), "`layer` must be a Keras layer. Received: layer='dense'"),
        (lambda: layers.DropConnect(inner(), 1.0), "`rate` must be a number"),
        (lambda: layers.DropConnect(inner(), 0.1, []), "`names` must be a list of one or more names of weights"),
        (
            lambda: layers.DropConnect(inner(), 0.1, ["bias"])(np.ones((2, 3))),
            r"has \['kernel'\]. Received: names=\('bias'",
        ),
        (lambda: layers.WeightNoise(inner(activity_regularizer="l2"), 0.1), "without an activity regularizer"),
        (lambda: layers.WeightNoise(inner(), -0.1), "`stddev` must be a finite number >= 0"),
        (lambda: layers.Temperature(0.0), "`temperature` must be a finite number > 0"),
        (lambda: layers.Temperature(schedules.Linear(2.0, 1000, 0.0)), "at step 1000."),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
