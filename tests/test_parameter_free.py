"""Do the estimates grow as the papers say, over orders of magnitude, and count whom they should?"""

from functools import partial

import keras
import numpy as np
import oracles_parameter_free as oracles
import pytest
import references.parameter_free as reference
from keras import ops
from test_parity import ATOL, RTOL, assert_same_path, problem, reference_path, trained

from kopt import optimizers, schedules, transforms
from kopt.optimizers import Group

STEPS = 160
SHAPES = {"kernel": (4, 2), "bias": (2,)}
ADAM = {"beta_1": 0.9, "beta_2": 0.97, "epsilon": 1e-6}
CORRECTED = {**ADAM, "bias_correction": True}
OPTAX = {
    "Prodigy": (oracles.optax_prodigy, lambda state: state.estim_lr),
    "DAdaptAdam": (oracles.optax_dadapt_adam, lambda state: state.estim_lr),
    "DoG": (oracles.optax_dog, lambda state: state[1].max_dist),
    "DoWG": (oracles.optax_dowg, lambda state: state[1].estim_sq_dist ** 0.5),
}
GROWING = [
    ("Prodigy", CORRECTED),
    ("Prodigy", {**CORRECTED, "learning_rate": 0.5, "distance_beta": 0.999, "safeguard_warmup": True}),
    ("Prodigy", ADAM),
    ("Prodigy", {**ADAM, "growth_rate": 1.1, "d0": 1e-5, "d_coef": 0.5}),
    ("DAdaptAdam", CORRECTED),
    ("DAdaptAdam", {**ADAM, "growth_rate": 1.15}),
    ("DoG", {}),
    ("DoG", {"d0": 1e-5, "relative": False}),
    ("DoWG", {"d0": 1e-4, "epsilon": 1e-12}),
]


class Regression:
    """Full-batch least squares that starts at 0, ten times as far from its solution as weights of size 1 would be."""

    def __init__(self):
        rng = np.random.default_rng(11)
        self.inputs = np.linalg.qr(rng.normal(size=(32, 4)))[0] * np.sqrt(32) * [1.0, 0.9, 0.8, 0.7]
        self.targets = 10 * (self.inputs @ rng.normal(size=(4, 2)) + rng.normal(size=2))

    def gradients(self, weights):
        kernel, bias = (np.asarray(w, "float64") for w in weights)
        error = (self.inputs @ kernel + bias - self.targets) / len(self.inputs)
        return [self.inputs.T @ error, error.sum(axis=0)]

    def path(self, step):
        """Returns the weights after each step of a function from weights and gradients to weights."""
        weights, path = [np.zeros(shape) for shape in SHAPES.values()], []
        for _ in range(STEPS):
            weights = step(weights, self.gradients(weights))
            path.append(weights)
        return path


def followed(optimizer):
    """Returns weights and distance after each step of an optimizer on the regression."""
    variables = [keras.Variable(np.zeros(shape), name=name) for name, shape in SHAPES.items()]
    distances = []

    def step(_, gradients):
        optimizer.apply([ops.convert_to_tensor(g, "float32") for g in gradients], variables)
        distances.append(float(ops.convert_to_numpy(optimizer.distance)))
        return [np.array(ops.convert_to_numpy(variable.value)) for variable in variables]

    return Regression().path(step), distances


def assert_same_growth(path, expected):
    """Fails unless weights that grow from 1e-6 to 20 agree at each step, as `test_parity` asks of size 1."""
    for t, (xs, ys) in enumerate(zip(path, expected, strict=True)):
        size = max(float(np.max(np.abs(y))) for y in ys)
        for x, y in zip(xs, ys, strict=True):
            np.testing.assert_allclose(x, y, RTOL, ATOL * size, err_msg=f"after step {t + 1}")


