"""What transforms do at the edges of their formulas: divisors of 0, nothing seen yet, limits met, small weights."""

import fractions
import math

import keras
import numpy as np
import pytest
import references.orthogonal as reference
import references.preconditioned as preconditioned
from catalog import CASES
from stepwise import Stepwise, array, tensor
from test_parity import assert_same_path, path_of, problem, reference_path, trained

from kopt import optimizers, transforms
from kopt.transforms.radam import _bend

not_on_jax = pytest.mark.skipif(keras.backend.backend() == "jax", reason="compiles each operation for each shape")
START = {"x": np.array([0.5, -2.0])}
WITHOUT_EPSILON = {
    "adadelta": lambda: transforms.ScaleByAdadelta(0.9, epsilon=0.0),
    "rss": lambda: transforms.ScaleByRss(0.0, epsilon=0.0),
    "sm3": lambda: transforms.ScaleBySm3(epsilon=0.0),
    "madgrad": lambda: transforms.ScaleByMadgrad(0.0, epsilon=0.0),
    "madgrad with momentum": lambda: transforms.ScaleByMadgrad(0.7, epsilon=0.0),
}


@pytest.mark.parametrize("make", WITHOUT_EPSILON.values(), ids=WITHOUT_EPSILON)
def test_an_element_without_gradients_stays_without_epsilon(make):
    run = Stepwise(make(), {"x": np.zeros((2, 2))})
    for size in (0.0, 3.0, -0.5):
        (update,) = run.told([[0.0, 0.0], [0.0, size]])
        np.testing.assert_array_equal(update.ravel()[:3], np.zeros(3))
        assert np.isfinite(update).all()


@pytest.mark.parametrize("make", [transforms.ScaleByProdigy, transforms.ScaleByDadaptAdam])
def test_an_estimate_stays_until_a_gradient_is_seen(make):
    run = Stepwise(make(d0=1e-3), START)
    for _ in range(2):
        run.told([0.0, 0.0])
        assert run.number("distance") == np.float32(1e-3)
    run.told([0.5, -0.25])
    assert np.isfinite(run.number("distance"))


def test_the_rate_of_dog_beside_gradients_whose_squares_hardly_fit_float32():
    run = Stepwise(transforms.ScaleByDog(epsilon=0.0), {"x": np.ones(2)})
    run.own["distance"] = tensor(0.5)
    common, _ = run.transform.shared([tensor([0.0, 1.1e-15])], run.x, run.slots, run.own, run.scalars())
    np.testing.assert_allclose(array(common["rate_factor"]), 0.5 / 1.1e-15, rtol=1e-5)


def test_mechanic_keeps_its_first_scale_without_epsilon_until_something_is_seen():
    run = Stepwise(transforms.Mechanic(1e-3, num_betas=4, epsilon=0.0), START)
    np.testing.assert_allclose(array(run.own["scales"]).sum(), run.number("scale"), rtol=1e-6)
    run.told([0.5, -0.25])
    np.testing.assert_allclose(run.number("scale"), 1e-3, rtol=1e-6)


@pytest.mark.parametrize("case", [c for c in CASES if "Mechanic" in c.id], ids=lambda case: case.id)
def test_mechanic_equals_the_paper_on_weights_below_one(case):
    start, gradients = problem(case.shapes)
    start = [0.05 * x for x in start]
    expected = reference_path(lambda: case.reference(**case.kwargs), start, gradients)
    assert_same_path(path_of(case, start, gradients), expected)


def test_the_bound_of_adopt_is_zero_until_its_delay_is_over():
    run, found = Stepwise(transforms.ScaleByAdopt(0.5, 0.9, clip_exponent=0.5, clip_delay=3), START), []
    for _ in range(5):
        found.append(run.told([8.0, 8.0])[0][0])
    np.testing.assert_allclose(found, [0.0, 0.0, 0.0, 0.5, 0.75], rtol=1e-6)


