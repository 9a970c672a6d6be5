"""The conditional Gaussian process as a sampler: what it proposes, and that nothing stops it."""

import math

import numpy as np
import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from search_spaces import branches, hyperparameters, once

from kopt.tuning import ConditionalGPSampler
from kopt.tuning.mapping import SpaceMap
from kopt.tuning.sampler.sampler import _results

pytestmark = once
RESULTS = [
    0.0,
    1.0,
    -3.5,
    1e-9,
    1e308,
    -1e308,
    math.inf,
    -math.inf,
    TrialState.FAIL,
    TrialState.PRUNED,
    TrialState.RUNNING,
]


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


def study_of(seed=0, direction="minimize", **arguments):
    return optuna.create_study(direction=direction, sampler=ConditionalGPSampler(seed, **arguments))


def parameters_of(study):
    return [trial.params for trial in study.trials]


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
    medians, least = [], []
    for seed in range(7):
        study = study_of(seed)
        study.optimize(branin, n_trials=20)
        asked = [study.ask() for _ in range(8)]
        points = np.array([[t.suggest_float("x", -5, 10) / 15, t.suggest_float("y", 0, 15) / 15] for t in asked])
        apart = np.linalg.norm(points[:, None] - points[None], axis=-1)[np.triu_indices(8, 1)]
        medians.append(np.median(apart))
        least.append(apart.min())
    # Blind to each other, all eight would be where the first one is. Sure of one minimum, a search is near it with all.
    assert np.median(medians) > 0.2
    assert np.median(least) > 1e-4


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


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(hyperparameters(), st.lists(st.sampled_from(RESULTS), min_size=14, max_size=14))
def test_no_space_and_no_history_stop_it(hp, results):
    space = SpaceMap(hp)
    for known in (None, space.tree()):
        study = study_of(0, n_startup_trials=3, space=known)
        waiting = []
        for result in results:
            trial = study.ask()
            space.walk(lambda item, trial=trial: item.suggest(trial))
            if isinstance(result, float):
                study.tell(trial, result)
            elif result is TrialState.RUNNING:
                waiting.append(trial)
            else:
                trial.report(0.5, 0)
                study.tell(trial, state=result)
        assert all(set(trial.params) == set(trial.distributions) for trial in study.trials)


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
