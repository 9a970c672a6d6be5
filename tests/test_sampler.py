"""The conditional Gaussian process: its mathematics, what it proposes, and that nothing stops it."""

import math

import numpy as np
import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from scipy.integrate import quad
from scipy.special import log_ndtr
from search_spaces import hyperparameters, once

from kopt.tuning import ConditionalGPSampler
from kopt.tuning.mapping import SpaceMap
from kopt.tuning.sampler.axis import axis_of
from kopt.tuning.sampler.fit import Likelihood, Posterior, squashed
from kopt.tuning.sampler.infer import inferred
from kopt.tuning.sampler.kernel import TreeKernel
from kopt.tuning.sampler.sampler import _results
from kopt.tuning.sampler.search import log_expected_improvement
from kopt.tuning.sampler.tree import Parameter, Tree, key_of

pytestmark = once
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(autouse=True)
def silence():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


def branin(trial):
    x, y = trial.suggest_float("x", -5, 10), trial.suggest_float("y", 0, 15)
    bowl = (y - 5.1 * x**2 / (4 * math.pi**2) + 5 * x / math.pi - 6) ** 2
    return bowl + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.397887


def branches(trial):
    """Three branches with parameters of their own; the best one is the least likely to look good early."""
    kind = trial.suggest_categorical("kind", ["a", "b", "c"])
    if kind == "a":
        return 1 + abs(trial.suggest_float("u", 0, 1) - 0.5)
    if kind == "b":
        rate = trial.suggest_float("rate", 1e-5, 1, log=True)
        return 0.5 + abs(math.log10(rate) + 3)
    depth = trial.suggest_int("depth", 1, 4)
    width = trial.suggest_int("width", 8, 512, log=True) if depth > 2 else 8
    return 0.2 * (4 - depth) + 0.3 * abs(math.log2(width) - 7)


def study_of(seed=0, direction="minimize", **arguments):
    return optuna.create_study(direction=direction, sampler=ConditionalGPSampler(seed, **arguments))


def parameters_of(study):
    return [trial.params for trial in study.trials]


# The mathematics.


@quick
@given(hyperparameters(), st.integers(0, 2**31))
def test_the_kernel_is_positive_definite_on_any_conditional_space(hp, seed):
    tree = SpaceMap(hp).tree()
    kernel = TreeKernel(tree)
    rng = np.random.default_rng(seed)
    rows = tree.rows(rng.random((30, len(tree.axes))))
    matrix, _ = kernel(rng.normal(0, 2, kernel.size), kernel.distances(rows[:, None], rows[None]))
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


# What it proposes.


def test_the_first_trials_are_a_latin_hypercube():
    study = study_of(n_startup_trials=12)
    study.optimize(lambda t: branin(t) + t.suggest_categorical("c", [1, 2, 3]), n_trials=12)
    for name, low, high in (("x", -5, 10), ("y", 0, 15)):
        places = [math.floor(12 * (p[name] - low) / (high - low)) for p in parameters_of(study)]
        assert sorted(places) == list(range(12))
    assert np.bincount([p["c"] for p in parameters_of(study)])[1:].tolist() == [4, 4, 4]


def test_seeds():
    runs = []
    for seed in (0, 0, 1, None, None):
        study = study_of(seed)
        study.optimize(branches, n_trials=16)
        runs.append(parameters_of(study))
    assert runs[0] == runs[1]
    assert all(runs[i] != runs[j] for i, j in ((0, 2), (0, 3), (3, 4)))


@pytest.mark.parametrize("stopped", [4, 13, 21])
def test_a_study_that_is_continued_proposes_what_it_would_have(stopped):
    whole, first = study_of(3), study_of(3)
    whole.optimize(branches, n_trials=25)
    first.optimize(branches, n_trials=stopped)
    second = study_of(3)
    second.add_trials(first.trials)
    second.optimize(branches, n_trials=25 - stopped)
    assert parameters_of(second) == parameters_of(whole)


def test_a_hyperparameter_fit_depends_on_the_data_only():
    """Above 60 trials not every trial fits: a new process fits what the old one kept."""
    old = study_of(1)
    old.optimize(branches, n_trials=71)
    new = study_of(1)
    new.add_trials(old.trials[:70])
    new.optimize(branches, n_trials=1)
    assert new.trials[-1].params == old.trials[-1].params


def test_maximising_is_minimising_the_opposite():
    down, up = study_of(2), study_of(2, "maximize")
    down.optimize(branches, n_trials=20)
    up.optimize(lambda trial: -branches(trial), n_trials=20)
    assert parameters_of(down) == parameters_of(up)


def test_it_finds_a_minimum():
    best = []
    for seed in range(3):
        study = study_of(seed)
        study.optimize(branin, n_trials=40)
        best.append(study.best_value)
    # Random search is at about 0.8 after 40 trials, in the median of many seeds.
    assert np.median(best) < 0.01


def test_it_finds_the_best_branch():
    best = []
    for seed in range(3):
        study = study_of(seed)
        study.optimize(branches, n_trials=40)
        best.append(study.best_value)
    assert np.median(best) < 0.1


def test_a_space_that_is_given_is_respected():
    space = {
        "kind": CategoricalDistribution(["a", "b", "c"]),
        "u": (FloatDistribution(0, 1), {"kind": ["a"]}),
        "rate": (FloatDistribution(1e-5, 1, log=True), {"kind": ["b"]}),
        "depth": (IntDistribution(1, 4), {"kind": ["c"]}),
        "width": (IntDistribution(8, 512, log=True), {"kind": ["c"], "depth": [3, 4]}),
    }
    study = study_of(0, space=space)
    study.optimize(branches, n_trials=30)
    assert study.best_value < 0.2


