"""The conditional Gaussian process: kernel, likelihood, posterior, acquisition, and the spaces they are over."""

import math

import numpy as np
import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from scipy.integrate import quad
from scipy.special import log_ndtr
from search_spaces import branches, hyperparameters, once

from kopt.tuning.mapping import SpaceMap
from kopt.tuning.sampler.across import Across
from kopt.tuning.sampler.axis import axis_of
from kopt.tuning.sampler.fit import Likelihood, Posterior, squashed
from kopt.tuning.sampler.infer import inferred
from kopt.tuning.sampler.kernel import TreeKernel
from kopt.tuning.sampler.search import log_expected_improvement
from kopt.tuning.sampler.tree import Parameter, Tree, key_of

pytestmark = once
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(hyperparameters(), st.integers(0, 2**31))
def test_the_kernel_is_positive_definite_on_any_conditional_space(hp, seed):
    tree = SpaceMap(hp).tree()
    kernel = TreeKernel(tree)
    rng = np.random.default_rng(seed)
    rows = tree.rows(rng.random((30, len(tree.axes))))
    theta = rng.normal(0, 2, kernel.size)
    matrix, _ = kernel(theta, kernel.distances(rows[:, None], rows[None]))
    # Rows twice, and rows that differ in one parameter: these are what is computed once for several rows.
    relatives = np.concatenate([rows[:9], tree.rows(np.where(rng.random(rows.shape) < 0.1, 0.3, np.nan_to_num(rows)))])
    one_by_one, _ = kernel(theta, kernel.distances(relatives[:, None], rows[None]))
    np.testing.assert_allclose(Across(kernel, theta, rows)(relatives), one_by_one, rtol=1e-12)
    np.testing.assert_allclose(np.diag(matrix), 1.0)
    np.testing.assert_array_equal(matrix, matrix.T)
    # Rows that are equal make it singular: rounding may leave the smallest eigenvalue below 0 by 30 times 1e-16.
    assert np.linalg.eigvalsh(matrix).min() > -1e-13 * 30


@quick
@given(hyperparameters(), st.integers(0, 2**31))
def test_the_gradient_of_the_likelihood_is_that_of_finite_differences(hp, seed):
    tree = SpaceMap(hp).tree()
    kernel = TreeKernel(tree)
    rng = np.random.default_rng(seed)
    rows = tree.rows(rng.random((12, len(tree.axes))))
    likelihood = Likelihood(kernel, rows, squashed(rng.normal(size=12)))
    theta = rng.normal(0, 0.7, kernel.size + 2)
    theta[-1] = -2.0  # With noise, so that equal rows do no harm to the differences.
    _, gradient = likelihood(theta)
    step = 1e-5
    for i in range(len(theta)):
        there, back = theta.copy(), theta.copy()
        there[i] += step
        back[i] -= step
        difference = (likelihood(there)[0] - likelihood(back)[0]) / (2 * step)
        # The error of the difference: values of about 10 with 16 digits, over a step of 1e-5.
        assert gradient[i] == pytest.approx(difference, rel=1e-5, abs=1e-6)


def test_the_kernel_is_the_formula_of_its_docstring():
    """A category with a number and a branching category below it, beside a flat number and a flat category."""
    unit, pair = FloatDistribution(0, 1), CategoricalDistribution(["p", "q"])
    tree = Tree(
        [
            Parameter("kind", CategoricalDistribution(["a", "b"])),
            Parameter("u", unit, ({"kind": ["a"]},)),
            Parameter("inner", pair, ({"kind": ["b"]},)),
            Parameter("v", unit, ({"kind": ["b"]}, {"inner": ["q"]})),
            Parameter("flat", unit),
            Parameter("act", pair),
        ]
    )
    rng = np.random.default_rng(3)
    rows = tree.rows(rng.random((40, 6)))
    theta = rng.normal(0, 0.5, 6 + 3)
    w, a = np.exp(theta[:6]), np.exp(theta[6:])

    def matern(r):
        return (1 + 5**0.5 * r + 5 / 3 * r**2) * math.exp(-(5**0.5) * r)

    def of(first, second):
        kind, u, inner, v, flat, act = zip(first, second, strict=True)
        if kind[0] != kind[1]:
            group = math.exp(-w[0])
        elif not np.isnan(u[0]):
            group = math.exp(-w[0]) + (1 - math.exp(-w[0])) * matern(w[1] * abs(u[0] - u[1]))
        else:
            rho = math.exp(-w[2])
            below = 0.0 if inner[0] != inner[1] else 1.0 if np.isnan(v[0]) else matern(w[3] * abs(v[0] - v[1]))
            group = math.exp(-w[0]) + (1 - math.exp(-w[0])) * (rho + (1 - rho) * below)
        groups = [group, matern(w[4] * abs(flat[0] - flat[1])), matern(w[5] * (act[0] != act[1]))]
        return math.prod((1 + b * m) / (1 + b) for b, m in zip(a, groups, strict=True))

    kernel = TreeKernel(tree)
    matrix, _ = kernel(theta, kernel.distances(rows[:, None], rows[None]))
    np.testing.assert_allclose(matrix, [[of(x, y) for y in rows] for x in rows], rtol=1e-12)