@pytest.mark.parametrize(
    ("direction", "gradient", "expected"),
    [([0.0, 3.0, -1.0], [1.0, 1.0, 1.0], [0.0, 4.5, 0.0]), ([1.0, 2.0, 4.0], [0.0, 1.0, 1.0], [0.0, 2.0, 4.0])],
)
def test_where_direction_or_gradient_is_zero_the_cautious_mask_is_zero(direction, gradient, expected):
    state = {"gradient": tensor(gradient)}
    update, _ = transforms.Cautious().update(tensor(direction), tensor(np.ones(3)), state, {})
    np.testing.assert_allclose(array(update), expected, rtol=1e-6)


@pytest.mark.parametrize("length", [0.5e-6, 1.2e-6, 3e-6])
def test_adaptive_clipping_of_units_that_are_zero(length):
    """|x| counts as epsilon: the longest gradient is 1e-3 * 1e-3."""
    g = length * np.array([[0.6, 0.0], [0.8, 0.5]])
    run = Stepwise(transforms.AdaptiveGradientClipping(1e-3, epsilon=1e-3), {"kernel": np.zeros((2, 2))})
    expected = g * np.minimum(1, 1e-6 / np.linalg.norm(g, axis=0))
    np.testing.assert_allclose(run.told(g)[0], expected, rtol=1e-6)


def test_zero_stands_for_each_element_that_is_not_finite():
    run = Stepwise(transforms.ZeroNonFinite(), {"x": np.ones(4)})
    np.testing.assert_array_equal(run.told([np.nan, 2.0, -np.inf, np.inf])[0], [0.0, 2.0, 0.0, 0.0])


def test_a_centred_average_of_squares_is_corrected_in_both_averages():
    rho, epsilon, gradients = 0.8, 0.1, [np.array([0.5, -2.0]), np.array([1.5, 0.3]), np.array([-0.7, 0.1])]
    transform = transforms.ScaleByRms(rho, epsilon, centered=True, bias_correction=True, epsilon_outside=True)
    run = Stepwise(transform, START)
    for t, g in enumerate(gradients, start=1):
        weights = rho ** np.arange(t)[::-1]
        mean, square = (np.average([h**power for h in gradients[:t]], axis=0, weights=weights) for power in (1, 2))
        expected = g / (np.sqrt(np.maximum(square - mean**2, 0)) + epsilon)
        found = run.told(g)[0]
        if t > 1:  # At first both averages are one gradient, and what is left of their difference is rounding.
            np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_head_of_two_inputs_steps_by_half_its_radius():
    run = Stepwise(transforms.SignedMomentum(0.0, 3.0, 5.0), {"kernel": np.zeros((2, 3)), "row": np.zeros((1, 3))})
    updates = run.told(np.full((2, 3), 0.1), np.full((1, 3), -0.1))
    np.testing.assert_allclose(updates[0], np.full((2, 3), 2.5), rtol=1e-6)
    np.testing.assert_allclose(updates[1], np.full((1, 3), -3.0), rtol=1e-6)


def test_who_is_frozen_and_when_the_others_open():
    run = Stepwise(transforms.Freeze("body"), {"body": np.ones(2), "head": np.ones(2)})
    assert [float(array(state["is_free"])) for state in run.slots] == [0.0, 1.0]
    turns = transforms.Unfreeze({"body": 2, "neck": 0}, by="epoch", steps_per_epoch=3)
    run = Stepwise(turns, {"body": np.ones(2), "neck": np.ones(2), "head": np.ones(2)})
    moved = [[bool(np.any(update)) for update in run.told(*3 * [[1.0, 1.0]])] for _ in range(7)]
    assert moved == [[False, True, True]] * 6 + [[True, True, True]]


NEED_DECAY = [transforms.TrustRatio, transforms.ScaleByStableAdam, transforms.AddDecayedWeights]