@pytest.mark.parametrize(("name", "kwargs"), GROWING)
def test_the_estimate_grows_by_orders_of_magnitude_as_in_the_paper(name, kwargs):
    path, distances = followed(getattr(optimizers, name)(**kwargs))
    follower = getattr(reference, name)(**kwargs)
    assert_same_growth(path, Regression().path(follower.step))
    np.testing.assert_allclose(distances, follower.distances, rtol=RTOL)
    assert distances[-1] > max(0.1, 1e3 * distances[0]), "An estimate that hardly grows proves nothing."


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [row for row in GROWING if "growth_rate" not in row[1] and (row[0].startswith("Do") or row[1] is not ADAM)],
)
def test_the_estimate_grows_as_in_optax(name, kwargs):
    import jax
    import jax.numpy as jnp
    import optax

    make, distance = OPTAX[name]
    transformation, state, theirs = make(**kwargs), None, []
    update = jax.jit(transformation.update)

    def step(weights, gradients):
        nonlocal state
        weights = [jnp.asarray(w, "float64") for w in weights]
        state = transformation.init(weights) if state is None else state
        updates, state = update([jnp.asarray(g, "float64") for g in gradients], state, weights)
        theirs.append(float(distance(state)))
        return [np.asarray(w) for w in optax.apply_updates(weights, updates)]

    path, distances = followed(getattr(optimizers, name)(**kwargs))
    with jax.enable_x64(True):  # In float32 each would have a rounding of its own, which grows as the estimate does.
        expected = Regression().path(step)
    assert_same_growth(path, expected)
    np.testing.assert_allclose(distances, theirs, rtol=RTOL)
    assert distances[-1] > max(0.1, 1e3 * distances[0])


GLOBAL = {
    "Prodigy": {**CORRECTED, "d0": 0.02},
    "DAdaptAdam": {**CORRECTED, "d0": 0.02},
    "DoG": {"d0": 0.02},
    "DoWG": {"d0": 0.05, "epsilon": 1e-3},
}


def distance_of(optimizer):
    return float(ops.convert_to_numpy(optimizer.distance))


@pytest.mark.parametrize("name", GLOBAL)
def test_groups_scale_steps_and_decays_but_share_one_estimate(name):
    start, gradients = problem()
    groups = [Group("kernel", learning_rate=0.5, weight_decay=0.3), Group("bias", learning_rate=2.0)]
    optimizer = getattr(optimizers, name)(**GLOBAL[name], weight_decay=0.1, groups=groups)
    path = trained(optimizer, start, gradients)
    follower = getattr(reference, name)(**GLOBAL[name], factors=[0.5, 2.0, 1.0], decays=[0.3, 0.1, 0.1])
    assert_same_path(path, reference_path(lambda: follower, start, gradients))
    np.testing.assert_allclose(distance_of(optimizer), follower.distances[-1], rtol=RTOL)
    assert list(optimizer.estimates) == ["distance"]


@pytest.mark.parametrize("name", GLOBAL)
def test_frozen_variables_count_in_no_sum(name):
    start, gradients = problem()
    optimizer = getattr(optimizers, name)(**GLOBAL[name], groups=[Group("bias", frozen=True)])
    path = trained(optimizer, start, gradients)
    follower = getattr(reference, name)(**GLOBAL[name])
    others = [[step[0], step[2]] for step in (start, *gradients)]
    expected = reference_path(lambda: follower, others[0], others[1:])
    assert_same_path([[step[0], step[2]] for step in path], expected)
    np.testing.assert_array_equal(path[-1][1], start[1])
    np.testing.assert_allclose(distance_of(optimizer), follower.distances[-1], rtol=RTOL)


def rounded(arrays, dtype):
    return [np.array(ops.convert_to_numpy(ops.cast(ops.cast(a, dtype), "float32"))) for a in arrays]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", GLOBAL)
def test_sixteen_bit_weights_are_all_that_is_rounded(name, dtype):
    start, gradients = problem()
    start, gradients = rounded(start, dtype), [rounded(step, dtype) for step in gradients]
    optimizer, follower = getattr(optimizers, name)(**GLOBAL[name]), getattr(reference, name)(**GLOBAL[name])
    variables = [keras.Variable(x, dtype=dtype, name=f"x{i}") for i, x in enumerate(start)]
    weights = start
    for step in gradients:
        optimizer.apply([ops.convert_to_tensor(g, dtype) for g in step], variables)
        weights = rounded(follower.step([w.astype("float64") for w in weights], step), dtype)
        np.testing.assert_allclose(distance_of(optimizer), follower.distances[-1], rtol=RTOL)
    for variable, expected in zip(variables, weights, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(ops.cast(variable.value, "float32")), expected)
    assert any(np.any(a != b) for a, b in zip(weights, start, strict=True))


