"""KerasTuner's spaces and Optuna's are the same space: who is active, which values there are, in which order."""

import keras_tuner
import numpy as np
import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras_tuner.engine import hyperparameters as kinds
from search_spaces import hyperparameters, once

from kopt.tuning.mapping import SpaceMap, active_values

pytestmark = once
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def one(**declared):
    hp = keras_tuner.HyperParameters()
    kind, arguments = next(iter(declared.items()))
    getattr(hp, kind)("p", **arguments)
    return SpaceMap(hp).items[0]


def is_legal(hp, value):
    """What KerasTuner itself could have given, told from its own description of the parameter."""
    if isinstance(hp, kinds.Fixed):
        return value == hp.value
    if isinstance(hp, kinds.Boolean):
        return isinstance(value, bool)
    if isinstance(hp, kinds.Choice):
        return value in hp.values and type(value) is type(hp.values[0])
    if type(value) is not (int if isinstance(hp, kinds.Int) else float):
        return False
    if hp.step is not None:
        return any(abs(value - (int(v) if isinstance(hp, kinds.Int) else v)) < 1e-9 for v in hp.values)
    return hp.min_value <= value <= hp.max_value


@quick
@given(hyperparameters(), st.integers(0, 2**31))
def test_what_is_active_is_the_same_on_both_sides_and_every_value_is_legal(hp, seed):
    space = SpaceMap(hp)
    tree = space.tree()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    for _ in range(5):
        trial = study.ask()
        hp.values = space.walk(lambda item, trial=trial: item.suggest(trial))
        assert set(hp.values) == {p.name for p in hp.space if hp.is_active(p)}
        names = {item.key: item.name for item in space.items}
        assert {names[key] for key in trial.params} == set(hp.values)
        assert active_values(hp) == hp.values
        for name, value in hp.values.items():
            assert any(is_legal(p, value) for p in hp.space if p.name == name and hp.is_active(p)), (name, value)
        # The sampler's own idea of what is active, from the conditions alone.
        positions = np.where(np.isnan(tree.row(trial.params)), 0.5, tree.row(trial.params))
        shown = tree.values(tree.rows(positions[None])[0])
        assert {names[key] for key in shown} == set(hp.values)


@quick
@given(hyperparameters(), st.integers(0, 2**31))
def test_values_go_there_and_back(hp, seed):
    space = SpaceMap(hp)
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed)).ask()
    values = space.walk(lambda item: item.suggest(trial))
    internal = space.internal(values)
    assert set(internal) == set(trial.params)
    back = space.walk(lambda item: internal[item.key])
    assert set(back) == set(values)
    for name, value in values.items():
        # Through a cumulative probability and back, a real number loses a few digits.
        assert back[name] == (pytest.approx(value, rel=1e-6) if isinstance(value, float) else value)


@quick
@given(hyperparameters(most=4))
def test_the_grid_has_legal_configurations_each_once(hp):
    space = SpaceMap(hp)
    points = [p for _, p in zip(range(200), space.grid(), strict=False)]
    seen = [tuple(sorted(p.items(), key=lambda pair: pair[0])) for p in points]
    assert len(set(seen)) == len(seen) > 0
    for point in points:
        hp.values = space.walk(lambda item, point=point: point[item.key])
        assert set(hp.values) == {p.name for p in hp.space if hp.is_active(p)}


@pytest.mark.parametrize(
    ("item", "values"),
    [
        (one(Choice={"values": [64, 16, 32]}), [16, 32, 64]),
        (one(Choice={"values": [0.5, 0.1]}), [0.1, 0.5]),
        (one(Int={"min_value": 2, "max_value": 33, "step": 2, "sampling": "log"}), [2, 4, 8, 16, 32]),
        (one(Float={"min_value": 0.001, "max_value": 10, "step": 10, "sampling": "log"}), [0.001, 0.01, 0.1, 1, 10]),
        (one(Float={"min_value": 0, "max_value": 1, "step": 0.3}), [0, 0.3, 0.6, 0.9]),
        (one(Int={"min_value": 1, "max_value": 10, "step": 4}), [1, 5, 9]),
        (one(Int={"min_value": 1, "max_value": 8, "step": 2, "sampling": "reverse_log"}), [8, 7, 5, 1]),
    ],
)
def test_ordered_values_stay_ordered(item, values):
    assert [item.value(internal) for internal in item.grid()] == pytest.approx(values)
    assert isinstance(item.distribution, optuna.distributions.IntDistribution)
    low, high = item.distribution.low, item.distribution.high
    assert [item.value(i) for i in range(low, high + 1, item.distribution.step)] == pytest.approx(values)


@pytest.mark.parametrize("kind", ["Int", "Float"])
def test_a_reversed_logarithm_is_fine_at_the_upper_end(kind):
    item = one(**{kind: {"min_value": 1, "max_value": 1000, "sampling": "reverse_log"}})
    values = [item.value(u) for u in np.linspace(0, 1, 1001)]
    assert (values[0], values[-1]) == (1, pytest.approx(1000))
    assert np.mean(np.array(values) > 900) > 0.6
    assert values == sorted(values)


def test_what_is_no_choice_of_order_stays_a_category():
    for item in (one(Choice={"values": ["b", "a"]}), one(Choice={"values": [1, 2, 3], "ordered": False})):
        assert isinstance(item.distribution, optuna.distributions.CategoricalDistribution)
        assert list(item.distribution.choices) == item.hp.values


def test_a_name_under_two_conditions_has_two_twins():
    hp = keras_tuner.HyperParameters()
    hp.Choice("model", ["cnn", "mlp"])
    for model, most in (("cnn", 8), ("mlp", 64)):
        with hp.conditional_scope("model", [model]):
            hp.Int("units", 1, most)
    space = SpaceMap(hp)
    assert [item.key for item in space.items] == ["model", "units", "units [model=mlp]"]
    assert space.internal({"model": "mlp", "units": 50}) == {"model": "mlp", "units [model=mlp]": 50}
    with pytest.raises(ValueError, match=r"`units` must be a value of Int.*Received: units=50"):
        space.internal({"model": "cnn", "units": 50})


@pytest.mark.parametrize(
    ("values", "message"),
    [({"q": 1}, "names from the space"), ({"p": 9}, "a value of"), ({}, "a value for 'p'"), ({"p": 1.5}, "a value of")],
)
def test_values_from_outside_the_space_are_refused(values, message):
    hp = keras_tuner.HyperParameters()
    hp.Int("p", 1, 8)
    with pytest.raises(ValueError, match=message):
        SpaceMap(hp).internal(values)