def test_the_posterior_is_that_of_the_textbook():
    tree = Tree([Parameter("u", FloatDistribution(0, 1)), Parameter("c", CategoricalDistribution([1, 2]))])
    kernel = TreeKernel(tree)
    rng = np.random.default_rng(0)
    rows, new = tree.rows(rng.random((8, 2))), tree.rows(rng.random((5, 2)))
    values, theta = rng.normal(size=8), np.array([0.4, -0.2, 0.1, 0.6, 0.3, -3.0])
    between = np.exp(0.3) * kernel(theta[:-2], kernel.distances(rows[:, None], rows[None]))[0] + np.exp(-3) * np.eye(8)
    across = np.exp(0.3) * kernel(theta[:-2], kernel.distances(new[:, None], rows[None]))[0]
    posterior = Posterior.of(kernel, theta, rows, values)
    mean, deviation = posterior(new)
    np.testing.assert_allclose(mean, across @ np.linalg.solve(between, values), rtol=1e-9)
    variance = np.exp(0.3) - np.einsum("ij,ij->i", across, np.linalg.solve(between, across.T).T)
    np.testing.assert_allclose(deviation**2, variance, rtol=1e-9)
    # What it believes about a point that is pending is what it expected there, and it is surer of it.
    believing_mean, believing_deviation = posterior.believing(new)(new)
    np.testing.assert_allclose(believing_mean, mean, rtol=1e-6, atol=1e-9)
    assert (believing_deviation < deviation).all()


@pytest.mark.parametrize("z", [3.0, 0.5, -0.9, -1.1, -5.0, -40.0, -900.0, -2e4])
def test_log_expected_improvement_is_the_integral(z):
    # EI = deviation * integral of Phi from -inf to z; what is above the largest value is factored out.
    scale = max(1.0, -z)
    inner = quad(lambda s: math.exp(log_ndtr(z - s / scale) - log_ndtr(z)), 0, 60 + 8 * max(z, 0))[0] / scale
    expected = math.log(0.7) + math.log(inner) + log_ndtr(z)
    found = log_expected_improvement(np.array([2.0 - 0.7 * z]), np.array([0.7]), 2.0)[0]
    assert found == pytest.approx(expected, rel=1e-6)


@given(st.lists(st.floats(-1e6, 1e12), min_size=2, max_size=30))
def test_squashing_keeps_order_and_is_finite(values):
    values = np.array(values)
    squeezed = squashed(values)
    assert np.isfinite(squeezed).all()
    order = np.argsort(values, kind="stable")
    assert (np.diff(squeezed[order]) >= -1e-9).all()


def test_squashing_draws_in_an_outlier():
    values = np.array([1.0, 1.1, 1.2, 1.3, 1.4, 1e9])
    assert np.ptp(squashed(values)[:5]) > 100 * np.ptp((values - values.mean())[:5] / values.std())


# Axes, trees, and the structure that is read off the trials.


@given(
    st.sampled_from(
        [
            IntDistribution(-3, 11, step=2),
            IntDistribution(1, 1000, log=True),
            FloatDistribution(-1, 2),
            FloatDistribution(1e-6, 10, log=True),
            FloatDistribution(0, 0.7, step=0.1),
            CategoricalDistribution(["a", None, 3, True]),
        ]
    ),
    st.floats(0, 1),
)
def test_axes_go_there_and_back_within_the_range(distribution, position):
    axis = axis_of(distribution)
    value = axis.value(position)
    assert distribution._contains(distribution.to_internal_repr(value))
    snapped = float(axis.snapped(np.array([position]))[0])
    assert axis.position(value) == pytest.approx(snapped, abs=1e-9)
    assert axis.value(snapped) == pytest.approx(value) if isinstance(value, float) else axis.value(snapped) == value


def test_whole_numbers_on_a_logarithmic_axis_have_their_share():
    axis = axis_of(IntDistribution(1, 8, log=True))
    drawn = np.array([axis.value(u) for u in (np.arange(20000) + 0.5) / 20000])
    edges = np.log(np.arange(1, 10) - 0.5)
    np.testing.assert_allclose(np.bincount(drawn)[1:] / 20000, np.diff(edges) / np.ptp(edges), atol=1e-3)


def test_all_rows_are_the_configurations():
    tree = Tree(
        [
            Parameter("kind", CategoricalDistribution(["a", "b"])),
            Parameter("n", IntDistribution(1, 3), ({"kind": ["a"]},)),
            Parameter("w", IntDistribution(2, 4, log=True), ({"kind": ["b"]},)),
        ]
    )
    values = [tree.values(row) for row in tree.all_rows(6)]
    assert values == [{"kind": "a", "n": n} for n in (1, 2, 3)] + [{"kind": "b", "w": w} for w in (2, 3, 4)]
    assert tree.all_rows(5) is None
    assert len({key_of(row) for row in tree.all_rows(6)}) == 6


def test_the_structure_is_read_off_the_trials():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(branches, n_trials=40)
    tree = inferred(study.trials)
    conditions = {p.name: {n: set(v) for c in p.conditions for n, v in c.items()} for p in tree.parameters}
    assert conditions == {
        "kind": {},
        "u": {"kind": {"a"}},
        "rate": {"kind": {"b"}},
        "depth": {"kind": {"c"}},
        "width": {"depth": {3, 4}},
    }
    rng = np.random.default_rng(0)
    for row in tree.rows(rng.random((50, 5))):
        values = tree.values(row)
        assert ("width" in values) == (values.get("depth", 0) > 2)


def test_a_parameter_under_two_parents_is_found():
    def objective(trial):
        a, b = trial.suggest_categorical("a", [0, 1, 2]), trial.suggest_categorical("b", ["x", "y"])
        return trial.suggest_float("u", 0, 1) if a > 0 and b == "y" else 1.0

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(objective, n_trials=30)
    conditions = inferred(study.trials).parameters[2].conditions
    assert sorted((n, set(v)) for c in conditions for n, v in c.items()) == [("a", {1, 2}), ("b", {"y"})]
