"""L-BFGS: its direction, its line search without losses, and full-batch training beside SciPy's method."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops
from references.schedule_free import two_loops

from kopt import optimizers
from kopt.testing import problems
from kopt.testing.training_checks import Numbers, compiled
from kopt.transforms.lbfgs import direction_weights


def quadratic(condition, size=20):
    """Returns the gradient of a strictly convex quadratic, its minimum, and a start."""
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.normal(size=(size, size)))[0]
    hessian = basis @ np.diag(np.geomspace(1, condition, size)) @ basis.T
    minimum, start = rng.normal(size=(2, size))
    return (lambda x: hessian @ (x - minimum)), minimum, start


def rosenbrock(x):
    return np.array([-400 * x[0] * (x[1] - x[0] ** 2) - 2 * (1 - x[0]), 200 * (x[1] - x[0] ** 2)])


def walk(gradient, start, steps, **kwargs):
    """Returns all points of a run, the start included."""
    variable, optimizer = keras.Variable(np.asarray(start, "float32")), optimizers.LBFGS(**kwargs)
    points = [np.asarray(start, "float64")]
    for _ in range(steps):
        optimizer.apply([ops.convert_to_tensor(np.asarray(gradient(points[-1]), "float32"))], [variable])
        points.append(problems.values([variable])[0].astype("float64"))
    return points


def evaluations_of_scipy(gradient, loss, start, is_there):
    """Returns how many gradients SciPy's L-BFGS-B takes until a point satisfies `is_there`."""
    from scipy.optimize import minimize

    seen = []
    minimize(
        lambda x: seen.append(x.copy()) or loss(x),
        start,
        jac=gradient,
        method="L-BFGS-B",
        options={"ftol": 0.0, "gtol": 1e-12, "maxcor": 10},
    )
    return next(n for n, x in enumerate(seen) if is_there(x))


@pytest.mark.parametrize(("held", "memory"), [(0, 4), (2, 4), (4, 4), (1, 1)])
def test_direction_is_that_of_the_two_loop_recursion(held, memory):
    rng = np.random.default_rng(1)
    half = rng.normal(size=(9, 9))
    hessian, g = half @ half.T + np.eye(9), rng.normal(size=9)
    s = np.zeros((memory, 9))
    s[memory - held :] = rng.normal(size=(held, 9))
    y = s @ hessian
    gamma, a, p = (
        np.asarray(ops.convert_to_numpy(x), "float64")
        for x in direction_weights(*(ops.convert_to_tensor(m, "float32") for m in (s @ y.T, y @ y.T, s @ g, y @ g)))
    )
    pairs = list(zip(s[memory - held :], y[memory - held :], strict=True))
    np.testing.assert_allclose(gamma * g + a @ s - gamma * p @ y, two_loops(pairs, g), rtol=2e-5, atol=2e-5)


def test_direction_is_that_of_optax():
    import jax.numpy as jnp
    import optax

    gradient, _, start = quadratic(30.0)
    points = walk(gradient, start, 12, learning_rate=0.5, memory=5, line_search=False)
    theirs = optax.scale_by_lbfgs(memory_size=5)
    state = theirs.init(jnp.asarray(start, "float32"))
    for n, (x, new) in enumerate(itertools.pairwise(points)):
        given = [jnp.asarray(part, "float32") for part in (gradient(x), x)]
        direction, state = theirs.update(given[0], state, given[1])
        if n:  # the first step is 1 / |g| long there, with another norm
            np.testing.assert_allclose((x - new) / 0.5, direction, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("learning_rate", [1.0, 0.01, 50.0])
def test_a_convex_quadratic_in_a_few_dozen_steps_or_more_with_a_wrong_first_trial(learning_rate):
    gradient, minimum, start = quadratic(10.0)
    points = walk(gradient, start, 40 if learning_rate == 1.0 else 300, learning_rate=learning_rate)
    np.testing.assert_allclose(points[-1], minimum, rtol=0, atol=1e-6)


@pytest.mark.parametrize("start", [(-1.2, 1.0), (2.0, 2.0), (-3.0, -4.0)])
def test_rosenbrock(start):
    points = walk(rosenbrock, start, 90)
    np.testing.assert_allclose(points[-1], [1.0, 1.0], rtol=0, atol=1e-4)


def test_as_many_gradients_as_scipy():
    pytest.importorskip("scipy")
    for condition in (10.0, 100.0):
        gradient, minimum, start = quadratic(condition)

        def loss(x, gradient=gradient, minimum=minimum):
            return 0.5 * gradient(x) @ (x - minimum)

        def is_there(x, loss=loss, start=start):
            return loss(x) < 1e-6 * loss(start)

        ours = next(n for n, x in enumerate(walk(gradient, start, 80)) if is_there(x))
        assert ours <= 1.25 * evaluations_of_scipy(gradient, loss, start, is_there) + 2

    def height(x):
        return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2

    start = np.array([-1.2, 1.0])
    ours = next(n for n, x in enumerate(walk(rosenbrock, start, 90)) if height(x) < 1e-6)
    assert ours <= 1.5 * evaluations_of_scipy(rosenbrock, height, start, lambda x: height(x) < 1e-6)


def classes():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(200, 6)) * np.geomspace(0.3, 3.0, 6)
    chance = 1 / (1 + np.exp(-(x @ rng.normal(size=6) + 0.5)))
    return x.astype("float32"), (rng.uniform(size=200) < chance).astype("float32")[:, None]


