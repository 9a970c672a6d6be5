"""Keras models in the searches of scikit-learn."""

import keras
import numpy as np
import pytest
import scipy.stats
import searches
from sklearn import base, model_selection
from sklearn.exceptions import NotFittedError

from kopt import tuning

X, Y = searches.data()


def build(X, y, rate, momentum=0.0):  # noqa: N803 - scikit-learn's name
    model = keras.Sequential([keras.Input(X.shape[1:]), keras.layers.Dense(y.shape[1], activation="softmax")])
    model.compile(keras.optimizers.SGD(rate, momentum=momentum), "categorical_crossentropy")
    return model


def regression(X, y, rate):  # noqa: N803
    model = keras.Sequential([keras.Input(X.shape[1:]), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def test_a_grid_finds_the_rate_that_learns(capsys):
    search = tuning.scikit_search(build, {"rate": [1e-6, 0.5]}, fit={"epochs": 4, "batch_size": 8}, cv=2)
    assert isinstance(search, model_selection.GridSearchCV)
    search.fit(X, np.array(["a", "b", "c"])[Y])
    assert search.best_params_ == {"rate": 0.5}
    assert list(search.cv_results_["param_rate"]) == [1e-6, 0.5]
    assert search.best_score_ > 0.7
    assert set(search.predict(X)) <= {"a", "b", "c"}
    assert search.decision_function(X).shape == (len(X), 3)
    assert capsys.readouterr().out == "", "Nobody has asked for progress bars."
    with pytest.raises(NotFittedError):
        base.clone(search.best_estimator_).predict(X)
    assert "predict" not in vars(search.best_estimator_.model_)
    # Clones keep what `fit` is called with.
    assert len(search.best_estimator_.history_.epoch) == 4


def test_random_search_draws_and_regresses():
    space = {"rate": scipy.stats.loguniform(1e-3, 1e-2)}
    options = {"kind": "regressor", "fit": {"epochs": 1}, "cv": 2, "seed": 3, "refit": False}
    search = tuning.scikit_search(regression, space, n_iter=2, **options)
    assert isinstance(search, model_selection.RandomizedSearchCV)
    search.fit(X, X[:, 0])
    rates = list(search.cv_results_["param_rate"])
    again = list(model_selection.ParameterSampler(space, 2, random_state=3))
    assert rates == [setting["rate"] for setting in again]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({},), "`space` must be a dict from arguments of `build` to lists"),
        (({"rate": []},), r"`space\['rate'\]` must be a list of values, and not empty"),
        (({"model": [1]},), "names that the estimator has itself"),
        (({"rate": "ab"},), r"`space\['rate'\]` must be a list"),
    ],
)
def test_bad_spaces_are_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        tuning.scikit_search(build, *arguments)
    with pytest.raises(ValueError, match="`kind` must be one of 'classifier', 'regressor'"):
        tuning.scikit_search(build, {"rate": [1.0]}, kind="ranker")
    with pytest.raises(ValueError, match="`build` must be a function"):
        tuning.scikit_search(keras.Sequential([]), {"rate": [1.0]})
