"""Keras models as scikit-learn estimators: parameters, searches, chance, pickles, and scikit-learn's own checks."""

import pickle
import random

import keras
import numpy as np
import pytest
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from kopt import optimizers, schedules
from kopt.sklearn import Classifier, Regressor
from kopt.testing import problems

X, Y = load_iris(return_X_y=True)
# What is about parameters and rows needs no second backend.
fast_on_torch = pytest.mark.slow if keras.backend.backend() != "torch" else lambda test: test
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]


def build(meta, units=8):
    return keras.Sequential(
        [
            keras.Input((meta["n_features_in_"],)),
            keras.layers.Dense(units, activation="tanh", name="hidden"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(meta["n_classes_"], activation="softmax"),
        ]
    )


def net(**parameters):
    return Classifier(build, **{"epochs": 4, "optimizer__learning_rate": 0.02, "random_state": 0} | parameters)


def test_a_grid_over_flat_parameters_in_a_pipeline():
    pipeline = make_pipeline(StandardScaler(), net())
    grid = {"classifier__units": [1, 16], "classifier__optimizer__learning_rate": [1e-6, 0.05]}
    search = GridSearchCV(pipeline, grid, cv=2, scoring="roc_auc_ovr", error_score="raise").fit(X, NAMES)
    assert search.best_params_ == {"classifier__units": 16, "classifier__optimizer__learning_rate": 0.05}
    assert search.best_score_ > 0.9
    best = search.best_estimator_[-1]
    assert best.model_.get_layer("hidden").units == 16
    assert isinstance(best.model_.optimizer, optimizers.AdamW)
    assert float(best.model_.optimizer.learning_rate) == pytest.approx(0.05)
    assert set(search.predict(X)) <= set(NAMES)
    assert search.score(X, NAMES) > 0.9


@pytest.mark.slow
def test_a_random_search_and_scores_by_probability():
    space = {"units": [4, 8], "optimizer__learning_rate": loguniform(1e-2, 1e-1), "optimizer": ["sgd", optimizers.Lion]}
    search = RandomizedSearchCV(net(), space, n_iter=2, cv=2, random_state=0, error_score="raise").fit(X, Y)
    assert set(search.best_params_) == set(space)
    scores = cross_val_score(net(), X, Y, cv=2, scoring="neg_log_loss", error_score="raise")
    assert np.isfinite(scores).all()


def test_chance_is_its_own_and_pickles_keep_the_optimizer(tmp_path):
    random.seed(3)
    np.random.seed(3)
    before = random.random(), np.random.rand()
    random.seed(3)
    np.random.seed(3)
    first, second = net().fit(X, NAMES), clone(net()).fit(X, NAMES)
    assert before == (random.random(), np.random.rand())
    problems.assert_same(problems.values(first.model_.variables), problems.values(second.model_.variables))
    assert not np.array_equal(first.predict_proba(X), net(random_state=1).fit(X, NAMES).predict_proba(X))
    again = pickle.loads(pickle.dumps(first))
    np.testing.assert_array_equal(again.predict_proba(X), first.predict_proba(X))
    problems.assert_same(
        problems.values(again.model_.optimizer.variables), problems.values(first.model_.optimizer.variables)
    )
    assert again.get_params() == first.get_params()


@fast_on_torch
def test_parameters_are_set_cloned_and_refused():
    made = net(units=5)
    assert made.get_params()["units"] == 5
    copied = clone(made).set_params(units=6, epochs=2)
    assert (copied.units, copied.epochs, made.units) == (6, 2, 5)
    assert clone(copied).get_params() == copied.get_params()
    with pytest.raises(TypeError, match=r"Classifier has no argument `unit`\. Did you mean `units`"):
        net(unit=3)
    with pytest.raises(ValueError, match="no argument `hidden_layer_sizes`"):
        made.set_params(hidden_layer_sizes=(3,))
    with pytest.raises(TypeError, match="learning_rat"):
        net(optimizer__learning_rat=0.1).fit(X, Y)
    with pytest.raises(NotFittedError):
        net().predict(X)
    with pytest.raises(ValueError, match="`y` must be labels of more than one class"):
        net().fit(X, np.zeros(len(X)))
    with pytest.raises(ValueError, match="`optimizer` must be a name, a class or an instance"):
        net(optimizer=3).fit(X, Y)

    def logits(meta):
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])

    with pytest.raises(ValueError, match="a function whose model gives 3 probabilities"):
        Classifier(logits, epochs=1).fit(X, Y).predict(X)


@fast_on_torch
def test_weights_of_rows_and_classes():
    """A class with no weight is never learnt; balanced weights are scikit-learn's."""
    kept = np.where(Y == 2, 0.0, 1.0)
    by_row = Classifier(epochs=20, optimizer="sgd", optimizer__learning_rate=0.1, random_state=0)
    by_class = clone(by_row).set_params(class_weight={0: 1.0, 1: 1.0, 2: 0.0})
    first, second = by_row.fit(X, Y, kept), by_class.fit(X, Y)
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    assert set(first.predict(X)) == {0, 1}


@fast_on_torch
def test_early_stopping_and_schedules_in_fractions():
    rate = schedules.CosineDecay(0.5, 1.0, by="fraction")
    made = net(epochs=60, optimizer__learning_rate=rate, early_stopping=True, patience=2, validation_fraction=0.3)
    made.fit(X, NAMES)
    assert len(made.history_["val_loss"]) < 60
    assert made.model_.optimizer.get_config()["learning_rate"]["config"]["run_steps"] == 60 * 4
    assert rate.run_steps is None


@pytest.mark.parametrize("targets", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_regression(targets):
    y = X @ np.arange(4.0 * targets).reshape(4, targets)
    made = Regressor(hidden_layer_sizes=(16,), epochs=30, optimizer__learning_rate=0.02, random_state=0)
    y = y[:, 0] if targets == 1 else y
    assert made.fit(X, y).score(X, y) > 0.8
    assert made.predict(X).shape == y.shape


@fast_on_torch
def test_two_classes_by_one_sigmoid_and_a_compiled_model():
    def sigmoid():
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation="sigmoid")])
        model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy", metrics=["accuracy"])
        return model

    made = Classifier(sigmoid, epochs=5, random_state=0).fit(X[:100], NAMES[:100])
    assert made.score(X[:100], NAMES[:100]) > 0.9
    assert "accuracy" in made.history_
    with pytest.raises(ValueError, match="whose model is not compiled"):
        Classifier(sigmoid, optimizer__learning_rate=0.1).fit(X[:100], NAMES[:100])


EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "rows of weight 0 take places in batches",
}


@keras.saving.register_keras_serializable(package="tests")
class Quick(optimizers.AdamW):
    """Is shown without its address, which would name the tests differently in each process of a run."""

    def __repr__(self):
        return "Quick"


@pytest.mark.slow
@parametrize_with_checks(
    [
        Classifier(epochs=30, optimizer=Quick(0.02), random_state=0),
        Regressor(epochs=40, optimizer=Quick(0.02), random_state=0),
    ],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_scikit_learn_agrees(estimator, check):
    check(estimator)