@pytest.mark.parametrize("kind", NEED_DECAY)
def test_a_decay_that_nobody_fills_in_is_none(kind):
    filled, empty = (Stepwise(kind(weight_decay=decay), {"x": np.ones((2, 2))}) for decay in (0.0, None))
    g = [[0.5, -1.0], [2.0, 0.1]]
    np.testing.assert_array_equal(empty.told(g)[0], filled.told(g)[0])


def test_the_share_of_a_step_that_madgrad_takes_at_a_rate_of_zero_is_zero():
    assert float(array(Stepwise(transforms.ScaleByMadgrad(0.7), START, rate=0.0).scalars()["share"])) == 0.0


def test_radams_series_has_the_numbers_of_bernoulli():
    """z / (e^z - 1) + z / 2 is the sum of B_2n z^2n / (2n)!; five terms are left after the 1."""
    numbers = [fractions.Fraction(*pair) for pair in ((1, 6), (-1, 30), (1, 42), (-1, 30), (5, 66))]
    for z in (0.1, 0.7, 1.0):
        terms = [b * fractions.Fraction(z) ** (2 * n) / math.factorial(2 * n) for n, b in enumerate(numbers, start=1)]
        np.testing.assert_allclose(_bend(z), float(sum(terms)), rtol=1e-13)
        np.testing.assert_allclose(_bend(z), z / 2 / np.tanh(z / 2) - 1, rtol=1e-8)


@not_on_jax
def test_soap_turns_sides_of_two_and_bases_with_zeros():
    start, gradients = problem({"kernel": (4, 2)})
    kwargs = {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-2, "precondition_frequency": 3}
    expected = reference_path(lambda: preconditioned.SOAP(**kwargs, weight_decay=0.0), start, gradients)
    found = trained(optimizers.SOAP(**kwargs, weight_decay=0.0), start, gradients, ["kernel"])
    assert_same_path(found, expected)
    run = Stepwise(transforms.ScaleBySoap(), {"kernel": np.zeros((2, 2))})
    assert [bool(np.any(run.told([[3.0, 0.0], [0.0, 2.0]])[0])) for _ in range(3)] == [False, True, True]


def kron(**kwargs):
    return {"learning_rate": 0.02, "beta_1": 0.6, "precondition_learning_rate": 0.3, "weight_decay": 0.0, **kwargs}


@not_on_jax
def test_kron_equals_the_paper_on_gradients_with_zeros_and_ones():
    shapes = {"kernel": (3, 4), "bias": (5,)}
    start, gradients = problem(shapes)
    for step in gradients[:5]:
        step[0][1], step[0][:, 2], step[1][2:] = 0.0, 0.0, 0.0
    ones = [[np.ones_like(g) for g in gradients[0]]] * 3
    for given in (gradients[:5], ones):
        path = trained(optimizers.Kron(**kron(precondition_frequency=2)), start, given, shapes)
        expected = reference_path(lambda: reference.Kron(**kron(precondition_frequency=2)), start, given)
        assert_same_path(path, expected)


def test_kron_starts_with_identities_and_balances_its_factors():
    run = Stepwise(transforms.ScaleByKron(0.6, 1, 0.0), {"kernel": np.zeros((2, 3))})
    run.told(np.ones((2, 3)))
    np.testing.assert_array_equal(run.array("left"), np.eye(2))
    np.testing.assert_array_equal(run.array("right"), np.eye(3))
    run.slots[0] |= {"left": tensor(8 * np.eye(2)), "right": tensor(0.5 * np.eye(3))}
    run.told(np.ones((2, 3)))
    for side, n in (("left", 2), ("right", 3)):
        np.testing.assert_allclose(run.array(side), 2 * np.eye(n), rtol=1e-6)


