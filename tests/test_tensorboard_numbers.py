"""Are the logged numbers right? Every tag at every step against a forward and backward pass written out by hand."""

import by_hand
import devices
import event_files
import keras
import monitored
import numpy as np
import pytest
import trainings

from kopt import callbacks, optimizers, transforms
from kopt.monitoring.buckets import BUCKET_EDGES, bucket_counts

EPOCHS = 3


def by_value(limit):
    return lambda gradients: [np.clip(g, -limit, limit) for g in gradients]


def by_norm(limit):
    return lambda gradients: [g * min(1.0, limit / np.linalg.norm(g)) for g in gradients]


def by_global_norm(limit):
    return lambda gradients: [g * min(1.0, limit / by_hand.global_norm(gradients)) for g in gradients]


def keras_sgd(**options):
    return keras.optimizers.SGD(by_hand.LEARNING_RATE, **options)


def kopt_sgd(**options):
    return optimizers.SGD(by_hand.LEARNING_RATE, **options)


def several(**options):
    """Returns two optimizers in one: the first layer clips each norm, the second each value."""
    first = keras.optimizers.SGD(by_hand.LEARNING_RATE, clipnorm=0.4, name="first", **options)
    second = keras.optimizers.SGD(by_hand.LEARNING_RATE, clipvalue=0.2, name="second", **options)
    return keras.optimizers.MultiOptimizer(lambda variable: first if "first" in variable.path else second)


def dynamically_scaled():
    return keras.optimizers.LossScaleOptimizer(keras_sgd(), initial_scale=8.0)


SETTINGS = {
    "plain": (keras_sgd, {}, {}),
    "kopt": (kopt_sgd, {}, {}),
    "clipnorm": (keras_sgd, {"clipnorm": 0.4}, {"clip": by_norm(0.4)}),
    "clipvalue": (keras_sgd, {"clipvalue": 0.2}, {"clip": by_value(0.2)}),
    "global_clipnorm": (keras_sgd, {"global_clipnorm": 1.0}, {"clip": by_global_norm(1.0)}),
    "kopt-clipnorm": (kopt_sgd, {"clipnorm": 0.4}, {"clip": by_norm(0.4)}),
    "kopt-before": (kopt_sgd, {"before": [transforms.ClipByGlobalNorm(1.0)]}, {"clip": by_global_norm(1.0)}),
    "accumulation": (keras_sgd, {"gradient_accumulation_steps": 2}, {"micro_batches": 2}),
    "kopt-accumulation-clipvalue": (
        kopt_sgd,
        {"gradient_accumulation_steps": 2, "clipvalue": 0.2},
        {"micro_batches": 2, "clip": by_value(0.2)},
    ),
    "loss-scale": (keras_sgd, {"loss_scale_factor": 8.0}, {}),
    "dynamic-loss-scale": (dynamically_scaled, {}, {}),
    "several": (several, {}, {"clip": lambda g: [*by_norm(0.4)(g[:2]), *by_value(0.2)(g[2:])]}),
}
FAST = ("kopt-before", "kopt-accumulation-clipvalue", "dynamic-loss-scale")
OWN_TAGS = {
    "loss-scale": {"loss_scale": 8.0},
    "dynamic-loss-scale": {"loss_scale": 8.0},
    "several": {"learning_rate/first": by_hand.LEARNING_RATE, "learning_rate/second": by_hand.LEARNING_RATE},
}
SPREAD = {"tensorflow": devices.mirrored, "jax": lambda: devices.distributed(devices.data_parallel)}


def trained(log_dir, make, histograms=False, **options):
    """Trains the network by hand and in Keras; returns the steps by hand, scalars and histograms."""
    model = by_hand.network()
    model.compile(make(), "mse")
    x, y = by_hand.data()
    callback = callbacks.TensorBoard(log_dir, gradients=1, gradient_histograms=histograms)
    model.fit(x, y, batch_size=by_hand.BATCH, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[callback])
    return by_hand.trained(EPOCHS, **options), *monitored.logged(log_dir)


def assert_equal_to(steps, logged, own_tags=()):
    """Asserts that the logged scalars are those by hand, tag by tag and step by step."""
    expected = [by_hand.scalars(step) | dict(own_tags) for step in steps]
    if any(tag.startswith("learning_rate/") for tag in expected[0]):
        expected = [{tag: value for tag, value in row.items() if tag != "learning_rate"} for row in expected]
    assert logged.keys() == expected[0].keys()
    for tag in expected[0]:
        assert event_files.steps(logged[tag]) == list(range(1, len(steps) + 1)), tag
        values = [value for _, value in logged[tag]]
        # Below 1e-7 float32 leaves nothing of the mean of gradients of size 0.1 that cancel.
        np.testing.assert_allclose(values, [row[tag] for row in expected], rtol=1e-5, atol=1e-7, err_msg=tag)


