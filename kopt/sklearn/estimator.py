"""What classifier and regressor have in common: parameters, the training, and its random numbers."""

import copy
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from kopt._backend import undisturbed, watch
from kopt._core import checks
from kopt.callbacks import EarlyStopping, Report
from kopt.sklearn.parameters import META, OPTIMIZER, check_names, made_optimizer, perceptron, takes_meta

_MOST = 2**31 - 1


class KerasEstimator(BaseEstimator):
    """A Keras model behind scikit-learn's `fit` and `predict`; `Classifier` and `Regressor` say what is what."""

    def __init__(
        self,
        build: Callable[..., keras.Model] | None = None,
        *,
        epochs: int = 10,
        batch_size: int = 32,
        optimizer: Any = "adamw",
        loss: Any = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 10,
        callbacks: Sequence[Any] | None = None,
        random_state: Any = None,
        verbose: int = 0,
        **parameters: Any,
    ) -> None:
        self.build = build
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.loss = loss
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose
        self._take(parameters)

    def _take(self, parameters: dict[str, Any]) -> None:
        """Keeps parameters of the build function and of the optimizer beside the estimator's own."""
        check_names(type(self).__name__, parameters, self._get_param_names(), _builder(self.build))
        self.__dict__.update(parameters)

    def _further(self) -> dict[str, Any]:
        own = set(self._get_param_names())
        return {n: v for n, v in vars(self).items() if n not in own and not n.startswith("_") and not n.endswith("_")}

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - scikit-learn's signature
        """Returns all parameters by name, those of the build function and of the optimizer included.

        Args:
            deep: Nothing; there are no estimators inside.
        """
        return super().get_params(deep=False) | self._further()

    def set_params(self, **params: Any) -> Self:
        """Sets parameters by name.

        Args:
            **params: Of the estimator, of the build function, and as `optimizer__<argument>` of the optimizer.

        Raises:
            ValueError: A name that nobody has.
        """
        own = {name: value for name, value in params.items() if name in self._get_param_names()}
        self.__dict__.update(own)
        try:
            self._take({name: value for name, value in params.items() if name not in own})
        except TypeError as error:
            raise ValueError(str(error)) from error  # What scikit-learn raises.
        return self

    def _new_model(self, meta: dict[str, Any], loss: Any) -> Any:
        build = _builder(self.build)
        if not callable(build) or isinstance(build, keras.Model):
            raise checks.fail("build", "a function that returns a Keras model, or None", build)
        further = copy.deepcopy(self._further())  # Schedules are told the run, which belongs to this training only.
        check_names(type(self).__name__, further, self._get_param_names(), build)
        options = {name.removeprefix(OPTIMIZER): v for name, v in further.items() if name.startswith(OPTIMIZER)}
        arguments = {name: value for name, value in further.items() if not name.startswith(OPTIMIZER)}
        if takes_meta(build):
            arguments[META] = meta
        model = build(**arguments)
        if not isinstance(model, keras.Model):
            raise checks.fail("build", "a function that returns a Keras model", type(model).__name__)
        if not model.compiled:
            model.compile(made_optimizer(self.optimizer, options), self.loss or loss(model))
        elif options:
            raise checks.fail("build", "a function whose model is not compiled, for its optimizer to be set", build)
        return model

    def _train(self, x: Any, y: Any, sample_weight: Any, meta: dict[str, Any], loss: Any, stratify: Any) -> Self:
        """Builds a model and trains it, with random numbers of its own."""
        checks.count("epochs", self.epochs)
        checks.count("batch_size", self.batch_size)
        seed = int(check_random_state(self.random_state).randint(_MOST))
        with undisturbed.kept_random_states():
            with watch.without_tensorflow():
                keras.utils.set_random_seed(seed)
            self.model_ = self._new_model(meta, loss)
            data: tuple[Any, ...] = (x, y, sample_weight)
            more: dict[str, Any] = {}
            # The user's callbacks are settings, as the rest: what happens in `fit` must not stay in them.
            followers = [Report(), *copy.deepcopy(list(self.callbacks or ()))]
            if self.early_stopping:
                data, more = self._held_out(data, stratify, seed)
                followers.append(EarlyStopping(patience=self.patience, restore_best_weights=True))
            x, y, sample_weight = data
            options = {"batch_size": self.batch_size, "epochs": self.epochs, "verbose": self.verbose}
            seen = self.model_.fit(x, y, sample_weight=sample_weight, callbacks=followers, **options, **more)
        self.history_ = seen.history
        return self

    def _held_out(self, data: tuple[Any, ...], stratify: Any, seed: int) -> tuple[tuple[Any, ...], dict[str, Any]]:
        checks.fraction("validation_fraction", self.validation_fraction, zero=False)
        given = [part for part in data if part is not None]
        parts = train_test_split(*given, test_size=self.validation_fraction, stratify=stratify, random_state=seed)
        kept, held = parts[::2], parts[1::2]
        return tuple(kept) if len(kept) == 3 else (*kept, None), {"validation_data": tuple(held)}

    def _checked(self, x: Any, y: Any, sample_weight: Any, **options: Any) -> tuple[Any, Any, Any]:
        x, y = validate_data(self, x, y, dtype=np.float32, allow_nd=True, **options)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, x, dtype=np.float32)
        return x, y, sample_weight

    def _meta(self, x: Any) -> dict[str, Any]:
        return {"n_features_in_": self.n_features_in_, "input_shape_": x.shape[1:]}

    def _outputs(self, x: Any) -> np.ndarray:
        check_is_fitted(self, "model_")
        x = validate_data(self, x, dtype=np.float32, allow_nd=True, reset=False)
        # Batches of one size: nothing is compiled anew for the last one, and a row gives the same in any company.
        missing = -len(x) % self.batch_size
        full = np.concatenate([x, np.repeat(x[:1], missing, axis=0)]) if missing else x
        return np.asarray(self.model_.predict(full, batch_size=self.batch_size, verbose=0))[: len(x)]


def _builder(build: Any) -> Any:
    return perceptron if build is None else build