def test_logistic_regression_reaches_the_loss_of_scipy():
    optimize = pytest.importorskip("scipy.optimize")
    x, y = classes()

    def loss(w):
        z = x.astype("float64") @ w[:6] + w[6]
        return np.mean(np.logaddexp(0, z) - y[:, 0] * z) + 0.005 * w[:6] @ w[:6]

    best = optimize.minimize(loss, np.zeros(7), method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-8})
    layer = keras.layers.Dense(1, kernel_initializer="zeros", kernel_regularizer=keras.regularizers.L2(0.005))
    model = keras.Sequential([keras.Input((6,)), layer])
    model.compile(optimizers.LBFGS(), keras.losses.BinaryCrossentropy(from_logits=True))
    history = model.fit(x, y, batch_size=200, epochs=40, verbose=0).history["loss"]
    kernel, bias = problems.values(model.trainable_variables)
    found = loss(np.append(kernel[:, 0], bias))
    assert best.fun - 1e-9 <= found <= best.fun + 1e-6
    assert next(n for n, value in enumerate(history) if value < best.fun + 1e-5) <= 25


def test_weight_decay_is_part_of_the_loss():
    gradient, _, start = quadratic(10.0)
    both = [walk(gradient, start, 60, weight_decay=0.5)[-1], walk(lambda x: gradient(x) + 0.5 * x, start, 60)[-1]]
    problems.assert_close(both[:1], both[1:])


def test_accumulated_batches_are_a_full_batch():
    whole = compiled(problems.sequential(), optimizers.LBFGS())
    parts = compiled(problems.sequential(), optimizers.LBFGS(gradient_accumulation_steps=3))
    losses = problems.fit(whole, epochs=8, batch=12)
    problems.fit(parts, epochs=8, batch=4)
    problems.assert_close(problems.values(parts.weights), problems.values(whole.weights), 2e-5)
    assert losses[-1] < 0.2 * losses[0]


def test_saved_in_the_middle_of_a_search(tmp_path):
    model = compiled(problems.sequential(), optimizers.LBFGS(30.0))
    problems.fit(model, epochs=4, batch=12)
    trials = next(v for v in model.optimizer.slot_variables if v.name.endswith("trials"))
    assert problems.values([trials])[0] > 0
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for one in (model, loaded):
        problems.fit(one, epochs=6, batch=12)
    Numbers.of(loaded).assert_same(Numbers.of(model))


def test_points_without_a_finite_gradient_are_left_again():
    def gradient(x):  # of 1 / x + x on x > 0, from far down the wall
        with np.errstate(invalid="ignore"):
            return np.where(x > 0, 1 - 1 / np.square(x), np.nan)

    points = walk(gradient, np.array([0.05, 0.2]), 100, learning_rate=10.0)
    assert not all(np.all(x > 0) for x in points), "the search has been outside"
    np.testing.assert_allclose(points[-1], [1.0, 1.0], rtol=0, atol=1e-4)


def test_steps_beyond_convergence_stay_there():
    gradient, minimum, start = quadratic(10.0)
    points = walk(gradient, start, 150)
    assert max(np.max(np.abs(x - minimum)) for x in points[40:]) < 1e-5


def test_a_group_that_is_held_stays_and_the_others_find_their_minimum():
    variables = [keras.Variable(np.full(3, 2.0, "float32"), name=name) for name in ("free", "held")]
    optimizer = optimizers.LBFGS(groups=[optimizers.Group("held", learning_rate=0.0)])
    for _ in range(20):
        free, held = problems.values(variables)
        slope = np.array([1.0, 3.0, 9.0], "float32") * (free + held - 1.0)
        optimizer.apply(problems.tensors([slope, slope]), variables)
    problems.assert_same(problems.values(variables)[1:], [np.full(3, 2.0, "float32")])
    problems.assert_close(problems.values(variables)[:1], [np.full(3, -1.0)], 1e-5)


@pytest.mark.parametrize("kwargs", [{"decrease": 0.5}, {"decrease": 0.4, "curvature": 0.3}])
def test_the_two_conditions_must_leave_room_between_them(kwargs):
    with pytest.raises(ValueError, match=r"`decrease` must be below 0\.5 and not above `curvature`\. Received"):
        optimizers.LBFGS(**kwargs)