def test_a_small_discrete_space_is_enumerated_and_then_repeated():
    def objective(trial):
        kind = trial.suggest_categorical("kind", ["a", "b"])
        return trial.suggest_int("n", 1, 9) if kind == "a" else 20 + trial.suggest_categorical("m", [1, 2, 3])

    space = {
        "kind": CategoricalDistribution(["a", "b"]),
        "n": (IntDistribution(1, 9), {"kind": ["a"]}),
        "m": (CategoricalDistribution([1, 2, 3]), {"kind": ["b"]}),
    }
    study = study_of(0, space=space)
    study.optimize(objective, n_trials=14)
    tried = [tuple(p.items()) for p in parameters_of(study)]
    assert len(set(tried[:12])) == len(set(tried)) == 12


def test_pending_trials_keep_it_from_the_same_place():
    study = study_of(0)
    study.optimize(branin, n_trials=20)
    asked = [study.ask() for _ in range(8)]
    points = np.array([[t.suggest_float("x", -5, 10) / 15, t.suggest_float("y", 0, 15) / 15] for t in asked])
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)[np.triu_indices(8, 1)]
    # Blind to each other, all eight would be where the first one is.
    assert np.median(apart) > 0.1
    assert apart.min() > 1e-4


# What must not stop it.


@pytest.mark.filterwarnings("ignore:The value nan is not acceptable")
@pytest.mark.parametrize(
    "result",
    [
        lambda n: 1.0,
        lambda n: math.nan,
        lambda n: math.inf,
        lambda n: 1e300 * (-1) ** n,
        lambda n: None if n % 2 else n,
    ],
    ids=["constant", "nan", "inf", "huge", "failures"],
)
def test_no_result_stops_it(result):
    study = study_of(0, n_startup_trials=3)
    for n in range(12):
        trial = study.ask()
        branches(trial)
        value = result(n)
        study.tell(trial, value, state=TrialState.FAIL if value is None else None)
    assert len(study.trials) == 12


def test_failed_trials_count_as_bad_ones():
    def objective(trial):
        u = trial.suggest_float("u", 0, 1)
        if u > 0.5:
            raise ArithmeticError("diverged")
        return -u

    study = study_of(0)
    study.optimize(objective, n_trials=40, catch=(ArithmeticError,))
    later = [trial.params["u"] for trial in study.trials[15:]]
    assert np.mean(np.array(later) > 0.6) < 0.25


def test_pruned_trials_count_as_no_better_than_the_median_and_failed_ones_as_the_worst():
    def trial(state, value=None, reported=()):
        return optuna.create_trial(state=state, value=value, intermediate_values=dict(enumerate(reported)))

    trials = [
        *(trial(TrialState.COMPLETE, value) for value in (1.0, 2.0, 6.0)),
        trial(TrialState.PRUNED, reported=(9.0, 0.5)),
        trial(TrialState.PRUNED, reported=(0.5, 9.0)),
        trial(TrialState.FAIL),
    ]
    np.testing.assert_array_equal(_results(trials, 1.0), [1, 2, 6, 2, 9, 9])
    np.testing.assert_array_equal(_results(trials, -1.0), [-1, -2, -6, -0.5, -2, -0.5])
    assert _results(trials[-1:], 1.0) is None


def test_many_trials_are_thinned():
    study = study_of(0)
    rng = np.random.default_rng(0)
    distributions = {"x": FloatDistribution(-5, 10), "y": FloatDistribution(0, 15)}
    for _ in range(320):
        params = {"x": rng.uniform(-5, 10), "y": rng.uniform(0, 15)}
        value = branin(optuna.trial.FixedTrial(params))
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=value))
    start = study.best_value
    study.optimize(branin, n_trials=5)
    assert min(trial.value for trial in study.trials[320:]) < start


def test_a_space_may_change_on_the_way():
    study = study_of(0, n_startup_trials=4)
    study.optimize(branin, n_trials=8)
    study.optimize(lambda t: branin(t) + t.suggest_int("later", 1, 5), n_trials=8)
    study.optimize(
        lambda t: t.suggest_float("x", 20, 30) + t.suggest_categorical("new", ["a", "b"]).count("a"), n_trials=4
    )
    assert all(20 <= trial.params["x"] <= 30 for trial in study.trials[-4:])


def test_bad_input():
    with pytest.raises(ValueError, match=r"`seed` must be an integer >= 0\. Received: seed=-1"):
        ConditionalGPSampler(-1)
    with pytest.raises(ValueError, match="`n_startup_trials` must be an integer >= 1"):
        ConditionalGPSampler(0, 0)
    with pytest.raises(ValueError, match="'kind' comes before 'u', which depends on it"):
        ConditionalGPSampler(space={"u": (FloatDistribution(0, 1), {"kind": ["a"]})})
    with pytest.raises(ValueError, match="`space` must be a dict of names to Optuna distributions"):
        ConditionalGPSampler(space={"u": (0, 1)})
    study = optuna.create_study(directions=["minimize"] * 2, sampler=ConditionalGPSampler(0))
    with pytest.raises(ValueError, match="`study` must be one with one objective"):
        study.ask().suggest_float("u", 0, 1)