@pytest.mark.parametrize("name", ["Prodigy", "DAdaptAdam"])
def test_a_warmup_that_begins_at_zero(name):
    class FromZero(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return ops.minimum(ops.cast(step, "float32") / 5, 1.0)

    start, gradients = problem()
    optimizer = getattr(optimizers, name)(FromZero(), **GLOBAL[name])
    follower = getattr(reference, name)(lambda t: min(t / 5, 1.0), **GLOBAL[name])
    assert_same_path(trained(optimizer, start, gradients), reference_path(lambda: follower, start, gradients))
    np.testing.assert_allclose(distance_of(optimizer), follower.distances[-1], rtol=RTOL)


@pytest.mark.parametrize("name", [*GLOBAL, "COCOB"])
def test_a_schedule_is_a_factor(name):
    start, gradients = problem()
    kwargs = GLOBAL.get(name, {"bet_divisor": 5.0})
    path = trained(getattr(optimizers, name)(schedules.CosineDecay(0.9, 15, 0.2), **kwargs), start, gradients)
    rate = partial(reference_cosine, rate=0.9, steps=15, alpha=0.2)
    assert_same_path(path, reference_path(partial(getattr(reference, name), rate, **kwargs), start, gradients))


def reference_cosine(t, rate, steps, alpha):
    return rate * (alpha + (1 - alpha) * 0.5 * (1 + np.cos(np.pi * min(t, steps) / steps)))


@pytest.mark.parametrize("name", ["Prodigy", "DAdaptAdam", "DoG", "DoWG", "COCOB"])
def test_without_epsilon_gradients_that_are_there_train(name):
    start, gradients = problem()
    kwargs = {"bet_divisor": 5.0} if name == "COCOB" else GLOBAL[name]
    path = trained(getattr(optimizers, name)(**{**kwargs, "epsilon": 0.0}), start, gradients)
    make = partial(getattr(reference, name), **{**kwargs, "epsilon": 0.0})
    assert_same_path(path, reference_path(make, start, gradients))


@pytest.mark.parametrize("name", ["DoG", "DoWG", "COCOB"])
def test_zero_gradients_without_epsilon_leave_the_weights(name):
    start, gradients = problem()
    zeros = [[np.zeros_like(g) for g in step] for step in gradients[:3]]
    path = trained(getattr(optimizers, name)(epsilon=0.0), start, zeros)
    assert_same_path(path, [start] * 3, 0.0, 0.0)


def test_a_rate_estimated_for_some_is_not_that_of_others():
    start, gradients = problem()
    chain = [transforms.ScaleByDog(0.02)]
    optimizer = optimizers.DoWG(
        0.5,
        0.05,
        weight_decay=0.2,
        groups=[Group("kernel", transforms=chain), Group("bias", transforms=[transforms.Momentum(0.6)])],
    )
    path = trained(optimizer, start, gradients)
    own = [optimizers.DoG(0.5, 0.02, weight_decay=0.2), optimizers.SGD(0.5, 0.6, weight_decay=0.2)]
    own += [optimizers.DoWG(0.5, 0.05, weight_decay=0.2)]
    for i, alone in enumerate(own):
        expected = trained(alone, start[i : i + 1], [step[i : i + 1] for step in gradients], ["x"])
        assert_same_path([step[i : i + 1] for step in path], expected)
    assert sorted(optimizer.estimates) == ["distance", "distance_2"]


@pytest.mark.parametrize("name", GLOBAL)
def test_distance_is_none_before_build_and_the_first_one_after(name):
    optimizer = getattr(optimizers, name)(**GLOBAL[name])
    assert optimizer.distance is None
    optimizer.build([keras.Variable(np.ones((2, 3)))])
    assert distance_of(optimizer) == pytest.approx(0.0 if name == "DoG" else GLOBAL[name]["d0"])
