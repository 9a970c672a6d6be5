"""Keras models inside scikit-learn's own searches."""

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
from sklearn import model_selection

from kopt._core import checks


class _Named:
    """Lets a search set each argument of the build function by its name; a clone keeps what `fit` is called with."""

    model: Any
    model_kwargs: dict[str, Any] | None
    fit_kwargs: dict[str, Any] | None

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - scikit-learn's signature
        own = {"model": self.model, "warm_start": False, "model_kwargs": None, "fit_kwargs": self.fit_kwargs}
        return own | (self.model_kwargs or {})

    def set_params(self, **params: Any) -> Any:
        self.model_kwargs = {**(self.model_kwargs or {}), **params}
        return self

    def __sklearn_clone__(self) -> Any:
        # Keras' own loses `fit_kwargs`, so that each fold would be trained for one epoch.
        settings = copy.deepcopy({"model_kwargs": self.model_kwargs, "fit_kwargs": self.fit_kwargs})
        return type(self)(self.model, **settings)  # type: ignore[call-arg]

    def predict(self, X: Any) -> Any:  # noqa: N803 - scikit-learn's name
        with _silent(getattr(self, "model_", None)):
            return super().predict(X)  # type: ignore[misc]


class _Classifier(_Named, keras.wrappers.SKLearnClassifier):
    """A classifier with named arguments."""

    def decision_function(self, X: Any) -> Any:  # noqa: N803 - scikit-learn's name
        with _silent(getattr(self, "model_", None)):
            return super().decision_function(X)


class _Regressor(_Named, keras.wrappers.SKLearnRegressor):
    """A regressor with named arguments."""


@contextlib.contextmanager
def _silent(model: keras.Model | None) -> Iterator[None]:
    """Keeps a model from showing a progress bar for each fold that is scored: Keras' wrapper has no argument for it."""
    if model is None:  # Not fitted: that is told by scikit-learn.
        yield
        return
    # Not by `keras.config.disable_interactive_logging`, which the thread that draws the bar on JAX and torch ignores.
    object.__setattr__(model, "predict", functools.partial(model.predict, verbose=0))
    try:
        yield
    finally:
        object.__delattr__(model, "predict")


_KINDS = {"classifier": _Classifier, "regressor": _Regressor}


def scikit_search(
    build: Callable[..., Any],
    space: Mapping[str, Any],
    *,
    n_iter: int | None = None,
    kind: str = "classifier",
    fit: Mapping[str, Any] | None = None,
    cv: Any = 5,
    seed: int | None = None,
    **kwargs: Any,
) -> Any:
    """Returns scikit-learn's GridSearchCV or RandomizedSearchCV over a Keras model, ready for `fit(x, y)`.

    For those who live in scikit-learn: pipelines, `scoring=`, `cv_results_`. `kopt.tuning.Tuner` has pruning,
    conditional hyperparameters, resuming, and trials that may fail.

    Args:
        build: Function of `X`, `y` and the hyperparameters in `space`, all by name, that returns a compiled model. With
            "classifier", `y` is one-hot: of shape (n, number of classes), as the model's output has to be.
        space: For each argument of `build`, a list of values; for random search a distribution of scipy.stats as well.
        n_iter: Random settings to try, >= 1; None tries the whole grid.
        kind: "classifier" or "regressor".
        fit: What `model.fit` takes, such as `{"epochs": 10}`; `verbose` is 0 unless given.
        cv: Folds, as scikit-learn takes them.
        seed: Of the settings of random search, >= 0; None for by chance. `keras.utils.set_random_seed` seeds trainings.
        **kwargs: What the search takes, such as `scoring`, `refit`, `n_jobs`.

    Raises:
        ValueError: An empty space or list, a name that scikit-learn uses itself, or an argument out of its range.

    Example:

    ```python
    search = kopt.tuning.scikit_search(build, {"units": [8, 32], "rate": [0.01, 0.1]}, fit={"epochs": 10}, cv=3)
    search.fit(x, y)
    search.best_params_, search.best_score_
    ```
    """
    if not callable(build) or isinstance(build, keras.Model):
        raise checks.fail("build", "a function that returns a compiled model", build)
    grid = _checked(space)
    estimator = _KINDS[checks.choice("kind", kind, _KINDS)](build, fit_kwargs={"verbose": 0, **(fit or {})})
    if n_iter is None:
        return model_selection.GridSearchCV(estimator, grid, cv=cv, **kwargs)
    count, seed = checks.count("n_iter", n_iter), checks.optional(checks.count, "seed", seed, least=0)
    return model_selection.RandomizedSearchCV(estimator, grid, n_iter=count, cv=cv, random_state=seed, **kwargs)


def _checked(space: Any) -> dict[str, Any]:
    """Returns a space, if it is one."""
    if not isinstance(space, Mapping) or not space:
        raise checks.fail("space", "a dict from arguments of `build` to lists of values, and not empty", space)
    for name, values in space.items():
        if name in ("model", "warm_start", "model_kwargs", "fit_kwargs", "X", "y"):
            raise checks.fail("space", "a dict without the names that the estimator has itself", name)
        if isinstance(values, str | bytes) or (isinstance(values, Sequence) and not values):
            raise checks.fail(f"space[{name!r}]", "a list of values, and not empty", values)
    return dict(space)