@pytest.mark.parametrize("t", [1, 500, 502, 1501, 2700, 4100, 10**5])
def test_the_interval_of_kron_grows_as_it_is_said(t):
    run = Stepwise(transforms.ScaleByKron(), {"x": np.zeros((2, 2))})
    run.t = t
    expected = np.exp(np.clip((t - 1 - 500) / 1000, 0, np.log(100 / 3)))
    np.testing.assert_allclose(array(run.scalars()["interval"]), expected, rtol=2e-6)


def weights_and_averages(transform, steps):
    """Returns the weights after each step, and what is evaluated with then."""
    rng, run, seen, averages = np.random.default_rng(5), Stepwise(transform, START), [], []
    for _ in range(steps):
        run.told(rng.normal(size=2))
        seen.append(array(run.x[0]).astype("float64"))
        averages.append(array(transform.to_average(run.x[0], run.slots[0], run.scalars())[0]))
    return seen, averages


@pytest.mark.parametrize("warmup", [True, False])
def test_a_moving_average_of_weights(warmup):
    seen, averages = weights_and_averages(transforms.ExponentialMovingAverage(0.6, warmup=warmup), 20)
    expected = START["x"]
    for t, (x, average) in enumerate(zip(seen, averages, strict=True), start=1):
        d = min(0.6, (1 + t) / (10 + t)) if warmup else 0.6
        expected = d * expected + (1 - d) * x
        np.testing.assert_allclose(average, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("start", "period"), [(3, 4), (1, 1), (5, 2)])
def test_a_stochastic_average_of_weights(start, period):
    seen, averages = weights_and_averages(transforms.StochasticWeightAveraging(start, period), 14)
    for t, average in enumerate(averages, start=1):
        counted = seen[start - 1 : t : period] if t >= start else seen[t - 1 : t]
        np.testing.assert_allclose(average, np.mean(counted, axis=0), rtol=1e-5, atol=1e-6)


def test_a_plateau_counts_what_it_is_told():
    transform = transforms.ReduceOnPlateau("loss")
    own = {slot.name: slot.start for slot in transform.own_slots()}
    for _ in range(3):
        own = transform.told(own, 1.0)
    assert own["reports"] == 3


@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 2), (4,)], ids=str)
def test_a_row_is_seen_if_any_of_its_elements_has_a_gradient(shape):
    rng, momentum = np.random.default_rng(2), np.zeros(shape)
    run = Stepwise(transforms.SeenRows(transforms.Momentum(0.7)), {"table": np.zeros(shape)})
    for step, absent in enumerate((0, 1, 0)):
        g = rng.normal(size=shape)
        g[absent], g[3] = 0.0, 1.0
        if step and len(shape) > 1:
            g[2].flat[:2] = 0.0
        is_seen = g.reshape(4, -1).any(axis=1)
        momentum[is_seen] = 0.7 * momentum[is_seen] + g[is_seen]
        (update,) = run.told(g)
        np.testing.assert_allclose(update[is_seen], momentum[is_seen], rtol=1e-6)
        np.testing.assert_array_equal(update[absent], np.zeros(shape[1:]))
        np.testing.assert_allclose(run.array("momentum"), momentum, rtol=1e-6)


def test_one_bad_element_stops_all_variables_and_is_laid_to_its_own():
    run = Stepwise(transforms.SkipNonFinite(), {"a": np.ones(2), "b": np.ones(3)})
    seen = []
    for bad in (np.nan, -np.inf, 4.0, np.nan):
        updates = run.told([1.0, 2.0], [3.0, bad, 5.0])
        np.testing.assert_array_equal(np.concatenate(updates), [1, 2, 3, 4, 5] if bad == 4 else np.zeros(5))
        flags = [float(array(state["is_bad"])) for state in run.slots]
        seen.append([run.number("skipped_steps"), run.number("skipped_in_a_row"), *flags])
    assert seen == [[1, 1, 0, 1], [2, 2, 0, 1], [2, 0, 0, 0], [3, 1, 0, 1]]