@pytest.mark.parametrize("setting", [pytest.param(s, marks=() if s in FAST else pytest.mark.slow) for s in SETTINGS])
def test_every_number_of_every_step_equals_the_one_by_hand(setting, tmp_path):
    make, keywords, options = SETTINGS[setting]
    steps, logged, _ = trained(tmp_path, lambda: make(**keywords), **options)
    assert_equal_to(steps, logged, OWN_TAGS.get(setting, {}))


@pytest.mark.skipif(monitored.BACKEND not in SPREAD, reason="Keras spreads no training over devices here.")
@pytest.mark.slow
@pytest.mark.parametrize("clip", [None, 1.0])
def test_numbers_of_a_step_spread_over_two_devices(clip, tmp_path):
    with SPREAD[monitored.BACKEND]():
        options = {} if clip is None else {"clip": by_global_norm(clip)}
        steps, logged, _ = trained(tmp_path, lambda: kopt_sgd(global_clipnorm=clip), **options)
    assert_equal_to(steps, logged)


@pytest.mark.slow
@pytest.mark.parametrize("name", trainings.CORE)
def test_the_first_gradients_do_not_depend_on_the_optimizer(name, tmp_path):
    (seen, *_), logged, _ = trained(tmp_path, trainings.keras_optimizer(name))
    by_tag = by_hand.scalars(seen)
    for tag in (tag for tag in by_tag if tag.startswith(("gradients", "weights_norm"))):
        step, value = logged[tag][0]
        assert (step, value) == (1, pytest.approx(by_tag[tag], rel=1e-5, abs=1e-7)), tag


def test_clipping_is_seen_at_all():
    steps = by_hand.trained(EPOCHS, by_global_norm(1.0))
    norms = [by_hand.global_norm(step.gradients) for step in steps]
    assert min(norms) < 1.0 < max(norms), "The limit must bind at some steps and not at others."


def test_histograms_equal_numpys(tmp_path):
    steps, _, logged = trained(tmp_path, keras_sgd, histograms=True)
    assert logged.keys() == {f"gradients/{path}" for path in by_hand.PATHS}
    for i, path in enumerate(by_hand.PATHS):
        points = logged[f"gradients/{path}"]
        assert event_files.steps(points) == list(range(1, len(steps) + 1))
        for (_, found), step in zip(points, steps, strict=True):
            gradient = step.gradients[i]
            assert found.num == found.counts.sum() == gradient.size
            assert np.isin(found.limits, BUCKET_EDGES).all()
            counts = dict(zip(BUCKET_EDGES[1:], np.histogram(gradient, BUCKET_EDGES)[0], strict=True))
            written = dict(zip(found.limits, found.counts, strict=True))
            assert {edge: n for edge, n in counts.items() if n} == {edge: n for edge, n in written.items() if n}


def counted(values):
    """Returns the bucket counts as the monitor gets them inside a training step, compiled where that is usual."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return np.asarray(jax.jit(bucket_counts)(values))
    if backend == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(bucket_counts, jit_compile=True)(tf.constant(values)).numpy()
        np.testing.assert_array_equal(compiled, bucket_counts(tf.constant(values)).numpy())
        return compiled
    return keras.ops.convert_to_numpy(bucket_counts(keras.ops.convert_to_tensor(values)))


def test_bucket_edges_are_exact():
    inner = np.array(BUCKET_EDGES[len(BUCKET_EDGES) // 2 : -1])
    nearest = inner.astype("float32")
    values = np.concatenate([nearest, *(np.nextafter(nearest, np.float32(to)) for to in (0.0, np.inf)), [0.0, 1e-40]])
    values = values.astype("float32")
    expected = np.histogram(values.astype("float64"), [0.0, *inner, np.inf])[0]
    middle = len(BUCKET_EDGES) // 2 - 1
    counts = counted(values)
    np.testing.assert_array_equal(counts[middle:], expected)
    assert not counts[:middle].any()
    np.testing.assert_array_equal(counted(-values)[: middle + 1], expected[::-1])


def test_non_finite_elements_count_as_outermost():
    counts = counted(np.array([np.inf, np.nan, -np.inf, 1.0, -0.0], "float32"))
    assert counts[-1] == 2
    assert counts[0] == 1
    assert counts.sum() == 5


def test_counts_do_not_stop_at_two_to_the_24():
    size = 2**24 + 10
    assert counted(np.zeros(size, "float32")).astype("float64").sum() == size
