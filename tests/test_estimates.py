"""Does TensorBoard show what an optimizer estimates, at each step, as it is without a monitor?"""

import by_hand
import devices
import event_files
import keras
import numpy as np
import pytest
from keras import ops
from monitored import BACKEND

from kopt import callbacks, optimizers, transforms

EPOCHS = 3


def prodigy(**options):
    return optimizers.Prodigy(d0=1e-4, beta_2=0.95, bias_correction=True, **options)


def own_chain():
    """Returns two estimates in one optimizer: of the first layer, and of the second."""
    return prodigy(groups=[optimizers.Group("first", transforms=[transforms.ScaleByDog(0.01)])])


def several():
    first, second = optimizers.DoG(d0=0.01, name="first"), prodigy(name="second")
    return keras.optimizers.MultiOptimizer(lambda variable: first if "first" in variable.path else second)


def inner(optimizer):
    return getattr(optimizer, "inner_optimizer", optimizer)


def estimates_of(optimizer):
    """Returns the estimates of an optimizer, or of the ones in it, by the tag that they are promised."""
    optimizer = inner(optimizer)
    found = {f"estimates/{name}": value for name, value in getattr(optimizer, "estimates", {}).items()}
    for part in getattr(optimizer, "optimizers", ()):
        found |= {f"estimates/{name}/{part.name}": value for name, value in part.estimates.items()}
    return {tag: float(ops.convert_to_numpy(value)) for tag, value in found.items()}


ONE = {"estimates/distance"}
# what makes the optimizer, keywords of `compile`, batches per step, tags
SETTINGS = {
    "plain": (prodigy, {}, 1, ONE),
    "dadapt-adam": (lambda: optimizers.DAdaptAdam(d0=1e-3, beta_2=0.95), {}, 1, ONE),
    "dog": (lambda: optimizers.DoG(d0=1e-2), {}, 1, ONE),
    "dowg": (lambda: optimizers.DoWG(), {}, 1, ONE),
    "eager": (prodigy, {"run_eagerly": True}, 1, ONE),
    "jit": (prodigy, {"jit_compile": True}, 1, ONE),
    "no-jit": (prodigy, {"jit_compile": False}, 1, ONE),
    "accumulation": (lambda: prodigy(gradient_accumulation_steps=2), {}, 2, ONE),
    "scaled": (lambda: keras.optimizers.LossScaleOptimizer(prodigy(), initial_scale=8.0), {}, 1, ONE),
    "own-chain": (own_chain, {}, 1, {"estimates/distance", "estimates/distance_2"}),
    "several": (several, {}, 1, {"estimates/distance/first", "estimates/distance/second"}),
    "none": (lambda: optimizers.AdamW(0.1), {}, 1, set()),
    "keras": (lambda: keras.optimizers.Adam(0.1), {}, 1, set()),
}
FAST = ("plain", "jit", "accumulation", "scaled", "several")
HERE = [s for s in SETTINGS if s != "jit" or BACKEND != "torch"]  # Dynamo needs a C++ compiler


def network(make, options):
    model = by_hand.network()
    model.compile(make(), "mse", **options)
    return model


def alone(make, options, per_step):
    """Returns the estimates after each optimizer step of a training without a monitor."""
    model, rows = network(make, options), []
    x, y = by_hand.data()
    for _ in range(EPOCHS):
        for begin in range(0, len(x), by_hand.BATCH):
            model.train_on_batch(x[begin : begin + by_hand.BATCH], y[begin : begin + by_hand.BATCH])
            rows.append(estimates_of(model.optimizer))
    return rows[per_step - 1 :: per_step]


def watched(make, options, log_dir):
    """Returns the logged estimates by tag, as pairs of step and value."""
    model = network(make, options)
    x, y = by_hand.data()
    monitor = callbacks.TensorBoard(log_dir, gradients=1)
    model.fit(x, y, batch_size=by_hand.BATCH, epochs=EPOCHS, shuffle=False, verbose=0, callbacks=[monitor])
    logged = event_files.scalars(log_dir / "train")
    return {tag: points for tag, points in logged.items() if tag.startswith("estimates/")}


def assert_equal(logged, rows, tags):
    assert logged.keys() == rows[0].keys() == tags
    for tag in tags:
        assert event_files.steps(logged[tag]) == list(range(1, len(rows) + 1)), tag
        expected = [row[tag] for row in rows]
        np.testing.assert_allclose([value for _, value in logged[tag]], expected, rtol=1e-5, err_msg=tag)
        assert expected[-1] > 1.5 * expected[0], "An estimate that does not move proves nothing."


@pytest.mark.parametrize("setting", [pytest.param(s, marks=() if s in FAST else pytest.mark.slow) for s in HERE])
def test_the_logged_estimates_are_those_after_each_step(setting, tmp_path):
    make, options, per_step, tags = SETTINGS[setting]
    assert_equal(watched(make, options, tmp_path), alone(make, options, per_step), tags)


SPREAD = {"tensorflow": devices.mirrored, "jax": lambda: devices.distributed(devices.data_parallel)}


@pytest.mark.skipif(BACKEND not in SPREAD, reason="Keras spreads no training over devices here.")
@pytest.mark.parametrize("scaled", [False, True])
def test_estimates_of_a_step_spread_over_two_devices(scaled, tmp_path):
    make = SETTINGS["scaled" if scaled else "plain"][0]
    with SPREAD[BACKEND]():
        logged = watched(make, {}, tmp_path)
    assert_equal(logged, alone(make, {}, 1), ONE)
